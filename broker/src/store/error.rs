//! What can go wrong in a store, one small type per operation.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orbitmq_common::message::record::RecordError;

/// Why a store does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file system refused.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// The answer.
        source: io::Error,
    },
    /// Another broker holds the directory.
    #[error(
        "another broker runs on {}: stop it, or give this one a directory of its own",
        dir.display()
    )]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// A segment between two others is missing.
    #[error(
        "the log in {} has no segment for offset {missing}: bring the file back, or move the segments before it away",
        dir.display()
    )]
    MissingSegment {
        /// The log's directory.
        dir: PathBuf,
        /// First offset without a file.
        missing: u64,
    },
    /// A segment has the wrong length.
    #[error(
        "{} has {len} bytes where {expected} are expected: it was cut or belongs to another log; bring the whole file back",
        path.display()
    )]
    SegmentLength {
        /// The file.
        path: PathBuf,
        /// Its length.
        len: u64,
        /// The length of the other segments.
        expected: u64,
    },
    /// Damaged bytes lie before sound records.
    #[error(
        "the log is damaged at offset {at} ({reason}) and goes on with sound records at {next}: restore segment {} from a \
         replica or a backup, or open with on_hole = skip to give up what lies between",
        segment.display()
    )]
    Hole {
        /// First offset that is no sound record.
        at: u64,
        /// Next sound record.
        next: u64,
        /// File of the damage.
        segment: PathBuf,
        /// What is wrong there.
        reason: String,
    },
    /// An option makes no sense.
    #[error("{0}")]
    Options(&'static str),
}

impl OpenError {
    /// Wraps an error of the file system.
    pub fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

/// The store takes no more appends: a write or a flush failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the store is closed for writing until a restart has recovered: {reason}")]
pub struct Poisoned {
    /// What failed first.
    pub reason: Arc<str>,
}

/// Why a message was not appended; nothing of it is stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// A write or a flush failed before.
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
    /// The disk is full; appends work again by themselves when there is space.
    #[error("the disk is full: {needed} more bytes are needed, {free} are free; delete files or shorten the retention")]
    DiskFull {
        /// Bytes that could not be reserved.
        needed: u64,
        /// Bytes free on the file system.
        free: u64,
    },
    /// Space could not be reserved for another reason; tried again with the next appends.
    #[error(
        "no space could be reserved on the disk: {reason}; look at the disk, it is tried again with the next message"
    )]
    Reserve {
        /// What the file system said.
        reason: Arc<str>,
    },
    /// The message does not fit into a segment or a batch into the buffer.
    #[error("the message takes {len} bytes, the log takes {max} at a time: send less at once")]
    TooLarge {
        /// Its length.
        len: usize,
        /// The longest possible.
        max: usize,
    },
    /// The topic cannot be the name of a directory.
    #[error("'{topic}' cannot be stored as a topic: it must be a file name of at most 255 bytes")]
    IllegalTopic {
        /// The topic.
        topic: String,
    },
    /// The messages of a batch differ in topic or queue.
    #[error("a batch holds messages of one queue only")]
    MixedBatch,
    /// The message cannot be a record.
    #[error(transparent)]
    IllegalRecord(#[from] RecordError),
    /// Too many bytes wait for the disk.
    #[error("{unflushed} bytes wait for the disk, and {most} may (max_in_flight): try again later")]
    Busy {
        /// How many.
        unflushed: usize,
        /// How many may.
        most: usize,
    },
    /// A copy of a master's log has a gap.
    #[error("the log ends at {end}, the copied bytes begin at {at}")]
    Elsewhere {
        /// The log's end.
        end: u64,
        /// Where the bytes belong.
        at: u64,
    },
    /// The store is being closed.
    #[error("the store is closed, for this broker is stopping: ask a name server for the route again")]
    Closed,
}

impl AppendError {
    /// Whether it is the record that cannot be stored, now or later.
    pub fn is_of_the_record(&self) -> bool {
        matches!(self, Self::TooLarge { .. } | Self::IllegalTopic { .. } | Self::MixedBatch | Self::IllegalRecord(_))
    }
}

/// Why bytes of a master's log are not taken; nothing of them is stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CopyError {
    /// They are no sound record of that place.
    #[error(
        "the master's bytes at log offset {at} are no sound record: {reason}; its disk or the connection is damaged"
    )]
    Unsound {
        /// Where.
        at: u64,
        /// What is wrong.
        reason: String,
    },
    /// The log does not take them.
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// Why a record is not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The log does not reach there (any more).
    #[error("offset {offset} is outside the log, which goes from {min} to {max}: {}", beyond(*offset, *min))]
    OutOfRange {
        /// What was asked for.
        offset: u64,
        /// First offset kept.
        min: u64,
        /// End of what may be read.
        max: u64,
    },
    /// No sound record starts there.
    #[error("no sound record starts at offset {offset}: {source}")]
    Damaged {
        /// What was asked for.
        offset: u64,
        /// What is wrong.
        source: RecordError,
    },
    /// A record starts there by its form, but says that it belongs elsewhere.
    #[error("no record starts at offset {offset}: the message id is another broker's, or of a store that is no more")]
    NoRecord {
        /// What was asked for.
        offset: u64,
    },
}

fn beyond(offset: u64, min: u64) -> &'static str {
    if offset < min {
        "the message is deleted, for retention lets the oldest go"
    } else {
        "the message id is another broker's, or what was stored there was lost or is not acknowledged yet"
    }
}

/// Why a store was not closed cleanly; the next opening recovers.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    /// A write or a flush had failed before.
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
    /// The last writes of derived files failed.
    #[error("the queue and index files could not be completed: {0}")]
    Io(#[from] io::Error),
}
