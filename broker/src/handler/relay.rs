//! Requests that the broker hands on to a connected consumer: its running state (307), a message to consume now (309).

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use orbitmq_common::message::id;
use orbitmq_common::net::connection::Outcome;
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::examine::{ConsumeDirectlyRequest, RunningInfoRequest};

use crate::broker::Broker;
use crate::members::member::Member;
use crate::refusal::Refusal;

/// How long a consumer may take to answer.
const DEADLINE: Duration = Duration::from_secs(10);

fn member(broker: &Broker, group: &str, client: &str) -> Result<Member, Refusal> {
    broker.members.consumer(group, client).ok_or_else(|| broker.not_connected(group, client))
}

/// Asks the consumer whatever it is asked for (307).
pub fn running_info(broker: &Broker, frame: &Frame) -> Result<Outcome, Refusal> {
    let header: RunningInfoRequest<'_> = frame.fields()?;
    let member = member(broker, &header.consumer_group, &header.client_id)?;
    let request = Frame::request(frame.code, member.encoding).with_fields(&header);
    Ok(hand_on(member, request, frame))
}

/// Has a consumer consume a stored message now (309).
pub fn consume_directly(broker: &Broker, frame: &Frame) -> Result<Outcome, Refusal> {
    let mut header: ConsumeDirectlyRequest<'_> = frame.fields()?;
    let member = member(broker, &header.consumer_group, header.client_id.as_deref().unwrap_or_default())?;
    let id = header.msg_id.as_deref().unwrap_or_default();
    let (_, offset) =
        id::parse_offset_id(id).map_err(|error| Refusal::invalid(format!("message id '{id}': {error}")))?;
    let record = broker.store.record_at(offset)?;
    header.broker_name = Some(Cow::Borrowed(&broker.config.name));
    let request = Frame::request(frame.code, member.encoding).with_fields(&header).with_body(record);
    Ok(hand_on(member, request, frame))
}

fn hand_on(member: Member, request: Frame, asked: &Frame) -> Outcome {
    let answer = asked.answer(response::SUCCESS);
    let peer = Arc::clone(&member.peer);
    Outcome::later(async move {
        match peer.call(request, DEADLINE).await {
            Ok(told) => Frame { code: told.code, remark: told.remark, ..answer }.with_body(told.body),
            Err(error) => answer
                .refuse(response::SYSTEM_ERROR, format!("consumer '{}' did not answer: {error}", member.client_id)),
        }
    })
}
