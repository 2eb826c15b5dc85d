//! The commit log's end: assigns offsets under one short lock and gathers records for the flusher.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use orbitmq_common::message::record;
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::store::bell::Bell;
use crate::store::copy::Copied;
use crate::store::error::{AppendError, Poisoned};
use crate::store::progress::Progress;
use crate::store::queue::Queue;
use crate::store::segments::Segments;
use crate::store::space::Space;
use crate::store::tail::{Appended, Batch, Part, State, Tail, fits};

/// What to do when nothing was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// Wait for it.
    Wait,
    /// Go away.
    Now,
}

/// The growing end of the log.
#[derive(Debug)]
pub struct CommitLog {
    /// The files.
    pub segments: Arc<Segments>,
    /// What is written, flushed and confirmed.
    pub progress: Progress,
    /// Reserves disk space ahead of the end.
    pub space: Space,
    /// Rung when space should be reserved ahead.
    pub space_bell: Arc<Bell>,
    tail: Mutex<Tail>,
    work: Condvar,
    in_flight: AtomicUsize,
    max_unflushed: usize,
}

/// Records that nobody asks to be stored are stored after this time.
const NOBODY_WAITS: Duration = Duration::from_millis(500);
/// Buffers larger than this are given back when they are not needed.
const KEEP_BUFFER: usize = 1 << 20;

impl CommitLog {
    /// The log as recovery found it, up to `end`.
    pub fn new(
        segments: Arc<Segments>,
        progress: Progress,
        space: Space,
        end: Recovered,
        max_unflushed: usize,
    ) -> Self {
        let tail = Tail {
            batch: Batch { end: end.offset, ..Batch::default() },
            end: end.offset,
            limit: end.offset,
            timestamp: end.timestamp,
            flusher_sleeps: false,
            state: State::Open,
        };
        Self {
            segments,
            progress,
            space,
            space_bell: Arc::default(),
            tail: Mutex::new(tail),
            work: Condvar::new(),
            in_flight: AtomicUsize::new(0),
            max_unflushed,
        }
    }

