//! What a caller chooses about a store.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::store::io::{Disk, Io};

/// When an appended record counts as stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// After `fdatasync`: it survives a power cut.
    Sync,
    /// After the write to the page cache: it survives the end of the process, not a power cut.
    Async,
}

/// What opening does when records lie beyond damaged bytes that must have been whole once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnHole {
    /// Refuse to open and name the place.
    Refuse,
    /// Go on with the records behind the hole; the offsets lost in it are skipped by readers.
    Skip,
}

/// Sizes of a key index file; RocketMQ expects its own defaults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexSize {
    /// Hash slots.
    pub slots: u32,
    /// Entries; the file is full when they are used up.
    pub entries: u32,
}

/// How long messages are kept; whole segments go, the oldest first, never the one that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Age of the youngest message of a segment at which it goes.
    pub max_age: Option<Duration>,
    /// Bytes of log to keep.
    pub max_bytes: Option<u64>,
    /// Time between two looks.
    pub check_every: Duration,
}

/// Options of a store.
#[derive(Debug, Clone)]
pub struct Options {
    /// The store's directory, laid out as RocketMQ does.
    pub dir: PathBuf,
    /// Bytes of a log segment; a directory that holds segments of another size keeps its own.
    pub segment_size: u64,
    /// Entries of a consume queue file.
    pub queue_file_entries: u64,
    /// The key index, if there is one.
    pub index: Option<IndexSize>,
    /// When an append counts as stored.
    pub flush: Flush,
    /// Whether slaves confirm what is acknowledged.
    pub replicated: bool,
    /// Time between two background flushes in async mode.
    pub flush_every: Duration,
    /// Bytes appended but not yet written that make further appends `Busy`.
    pub max_unflushed: usize,
    /// Bytes of disk reserved ahead of the log's end.
    pub reserve_ahead: u64,
    /// Bytes of disk reserved at a time.
    pub reserve_step: u64,
    /// Bytes that the log leaves free on its disk, for metadata and queues; less on a very small disk.
    pub keep_free: u64,
    /// Time before another try to reserve space on a full disk.
    pub reserve_retry: Duration,
    /// Time between two checkpoints, hence roughly how much log a restart after a crash reads.
    pub checkpoint_every: Duration,
    /// What is deleted when.
    pub retention: Retention,
    /// Log offset from which on retention deletes nothing at first; see [`crate::store::held`].
    pub hold_from: u64,
    /// Delay of each level, from level 1 on.
    pub delay_levels: Vec<Duration>,
    /// What a hole in the log does to opening.
    pub on_hole: OnHole,
    /// The way to the disk.
    pub io: Arc<dyn Io>,
}

/// RocketMQ's eighteen levels, in seconds.
const DELAY_SECONDS: [u64; 18] =
    [1, 5, 10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1_200, 1_800, 3_600, 7_200];

const MIB: u64 = 1 << 20;

impl Options {
    /// Defaults for a directory: durable, RocketMQ's file sizes, messages kept for three days.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            segment_size: 1_024 * MIB,
            queue_file_entries: 300_000,
            index: Some(IndexSize { slots: 5_000_000, entries: 20_000_000 }),
            flush: Flush::Sync,
            replicated: false,
            flush_every: Duration::from_millis(500),
            max_unflushed: 64 << 20,
            reserve_ahead: 64 * MIB,
            reserve_step: 64 * MIB,
            keep_free: 16 * MIB,
            reserve_retry: Duration::from_millis(200),
            checkpoint_every: Duration::from_secs(5),
            retention: Retention {
                max_age: Some(Duration::from_secs(72 * 3_600)),
                max_bytes: None,
                check_every: Duration::from_secs(10),
            },
            hold_from: u64::MAX,
            delay_levels: DELAY_SECONDS.into_iter().map(Duration::from_secs).collect(),
            on_hole: OnHole::Refuse,
            io: Arc::new(Disk),
        }
    }
}
