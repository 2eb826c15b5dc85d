//! One broker per directory: the lock file, and the marker of an unfinished run.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::store::error::OpenError;
use crate::store::io::Io;

const LOCK: &str = "lock";
/// RocketMQ's marker: it is there while a broker runs, and after one that did not stop cleanly.
const ABORT: &str = "abort";

/// A locked directory.
#[derive(Debug)]
pub struct DirLock {
    dir: PathBuf,
    _file: File,
}

impl DirLock {
    /// Locks the directory against brokers of both kinds.
    pub fn take(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(LOCK);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(OpenError::io("open", &path))?;
        let locked = || OpenError::Locked { dir: dir.to_owned() };
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| locked())?;
        // RocketMQ takes the other kind of lock.
        rustix::fs::fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| locked())?;
        Ok(Self { dir: dir.to_owned(), _file: file })
    }

    /// Whether the last run on the directory did not stop cleanly.
    pub fn was_aborted(&self) -> bool {
        self.dir.join(ABORT).exists()
    }

    /// Marks a run that has begun. Durable before the first append: an unmarked directory is not searched for what a power
    /// cut left behind the log's end.
    pub fn mark(&self, io: &dyn Io) -> Result<(), OpenError> {
        let path = self.dir.join(ABORT);
        // Empty: that it is there says it all, and a full disk does not hinder a start.
        let marked = io.create(&path).and_then(|_| io.sync_dir(&self.dir));
        marked.map_err(OpenError::io("create", &path))
    }

    /// Marks a run that has ended cleanly.
    pub fn unmark(&self, io: &dyn Io) -> std::io::Result<()> {
        io.remove(&self.dir.join(ABORT))
    }
}
