//! QUERY_ASSIGNMENT (400): which queues of a topic a member reads, and how; SET_MESSAGE_REQUEST_MODE (401): how; all of that (402).

use std::sync::Arc;

use orbitmq_common::name;
use orbitmq_common::net::connection::Outcome;
use orbitmq_common::protocol::body::group::MessageQueue;
use orbitmq_common::protocol::body::heartbeat::MessageModel;
use orbitmq_common::protocol::body::pop::{
    Assignment, AssignmentRequest, AssignmentResponse, RequestMode, RequestModeBody,
};
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::relaxed;

use crate::broker::Broker;
use crate::refusal::Refusal;
use crate::replica::metadata::settle;

/// QUERY_ASSIGNMENT (400). An answer without a list means: keep what you have.
pub fn query(broker: &Arc<Broker>, frame: &Frame) -> Result<Outcome, Refusal> {
    let asked: AssignmentRequest = relaxed::parse(&frame.body)?;
    let (broker, answer) = (Arc::clone(broker), frame.answer(response::SUCCESS));
    Ok(Outcome::later(async move {
        let list = match broker.pop.routes.queues(&broker, &asked.topic).await {
            Some(queues) => assign(&broker, &asked, queues),
            None => None,
        };
        answer.with_json(&AssignmentResponse { message_queue_assignments: list })
    }))
}

fn assign(broker: &Broker, asked: &AssignmentRequest, queues: Vec<MessageQueue>) -> Option<Vec<Assignment>> {
    let set = broker.request_modes.get(&asked.topic, &asked.consumer_group).unwrap_or_default();
    let queues = if asked.message_model == MessageModel::Broadcasting {
        queues
    } else {
        let members = broker.members.consumer_ids(&asked.consumer_group);
        // Its heartbeat is on the way.
        if members.is_empty() {
            return None;
        }
        let strategy = Strategy::named(asked.strategy_name.as_deref())?;
        match set.mode {
            RequestMode::Pull => strategy.share(&queues, &members, &asked.client_id),
            RequestMode::Pop => share_to_pop(strategy, &queues, &members, &asked.client_id, set.pop_share_queue_num),
        }
    };
    Some(queues.into_iter().map(|message_queue| Assignment { message_queue, mode: set.mode }).collect())
}

/// How queues are shared out among members, in the order of both.
#[derive(Debug, Clone, Copy)]
enum Strategy {
    /// Each member gets a stretch.
    Average,
    /// Queue by queue, round and round.
    Circle,
}

impl Strategy {
    fn named(name: Option<&str>) -> Option<Self> {
        match name {
            Some("AVG") | None => Some(Self::Average),
            Some("AVG_BY_CIRCLE") => Some(Self::Circle),
            Some(_) => None,
        }
    }

    fn share(self, queues: &[MessageQueue], members: &[String], member: &str) -> Vec<MessageQueue> {
        let Some(index) = members.iter().position(|other| other == member) else { return Vec::new() };
        let (count, all) = (members.len(), queues.len());
        match self {
            Self::Circle => queues.iter().skip(index).step_by(count).cloned().collect(),
            Self::Average => {
                let (each, more) = (all / count, all % count);
                let begin = index * each + index.min(more);
                queues.iter().skip(begin).take(each + usize::from(index < more)).cloned().collect()
            }
        }
    }
}

/// Members that pop share queues: all of them, each broker's as one; or each member has the queues of some others beside its own.
fn share_to_pop(
    strategy: Strategy,
    queues: &[MessageQueue],
    members: &[String],
    member: &str,
    others: i32,
) -> Vec<MessageQueue> {
    let others = usize::try_from(others).unwrap_or(0);
    if others == 0 || others + 1 >= members.len() {
        let mut brokers: Vec<MessageQueue> =
            queues.iter().map(|queue| MessageQueue { queue_id: -1, ..queue.clone() }).collect();
        brokers.dedup();
        return brokers;
    }
    let Some(index) = members.iter().position(|other| other == member) else { return Vec::new() };
    if members.len() > queues.len() {
        return queues.iter().cycle().nth(index).cloned().into_iter().collect();
    }
    let sharers = members.iter().cycle().skip(index).take(others + 1);
    sharers.flat_map(|sharer| strategy.share(queues, members, sharer)).collect()
}

/// SET_MESSAGE_REQUEST_MODE (401). Answers once it survives a power cut.
pub fn set(broker: &Arc<Broker>, frame: &Frame) -> Result<Outcome, Refusal> {
    let mode: RequestModeBody = relaxed::parse(&frame.body)?;
    let (topic, group) = (mode.topic.as_str(), mode.consumer_group.as_str());
    if topic.starts_with(name::RETRY_PREFIX) {
        let remark = format!("'{topic}' is a retry topic: it is always pulled; set the mode of the topic itself");
        return Err(Refusal::new(response::NO_PERMISSION, remark));
    }
    if broker.topics.get(topic).is_none() {
        return Err(broker.no_topic(topic, "create it first"));
    }
    name::check_group(group)?;
    if broker.groups.find_or_create(group, broker.tuned.auto_create_groups()).is_none() {
        return Err(broker.no_group(group, "setting its mode"));
    }
    tracing::info!(topic, group, mode = ?mode.mode, share = mode.pop_share_queue_num, "request mode set");
    broker.request_modes.put(mode);
    let (broker, answer) = (Arc::clone(broker), frame.answer(response::SUCCESS));
    Ok(Outcome::later(async move {
        match settle::synced(&broker).await {
            Ok(()) => answer,
            Err(error) => Refusal::from(error).answer(&answer),
        }
    }))
}

/// GET_ALL_MESSAGE_REQUEST_MODE (402).
pub fn all(broker: &Broker, frame: &Frame) -> Frame {
    frame.answer(response::SUCCESS).with_json(&broker.request_modes.snapshot())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queues() -> Vec<MessageQueue> {
        let queue = |broker: &str, queue_id| MessageQueue { broker_name: broker.into(), queue_id, topic: "T".into() };
        (0..3).map(|id| queue("a", id)).chain((0..2).map(|id| queue("b", id))).collect()
    }

    fn ids(queues: &[MessageQueue]) -> Vec<String> {
        queues.iter().map(|queue| format!("{}{}", queue.broker_name, queue.queue_id)).collect()
    }

    #[test]
    fn queues_are_shared_out_as_rocketmq_does() {
        let (queues, members) = (queues(), ["x", "y", "z"].map(str::to_owned));
        let share = |strategy: Strategy, member| ids(&strategy.share(&queues, &members, member));
        assert_eq!(share(Strategy::Average, "x"), ["a0", "a1"]);
        assert_eq!(share(Strategy::Average, "y"), ["a2", "b0"]);
        assert_eq!(share(Strategy::Average, "z"), ["b1"]);
        assert_eq!(share(Strategy::Circle, "y"), ["a1", "b1"]);
        assert!(share(Strategy::Average, "stranger").is_empty());
        let pop = |others, member| ids(&share_to_pop(Strategy::Average, &queues, &members, member, others));
        assert_eq!(pop(0, "x"), ["a-1", "b-1"]);
        assert_eq!(pop(8, "stranger"), ["a-1", "b-1"]);
        assert_eq!(pop(1, "z"), ["b1", "a0", "a1"]);
        let many = ["1", "2", "3", "4", "5", "6", "7"].map(str::to_owned);
        assert_eq!(ids(&share_to_pop(Strategy::Average, &queues, &many, "7", 1)), ["a1"]);
    }
}
