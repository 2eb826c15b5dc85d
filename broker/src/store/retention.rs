//! Deleting what is too old or too much: whole segments, and the parts of queues and index that spoke of them.

use std::io;

use orbitmq_common::clock::now_ms;
use orbitmq_common::message::entry::{Entry, next_entry};

use crate::store::held::Wanted;
use crate::store::queue_files;
use crate::store::segment::Segment;
use crate::store::shared::Shared;
use crate::store::stats::Counters;

/// Deletes segments that retention gives up; tells how many.
pub fn expire(shared: &Shared) -> io::Result<usize> {
    let retention = shared.options.retention;
    let oldest = retention.max_age.map(|age| now_ms() - i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
    let mut deleted = 0;
    loop {
        let segments = shared.log.segments.snapshot();
        // The builder and readers of the unbuilt part still need what lies behind its place.
        let needed = shared.builder.offset();
        let [first, second, ..] = segments.as_slice() else { break };
        if second.base() > needed || second.base() > shared.log.progress.flushed() {
            break;
        }
        let bytes = shared.log.progress.confirmed().saturating_sub(first.base());
        let too_much = retention.max_bytes.is_some_and(|max| bytes > max);
        // The youngest message of a segment is older than the first of the next.
        let too_old = oldest.is_some_and(|oldest| begin_time(shared, second).is_some_and(|time| time < oldest));
        if !too_much && !too_old {
            break;
        }
        if !shared.held.lets_go(Wanted { upto: second.base(), too_old }) {
            break;
        }
        tracing::info!(segment = %first.path().display(), too_old, too_much, "a segment is deleted by retention");
        shared.log.segments.remove_first()?;
        Counters::add(&shared.counters.deleted_segments, 1);
        deleted += 1;
    }
    if deleted > 0 {
        follow(shared)?;
    }
    Ok(deleted)
}

/// Store time of a segment's first record.
pub fn begin_time(shared: &Shared, segment: &Segment) -> Option<i64> {
    let end = shared.log.progress.confirmed().min(segment.end());
    match next_entry(segment.view(segment.base(), end)?) {
        Ok(Entry::Record(record)) => Some(record.store_timestamp),
        _ => None,
    }
}

/// Deletes index and queue files that speak of deleted segments only.
pub fn follow(shared: &Shared) -> io::Result<()> {
    let min_physical = shared.log.segments.start();
    shared.derived.deleted.write().retain(|_, upto| *upto > min_physical);
    if let Some(index) = &shared.derived.index {
        index.expire(min_physical)?;
    }
    for queue in shared.derived.queues.all() {
        let (begin, max) = queue.bounds();
        if queue.file_of(begin) == queue.file_of(max) {
            continue;
        }
        let keep = queue.file_of(shared.min_of(&queue).min(max.saturating_sub(1)));
        let from = keep * queue.file_len();
        if queue_files::remove_outside(&*shared.options.io, queue.dir(), from, u64::MAX)? > 0 {
            shared.derived.files.forget(queue.uid());
        }
    }
    Ok(())
}
