//! Deleting a topic: its queues go, its records stay in the log until retention and are passed over.

use std::sync::Arc;

use crate::store::keeper;
use crate::store::open;
use crate::store::queue::Queue;
use crate::store::queue_files;
use crate::store::queues::is_storable;
use crate::store::shared::Shared;

/// Forgets all of a topic's queues. Returns the log offset up to which its records are gone.
pub fn delete(shared: &Shared, topic: &str) -> u64 {
    let _chores = shared.chores.lock();
    let (upto, queues) = shared.builder.cut(|_| {
        let upto = shared.log.end();
        shared.derived.deleted.write().insert(topic.to_owned(), upto);
        (upto, shared.derived.queues.remove(topic))
    });
    remove_files(shared, topic, queues);
    upto
}

/// Forgets what a topic has before a log offset, which need not have been reached yet.
pub fn forget(shared: &Shared, topic: &str, upto: u64) {
    let _chores = shared.chores.lock();
    let queues = shared.builder.cut(|_| {
        let mut deleted = shared.derived.deleted.write();
        if deleted.get(topic).is_some_and(|known| *known >= upto) {
            return None;
        }
        deleted.insert(topic.to_owned(), upto);
        drop(deleted);
        // Queues that were made anew behind that offset have lost their old entries already.
        let gone = shared.derived.queues.of(topic).iter().all(|queue| queue.is_before(upto));
        Some(if gone { shared.derived.queues.remove(topic) } else { Vec::new() })
    });
    if let Some(queues) = queues {
        remove_files(shared, topic, queues);
    }
}

/// Removes the files of queues that are gone, and notes it on disk. The chores are held by the caller.
fn remove_files(shared: &Shared, topic: &str, queues: Vec<Arc<Queue>>) {
    for queue in queues {
        shared.derived.files.forget(queue.uid());
        let removed = queue_files::remove_outside(&*shared.options.io, queue.dir(), 0, 0)
            .and_then(|_| std::fs::remove_dir(queue.dir()));
        if let Err(error) = removed.or_else(open::ignore_missing) {
            tracing::warn!(topic, queue = queue.id(), %error, "files of a deleted queue stay behind");
        }
        queue.news().notify_waiters();
    }
    if is_storable(topic) {
        // Fails where something foreign lies in it.
        let _ = std::fs::remove_dir(shared.derived.queues.dir().join(topic));
    }
    if let Err(error) = keeper::make_checkpoint(shared) {
        tracing::warn!(topic, %error, "the deletion is not noted on disk yet; the next checkpoint does it");
    }
}
