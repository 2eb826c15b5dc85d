//! Reading a queue: entries to records, records to slices of the log's mapping.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use orbitmq_common::message::record::RecordView;

use crate::store::Store;
use crate::store::entry::{QueueEntry, RawEntry};
use crate::store::queue::Queue;
use crate::store::segment::Segment;
use crate::store::shared::Shared;
use crate::store::stats::Counters;

/// How much a read may return; one message is returned whatever its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimit {
    /// Messages at most.
    pub max_messages: usize,
    /// Bytes at most.
    pub max_bytes: usize,
}

/// What a read found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadStatus {
    /// Messages.
    Found,
    /// Messages were there, none was wanted: go on at `next_offset`.
    NoMatch,
    /// The queue never had a message.
    NoMessageInQueue,
    /// There is no such queue.
    QueueMissing,
    /// The offset's message is no longer kept.
    OffsetTooSmall,
    /// The offset lies beyond the queue's end.
    OffsetTooLarge,
    /// The offset is the queue's end: the next message will have it.
    OffsetAtEnd,
}

/// Result of a read.
#[derive(Debug, Clone)]
pub struct Read {
    /// What was found.
    pub status: ReadStatus,
    /// The records; those that lie side by side in the log share a chunk.
    pub chunks: Vec<Bytes>,
    /// Number of records.
    pub count: usize,
    /// Bytes of the records.
    pub bytes: usize,
    /// Where to read next.
    pub next_offset: i64,
    /// Smallest offset of the queue.
    pub min_offset: i64,
    /// Offset behind the queue's last message.
    pub max_offset: i64,
    /// Log offset of the last record returned.
    pub last_physical: u64,
}

/// Entries read at a time.
const BLOCK: usize = 64;
/// Entries looked at by one read at most; a filter that wants none of them goes on with the next read.
const MAX_LOOKED_AT: usize = 8_192;
/// And so long, for a filter may have to fetch each record from the disk.
const MAX_TIME: Duration = Duration::from_millis(50);

/// Whether a reader wants a message: by the hash of its tag, and by the bytes of its record, which are not yet checked.
pub type Accept<'a> = &'a mut dyn FnMut(i64, &[u8]) -> bool;

impl Read {
    /// No messages, for a reason.
    pub fn nothing(status: ReadStatus, next: u64, min: u64, max: u64) -> Self {
        Self {
            status,
            chunks: Vec::new(),
            count: 0,
            bytes: 0,
            next_offset: next.cast_signed(),
            min_offset: min.cast_signed(),
            max_offset: max.cast_signed(),
            last_physical: 0,
        }
    }
}

/// Entries of a queue from an offset on, at most `count` of those that have a message; and the queue's bounds. `None`: no such queue.
pub fn entries(store: &Store, topic: &str, id: u32, from: i64, count: usize) -> Option<(i64, i64, Vec<QueueEntry>)> {
    let queue = store.shared.derived.queues.get(topic, id)?;
    let (min, max) = (store.shared.min_of(&queue), queue.max());
    let from = u64::try_from(from).unwrap_or(0).max(min);
    let until = max.min(from.saturating_add(count as u64));
    let found = (from..until).filter_map(|at| store.shared.entry(&queue, at));
    let found = found.filter(|entry| !entry.is_blank() && !entry.is_unwritten()).collect();
    Some((min.cast_signed(), max.cast_signed(), found))
}

/// Reads messages of a queue from an offset on.
pub fn read(shared: &Shared, queue: &Arc<Queue>, offset: i64, limit: ReadLimit, accept: Accept<'_>) -> Read {
    let (min, max) = (shared.min_of(queue), queue.max());
    let Ok(from) = u64::try_from(offset) else {
        return Read::nothing(ReadStatus::OffsetTooSmall, min, min, max);
    };
    if max == 0 {
        return Read::nothing(ReadStatus::NoMessageInQueue, 0, min, max);
    }
    if from < min {
        return Read::nothing(ReadStatus::OffsetTooSmall, min, min, max);
    }
    if from >= max {
        let status = if from == max { ReadStatus::OffsetAtEnd } else { ReadStatus::OffsetTooLarge };
        return Read::nothing(status, max, min, max);
    }
    let mut reading =
        Reading { shared, queue, limit, out: Read::nothing(ReadStatus::NoMatch, from, min, max), open: None };
    reading.run(from, max, accept);
    reading.finish()
}

struct Reading<'a> {
    shared: &'a Shared,
    queue: &'a Arc<Queue>,
    limit: ReadLimit,
    out: Read,
    /// The chunk that grows: its segment and log offsets.
    open: Option<(Arc<Segment>, u64, u64)>,
}

