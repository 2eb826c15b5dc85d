//! QUERY_CORRECTION_OFFSET (308): how far the slowest group of a topic is, queue by queue.

use std::collections::BTreeMap;

use orbitmq_common::protocol::body::examine::CorrectionOffsets;
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::examine::CorrectionRequest;

use crate::broker::Broker;
use crate::refusal::Refusal;

/// Handles the request. A queue in which the compared group is behind all others is marked with the largest number there is.
pub fn call(broker: &Broker, frame: &Frame) -> Result<Frame, Refusal> {
    let header: CorrectionRequest<'_> = frame.fields()?;
    let topic = header.topic.as_ref();
    let passed_over: Vec<&str> =
        header.filter_groups.as_deref().unwrap_or_default().split(',').map(str::trim).collect();
    let queues = broker.topics.get(topic).map_or(0, |config| config.read_queue_nums);
    let mut slowest: BTreeMap<i32, i64> = BTreeMap::new();
    for group in broker.offsets.groups_of(topic) {
        if passed_over.contains(&group.as_str()) {
            continue;
        }
        for queue in 0..queues {
            let Some(offset) = broker.offsets.get(topic, &group, queue) else { continue };
            // An offset that the queue has left behind says nothing about a reader.
            if offset >= broker.store.min_offset(topic, u32::try_from(queue).unwrap_or(0)) {
                slowest.entry(queue).and_modify(|least| *least = offset.min(*least)).or_insert(offset);
            }
        }
    }
    for (queue, least) in &mut slowest {
        let compared = broker.offsets.get(topic, &header.compare_group, *queue);
        if compared.is_some_and(|compared| *least > compared) {
            *least = i64::MAX;
        }
    }
    Ok(frame.answer(response::SUCCESS).with_json(&CorrectionOffsets { correction_offsets: slowest }))
}
