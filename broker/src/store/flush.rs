//! The flusher: one thread that brings gathered records to disk, many with one flush.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::store::bell::Bell;
use crate::store::builder::Builder;
use crate::store::io::{Io, write_all_at};
use crate::store::log::{CommitLog, Take};
use crate::store::options::Flush;
use crate::store::segment::Segment;
use crate::store::stats::Counters;
use crate::store::tail::Batch;

/// Brings what was appended to disk, batch after batch.
///
/// In sync mode one thread does, since it spends its time waiting for the disk. In async mode there is nothing to wait for: whoever
/// wants its bytes stored writes everything that is there, and others who come meanwhile are served by it.
#[derive(Debug)]
pub struct Flusher {
    /// Where the batches come from.
    pub log: Arc<CommitLog>,
    /// The disk.
    pub io: Arc<dyn Io>,
    /// Whether a batch is confirmed by its write or by its flush.
    pub flush: Flush,
    /// Counts.
    pub counters: Arc<Counters>,
    /// Follows what is confirmed.
    pub builder: Arc<Builder>,
    /// The batch in hand; whoever holds it writes.
    pub hand: Mutex<Batch>,
}

impl Flusher {
    /// The thread: works until the log is closed or poisoned.
    pub fn run(&self) {
        if self.flush == Flush::Async {
            self.log.wait_for_end();
        }
        self.work(&mut self.hand.lock(), Take::Wait);
    }

    /// Sees to it that everything appended so far gets stored soon; in async mode it mostly is when this returns.
    pub fn nudge(&self) {
        match self.flush {
            Flush::Sync => self.log.wake_flusher(),
            Flush::Async => self.lead(),
        }
    }

    fn lead(&self) {
        // Bytes appended after the last look of whoever has the batch in hand are seen by its look after letting go of it.
        while let Some(mut batch) = self.hand.try_lock() {
            self.work(&mut batch, Take::Now);
            drop(batch);
            if !self.log.has_work() {
                return;
            }
        }
    }

    fn work(&self, batch: &mut Batch, take: Take) {
        let _guard = Unwinding(&self.log);
        while self.log.take(batch, take) {
            if let Err(reason) = self.store(batch) {
                poison(&self.log, &reason);
                return;
            }
            Counters::add(&self.counters.batches, 1);
            self.log.progress.wake();
            // Senders that wait for the disk come before readers.
            if self.flush == Flush::Sync && self.log.has_work() {
                self.builder.bell.ring();
            } else {
                self.builder.follow();
            }
        }
    }

    fn store(&self, batch: &Batch) -> Result<(), String> {
        let mut ends = batch.runs.iter().skip(1).map(|run| run.1);
        let mut last: Option<Arc<Segment>> = None;
        for (offset, start) in &batch.runs {
            let end = ends.next().unwrap_or(batch.bytes.len());
            let bytes = batch.bytes.get(*start..end).unwrap_or_default();
            if bytes.is_empty() {
                // A copied piece ended with a filler: the next segment need not be there yet.
                continue;
            }
            let segment = self.log.segments.find(*offset).ok_or_else(|| format!("no segment for offset {offset}"))?;
            self.leave(last.as_ref(), &segment)?;
            self.write(&segment, *offset, bytes)?;
            last = Some(segment);
        }
        self.log.progress.set_written(batch.end);
        if let (Flush::Sync, Some(segment)) = (self.flush, &last) {
            self.sync(segment)?;
            self.log.progress.set_flushed(batch.end);
        }
        Ok(())
    }

    /// A segment is flushed before the next one gets its first byte: sound records in a later file prove that every
    /// earlier file was durable, which is how recovery tells damage from a torn end.
    fn leave(&self, last: Option<&Arc<Segment>>, next: &Arc<Segment>) -> Result<(), String> {
        let written = self.log.progress.written();
        let before = match last {
            Some(segment) => Some(Arc::clone(segment)),
            None if written > 0 => self.log.segments.find(written - 1),
            None => None,
        };
        let Some(before) = before.filter(|segment| segment.base() < next.base()) else { return Ok(()) };
        self.sync(&before)?;
        before.retire();
        Ok(())
    }

    fn write(&self, segment: &Segment, offset: u64, bytes: &[u8]) -> Result<(), String> {
        if bytes.is_empty() {
            return Ok(());
        }
        let written = segment
            .writer()
            .and_then(|file| write_all_at(&*self.io, &file, segment.path(), bytes, offset - segment.base()));
        written.map_err(|error| format!("writing {} at {offset} failed: {error}", segment.path().display()))
    }

    fn sync(&self, segment: &Segment) -> Result<(), String> {
        let started = Instant::now();
        self.counters.flush_begins();
        sync(&*self.io, segment)?;
        self.counters.flushed(started.elapsed());
        Ok(())
    }
}

/// Nobody may wait for a flusher that is gone.
struct Unwinding<'a>(&'a CommitLog);

impl Drop for Unwinding<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            poison(self.0, "the flusher panicked");
        }
    }
}

/// In async mode: flushes in the background, so that a power cut costs at most one interval.
#[derive(Debug)]
pub struct BackgroundFlush {
    /// What writes.
    pub flusher: Arc<Flusher>,
    /// Time between two flushes.
    pub every: Duration,
    /// Set to end, then the bell is rung.
    pub stop: Arc<AtomicBool>,
    /// See `stop`.
    pub bell: Arc<Bell>,
}

impl BackgroundFlush {
    /// Works until told to stop.
    pub fn run(self) {
        while !self.stop.load(Ordering::Acquire) {
            self.bell.wait(self.every);
            self.flusher.nudge();
            flush_or_poison(&self.flusher.log, &*self.flusher.io, &self.flusher.counters);
        }
    }
}

/// Makes durable what is in the page cache, or poisons the log.
pub fn flush_or_poison(log: &CommitLog, io: &dyn Io, counters: &Counters) {
    if let Err(reason) = flush_written(log, io, counters) {
        poison(log, &reason);
    }
}

/// Segments before the last one are durable already.
fn flush_written(log: &CommitLog, io: &dyn Io, counters: &Counters) -> Result<(), String> {
    let written = log.progress.written();
    if log.progress.failure().is_some() || written <= log.progress.flushed() {
        return Ok(());
    }
    let started = Instant::now();
    let last = log.segments.find(written - 1).ok_or_else(|| format!("no segment for offset {written}"))?;
    sync(io, &last)?;
    counters.flushed(started.elapsed());
    log.progress.set_flushed(written);
    Ok(())
}

fn sync(io: &dyn Io, segment: &Segment) -> Result<(), String> {
    let synced: io::Result<()> = segment.writer().and_then(|file| io.sync_data(&file, segment.path()));
    synced.map_err(|error| format!("flushing {} failed: {error}", segment.path().display()))
}

fn poison(log: &CommitLog, reason: &str) {
    if log.poison(reason) {
        // A note for the next opening: from here on the page cache may hold bytes that the disk never got.
        let note = log.segments.dir().with_file_name(POISON_NOTE);
        let noted = std::fs::write(&note, format!("flushed {}\n{reason}\n", log.progress.flushed()));
        tracing::error!(reason, noted = noted.is_ok(), "the log is poisoned: nothing is acknowledged until a restart");
    }
}

/// File that a poisoned store leaves behind if it can: how far the log was durable, and why no further.
pub const POISON_NOTE: &str = "orbitmq.poisoned";

/// How far the log was durable by such a note.
pub fn durable_by(note: &str) -> Option<u64> {
    note.lines().next()?.strip_prefix("flushed ")?.parse().ok()
}
