//! A disk that notes every change in order, with marks of what was promised in between.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orbitmq_broker::store::io::{Disk, Io};
use parking_lot::Mutex;

/// A change to the disk, or a mark between changes. Paths are relative to the store's directory.
#[derive(Debug, Clone)]
pub enum Op {
    /// A directory came into being.
    MakeDir(String),
    /// A file was opened for writing, and made if it was not there.
    Create(String),
    /// Bytes were written at an offset.
    Write(String, usize, Arc<[u8]>),
    /// The file got a length.
    Length(String, usize),
    /// Bytes from an offset on, so many, were made zero.
    Zero(String, usize, usize),
    /// What was written before is durable.
    SyncData(String),
    /// Names that changed in the directory before are durable.
    SyncDir(String),
    /// Everything before is durable.
    SyncAll,
    /// A file took another's place.
    Rename(String, String),
    /// A file was removed.
    Remove(String),
    /// From here on the log is promised up to this offset.
    Promise(u64),
    /// From here on it is promised up to this offset at most: the rest is about to be cut.
    Cut(u64),
}

/// The real disk, watched. Nothing is really flushed: the power is cut in the model only.
#[derive(Debug)]
pub struct Recorder {
    root: PathBuf,
    ops: Mutex<Vec<Op>>,
}

impl Recorder {
    /// Watches a store's directory, in which opening makes the directories that are missing.
    pub fn new(root: &Path) -> Self {
        let dirs = ["commitlog", "consumequeue", "index"].map(|name| Op::MakeDir(name.to_owned()));
        Self { root: root.to_owned(), ops: Mutex::new(dirs.into()) }
    }

    /// Adds a mark, or a change that does not pass through [`Io`].
    pub fn note(&self, op: Op) {
        self.ops.lock().push(op);
    }

    /// Number of changes so far.
    pub fn count(&self) -> usize {
        self.ops.lock().len()
    }

    /// All changes so far.
    pub fn take(&self) -> Vec<Op> {
        std::mem::take(&mut *self.ops.lock())
    }

    fn name(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).to_string_lossy().into_owned()
    }
}

// A write is noted when it has ended, a flush when it begins: so a flush never covers a write that ran beside it.
impl Io for Recorder {
    fn create(&self, path: &Path) -> io::Result<File> {
        let file = Disk.create(path)?;
        self.note(Op::Create(self.name(path)));
        Ok(file)
    }

    fn write_at(&self, file: &File, path: &Path, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let written = Disk.write_at(file, path, bytes, offset)?;
        self.note(Op::Write(self.name(path), size(offset), bytes[..written].into()));
        Ok(written)
    }

    fn sync_data(&self, _file: &File, path: &Path) -> io::Result<()> {
        self.note(Op::SyncData(self.name(path)));
        Ok(())
    }

    fn reserve(&self, _file: &File, _path: &Path, _offset: u64, _len: u64) -> io::Result<()> {
        // The log's files have their full length: blocks alone change nothing that can be seen.
        Ok(())
    }

    fn zero(&self, file: &File, path: &Path, offset: u64, len: u64) -> io::Result<()> {
        let zeros = vec![0; size(len)];
        std::os::unix::fs::FileExt::write_all_at(file, &zeros, offset)?;
        self.note(Op::Zero(self.name(path), size(offset), size(len)));
        Ok(())
    }

    fn set_len(&self, file: &File, path: &Path, len: u64) -> io::Result<()> {
        file.set_len(len)?;
        self.note(Op::Length(self.name(path), size(len)));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)?;
        self.note(Op::Rename(self.name(from), self.name(to)));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)?;
        self.note(Op::Remove(self.name(path)));
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.note(Op::SyncDir(self.name(path)));
        Ok(())
    }

    fn sync_all(&self, _dir: &Path) -> io::Result<()> {
        self.note(Op::SyncAll);
        Ok(())
    }
}

fn size(number: u64) -> usize {
    usize::try_from(number).expect("files of this tool are small")
}
