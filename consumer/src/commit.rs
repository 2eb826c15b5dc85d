//! Stores how far each queue is done: at its broker's master, or in a file of a broadcasting group.

use std::sync::Arc;

use orbitmq_common::net::peer::CallError;
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::header::offset::UpdateOffsetRequest;
use tokio::task::JoinSet;

use crate::core::Core;
use crate::queue::Assigned;

/// Stores offsets on a timer.
pub(crate) async fn run(core: Arc<Core>) {
    loop {
        tokio::time::sleep(core.config.commit).await;
        commit(&core, &core.held_queues()).await;
    }
}

/// Stores the offsets of some queues, where they have changed. One whose broker does not answer is tried again next time.
pub(crate) async fn commit(core: &Arc<Core>, queues: &[Arc<Assigned>]) {
    if let Some(local) = &core.local {
        for queue in queues {
            if let Some(offset) = queue.to_commit() {
                local.set(&queue.topic, &queue.queue, offset);
                queue.committed(offset);
            }
        }
        return local.save().await;
    }
    let mut tasks = JoinSet::new();
    for queue in queues {
        if let Some(offset) = queue.to_commit() {
            let (core, queue) = (Arc::clone(core), Arc::clone(queue));
            tasks.spawn(async move {
                if let Err(cause) = store(&core, &queue, offset).await {
                    tracing::debug!(topic = %queue.topic, id = queue.queue.id, offset, cause, "offset not stored");
                }
            });
        }
    }
    while tasks.join_next().await.is_some() {}
}

async fn store(core: &Core, queue: &Assigned, offset: i64) -> Result<(), String> {
    let route = core.finder.table().get(&queue.topic);
    let master = route.as_ref().and_then(|route| route.master(&queue.queue.broker));
    let address = master.ok_or("its broker has no master now")?;
    let text = |error: CallError| error.to_string();
    let link = core.link(address).await.map_err(text)?;
    let fields = UpdateOffsetRequest {
        consumer_group: core.config.group.as_str().into(),
        topic: queue.topic.as_ref().into(),
        queue_id: queue.queue.id,
        commit_offset: offset,
    };
    let request = link.request(request::UPDATE_CONSUMER_OFFSET).with_fields(&fields);
    let answer = link.call(request, core.config.call_timeout).await.map_err(text)?;
    if answer.code != response::SUCCESS {
        return Err(format!("code {}: {}", answer.code, answer.remark.unwrap_or_default()));
    }
    queue.committed(offset);
    Ok(())
}
