//! Whether a group pulls or pops a topic, and what a member pops: the brokers know.

use std::collections::BTreeMap;
use std::sync::Arc;

use orbitmq_common::net::client::Link;
use orbitmq_common::protocol::body::group::MessageQueue;
use orbitmq_common::protocol::body::heartbeat::MessageModel;
use orbitmq_common::protocol::body::pop::{AssignmentRequest, AssignmentResponse, RequestMode};
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::relaxed;
use orbitmq_common::route::table::Route;

use crate::core::Core;
use crate::error::ConsumeError;
use crate::modes::Fetch;
use crate::pop::fetch;
use crate::pop::lane::Lane;

/// Names a lane: topic, broker, queue.
pub(crate) type LaneKey = (Arc<str>, Arc<str>, i32);

/// How a topic is consumed.
pub(crate) enum Plan {
    /// Queues are pulled that the members share among themselves.
    Pull,
    /// These queues are popped; -1: all of a broker's.
    Pop(Vec<MessageQueue>),
}

/// Asks how a topic is consumed.
///
/// # Errors
/// No broker tells it now: what is there stays as it is.
pub(crate) async fn plan(core: &Core, topic: &Arc<str>, route: &Route) -> Result<Plan, ConsumeError> {
    let body = AssignmentRequest {
        client_id: core.client_id.clone(),
        consumer_group: core.config.group.clone(),
        message_model: MessageModel::Clustering,
        strategy_name: Some("AVG".to_owned()),
        topic: topic.as_ref().to_owned(),
    };
    let mut causes = Vec::new();
    for broker in route.brokers() {
        let Some(address) = broker.master() else { continue };
        match ask(core, address, &body).await {
            Ok(Some(assigned)) => return Ok(decide(core, route, topic, assigned)),
            Ok(None) => causes.push(format!("{address} does not know this member yet")),
            Err(Refused::Unknown) if core.config.fetch == Fetch::ByGroup => return Ok(Plan::Pull),
            Err(Refused::Unknown) => causes.push(format!("{address} does not pop: it is of a release before 5.0")),
            Err(Refused::Other(cause)) => causes.push(format!("{address}: {cause}")),
        }
    }
    let (topic, group, cause) = (topic.as_ref().to_owned(), core.config.group.clone(), causes.join("; "));
    Err(ConsumeError::NoMode { topic, group, cause })
}

enum Refused {
    Unknown,
    Other(String),
}

/// The queues with their mode; none: the broker leaves everything as it is.
async fn ask(core: &Core, address: &str, body: &AssignmentRequest) -> Result<Option<AssignmentResponse>, Refused> {
    let question = |link: &Link| link.request(request::QUERY_ASSIGNMENT).with_json(body);
    let answer = core.ask(address, question, core.config.call_timeout).await;
    let answer = answer.map_err(|error| Refused::Other(error.to_string()))?;
    match answer.code {
        response::SUCCESS => {
            let told = relaxed::parse(&answer.body).map_err(|error| Refused::Other(error.to_string()))?;
            Ok(Some(told).filter(|told: &AssignmentResponse| told.message_queue_assignments.is_some()))
        }
        response::REQUEST_CODE_NOT_SUPPORTED => Err(Refused::Unknown),
        code => Err(Refused::Other(format!("code {code}: {}", answer.remark.unwrap_or_default()))),
    }
}

fn decide(core: &Core, route: &Route, topic: &Arc<str>, told: AssignmentResponse) -> Plan {
    let assigned = told.message_queue_assignments.unwrap_or_default();
    let pops = assigned.iter().any(|one| one.mode == RequestMode::Pop);
    if pops {
        let queues = assigned.into_iter().filter(|one| one.mode == RequestMode::Pop);
        return Plan::Pop(queues.map(|one| one.message_queue).collect());
    }
    match core.config.fetch {
        Fetch::Pull | Fetch::ByGroup => Plan::Pull,
        Fetch::Pop => {
            let brokers = route.brokers().iter();
            let readable = brokers.filter(|broker| route.readable.iter().any(|queue| queue.broker == broker.name));
            let whole = |name: &Arc<str>| MessageQueue {
                broker_name: name.as_ref().to_owned(),
                queue_id: -1,
                topic: topic.as_ref().to_owned(),
            };
            Plan::Pop(readable.map(|broker| whole(&broker.name)).collect())
        }
    }
}

/// Lets go of lanes that are no longer ours and takes what is new.
pub(crate) fn apply(core: &Arc<Core>, topic: &Arc<str>, queues: &[MessageQueue]) {
    if core.closing.is_cancelled() {
        return;
    }
    let key = |queue: &MessageQueue| (Arc::clone(topic), Arc::from(queue.broker_name.as_str()), queue.queue_id);
    let mut own: BTreeMap<LaneKey, ()> = queues.iter().map(|queue| (key(queue), ())).collect();
    let mut gained = Vec::new();
    let mut lost = 0;
    {
        let mut lanes = core.lanes.lock();
        lanes.retain(|key, lane| {
            let keep = key.0 != *topic || own.remove(key).is_some();
            if !keep {
                lane.revoked.cancel();
                lost += 1;
            }
            keep
        });
        for (key, ()) in own {
            let (topic, broker, queue) = key.clone();
            let (revoked, figures) = (core.closing.child_token(), core.figures.of(&topic));
            let lane = Arc::new(Lane::new(topic, broker, queue, revoked, figures));
            gained.push(Arc::clone(&lane));
            lanes.insert(key, lane);
        }
    }
    if lost > 0 || !gained.is_empty() {
        tracing::info!(topic = %topic, group = core.config.group, lost, gained = gained.len(), "popped queues changed");
    }
    for lane in gained {
        // Not among the tasks that closing waits for: a pop may be held for long.
        tokio::spawn(fetch::run(Arc::clone(core), lane));
    }
}
