//! Stores how far each queue is done: at its broker's master, at a slave while there is no master, or in a file of a
//! broadcasting group.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use orbitmq_common::net::peer::CallError;
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::header::offset::UpdateOffsetRequest;
use tokio::task::JoinSet;

use crate::broadcast::LocalOffsets;
use crate::core::Core;
use crate::queue::{Assigned, Commit};

/// The keeper of a broadcasting group's offsets.
const HERE: &str = "here";

/// Stores offsets on a timer. A broker that hangs holds up its own queues only.
pub(crate) async fn run(core: Arc<Core>) {
    loop {
        tokio::time::sleep(core.config.commit).await;
        if let Some(local) = &core.local {
            keep(local, &core.held_queues());
            local.save().await;
            continue;
        }
        for queue in core.held_queues() {
            let changed = core.keeper(&queue).is_some_and(|keeper| queue.to_commit(&keeper).is_some());
            if changed && !queue.committing.swap(true, Ordering::AcqRel) {
                let core = Arc::clone(&core);
                core.tasks.clone().spawn(async move {
                    try_to_store(&core, &queue).await;
                    queue.committing.store(false, Ordering::Release);
                });
            }
        }
    }
}

/// Stores the offsets of some queues now, where they have changed.
pub(crate) async fn commit(core: &Arc<Core>, queues: &[Arc<Assigned>]) {
    if let Some(local) = &core.local {
        keep(local, queues);
        return local.save().await;
    }
    let mut tasks = JoinSet::new();
    for queue in queues {
        let (core, queue) = (Arc::clone(core), Arc::clone(queue));
        tasks.spawn(async move { try_to_store(&core, &queue).await });
    }
    while tasks.join_next().await.is_some() {}
}

fn keep(local: &LocalOffsets, queues: &[Arc<Assigned>]) {
    for queue in queues {
        if let Some(commit) = queue.to_commit(HERE) {
            local.set(&queue.topic, &queue.queue, commit.offset);
            queue.committed(commit, HERE);
        }
    }
}

/// One whose broker does not answer is tried again next time.
async fn try_to_store(core: &Core, queue: &Assigned) {
    let Some(keeper) = core.keeper(queue) else { return };
    let Some(commit) = queue.to_commit(&keeper) else { return };
    if let Err(cause) = store(core, queue, commit, &keeper).await {
        core.finder.stale(&queue.topic);
        tracing::debug!(topic = %queue.topic, id = queue.queue.id, commit.offset, cause, "offset not stored");
    }
}

/// Stores an offset of a queue at the broker at `keeper`.
///
/// # Errors
/// It did not say that it has.
pub(crate) async fn store(core: &Core, queue: &Assigned, commit: Commit, keeper: &str) -> Result<(), String> {
    let text = |error: CallError| error.to_string();
    let link = core.link(keeper).await.map_err(text)?;
    let fields = UpdateOffsetRequest {
        consumer_group: core.config.group.as_str().into(),
        topic: queue.topic.as_ref().into(),
        queue_id: queue.queue.id,
        commit_offset: commit.offset,
    };
    let request = link.request(request::UPDATE_CONSUMER_OFFSET).with_fields(&fields);
    let answer = link.call(request, core.config.call_timeout).await.map_err(text)?;
    if answer.code != response::SUCCESS {
        return Err(format!("code {}: {}", answer.code, answer.remark.unwrap_or_default()));
    }
    queue.committed(commit, keeper);
    Ok(())
}
