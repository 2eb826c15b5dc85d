//! UPDATE_AND_GET_GROUP_FORBIDDEN (353): keeps a group from reading a topic, or tells whether it is kept from it.

use std::sync::Arc;

use orbitmq_common::name;
use orbitmq_common::net::connection::Outcome;
use orbitmq_common::protocol::body::examine::GroupForbidden;
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::examine::ForbiddenRequest;

use crate::broker::Broker;
use crate::handler::admin::topic::synced_with;
use crate::refusal::Refusal;

/// Handles the request; a change is answered once it survives a power cut.
pub fn call(broker: &Arc<Broker>, frame: &Frame) -> Result<Outcome, Refusal> {
    let header: ForbiddenRequest<'_> = frame.fields()?;
    let (group, topic) = (header.group.as_ref(), header.topic.as_ref());
    name::check_group(group)?;
    name::check_topic(topic)?;
    if let Some(readable) = header.readable {
        broker.forbidden.set(group, topic, !readable);
        tracing::info!(group, topic, readable, "reading set");
    }
    let readable = !broker.forbidden.holds(group, topic);
    let body = GroupForbidden { group: group.to_owned(), readable, topic: topic.to_owned() };
    let answer = frame.answer(response::SUCCESS).with_json(&body);
    Ok(if header.readable.is_some() { synced_with(broker, answer) } else { Outcome::Answer(answer) })
}
