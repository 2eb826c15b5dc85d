//! A log segment: one file of the commit log, written with `pwrite`, read through a mapping.
//!
//! The one place with `unsafe`. A mapping of a file is sound to read as long as nobody shortens the file and nobody
//! changes bytes that a reader looks at. Both hold: a segment gets its full length before it is mapped and keeps it
//! until it is unlinked (the mapping outlives that), the directory is locked against other brokers, and readers are
//! only handed bytes below the confirmed end of the log, which are never written again.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use memmap2::{Mmap, MmapOptions};
use parking_lot::Mutex;

use crate::store::io::Io;

/// Name of the file that begins at an offset.
pub fn file_name(base: u64) -> String {
    format!("{base:020}")
}

/// Offset at which a file begins, if its name is one of a log or queue file.
pub fn file_base(name: &str) -> Option<u64> {
    (name.len() == 20 && name.bytes().all(|byte| byte.is_ascii_digit())).then(|| name.parse().ok())?
}

/// One file of the log.
#[derive(Debug)]
pub struct Segment {
    base: u64,
    size: u64,
    path: PathBuf,
    bytes: Bytes,
    writer: Mutex<Option<Arc<File>>>,
}

struct Mapping(Mmap);

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Segment {
    /// Creates the file at its full length; its blocks are reserved later.
    pub fn create(io: &dyn Io, dir: &Path, base: u64, size: u64) -> io::Result<Self> {
        let path = dir.join(file_name(base));
        let file = io.create(&path)?;
        io.set_len(&file, &path, size)?;
        io.sync_data(&file, &path)?;
        io.sync_dir(dir)?;
        Self::map(path, base, size, file)
    }

    /// Opens a file that has its full length.
    pub fn open(dir: &Path, base: u64, size: u64) -> io::Result<Self> {
        let path = dir.join(file_name(base));
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        if file.metadata()?.len() != size {
            return Err(io::Error::new(ErrorKind::InvalidData, "the file's length changed"));
        }
        let segment = Self::map(path, base, size, file)?;
        segment.retire();
        Ok(segment)
    }

    #[expect(unsafe_code, reason = "mapping a file; see the top of this file for why it is sound")]
    fn map(path: PathBuf, base: u64, size: u64, file: File) -> io::Result<Self> {
        let len = usize::try_from(size).map_err(|_| ErrorKind::InvalidInput)?;
        // SAFETY: the file has `size` bytes, is never shortened, and bytes handed out are never written again.
        let mapping = unsafe { MmapOptions::new().len(len).map(&file)? };
        let bytes = Bytes::from_owner(Mapping(mapping));
        Ok(Self { base, size, path, bytes, writer: Mutex::new(Some(Arc::new(file))) })
    }

    /// Log offset of the first byte.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Log offset behind the last byte.
    pub fn end(&self) -> u64 {
        self.base.saturating_add(self.size)
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file for writing; opened again if it was closed.
    pub fn writer(&self) -> io::Result<Arc<File>> {
        let mut writer = self.writer.lock();
        if let Some(file) = writer.as_ref() {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(OpenOptions::new().read(true).write(true).open(&self.path)?);
        Ok(Arc::clone(writer.insert(file)))
    }

    /// Closes the file for writing; reading goes on.
    pub fn retire(&self) {
        self.writer.lock().take();
    }

    /// The bytes between two log offsets, which lie in this segment.
    pub fn view(&self, from: u64, to: u64) -> Option<&[u8]> {
        let (from, to) = self.range(from, to)?;
        self.bytes.get(from..to)
    }

    /// The same bytes to keep: they hold the mapping alive.
    pub fn slice(&self, from: u64, to: u64) -> Option<Bytes> {
        let (from, to) = self.range(from, to)?;
        (from <= to && to <= self.bytes.len()).then(|| self.bytes.slice(from..to))
    }

    fn range(&self, from: u64, to: u64) -> Option<(usize, usize)> {
        let from = usize::try_from(from.checked_sub(self.base)?).ok()?;
        let to = usize::try_from(to.checked_sub(self.base)?).ok()?;
        Some((from, to))
    }
}
