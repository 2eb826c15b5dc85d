//! What all requests of popping have in common: their checks, the queues they are about, and waiting for messages there.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::select_all;
use orbitmq_common::clock::now_ms;
use orbitmq_common::name;
use orbitmq_common::protocol::code::response;
use tokio::time::Instant;

use crate::broker::Broker;
use crate::causes::absent::no_queue;
use crate::causes::closed::{self, Access};
use crate::handler::offset::first_is_recent;
use crate::pop::hall::Hall;
use crate::refusal::Refusal;

/// Longest time a request is held.
pub const MAX_HOLD: Duration = Duration::from_secs(300);
/// What no bell tells (an administrator's reset, a new retry topic, more queues) is looked for so often.
const LOOK: Duration = Duration::from_secs(1);
/// How long a request waits for a broker that has just become master to read its notes.
const READY: Duration = Duration::from_secs(5);

/// Topic and group that a request is about, checked.
#[derive(Debug, Clone)]
pub struct Ground {
    /// The topic.
    pub topic: String,
    /// The group.
    pub group: String,
    /// The queue; `None`: any.
    pub queue: Option<u32>,
    /// Where a group without an offset begins: at the last message rather than at the first.
    pub from_last: bool,
}

/// A queue to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its topic, which may be a retry topic.
    pub topic: Arc<str>,
    /// Its number.
    pub queue: u32,
    /// Whether it is a retry topic.
    pub is_retry: bool,
}

/// What to wait for.
#[derive(Debug, Default)]
pub struct Watch {
    /// Queues, and the offset beyond which a message is news.
    pub queues: Vec<(Arc<str>, u32, i64)>,
    /// When a queue that is consumed in order is free again, ms since the epoch.
    pub free_at: Option<i64>,
}

/// Checks in the order of RocketMQ's broker, so that clients see the codes they know. Only a master pops.
///
/// # Errors
/// Topic, queue or group are not there or closed.
pub fn check(broker: &Broker, topic: &str, group: &str, queue_id: i32) -> Result<Ground, Refusal> {
    if !broker.role.is_master() {
        return Err(broker.not_master());
    }
    broker.tells_offsets()?;
    let Some(config) = broker.topics.get(topic) else {
        return Err(broker.no_topic(topic, "create it with 'orbitmq topic create' or updateTopic, or send to it"));
    };
    closed::topic(&config, Access::Read)?;
    if queue_id >= config.read_queue_nums {
        return Err(Refusal::invalid(no_queue(&config, queue_id, config.read_queue_nums, "to read")));
    }
    name::check_group(group)?;
    let Some(settings) = broker.groups.find_or_create(group, broker.tuned.auto_create_groups()) else {
        return Err(broker.no_group(group, "popping"));
    };
    closed::broker(broker.tuned.permission())?;
    if broker.forbidden.holds(group, topic) {
        return Err(closed::forbidden(group, topic));
    }
    if !settings.consume_enable {
        return Err(closed::stopped(group));
    }
    let queue = u32::try_from(queue_id).ok();
    Ok(Ground { topic: topic.to_owned(), group: group.to_owned(), queue, from_last: false })
}

impl Ground {
    /// The topic's queues, beginning anywhere, so that none is preferred.
    pub fn sources(&self, broker: &Broker) -> Vec<Source> {
        let topic: Arc<str> = self.topic.as_str().into();
        if let Some(queue) = self.queue {
            return vec![Source { topic, queue, is_retry: false }];
        }
        let count = broker.topics.get(&self.topic).map_or(0, |config| config.read_queue_nums);
        let count = u32::try_from(count).unwrap_or(0);
        let first = fastrand::u32(0..count.max(1));
        let turned = (0..count).map(|n| (first + n) % count);
        turned.map(|queue| Source { topic: Arc::clone(&topic), queue, is_retry: false }).collect()
    }

    /// Queues of the retry topics of both forms; queue 0 of one that is not there yet.
    pub fn retry_sources(&self, broker: &Broker) -> Vec<Source> {
        let topics =
            [name::pop_retry_topic(&self.group, &self.topic), name::pop_retry_topic_v2(&self.group, &self.topic)];
        let mut sources = Vec::with_capacity(2);
        for topic in topics {
            let count = broker.topics.get(&topic).map_or(1, |config| config.read_queue_nums.max(1));
            let topic: Arc<str> = topic.into();
            let queues = 0..u32::try_from(count).unwrap_or(1);
            sources.extend(queues.map(|queue| Source { topic: Arc::clone(&topic), queue, is_retry: true }));
        }
        sources
    }

    /// Where a group begins that has no offset yet.
    pub fn init(&self, broker: &Broker, source: &Source) -> i64 {
        let (topic, queue) = (&*source.topic, source.queue);
        let min = broker.store.min_offset(topic, queue);
        if source.is_retry || !self.from_last {
            return min;
        }
        let max = broker.store.max_offset(topic, queue);
        // As with pulling: a young topic is read from its beginning.
        let is_young = min == 0 && max > 0 && first_is_recent(broker, topic, queue);
        if is_young { 0 } else { (max - 1).max(0) }
    }

    /// How many messages wait in a queue.
    pub fn rest(&self, broker: &Broker, source: &Source) -> i64 {
        let (topic, queue) = (&*source.topic, source.queue);
        let at = broker.pop.look(&broker.offsets, topic, &self.group, queue, || self.init(broker, source));
        (broker.store.max_offset(topic, queue) - at).max(0)
    }
}

/// Waits until this broker, which is master, has read its notes.
///
/// # Errors
/// It takes too long.
pub async fn ready(broker: &Broker) -> Result<(), Refusal> {
    let waited = tokio::time::timeout(READY, broker.pop.ready()).await;
    waited.map_err(|_| {
        let remark = "this broker has just become master and reads what was popped before; try again";
        Refusal::new(response::SERVICE_NOT_AVAILABLE, remark)
    })
}

/// Waits for news of the queues, for a queue to be free again, or a moment. False: `end` has come, or the broker stops.
pub async fn news(broker: &Broker, hall: &Hall, watch: Watch, end: Instant) -> bool {
    let arrivals =
        watch.queues.into_iter().map(|(topic, queue, beyond)| broker.store.wait(&topic, queue, beyond).boxed());
    let arrivals: Vec<_> = arrivals.collect();
    let arrival = async {
        if arrivals.is_empty() {
            std::future::pending::<()>().await;
        } else {
            select_all(arrivals).await;
        }
    };
    let free = watch.free_at.map(|at| u64::try_from(at - now_ms()).unwrap_or(0));
    let look = free.map_or(LOOK, |ms| LOOK.min(Duration::from_millis(ms)));
    tokio::select! {
        () = arrival => true,
        () = hall.news.notified() => true,
        () = tokio::time::sleep(look) => Instant::now() < end,
        () = tokio::time::sleep_until(end) => false,
        () = broker.stop.cancelled() => false,
    }
}
