//! Appending: encodes records outside every lock and hands them to the log.

use std::cell::RefCell;
use std::sync::Arc;

use orbitmq_common::message::record::{NewRecord, RecordError};
use orbitmq_common::message::sysflag;

use crate::store::error::AppendError;
use crate::store::queue::Queue;
use crate::store::queues::is_storable;
use crate::store::shared::Shared;
use crate::store::tail::{Appended, Encoded, Part};

/// Encoding buffers larger than this are not kept.
const KEEP_SCRATCH: usize = 1 << 20;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Appends records of one queue, all or none.
pub fn run(shared: &Shared, records: &[NewRecord<'_>], placed: &mut dyn FnMut(Appended)) -> Result<(), AppendError> {
    let Some(first) = records.first() else { return Ok(()) };
    if records.iter().any(|record| record.topic != first.topic || record.queue_id != first.queue_id) {
        return Err(AppendError::MixedBatch);
    }
    let numbered = is_numbered(first.sys_flag);
    if records.iter().any(|record| is_numbered(record.sys_flag) != numbered) {
        return Err(AppendError::MixedBatch);
    }
    let queue = queue_for(shared, first)?;
    encoded(shared, records, |bytes, lengths| {
        let records = Encoded { bytes, lengths, numbered };
        shared.log.append(&[Part { queue: &queue, records }], placed)
    })
}

/// Appends two records, each of any queue, one behind the other; both or none.
pub fn pair(shared: &Shared, pair: &[NewRecord<'_>; 2]) -> Result<[Appended; 2], AppendError> {
    let [first, second] = pair;
    let (queue, beside) = (queue_for(shared, first)?, queue_for(shared, second)?);
    let mut places = Vec::with_capacity(2);
    encoded(shared, pair, |bytes, lengths| {
        let middle = lengths.first().copied().unwrap_or(0);
        let (head, tail) = bytes.split_at_checked(middle).unwrap_or((bytes, &[]));
        let (one, other) = lengths.split_at_checked(1).unwrap_or((lengths, &[]));
        let part = |queue, bytes, lengths, record: &NewRecord<'_>| Part {
            queue,
            records: Encoded { bytes, lengths, numbered: is_numbered(record.sys_flag) },
        };
        let parts = [part(&*queue, head, one, first), part(&*beside, tail, other, second)];
        shared.log.append(&parts, &mut |appended| places.push(appended))
    })?;
    places.try_into().map_err(|_| AppendError::Closed)
}

fn encoded(
    shared: &Shared,
    records: &[NewRecord<'_>],
    append: impl FnOnce(&[u8], &[usize]) -> Result<(), AppendError>,
) -> Result<(), AppendError> {
    let mut scratch = SCRATCH.take();
    scratch.clear();
    let lengths: Result<Vec<usize>, _> = records.iter().map(|record| record.encode_into(&mut scratch)).collect();
    let result = lengths.map_err(AppendError::from).and_then(|lengths| append(&scratch, &lengths));
    shared.counters.appended(records.len(), scratch.len(), &result);
    if scratch.capacity() <= KEEP_SCRATCH {
        SCRATCH.set(scratch);
    }
    result
}

fn queue_for(shared: &Shared, record: &NewRecord<'_>) -> Result<Arc<Queue>, AppendError> {
    let queues = &shared.derived.queues;
    if let Some(queue) = queues.get(record.topic, record.queue_id) {
        return Ok(queue);
    }
    if i32::try_from(record.queue_id).is_err() {
        return Err(RecordError::Field("queue id (it is negative)").into());
    }
    if !is_storable(record.topic) {
        return Err(AppendError::IllegalTopic { topic: record.topic.to_owned() });
    }
    Ok(queues.get_or_create(record.topic, record.queue_id))
}

/// Half messages in RocketMQ's old form, and rollbacks, have no place in a queue.
fn is_numbered(sys_flag: u32) -> bool {
    let kind = sysflag::transaction(sys_flag);
    kind != sysflag::TRANSACTION_PREPARED && kind != sysflag::TRANSACTION_ROLLBACK
}
