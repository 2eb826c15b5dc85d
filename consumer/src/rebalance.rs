//! Shares queues with the other members of the group: asks who is there, computes who has what, takes and releases.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use orbitmq_common::net::client::Link;
use orbitmq_common::protocol::body::group::ConsumerIds;
use orbitmq_common::protocol::body::route::MASTER_ID;
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::header::group::ConsumerGroupRequest;
use orbitmq_common::protocol::relaxed;
use orbitmq_common::route::error::RouteError;
use orbitmq_common::route::table::{Broker, Queue, Route};
use tokio::task::JoinSet;

use crate::commit;
use crate::core::Core;
use crate::deliver::is_retry;
use crate::error::ConsumeError;
use crate::fetch;
use crate::locks;
use crate::modes::Fetch;
use crate::pop::assignment::{self, Plan};
use crate::queue::{Assigned, LOCK_LASTS, Order};

/// A topic that cannot be shared out yet is looked at again so soon.
const AGAIN: Duration = Duration::from_secs(1);
/// Failures in a row after which a person is told.
const FAILURES_TOLD: u32 = 3;
const COMMIT_WITHIN: Duration = Duration::from_secs(2);

/// Checks the sharing on a timer, on notice, and when a route changed.
pub(crate) async fn run(core: Arc<Core>) {
    let mut changes = core.finder.changes();
    loop {
        let settled = share_all(&core).await;
        let pause = if settled { core.config.rebalance } else { AGAIN.min(core.config.rebalance) };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = core.rebalance.notified() => {}
            changed = changes.changed() => if changed.is_err() { return },
        }
    }
}

/// Shares all topics; false: one could not be.
async fn share_all(core: &Arc<Core>) -> bool {
    let mut settled = true;
    for subscription in &core.subscriptions {
        let topic = &subscription.topic;
        if let Some(of) = &subscription.given_back_of {
            // Most groups never gave anything back while they popped; who pops has it from there.
            let is_popped = core.lanes.lock().keys().any(|(topic, ..)| topic == of);
            if is_popped || core.finder.table().get(topic).is_none() {
                apply(core, topic, BTreeSet::new());
                drop(core.finder.find(topic).await);
                continue;
            }
        }
        let Err(error) = share(core, topic).await else {
            core.troubles.over(topic, None);
            continue;
        };
        settled = false;
        tracing::debug!(%topic, %error, "the topic cannot be shared out now");
        // Brokers make a retry topic when they hear of its group; until then nothing can be in it.
        if is_retry(topic) && matches!(error, ConsumeError::Route(RouteError::NotFound { .. })) {
            continue;
        }
        let text = error.to_string();
        if core.troubles.failed(topic, None, error) == FAILURES_TOLD {
            tracing::warn!(%topic, error = text, "the topic's queues cannot be shared out; it is tried again and again");
        }
    }
    settled
}

#[tracing::instrument(level = "debug", skip(core))]
async fn share(core: &Arc<Core>, topic: &Arc<str>) -> Result<(), ConsumeError> {
    let route = core.finder.find(topic).await?;
    if core.config.fetch != Fetch::Pull && !core.is_broadcasting() && !is_retry(topic) {
        let (pull, pop) = match assignment::plan(core, topic, &route).await? {
            Plan::Pull => (true, Vec::new()),
            Plan::Pop(queues) => (false, queues),
        };
        if !pull {
            // What was pulled is stored first: pops begin where the group's offsets are.
            apply(core, topic, BTreeSet::new());
            if core.releasing.lock().iter().any(|(of, _)| of == topic) {
                return Err(ConsumeError::LettingGo { topic: topic.as_ref().to_owned() });
            }
        }
        assignment::apply(core, topic, &pop);
        if !pull {
            return Ok(());
        }
    }
    let own = if core.is_broadcasting() {
        route.readable.clone()
    } else {
        let members = members(core, &route).await?;
        if !members.contains(&core.client_id) {
            for broker in route.brokers() {
                broker.addresses.values().for_each(|address| core.tell_again(address));
            }
            let (topic, group) = (topic.as_ref().to_owned(), core.config.group.clone());
            return Err(ConsumeError::NotCounted { topic, group });
        }
        core.config.assign.assign(topic, &core.client_id, &members, &route.readable)
    };
    apply(core, topic, own.into_iter().collect());
    Ok(())
}

/// The group's members, sorted: all that any broker of the topic knows. One that just started knows only some of them, and
/// believing it alone would have queues taken twice.
async fn members(core: &Arc<Core>, route: &Route) -> Result<Vec<String>, ConsumeError> {
    let mut tasks = JoinSet::new();
    for broker in route.brokers() {
        let (core, broker) = (Arc::clone(core), broker.clone());
        tasks.spawn(async move { members_of(&core, &broker).await });
    }
    let mut members: Option<BTreeSet<String>> = None;
    let mut causes = Vec::new();
    while let Some(answer) = tasks.join_next().await {
        match answer {
            Ok(Ok(some)) => members.get_or_insert_default().extend(some),
            Ok(Err(cause)) => causes.push(cause),
            Err(error) => causes.push(error.to_string()),
        }
    }
    if !causes.is_empty() {
        core.finder.stale(&route.topic);
    }
    let members = members.ok_or_else(|| ConsumeError::NoMembers {
        topic: route.topic.clone(),
        group: core.config.group.clone(),
        cause: if causes.is_empty() { "its route names no broker".to_owned() } else { causes.join("; ") },
    })?;
    Ok(members.into_iter().collect())
}