    /// Appends records, all or none and one behind the other, and hands each place to `placed`.
    pub fn append(&self, parts: &[Part<'_>], placed: &mut dyn FnMut(Appended)) -> Result<(), AppendError> {
        let lengths = || parts.iter().flat_map(|part| part.records.lengths).copied();
        let bytes: usize = parts.iter().map(|part| part.records.bytes.len()).sum();
        let max = usize::try_from(self.segments.size()).unwrap_or(usize::MAX).saturating_sub(record::FILLER_MIN);
        if let Some(len) = lengths().find(|len| *len > max) {
            return Err(AppendError::TooLarge { len, max });
        }
        loop {
            let mut tail = self.tail.lock();
            tail.check()?;
            let unflushed = tail.batch.bytes.len() + self.in_flight.load(Ordering::Relaxed);
            if unflushed > 0 && unflushed.saturating_add(bytes) > self.max_unflushed {
                return Err(AppendError::Busy { unflushed, most: self.max_unflushed });
            }
            let upto = self.end_after(tail.end, lengths());
            if upto > tail.limit {
                drop(tail);
                self.reserve(upto)?;
                continue;
            }
            tail.place(&self.segments, parts, placed)?;
            self.after_append(tail);
            return Ok(());
        }
    }

    /// Appends what a master's log holds from `at` on, which must be this log's end.
    pub fn append_copied(&self, copied: &Copied<'_>) -> Result<(), AppendError> {
        loop {
            let mut tail = self.tail.lock();
            tail.check()?;
            let unflushed = tail.batch.bytes.len() + self.in_flight.load(Ordering::Relaxed);
            if unflushed > 0 && unflushed.saturating_add(copied.bytes()) > self.max_unflushed {
                return Err(AppendError::Busy { unflushed, most: self.max_unflushed });
            }
            if copied.end > tail.limit {
                drop(tail);
                self.reserve(copied.end)?;
                continue;
            }
            if tail.end != copied.start {
                return Err(AppendError::Elsewhere { end: tail.end, at: copied.start });
            }
            tail.copy(copied);
            self.after_append(tail);
            return Ok(());
        }
    }

    /// Lets an empty log begin at an offset other than 0: a copy of one that has lost its first segments.
    pub fn begin_at(&self, offset: u64) -> bool {
        let mut tail = self.tail.lock();
        if tail.end > 0 {
            return false;
        }
        if let Err(error) = self.space.begin_at(&self.segments, offset) {
            tracing::warn!(%error, "an empty segment cannot be removed");
            return false;
        }
        tail.end = offset;
        tail.limit = offset;
        tail.batch.end = offset;
        self.progress.begin_at(offset);
        true
    }

    /// With appends held off and everything confirmed and built, sets where each queue goes on.
    pub fn renumber(&self, queues: &[Arc<Queue>]) {
        let _tail = self.tail.lock();
        queues.iter().for_each(|queue| queue.set_next(queue.max()));
    }

    fn after_append(&self, tail: MutexGuard<'_, Tail>) {
        let low = tail.limit.saturating_sub(tail.end) < self.space.low_water();
        drop(tail);
        if low {
            self.space_bell.ring();
        }
    }

    /// The log's end if records of these lengths were appended.
    fn end_after(&self, end: u64, lengths: impl Iterator<Item = usize>) -> u64 {
        lengths.fold(end, |end, len| {
            let start = if self.fits(end, len) { end } else { self.segments.base_of(end) + self.segments.size() };
            start + len as u64
        })
    }

    fn fits(&self, end: u64, len: usize) -> bool {
        fits(&self.segments, end, len)
    }

    /// Reserves disk space up to an offset, or says why there is none.
    pub fn reserve(&self, upto: u64) -> Result<(), AppendError> {
        let limit = self.space.reserve(&self.segments, upto)?;
        let mut tail = self.tail.lock();
        tail.limit = tail.limit.max(limit);
        Ok(())
    }

    /// Offset up to which space should be reserved now.
    pub fn wanted(&self) -> Option<u64> {
        let tail = self.tail.lock();
        let wanted = tail.end.saturating_add(self.space.ahead());
        (wanted > tail.limit).then_some(wanted)
    }

    /// Offset behind the last appended record.
    pub fn end(&self) -> u64 {
        self.tail.lock().end
    }

    /// Store time of the last appended record.
    pub fn last_timestamp(&self) -> i64 {
        self.tail.lock().timestamp
    }

    /// Bytes that wait for the flusher or are with it.
    pub fn unflushed(&self) -> usize {
        self.tail.lock().batch.bytes.len() + self.in_flight.load(Ordering::Relaxed)
    }

    /// Wakes the flusher's thread if it waits for records.
    pub fn wake_flusher(&self) {
        let wake = std::mem::replace(&mut self.tail.lock().flusher_sleeps, false);
        if wake {
            self.work.notify_one();
        }
    }

    /// Whether records wait that may still be written.
    pub fn has_work(&self) -> bool {
        let tail = self.tail.lock();
        !tail.batch.bytes.is_empty() && matches!(tail.state, State::Open | State::Draining)
    }

    /// Waits until the log takes no more appends.
    pub fn wait_for_end(&self) {
        let mut tail = self.tail.lock();
        while matches!(tail.state, State::Open) {
            self.work.wait(&mut tail);
        }
    }

    /// Swaps what was appended into `batch`, whose bytes are done with; false when there is nothing (any more).
    pub fn take(&self, batch: &mut Batch, take: Take) -> bool {
        self.in_flight.store(0, Ordering::Relaxed);
        batch.bytes.clear();
        batch.runs.clear();
        batch.records = 0;
        if batch.bytes.capacity() > KEEP_BUFFER {
            batch.bytes.shrink_to(KEEP_BUFFER);
        }
        let mut tail = self.tail.lock();
        while tail.batch.bytes.is_empty() {
            if take == Take::Now || !matches!(tail.state, State::Open) {
                return false;
            }
            tail.flusher_sleeps = true;
            self.work.wait_for(&mut tail, NOBODY_WAITS);
            tail.flusher_sleeps = false;
        }
        if matches!(tail.state, State::Closed | State::Poisoned(_)) {
            return false;
        }
        std::mem::swap(&mut tail.batch, batch);
        self.in_flight.store(batch.bytes.len(), Ordering::Relaxed);
        // Under the tail's lock: whoever appends after this must find the new batch number.
        self.progress.take(batch.end);
        true
    }

    /// Ends the log at the first failed write or flush: nothing after it is ever confirmed.
    pub fn poison(&self, reason: &str) -> bool {
        let reason: Arc<str> = Arc::from(reason);
        let first = {
            let mut tail = self.tail.lock();
            let first = !matches!(tail.state, State::Poisoned(_));
            if first {
                tail.state = State::Poisoned(Poisoned { reason: Arc::clone(&reason) });
            }
            first
        };
        self.progress.fail(reason);
        self.work.notify_all();
        first
    }

    /// Takes no more appends; the flusher writes what is there (`drain`) or drops it, and ends.
    pub fn close(&self, drain: bool) {
        let mut tail = self.tail.lock();
        if matches!(tail.state, State::Open | State::Draining) {
            tail.state = if drain { State::Draining } else { State::Closed };
        }
        drop(tail);
        self.work.notify_all();
    }
}

/// What recovery found.
#[derive(Debug, Clone, Copy)]
pub struct Recovered {
    /// Offset behind the last record.
    pub offset: u64,
    /// Store time of the last record, in ms.
    pub timestamp: i64,
}
