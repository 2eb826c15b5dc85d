//! LOCK_BATCH_MQ (41) and UNLOCK_BATCH_MQ (42): queues of groups that consume in order.

use orbitmq_common::name;
use orbitmq_common::protocol::body::group::{LockRequest, LockResponse};
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::relaxed;

use crate::broker::Broker;
use crate::refusal::Refusal;

/// LOCK_BATCH_MQ (41): answers with the queues that are the caller's now.
pub fn lock(broker: &Broker, frame: &Frame) -> Result<Frame, Refusal> {
    let mut request: LockRequest = relaxed::parse(&frame.body)?;
    name::check_group(&request.consumer_group)?;
    // Queues that are not there have no messages to be ordered, and there is no end of them.
    request.mq_set.retain(|queue| {
        broker.topics.get(&queue.topic).is_some_and(|topic| (0..topic.read_queue_nums).contains(&queue.queue_id))
    });
    let locked = broker.locks.lock(&request.consumer_group, &request.client_id, request.mq_set);
    Ok(frame.answer(response::SUCCESS).with_json(&LockResponse { locked }))
}

/// UNLOCK_BATCH_MQ (42).
pub fn unlock(broker: &Broker, frame: &Frame) -> Result<Frame, Refusal> {
    let request: LockRequest = relaxed::parse(&frame.body)?;
    broker.locks.unlock(&request.consumer_group, &request.client_id, &request.mq_set);
    Ok(frame.answer(response::SUCCESS))
}