/// What any reachable member of a broker group says: consumers tell slaves too that they are there.
async fn members_of(core: &Core, broker: &Broker) -> Result<Vec<String>, String> {
    let mut causes = Vec::new();
    let first = core.reach.reader(broker, MASTER_ID);
    let others = broker.readers(MASTER_ID).filter(|address| Some(*address) != first);
    for address in first.into_iter().chain(others) {
        match members_at(core, address).await {
            Ok(members) => return Ok(members),
            Err(cause) => causes.push(format!("{address}: {cause}")),
        }
    }
    Err(causes.join("; "))
}

async fn members_at(core: &Core, address: &str) -> Result<Vec<String>, String> {
    let fields = ConsumerGroupRequest { consumer_group: core.config.group.as_str().into() };
    let question = |link: &Link| link.request(request::GET_CONSUMER_LIST_BY_GROUP).with_fields(&fields);
    let answer = core.ask(address, question, core.config.call_timeout).await.map_err(|error| error.to_string())?;
    if answer.code != response::SUCCESS {
        core.tell_again(address);
        return Err(format!("code {}: {}", answer.code, answer.remark.unwrap_or_default()));
    }
    let body: ConsumerIds = relaxed::parse(&answer.body).map_err(|error| error.to_string())?;
    Ok(body.consumer_id_list)
}

/// Releases what is no longer ours and takes what is new.
fn apply(core: &Arc<Core>, topic: &Arc<str>, own: BTreeSet<Queue>) {
    if core.closing.is_cancelled() {
        return;
    }
    let order = if core.is_ordered() { Order::OneByOne } else { Order::Free };
    let figures = core.figures.of(topic);
    let mut lost = Vec::new();
    let mut gained = Vec::new();
    {
        let mut queues = core.queues.lock();
        let mut releasing = core.releasing.lock();
        queues.retain(|(of, queue), assigned| {
            let keep = of != topic || own.contains(queue);
            if !keep {
                releasing.insert((Arc::clone(of), queue.clone()));
                lost.push(Arc::clone(assigned));
            }
            keep
        });
        for queue in own {
            if releasing.contains(&(Arc::clone(topic), queue.clone())) {
                continue;
            }
            queues.entry((Arc::clone(topic), queue.clone())).or_insert_with(|| {
                let revoked = core.closing.child_token();
                let assigned = Arc::new(Assigned::new(Arc::clone(topic), queue, order, revoked, Arc::clone(&figures)));
                gained.push(Arc::clone(&assigned));
                assigned
            });
        }
    }
    if !lost.is_empty() || !gained.is_empty() {
        tracing::info!(topic = %topic, group = core.config.group, lost = lost.len(), gained = gained.len(), "queues shared anew");
    }
    for queue in lost {
        queue.revoked.cancel();
        core.tasks.spawn(release(Arc::clone(core), queue));
    }
    if core.is_ordered() && !gained.is_empty() {
        core.tasks.spawn(locks::lock(Arc::clone(core), gained.clone()));
    }
    for queue in gained {
        core.tasks.spawn(fetch::run(Arc::clone(core), queue));
    }
}

/// Stores where a queue stands and lets it go; an ordered one once its delivery in hand is settled.
async fn release(core: Arc<Core>, queue: Arc<Assigned>) {
    if queue.order == Order::OneByOne {
        let settled = async {
            loop {
                let settled = core.settled.notified();
                tokio::pin!(settled);
                settled.as_mut().enable();
                if queue.in_hand() == 0 {
                    return;
                }
                settled.await;
            }
        };
        if tokio::time::timeout(LOCK_LASTS, settled).await.is_err() {
            tracing::warn!(topic = %queue.topic, id = queue.queue.id, "a delivery takes longer than its queue may be kept");
        }
    }
    // The next owner stores offsets of its own: ours must not come late.
    drop(tokio::time::timeout(COMMIT_WITHIN, commit::commit(&core, std::slice::from_ref(&queue))).await);
    let key = (Arc::clone(&queue.topic), queue.queue.clone());
    if let Some(unstored) = queue.unstored() {
        core.unstored.lock().insert(key.clone(), unstored);
    }
    core.freed(queue.reset(0));
    if queue.order == Order::OneByOne {
        locks::unlock(&core, std::slice::from_ref(&queue)).await;
    }
    core.releasing.lock().remove(&key);
    // It may be ours again by now.
    core.rebalance.notify_one();
}
