//! Replies to requests: hands a message's sender, which waits for it, what it asked for.

use bytes::Bytes;
use orbitmq_common::clock::now_ms;
use orbitmq_common::message::property::{self, Properties};
use orbitmq_common::message::{compress, sysflag};
use orbitmq_common::name;
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::header::send::SendRequestV2;

use crate::deliver::Delivery;

/// Larger bodies are compressed.
const COMPRESS_OVER: usize = 4 << 10;
/// What RocketMQ's clients call the kind of a reply.
const KIND: &str = "reply";

/// A reply did not reach whoever waits for it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the reply to message {message_id} did not reach its sender: {cause}")]
pub struct ReplyError {
    /// The request.
    pub message_id: String,
    /// What stood in the way.
    pub cause: String,
}

impl Delivery {
    /// Whether the sender waits for a reply.
    #[must_use]
    pub fn wants_reply(&self) -> bool {
        self.property(property::REPLY_TO_CLIENT).is_some()
    }

    /// Replies to the sender, by way of the broker that holds the message. Whether the message is dealt with is said apart, by
    /// [`Delivery::ack`].
    ///
    /// # Errors
    /// The sender wants no reply, or it is gone, or no longer waits.
    pub async fn reply(&self, body: impl Into<Bytes>) -> Result<(), ReplyError> {
        self.reply_with(body, &[]).await
    }

    /// Like [`Delivery::reply`], with properties.
    ///
    /// # Errors
    /// As for [`Delivery::reply`]; or a property cannot be written.
    pub async fn reply_with(&self, body: impl Into<Bytes>, properties: &[(&str, &str)]) -> Result<(), ReplyError> {
        let sent = self.send_reply(body.into(), properties).await;
        sent.map_err(|cause| ReplyError { message_id: self.message_id(), cause })
    }

    async fn send_reply(&self, body: Bytes, properties: &[(&str, &str)]) -> Result<(), String> {
        let core = self.core();
        let route = core.finder.table().get(self.queue_topic());
        let broker = route.as_ref().and_then(|route| route.broker(self.broker()));
        let broker = broker.ok_or_else(|| format!("broker {} is not routed now", self.broker()))?;
        let address = broker.master().ok_or_else(|| format!("broker {} has no master now", broker.name))?;
        let link = core.link(address).await.map_err(|error| error.to_string())?;
        let (body, sys_flag) = packed(body)?;
        let topic = format!("{}_REPLY_TOPIC", broker.cluster);
        let fields = SendRequestV2 {
            producer_group: core.config.group.as_str().into(),
            topic: topic.as_str().into(),
            default_topic: name::DEFAULT_TOPIC.into(),
            default_topic_queue_nums: 1,
            queue_id: 0,
            sys_flag,
            born_timestamp: now_ms(),
            properties: Some(self.reply_properties(properties)?.into()),
            ..SendRequestV2::default()
        };
        let reply = link.request(request::SEND_REPLY_MESSAGE_V2).with_fields(&fields).with_body(body);
        let answer = link.call(reply, core.config.call_timeout).await.map_err(|error| error.to_string())?;
        match answer.code {
            response::SUCCESS => Ok(()),
            code => Err(format!("code {code}: {}", answer.remark.unwrap_or_default())),
        }
    }

    fn reply_properties(&self, own: &[(&str, &str)]) -> Result<String, String> {
        let mut properties = Properties::new();
        for (name, value) in own {
            properties.push(name, value).map_err(|error| error.to_string())?;
        }
        properties.set(property::MSG_TYPE, KIND).map_err(|error| error.to_string())?;
        for name in [property::CORRELATION_ID, property::REPLY_TO_CLIENT, property::TTL] {
            let value = match (self.property(name), name) {
                (Some(value), _) => value,
                (None, property::TTL) => continue,
                (None, _) => return Err("its sender does not wait for one: it was sent, not requested".to_owned()),
            };
            properties.set(name, value).map_err(|error| error.to_string())?;
        }
        Ok(properties.into_text())
    }
}

fn packed(body: Bytes) -> Result<(Bytes, i32), String> {
    if body.len() <= COMPRESS_OVER {
        return Ok((body, 0));
    }
    let packed = compress::compress_zlib(&body).map_err(|error| error.to_string())?;
    Ok((packed, (sysflag::COMPRESSED | sysflag::COMPRESSION_ZLIB).cast_signed()))
}
