//! The parts of an open store that its threads and callers share.

use std::sync::Arc;

use bytes::Bytes;
use orbitmq_common::message::record::{RecordError, RecordView};
use parking_lot::Mutex;

use crate::store::builder::Builder;
use crate::store::derived::Derived;
use crate::store::entry::QueueEntry;
use crate::store::error::ReadError;
use crate::store::flush::Flusher;
use crate::store::log::CommitLog;
use crate::store::options::Options;
use crate::store::queue::Queue;
use crate::store::repair::Repair;
use crate::store::stats::Counters;

/// Log, queues and index of one directory.
#[derive(Debug)]
pub struct Shared {
    /// The caller's choices.
    pub options: Options,
    /// The log.
    pub log: Arc<CommitLog>,
    /// Queues and index.
    pub derived: Arc<Derived>,
    /// Brings the log to disk.
    pub flusher: Arc<Flusher>,
    /// Follows the log.
    pub builder: Arc<Builder>,
    /// Mends queues.
    pub repair: Repair,
    /// Held while queues, index and checkpoint are written.
    pub chores: Mutex<()>,
    /// Counts.
    pub counters: Arc<Counters>,
    /// Records before this log offset were not checked by this process.
    pub checked_from: u64,
}

impl Shared {
    /// Smallest offset of a queue whose record the log still has.
    pub fn min_of(&self, queue: &Arc<Queue>) -> u64 {
        let min_physical = self.log.segments.start();
        let cached = match queue.cached_min(min_physical) {
            Ok(min) => return min,
            Err(min) => min,
        };
        let (mut low, mut high) = (cached, queue.max());
        while low < high {
            let middle = low.midpoint(high);
            // An offset that a hole in the log left blank says nothing about those before it: the next message does.
            let mut at = middle;
            let is_kept = loop {
                match self.entry(queue, at) {
                    Some(entry) if entry.is_blank() && at + 1 < high => at += 1,
                    Some(entry) => break entry.is_blank() || entry.physical_offset >= min_physical,
                    // Unreadable now: rather offer too much than hide messages.
                    None => return cached,
                }
            };
            if is_kept || at > cached && self.is_out_of_order(queue, at, min_physical) {
                high = middle;
            } else {
                low = at + 1;
            }
        }
        queue.set_min(low, min_physical);
        low
    }

    /// Whether an entry that leads before the log's beginning was wrong, as the one before it shows, and no longer is.
    fn is_out_of_order(&self, queue: &Arc<Queue>, offset: u64, min_physical: u64) -> bool {
        let there =
            |offset| self.entry(queue, offset).filter(|entry| !entry.is_blank()).map(|entry| entry.physical_offset);
        let before = offset.checked_sub(1).and_then(there);
        let is_wrong = before.is_some_and(|before| {
            // A queue's messages follow each other in the log.
            before >= min_physical || there(offset).is_some_and(|at| at < before)
        });
        is_wrong && self.heal(queue, offset, &|| self.entry_is_right(queue, offset))
    }

    /// An entry of a queue, mended if it was never written.
    pub fn entry(&self, queue: &Arc<Queue>, offset: u64) -> Option<QueueEntry> {
        let entry = queue.entry(&self.derived.files, offset).ok()?;
        if !entry.is_unwritten() {
            return Some(entry);
        }
        let is_right = || queue.entry(&self.derived.files, offset).is_ok_and(|entry| !entry.is_unwritten());
        self.heal(queue, offset, &is_right);
        queue.entry(&self.derived.files, offset).ok()
    }

    /// Builds a queue again if an entry of it is wrong.
    pub fn heal(&self, queue: &Arc<Queue>, offset: u64, is_right: &dyn Fn() -> bool) -> bool {
        self.repair.heal(&self.log.segments, &self.derived, queue, offset, self.builder.offset(), is_right)
    }

    /// Whether a queue's entry leads to a record that says the same.
    pub fn entry_is_right(&self, queue: &Queue, offset: u64) -> bool {
        let Ok(entry) = queue.entry(&self.derived.files, offset) else { return false };
        if entry.is_unwritten() || entry.is_blank() {
            return false;
        }
        let confirmed = self.log.progress.confirmed();
        let matches = |record: &RecordView<'_>| {
            record.size() == entry.size as usize
                && record.topic == &**queue.topic()
                && record.queue_id == queue.id()
                && record.queue_offset == offset
                && self.derived.entry_of(record) == entry
                && record.verify().is_ok()
        };
        self.log.segments.with_record(entry.physical_offset, confirmed, matches) == Ok(true)
    }

    /// Store time of a message.
    pub fn store_timestamp(&self, queue: &Arc<Queue>, offset: u64) -> Option<i64> {
        let entry = self.entry(queue, offset).filter(|entry| !entry.is_blank() && !entry.is_unwritten())?;
        let confirmed = self.log.progress.confirmed();
        self.log.segments.with_record(entry.physical_offset, confirmed, |record| record.store_timestamp).ok()
    }

    /// One record, checked.
    pub fn record_at(&self, physical: u64) -> Result<Bytes, ReadError> {
        let (min, max) = (self.log.segments.start(), self.log.progress.confirmed());
        if physical < min || physical >= max {
            return Err(ReadError::OutOfRange { offset: physical, min, max });
        }
        let checked = |record: &RecordView<'_>| record.verify().map(|()| record.size() as u64);
        let found = self.log.segments.with_record(physical, max, checked).and_then(|checked| checked);
        let size = match found {
            Ok(size) => size,
            Err(RecordError::Magic(_) | RecordError::Field(_)) => {
                return Err(ReadError::NoRecord { offset: physical });
            }
            Err(source) => {
                if matches!(source, RecordError::Checksum { .. }) {
                    Counters::add(&self.counters.damaged, 1);
                }
                return Err(ReadError::Damaged { offset: physical, source });
            }
        };
        let slice = self.log.segments.slice(physical, physical + size);
        slice.ok_or(ReadError::OutOfRange { offset: physical, min, max })
    }
}
