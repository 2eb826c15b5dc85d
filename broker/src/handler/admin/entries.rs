//! QUERY_CONSUME_QUEUE (321): the entries of a queue as they are stored.

use orbitmq_common::protocol::body::examine::{QueueEntries, QueueEntryData};
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::examine::QueueEntriesRequest;

use crate::broker::Broker;
use crate::refusal::Refusal;
use crate::store::entry::QueueEntry;
use crate::store::read;

/// Entries that one answer carries at most.
const MOST: usize = 10_000;

/// Handles the request.
pub fn call(broker: &Broker, frame: &Frame) -> Result<Frame, Refusal> {
    let header: QueueEntriesRequest<'_> = frame.fields()?;
    let topic = header.topic.as_ref();
    let queue = u32::try_from(header.queue_id)
        .map_err(|_| Refusal::invalid(format!("{} is not the number of a queue", header.queue_id)))?;
    let count = usize::try_from(header.count).unwrap_or(0).min(MOST);
    let Some((min, max, entries)) = read::entries(&broker.store, topic, queue, header.index, count) else {
        let remark = format!("queue {queue} of topic '{topic}' has never had a message at this broker");
        return Err(Refusal::new(response::SYSTEM_ERROR, remark));
    };
    let group = header.consumer_group.as_deref().filter(|group| !group.is_empty());
    let subscription = group.and_then(|group| broker.members.subscription(group, topic));
    let filter_data = group.filter(|_| subscription.is_none()).map(|group| format!("{group}@{topic} is not online!"));
    let body = QueueEntries {
        filter_data,
        max_queue_index: max,
        min_queue_index: min,
        queue_data: entries.into_iter().map(shown).collect(),
        subscription_data: subscription.map(|subscription| subscription.data.clone()),
    };
    Ok(frame.answer(response::SUCCESS).with_json(&body))
}

fn shown(entry: QueueEntry) -> QueueEntryData {
    QueueEntryData {
        eval: false,
        msg: None,
        physic_offset: entry.physical_offset.cast_signed(),
        physic_size: i32::try_from(entry.size).unwrap_or(i32::MAX),
        tags_code: entry.tag_hash,
    }
}