impl Reading<'_> {
    fn run(&mut self, from: u64, max: u64, accept: Accept<'_>) {
        let mut entries: Vec<RawEntry> = Vec::with_capacity(BLOCK.min(self.limit.max_messages.max(1)));
        let (mut at, mut looked_at, begun) = (from, 0, Instant::now());
        while at < max && looked_at < MAX_LOOKED_AT && self.out.count < self.limit.max_messages {
            if looked_at >= self.out.count + BLOCK && begun.elapsed() > MAX_TIME {
                return;
            }
            let rest = usize::try_from(max - at).unwrap_or(BLOCK);
            let wanted = rest.min(self.limit.max_messages - self.out.count).min(BLOCK);
            if let Err(error) = self.queue.read(&self.shared.derived.files, at, wanted, &mut entries) {
                tracing::warn!(topic = &**self.queue.topic(), queue = self.queue.id(), %error, "a queue cannot be read");
                return;
            }
            if entries.is_empty() {
                return;
            }
            for raw in &entries {
                if !self.take(at, QueueEntry::decode(raw), accept) {
                    return;
                }
                at += 1;
                looked_at += 1;
                self.out.next_offset = at.cast_signed();
            }
        }
    }

    /// Takes one message, or passes over it; false when the read is full.
    fn take(&mut self, offset: u64, mut entry: QueueEntry, accept: Accept<'_>) -> bool {
        if entry.is_blank() {
            return true;
        }
        let mut healed = false;
        loop {
            if !entry.is_unwritten() {
                match self.record(offset, entry, accept) {
                    Taken::Yes => return true,
                    Taken::Full => return false,
                    Taken::Wrong => {}
                }
            }
            if healed || !self.heal(offset) {
                Counters::add(&self.shared.counters.damaged, 1);
                return true;
            }
            healed = true;
            match self.queue.entry(&self.shared.derived.files, offset) {
                Ok(right) => entry = right,
                Err(_) => return true,
            }
        }
    }

    fn record(&mut self, offset: u64, entry: QueueEntry, accept: Accept<'_>) -> Taken {
        let (from, size) = (entry.physical_offset, entry.size as usize);
        let to = from + u64::from(entry.size);
        let segment = match &self.open {
            Some((segment, _, _)) if segment.base() <= from && to <= segment.end() => Arc::clone(segment),
            _ => match self.shared.log.segments.find(from) {
                Some(segment) if to <= self.shared.log.progress.confirmed() => segment,
                _ => return Taken::Wrong,
            },
        };
        let Some(bytes) = segment.view(from, to) else { return Taken::Wrong };
        // Entries that an earlier process wrote may have changed at rest; a wrong tag would hide the message from its readers.
        if from < self.shared.checked_from && !self.is_entry_of(bytes, entry) {
            return Taken::Wrong;
        }
        if !accept(entry.tag_hash, bytes) {
            return Taken::Yes;
        }
        if self.out.count > 0 && self.out.bytes + size > self.limit.max_bytes {
            return Taken::Full;
        }
        if !self.belongs(bytes, offset, entry) {
            return Taken::Wrong;
        }
        match &mut self.open {
            Some((open, _, end)) if *end == from && open.base() == segment.base() => *end = to,
            _ => {
                self.close_chunk();
                self.open = Some((segment, from, to));
            }
        }
        self.out.count += 1;
        self.out.bytes += size;
        self.out.last_physical = from;
        self.out.status = ReadStatus::Found;
        Taken::Yes
    }

    /// Whether the bytes are the record that the entry promises.
    fn belongs(&self, bytes: &[u8], offset: u64, entry: QueueEntry) -> bool {
        let head = Head::of(bytes);
        let matches = head.is_some_and(|head| {
            head.size == entry.size
                && head.queue_id == self.queue.id()
                && head.queue_offset == offset
                && head.physical_offset == entry.physical_offset
        });
        // The whole record is looked at once a read, and whenever this process has not checked it before.
        let unchecked = entry.physical_offset < self.shared.checked_from;
        matches
            && (self.out.count > 0 && !unchecked
                || RecordView::parse(bytes).is_ok_and(|record| {
                    record.topic == &**self.queue.topic() && (!unchecked || record.verify().is_ok())
                }))
    }

    fn is_entry_of(&self, bytes: &[u8], entry: QueueEntry) -> bool {
        RecordView::parse(bytes).is_ok_and(|record| self.shared.derived.entry_of(&record) == entry)
    }

    fn heal(&self, offset: u64) -> bool {
        let is_right = || self.shared.entry_is_right(self.queue, offset);
        let healed = self.shared.heal(self.queue, offset, &is_right);
        if healed {
            Counters::add(&self.shared.counters.repaired, 1);
        } else {
            let (topic, queue) = (&**self.queue.topic(), self.queue.id());
            tracing::error!(topic, queue, offset, "the log has no sound record for this message: it is passed over");
        }
        healed
    }

    fn close_chunk(&mut self) {
        if let Some((segment, from, to)) = self.open.take() {
            self.out.chunks.extend(segment.slice(from, to));
        }
    }

    fn finish(mut self) -> Read {
        self.close_chunk();
        self.out
    }
}

enum Taken {
    Yes,
    Full,
    Wrong,
}

/// The first fields of a record.
struct Head {
    size: u32,
    queue_id: u32,
    queue_offset: u64,
    physical_offset: u64,
}

impl Head {
    fn of(bytes: &[u8]) -> Option<Self> {
        let half = |at: usize| bytes.get(at..).and_then(<[u8]>::first_chunk::<4>).map(|b| u32::from_be_bytes(*b));
        let word = |at: usize| bytes.get(at..).and_then(<[u8]>::first_chunk::<8>).map(|b| u64::from_be_bytes(*b));
        Some(Self { size: half(0)?, queue_id: half(12)?, queue_offset: word(20)?, physical_offset: word(28)? })
    }
}
