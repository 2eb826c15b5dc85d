//! SEND_REPLY_MESSAGE (324, 325): hands a reply to the client that waits for it (326), and tells its sender whether it arrived.
//!
//! A reply is not stored: it is of use to one client, now, and whoever sent it hears at once when that client is gone.

use std::sync::Arc;
use std::time::Duration;

use orbitmq_common::clock::now_ms;
use orbitmq_common::message::property::{self, Properties};
use orbitmq_common::net::connection::Outcome;
use orbitmq_common::net::peer::Peer;
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::send::{PushReplyRequest, SendRequest, SendRequestV2, SendResponse};

use crate::broker::Broker;
use crate::handler::send;
use crate::refusal::Refusal;

/// How long the waiting client may take to confirm.
const DEADLINE: Duration = Duration::from_secs(10);

/// Handles the request; see the module.
pub fn call(broker: &Broker, peer: &Peer, frame: &Frame) -> Result<Outcome, Refusal> {
    let header: SendRequest<'_> = if frame.code == request::SEND_REPLY_MESSAGE {
        frame.fields()?
    } else {
        frame.fields::<SendRequestV2<'_>>()?.into()
    };
    send::check_message(broker, &header, frame)?;
    let illegal = |remark: String| Refusal::new(response::MESSAGE_ILLEGAL, remark);
    let mut properties = Properties::parse(header.properties.as_deref().unwrap_or_default());
    let Some(client) = properties.get(property::REPLY_TO_CLIENT).map(str::to_owned) else {
        return Err(illegal("a reply names the client that waits for it (property REPLY_TO_CLIENT)".to_owned()));
    };
    if properties.get(property::CORRELATION_ID).is_none() {
        return Err(illegal("a reply names its request (property CORRELATION_ID)".to_owned()));
    }
    let Some(member) = broker.members.producer_client(&client) else {
        let remark = format!(
            "client '{client}', which asked, is not connected to this broker: it ended, or its time-out passed; the reply is dropped"
        );
        return Err(Refusal::new(response::SYSTEM_ERROR, remark));
    };
    let now = now_ms();
    properties.set(property::PUSH_REPLY_TIME, &now.to_string()).map_err(|error| illegal(error.to_string()))?;
    let push = PushReplyRequest {
        producer_group: header.producer_group,
        topic: header.topic,
        default_topic: header.default_topic,
        default_topic_queue_nums: header.default_topic_queue_nums,
        queue_id: header.queue_id.max(0),
        sys_flag: header.sys_flag,
        born_timestamp: header.born_timestamp,
        flag: header.flag,
        properties: Some(properties.into_text().into()),
        reconsume_times: header.reconsume_times,
        unit_mode: header.unit_mode,
        born_host: send::canonical(peer.remote()).to_string().into(),
        store_host: broker.address.to_string().into(),
        store_timestamp: now,
    };
    let push = Frame::request(request::PUSH_REPLY_MESSAGE_TO_CLIENT, member.encoding).with_fields(&push);
    let push = push.with_body(frame.body.clone());
    // What clients of RocketMQ's read of a reply that was not stored.
    let stored = SendResponse {
        msg_id: "0".into(),
        region: Some(send::REGION.into()),
        trace_on: Some(true),
        ..SendResponse::default()
    };
    let answer = frame.answer(response::SUCCESS).with_fields(&stored);
    let waiting = Arc::clone(&member.peer);
    Ok(Outcome::later(async move {
        let cause = match waiting.call(push, DEADLINE).await {
            Ok(told) if told.code == response::SUCCESS => return answer,
            Ok(told) => format!("answered with code {}: {}", told.code, told.remark.unwrap_or_default()),
            Err(error) => error.to_string(),
        };
        let remark = format!("client '{client}', which asked, did not take the reply: {cause}");
        Refusal::new(response::SYSTEM_ERROR, remark).mark(answer)
    }))
}
