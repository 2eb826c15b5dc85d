//! Locks of ordered queues: asked of the broker's master, and of each new one, renewed while held, given back. Slaves lock
//! nothing: while there is no master, what was confirmed before lasts until its time is over.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use orbitmq_common::protocol::body::group::{LockRequest, LockResponse, MessageQueue};
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::relaxed;
use tokio::time::Instant;

use crate::core::Core;
use crate::queue::Assigned;

const RENEW: Duration = Duration::from_secs(20);
/// While some lock is somebody else's, it is asked for so often.
const LOOK: Duration = Duration::from_secs(1);

/// Renews all locks, and asks for those that are still somebody else's.
pub(crate) async fn run(core: Arc<Core>) {
    let mut renewed = Instant::now();
    let mut changes = core.finder.changes();
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            changed = changes.changed() => if changed.is_err() { return },
        }
        let queues = core.held_queues();
        if renewed.elapsed() >= RENEW || by_master(&core, &queues).iter().any(wants_lock) {
            lock(Arc::clone(&core), queues).await;
            renewed = Instant::now();
        }
    }
}

/// Whether a master has a queue that is somebody else's, or was locked at the master before.
fn wants_lock((address, queues): (&String, &Vec<Arc<Assigned>>)) -> bool {
    queues.iter().any(|queue| queue.wants_lock_of(address))
}

/// Asks for the locks of some queues; what the broker does not name is not ours.
pub(crate) async fn lock(core: Arc<Core>, queues: Vec<Arc<Assigned>>) {
    for (address, queues) in by_master(&core, &queues) {
        match ask(&core, &address, &queues).await {
            Ok(locked) => {
                for queue in queues {
                    queue.lock_is_ours(locked.contains(&queue.queue.of_topic(&queue.topic)), &address);
                    core.shelf.offer(&queue);
                }
            }
            // What was confirmed before lasts until its time is over.
            Err(cause) => tracing::debug!(address, cause, "locks could not be renewed"),
        }
    }
}

async fn ask(core: &Core, address: &str, queues: &[Arc<Assigned>]) -> Result<HashSet<MessageQueue>, String> {
    let link = core.link(address).await.map_err(|error| error.to_string())?;
    let question = link.request(request::LOCK_BATCH_MQ).with_json(&body(core, queues));
    let answer = link.call(question, core.config.call_timeout).await.map_err(|error| error.to_string())?;
    if answer.code != response::SUCCESS {
        return Err(format!("code {}: {}", answer.code, answer.remark.unwrap_or_default()));
    }
    let locked: LockResponse = relaxed::parse(&answer.body).map_err(|error| error.to_string())?;
    Ok(locked.locked.into_iter().collect())
}

/// Gives the locks of some queues back.
pub(crate) async fn unlock(core: &Core, queues: &[Arc<Assigned>]) {
    for (address, queues) in by_master(core, queues) {
        let Ok(link) = core.link(&address).await else { continue };
        let request = link.request(request::UNLOCK_BATCH_MQ).with_json(&body(core, &queues));
        if let Err(error) = link.call(request, core.config.call_timeout).await {
            tracing::debug!(address, %error, "locks could not be given back; they lapse in a minute");
        }
    }
}

fn body(core: &Core, queues: &[Arc<Assigned>]) -> LockRequest {
    LockRequest {
        client_id: core.client_id.clone(),
        consumer_group: core.config.group.clone(),
        mq_set: queues.iter().map(|queue| queue.queue.of_topic(&queue.topic)).collect(),
        only_this_broker: false,
    }
}

fn by_master(core: &Core, queues: &[Arc<Assigned>]) -> BTreeMap<String, Vec<Arc<Assigned>>> {
    let mut by_address: BTreeMap<String, Vec<Arc<Assigned>>> = BTreeMap::new();
    for queue in queues {
        let route = core.finder.table().get(&queue.topic);
        if let Some(address) = route.as_ref().and_then(|route| route.master(&queue.queue.broker)) {
            by_address.entry(address.to_owned()).or_default().push(Arc::clone(queue));
        }
    }
    by_address
}
