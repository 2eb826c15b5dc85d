//! INVOKE_BROKER_TO_GET_CONSUMER_STATUS (223): asks the connected members of a group how far each has come in a topic.

use std::sync::Arc;
use std::time::Duration;

use orbitmq_common::net::connection::Outcome;
use orbitmq_common::protocol::body::stats::{self, QueueTable};
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::examine::ConsumerStatusRequest;
use tokio::task::JoinSet;

use crate::broker::Broker;
use crate::members::ConsumerGroup;
use crate::members::member::Member;
use crate::refusal::Refusal;

/// How long a member may take to answer.
const DEADLINE: Duration = Duration::from_secs(5);

/// Handles the request. A member that does not answer is left out and logged.
pub fn call(broker: &Arc<Broker>, frame: &Frame) -> Result<Outcome, Refusal> {
    let header: ConsumerStatusRequest<'_> = frame.fields()?;
    let (topic, group) = (header.topic.as_ref(), header.group.as_ref());
    if broker.topics.get(topic).is_none() {
        return Err(broker.no_topic(topic, "topicList shows those there are"));
    }
    let wanted = header.client_addr.as_deref();
    let members: Vec<Member> = broker
        .members
        .consumer_group(group)
        .iter()
        .flat_map(ConsumerGroup::members)
        .filter(|member| wanted.is_none_or(|wanted| wanted == member.client_id))
        .cloned()
        .collect();
    if members.is_empty() {
        let nobody = || Refusal::new(response::CONSUMER_NOT_ONLINE, broker.nobody_of(group));
        return Err(wanted.map_or_else(nobody, |id| broker.not_connected(group, id)));
    }
    let question = ConsumerStatusRequest { client_addr: None, ..header.clone() };
    let mut asked = JoinSet::new();
    for member in members {
        let frame = Frame::request(request::GET_CONSUMER_STATUS_FROM_CLIENT, member.encoding).with_fields(&question);
        asked.spawn(ask(member, frame));
    }
    let answer = frame.answer(response::SUCCESS);
    Ok(Outcome::later(async move {
        let mut told: Vec<_> = asked.join_all().await.into_iter().flatten().collect();
        told.sort_unstable_by(|(client, _), (other, _)| client.cmp(other));
        answer.with_body(stats::consumer_status(&told))
    }))
}

async fn ask(member: Member, question: Frame) -> Option<(String, QueueTable<i64>)> {
    let answer = member.peer.call(question, DEADLINE).await.map_err(|error| error.to_string());
    let told = answer.and_then(|answer| stats::parse_client_status(&answer.body).map_err(|error| error.to_string()));
    match told {
        Ok(rows) => Some((member.client_id, rows)),
        Err(error) => {
            tracing::warn!(client = member.client_id, error, "a consumer does not tell how far it has come");
            None
        }
    }
}
