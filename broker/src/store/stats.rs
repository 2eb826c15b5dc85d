//! Figures of a store.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use orbitmq_common::clock::now_ms;

use crate::store::error::AppendError;

/// Counters that the parts of the store add to.
#[derive(Debug, Default)]
pub struct Counters {
    /// Records appended.
    pub puts: AtomicU64,
    /// Bytes appended.
    pub put_bytes: AtomicU64,
    /// Appends refused: disk full.
    pub refused_full: AtomicU64,
    /// Appends refused: too many bytes waiting.
    pub refused_busy: AtomicU64,
    /// Batches written.
    pub batches: AtomicU64,
    /// Flushes.
    pub flushes: AtomicU64,
    /// Time of all flushes, in µs.
    pub flush_micros: AtomicU64,
    /// Longest flush, in µs.
    pub flush_max_micros: AtomicU64,
    /// When the flush at hand began, ms since the epoch; 0: there is none.
    pub flush_began: AtomicU64,
    /// Records that a reader met and that failed their checks.
    pub damaged: AtomicU64,
    /// Queue files repaired from the log.
    pub repaired: AtomicU64,
    /// Index files mended after damage.
    pub index_mended: AtomicU64,
    /// Failed attempts to write queue or index files.
    pub derived_failures: AtomicU64,
    /// Segments deleted by retention.
    pub deleted_segments: AtomicU64,
    /// Records that no queue or index could take.
    pub unplaced: AtomicU64,
    /// Checkpoints written.
    pub checkpoints: AtomicU64,
}

impl Counters {
    /// An append was tried.
    pub fn appended(&self, records: usize, bytes: usize, result: &Result<(), AppendError>) {
        match result {
            Ok(()) => {
                Self::add(&self.puts, records as u64);
                Self::add(&self.put_bytes, bytes as u64);
            }
            Err(AppendError::DiskFull { .. }) => Self::add(&self.refused_full, 1),
            Err(AppendError::Busy { .. }) => Self::add(&self.refused_busy, 1),
            Err(_) => {}
        }
    }

    /// Adds to a counter.
    pub fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Ordering::Relaxed);
    }

    /// A flush begins.
    pub fn flush_begins(&self) {
        self.flush_began.store(now_ms().cast_unsigned(), Ordering::Relaxed);
    }

    /// How fast the disk is.
    pub fn pace(&self) -> Pace {
        let began = Self::get(&self.flush_began);
        let running = (began > 0).then(|| Duration::from_millis(now_ms().cast_unsigned().saturating_sub(began)));
        let mean = Self::get(&self.flush_micros).checked_div(Self::get(&self.flushes)).unwrap_or(0);
        let longest = Duration::from_micros(Self::get(&self.flush_max_micros));
        Pace { running, mean: Duration::from_micros(mean), longest }
    }

    /// Counts a flush that has ended.
    pub fn flushed(&self, took: Duration) {
        self.flush_began.store(0, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        Self::add(&self.flushes, 1);
        Self::add(&self.flush_micros, micros);
        self.flush_max_micros.fetch_max(micros, Ordering::Relaxed);
    }

    /// Reads a counter.
    pub fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}

/// How fast the disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How long the flush at hand has run, if there is one.
    pub running: Option<Duration>,
    /// How long flushes take, on average since opening.
    pub mean: Duration,
    /// How long the longest took.
    pub longest: Duration,
}

/// A store's figures at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Stats {
    /// Records appended since opening.
    pub puts: u64,
    /// Bytes appended since opening.
    pub put_bytes: u64,
    /// Appends refused because the disk was full.
    pub refused_full: u64,
    /// Appends refused because too many bytes waited.
    pub refused_busy: u64,
    /// Batches written.
    pub batches: u64,
    /// Flushes.
    pub flushes: u64,
    /// Time of all flushes.
    pub flush_time: Duration,
    /// Longest flush.
    pub flush_max: Duration,
    /// Records refused to readers because they are damaged.
    pub damaged: u64,
    /// Queues repaired from the log.
    pub repaired: u64,
    /// Index files mended after damage.
    pub index_mended: u64,
    /// Failed attempts to write queue or index files.
    pub derived_failures: u64,
    /// Segments deleted by retention.
    pub deleted_segments: u64,
    /// Records that no queue or index could take.
    pub unplaced: u64,
    /// Checkpoints written.
    pub checkpoints: u64,
    /// Segments of the log.
    pub segments: usize,
    /// First offset of the log.
    pub min_physical: u64,
    /// End of the log.
    pub end: u64,
    /// Bytes confirmed but not yet in queues and index.
    pub behind: u64,
    /// Bytes appended but not yet written.
    pub unflushed: usize,
    /// Used part of the file system, 0 to 1.
    pub disk_ratio: f64,
    /// Whether the last attempt to reserve space failed.
    pub disk_full: bool,
    /// Why the store takes no appends.
    pub poisoned: Option<Arc<str>>,
    /// Queues known.
    pub queues: usize,
}
