//! The task that reads what topics have to remember, while this broker is master.

use std::sync::Arc;
use std::time::{Duration, Instant};

use orbitmq_common::clock::now_ms;
use orbitmq_common::protocol::body::dedup::Dedup;
use tokio_util::task::TaskTracker;

use crate::broker::Broker;
use crate::duplicates::read;

/// Time between two looks for what is too old in topics that nobody sends to.
const EXPIRE: Duration = Duration::from_secs(10);

/// Starts the task; it ends with the broker.
pub fn start(broker: &Arc<Broker>, tasks: &TaskTracker) {
    let broker = Arc::clone(broker);
    tasks.spawn(async move {
        tokio::select! {
            () = run(&broker) => {}
            () = broker.stop.cancelled() => {}
        }
    });
}

async fn run(broker: &Arc<Broker>) {
    let mut changes = broker.topics.changes();
    loop {
        changes.mark_unchanged();
        broker.duplicates.heed(&broker.topics);
        read(broker).await;
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(EXPIRE) => broker.duplicates.expire(now_ms()),
        }
    }
}

/// Reads what is unread. Nothing is appended to such a topic meanwhile, so all that counts lies before the log's end of now.
async fn read(broker: &Arc<Broker>) {
    let unread = broker.duplicates.unread();
    if unread.is_empty() {
        return;
    }
    broker.store.nudge();
    broker.store.built(broker.store.end()).await;
    let working = Arc::clone(broker);
    let done = tokio::task::spawn_blocking(move || {
        let began = Instant::now();
        let topics: Vec<(String, Dedup)> =
            unread.iter().filter_map(|(topic, memory)| Some((topic.clone(), memory.wanted()?))).collect();
        let mut windows = read::windows(&working.store, &topics, now_ms());
        for (topic, memory) in unread {
            let Some(window) = windows.remove(&topic) else { continue };
            tracing::info!(topic, known = window.count(), took = ?began.elapsed(), "messages sent again to this topic are dropped");
            memory.fill(window);
        }
    });
    if let Err(error) = done.await {
        tracing::error!(%error, "what topics have to remember could not be read; until it is, they take no messages");
    }
    broker.duplicates.settle();
}
