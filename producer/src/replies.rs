//! Requests that wait for their replies, by correlation id.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use orbitmq_common::message::{compress, property};
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::send::PushReplyRequest;
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Bodies grow when they are decompressed; this is the most they may have to.
const BODY_LIMIT: usize = 64 << 20;

/// What a consumer replied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The body as the consumer had it.
    pub body: Bytes,
    /// Properties as text, those of the system among them.
    pub properties: String,
}

impl Reply {
    /// Value of a property.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&str> {
        property::get(&self.properties, name)
    }
}

/// What comes to a request that waits: a reply, or why the one that came cannot be read.
pub(crate) type Received = Result<Reply, String>;

#[derive(Debug)]
pub(crate) struct Replies {
    /// Changes of routes up to the last time that all their brokers were told of this producer.
    pub known: AtomicU64,
    waiting: Arc<Mutex<HashMap<String, oneshot::Sender<Received>>>>,
}

/// The place of a request that waits; dropping it gives up.
#[derive(Debug)]
pub(crate) struct Waiting {
    id: String,
    all: Arc<Mutex<HashMap<String, oneshot::Sender<Received>>>>,
    pub reply: oneshot::Receiver<Received>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.all.lock().remove(&self.id);
    }
}

impl Default for Replies {
    fn default() -> Self {
        Self { known: AtomicU64::new(u64::MAX), waiting: Arc::default() }
    }
}

impl Replies {
    /// Waits for the reply with this correlation id.
    pub(crate) fn expect(&self, id: String) -> Waiting {
        let (sender, reply) = oneshot::channel();
        self.waiting.lock().insert(id.clone(), sender);
        Waiting { id, all: Arc::clone(&self.waiting), reply }
    }

    /// Hands a reply to its request; or tells its sender why not.
    pub(crate) fn deliver(&self, frame: &Frame) -> Result<(), String> {
        let fields: PushReplyRequest<'_> = frame.fields().map_err(|error| error.to_string())?;
        let properties = fields.properties.unwrap_or_default();
        let id = property::get(&properties, property::CORRELATION_ID).unwrap_or_default();
        let waiting = self.waiting.lock().remove(id);
        let Some(waiting) = waiting else {
            return Err(format!(
                "nobody waits here for a reply to '{id}': its time-out has passed, or it was replied to"
            ));
        };
        let body = compress::decompress(&frame.body, fields.sys_flag.cast_unsigned(), BODY_LIMIT);
        let reply = body.map(|body| Reply { body, properties: properties.into_owned() });
        let unreadable = reply.as_ref().err().map(|error| format!("the reply cannot be read: {error}"));
        drop(waiting.send(reply.map_err(|error| error.to_string())));
        unreadable.map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use orbitmq_common::protocol::code::request;
    use orbitmq_common::protocol::frame::Encoding;

    use super::*;

    fn pushed(id: &str, sys_flag: i32, body: &'static [u8]) -> Frame {
        let properties = format!("{}\u{1}{id}\u{2}", property::CORRELATION_ID);
        let fields = PushReplyRequest { properties: Some(properties.into()), sys_flag, ..PushReplyRequest::default() };
        let frame = Frame::request(request::PUSH_REPLY_MESSAGE_TO_CLIENT, Encoding::Json).with_fields(&fields);
        frame.with_body(Bytes::from_static(body))
    }

    #[test]
    fn a_reply_comes_to_its_request_once() {
        let replies = Replies::default();
        let (mut one, mut other) = (replies.expect("1".to_owned()), replies.expect("2".to_owned()));
        replies.deliver(&pushed("2", 0, b"two")).unwrap();
        assert!(one.reply.try_recv().is_err());
        let reply = other.reply.try_recv().unwrap().unwrap();
        assert_eq!((reply.body.as_ref(), reply.property(property::CORRELATION_ID)), (&b"two"[..], Some("2")));
        assert!(replies.deliver(&pushed("2", 0, b"again")).unwrap_err().contains("nobody waits"));
        drop(one);
        assert!(replies.deliver(&pushed("1", 0, b"late")).unwrap_err().contains("nobody waits"));
        assert!(replies.waiting.lock().is_empty());
    }

    #[test]
    fn a_broken_reply_is_told_to_both_sides() {
        let replies = Replies::default();
        let mut one = replies.expect("1".to_owned());
        assert!(replies.deliver(&pushed("1", 1, b"no zlib")).unwrap_err().contains("cannot be read"));
        one.reply.try_recv().unwrap().unwrap_err();
    }
}
