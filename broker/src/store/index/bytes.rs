//! The bytes of an index file, by page of slots and by block of entries.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::store::index::form::{ENTRY_LEN, HEADER_LEN, Header, IndexEntry, PAGE_SLOTS, SLOT_LEN, first_of};
use crate::store::io::{Io, read_at, write_all_at};
use crate::store::options::IndexSize;

/// An index file as it is on disk: sparse, written with `pwrite`.
#[derive(Debug)]
pub struct IndexBytes {
    io: Arc<dyn Io>,
    path: PathBuf,
    file: File,
    /// Its sizes.
    pub size: IndexSize,
}

impl IndexBytes {
    /// Creates an empty file.
    pub fn create(io: Arc<dyn Io>, path: PathBuf, size: IndexSize) -> io::Result<Self> {
        let file = io.create(&path)?;
        io.set_len(&file, &path, size.file_len())?;
        path.parent().map_or(Ok(()), |dir| io.sync_dir(dir))?;
        Ok(Self { io, path, file, size })
    }

    /// Opens a file that has the right length.
    pub fn open(io: Arc<dyn Io>, path: PathBuf, size: IndexSize) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(&path)?;
        if file.metadata()?.len() != size.file_len() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the index file has another length"));
        }
        Ok(Self { io, path, file, size })
    }

    /// The way to the disk.
    pub fn io(&self) -> &dyn Io {
        &*self.io
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the file durable.
    pub fn sync(&self) -> io::Result<()> {
        self.io.sync_data(&self.file, &self.path)
    }

    /// The header.
    pub fn header(&self) -> io::Result<Header> {
        let mut raw = [0; HEADER_LEN];
        read_at(&self.file, &mut raw, 0)?;
        Ok(Header::decode(&raw))
    }

    /// Writes the header.
    pub fn set_header(&self, header: &Header) -> io::Result<()> {
        self.write(&header.encode(), 0)
    }

    /// One slot.
    pub fn slot(&self, slot: u32) -> io::Result<u32> {
        let mut raw = [0; SLOT_LEN];
        read_at(&self.file, &mut raw, self.size.slot_at(slot))?;
        Ok(u32::from_be_bytes(raw))
    }

    /// A page of slots.
    pub fn page(&self, page: u32) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.size.slots_of(page) as usize * SLOT_LEN];
        read_at(&self.file, &mut bytes, self.size.slot_at(page.saturating_mul(PAGE_SLOTS)))?;
        Ok(bytes)
    }

    /// Writes a page of slots.
    pub fn set_page(&self, page: u32, bytes: &[u8]) -> io::Result<()> {
        self.write(bytes, self.size.slot_at(page.saturating_mul(PAGE_SLOTS)))
    }

    /// One entry.
    pub fn entry(&self, number: u32) -> io::Result<IndexEntry> {
        let mut raw = [0; ENTRY_LEN];
        read_at(&self.file, &mut raw, self.size.entry_at(number))?;
        Ok(IndexEntry::decode(&raw))
    }

    /// The entries of a block before the next entry.
    pub fn block(&self, block: u32, count: u32) -> io::Result<Vec<u8>> {
        let (first, end) = (first_of(block), first_of(block.saturating_add(1)).min(count));
        let mut bytes = vec![0; end.saturating_sub(first) as usize * ENTRY_LEN];
        read_at(&self.file, &mut bytes, self.size.entry_at(first))?;
        Ok(bytes)
    }

    /// Writes entries from a number on.
    pub fn set_entries(&self, number: u32, bytes: &[u8]) -> io::Result<()> {
        self.write(bytes, self.size.entry_at(number))
    }

    fn write(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        write_all_at(&*self.io, &self.file, &self.path, bytes, at)
    }
}
