//! What this consumer tells whoever asks its broker for it (307).

use orbitmq_common::protocol::body::group::MessageQueue;
use orbitmq_common::protocol::body::running::{HeldQueue, RunningInfo};

use crate::core::Core;
use crate::heartbeat::subscription;
use crate::queue::Assigned;

/// The queues that it holds, and how far each is.
pub(crate) fn info(core: &Core) -> RunningInfo {
    let properties = [
        ("PROP_NAMESERVER_ADDR", core.config.nameservers.join(";")),
        ("PROP_CONSUME_TYPE", "CONSUME_PASSIVELY".to_owned()),
        ("PROP_CONSUMEORDERLY", core.is_ordered().to_string()),
        ("PROP_CLIENT_VERSION", concat!("OrbitMQ ", env!("CARGO_PKG_VERSION")).to_owned()),
        ("PROP_CONSUMER_START_TIMESTAMP", core.version.to_string()),
        ("PROP_THREADPOOL_CORE_SIZE", core.config.concurrency.to_string()),
    ];
    RunningInfo {
        queues: core.held_queues().iter().map(|queue| held(queue)).collect(),
        pops: false,
        properties: properties.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        subscriptions: core.subscriptions.iter().map(|one| subscription(one, core.version)).collect(),
    }
}

fn held(queue: &Assigned) -> (MessageQueue, HeldQueue) {
    let (messages, bytes, _) = queue.load();
    let held = HeldQueue {
        commit_offset: queue.position().unwrap_or(-1),
        cached_msg_count: i64::try_from(messages).unwrap_or(i64::MAX),
        cached_msg_size_in_mib: i64::try_from(bytes >> 20).unwrap_or(i64::MAX),
        locked: queue.is_locked(),
        droped: queue.revoked.is_cancelled(),
        ..HeldQueue::default()
    };
    (queue.queue.of_topic(&queue.topic), held)
}
