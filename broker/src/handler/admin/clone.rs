//! CLONE_GROUP_OFFSET (314): a group begins where another one is.

use std::sync::Arc;

use orbitmq_common::name;
use orbitmq_common::net::connection::Outcome;
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::examine::CloneOffsetsRequest;

use crate::broker::Broker;
use crate::handler::admin::progress::settled;
use crate::refusal::Refusal;

/// Handles the request; answers once the offsets survive the end of this process.
pub fn call(broker: &Arc<Broker>, frame: &Frame) -> Result<Outcome, Refusal> {
    let header: CloneOffsetsRequest<'_> = frame.fields()?;
    let (source, target) = (header.src_group.as_ref(), header.dest_group.as_ref());
    name::check_group(target)?;
    if broker.groups.find_or_create(target, broker.tuned.auto_create_groups()).is_none() {
        return Err(broker.no_group(target, "a clone"));
    }
    let topics = match header.topic.as_deref().filter(|topic| !topic.is_empty()) {
        Some(topic) => vec![topic.to_owned()],
        None => broker.offsets.topics_of(source),
    };
    let (mut last, mut queues) = (0, 0);
    for topic in topics {
        let Some(config) = broker.topics.get(&topic) else { continue };
        if !header.offline && broker.members.reads_only_others(source, &topic) {
            continue;
        }
        for queue in 0..config.read_queue_nums {
            if let Some(offset) = broker.offsets.get(&topic, source, queue) {
                last = broker.offsets.reset(&topic, target, queue, offset);
                queues += 1;
            }
        }
    }
    tracing::info!(source, target, queues, "offsets cloned");
    Ok(settled(broker, frame.answer(response::SUCCESS), last))
}
