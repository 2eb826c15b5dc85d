//! One file of the key index, in RocketMQ's form: a header, a table of hash slots, entries chained from the newest back.
//!
//! ```text
//! first time 8 | last time 8 | first log offset 8 | last log offset 8 | slots used 4 | next entry 4
//! slot: number of its newest entry 4 …
//! entry: hash 4 | log offset 8 | seconds since first time 4 | number of the entry before it in the slot 4 …
//! ```
//! Entries are numbered from 1. The file is sparse and written with `pwrite`, page of slots by page of slots. Entries
//! are made durable before the slots that lead to them, so that after a crash every chain can be followed back to the
//! entries that a checkpoint vouches for, before the entries behind those are written anew.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::store::io::{Io, read_at, write_all_at};
use crate::store::options::IndexSize;

const HEADER_LEN: u64 = 40;
const SLOT_LEN: u64 = 4;
const ENTRY_LEN: u64 = 20;
/// Slots read and written at a time.
const PAGE_SLOTS: u32 = 1_024;

/// A key of a record on its way into the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Hash of topic and key.
    pub hash: u32,
    /// Where the record is.
    pub physical_offset: u64,
    /// When it was stored, in ms.
    pub store_timestamp: i64,
}

/// The header of an index file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Header {
    /// Store time of the first key.
    pub begin_timestamp: i64,
    /// Store time of the last key.
    pub end_timestamp: i64,
    /// Log offset of the first key.
    pub begin_physical: u64,
    /// Log offset of the last key.
    pub end_physical: u64,
    /// Slots in use.
    pub slots_used: u32,
    /// Number of the next entry, at least 1.
    pub count: u32,
}

/// An index file.
#[derive(Debug)]
pub struct IndexFile {
    path: PathBuf,
    file: File,
    size: IndexSize,
    /// As it is in the file.
    pub header: Header,
    /// Whether something of it may not be durable.
    unsynced: AtomicBool,
}

impl IndexFile {
    /// Creates an empty file.
    pub fn create(io: &dyn Io, path: PathBuf, size: IndexSize) -> io::Result<Self> {
        let file = io.create(&path)?;
        io.set_len(&file, &path, file_len(size))?;
        path.parent().map_or(Ok(()), |dir| io.sync_dir(dir))?;
        let header = Header { count: 1, ..Header::default() };
        Ok(Self { path, file, size, header, unsynced: AtomicBool::new(true) })
    }

    /// Opens a file that has the right length.
    pub fn open(path: PathBuf, size: IndexSize) -> io::Result<Self> {
        let file = File::options().read(true).write(true).open(&path)?;
        if file.metadata()?.len() != file_len(size) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the index file has another length"));
        }
        let mut raw = [0; HEADER_LEN as usize];
        read_at(&file, &mut raw, 0)?;
        Ok(Self { path, file, size, header: Header::decode(&raw), unsynced: AtomicBool::new(false) })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Name of the file.
    pub fn name(&self) -> String {
        self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned()
    }

    /// Keys that still fit.
    pub fn room(&self) -> usize {
        self.size.entries.saturating_sub(self.header.count) as usize
    }

    /// Makes the file durable, if it is not.
    pub fn sync(&self, io: &dyn Io) -> io::Result<()> {
        if !self.unsynced.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        io.sync_data(&self.file, &self.path).inspect_err(|_| self.unsynced.store(true, Ordering::Release))
    }

    /// Adds keys, which fit; on an error the file's header still says what it said.
    pub fn merge(&mut self, io: &dyn Io, keys: &[Key]) -> io::Result<()> {
        let (Some(first), Some(last)) = (keys.first(), keys.last()) else { return Ok(()) };
        self.unsynced.store(true, Ordering::Release);
        let mut header = self.header;
        if header.count <= 1 {
            header.begin_physical = first.physical_offset;
            header.begin_timestamp = first.store_timestamp;
        }
        let mut order: Vec<(u32, u32)> =
            keys.iter().enumerate().map(|(at, key)| (self.slot(key.hash), u32::try_from(at).unwrap_or(0))).collect();
        order.sort_unstable();
        let (pages, previous, fresh) = self.chain(&order, keys.len())?;
        let mut entries = Vec::with_capacity(keys.len() * ENTRY_LEN as usize);
        for (key, previous) in keys.iter().zip(previous) {
            let seconds = (key.store_timestamp - header.begin_timestamp).max(0) / 1_000;
            entries.extend_from_slice(&key.hash.to_be_bytes());
            entries.extend_from_slice(&key.physical_offset.to_be_bytes());
            entries.extend_from_slice(&i32::try_from(seconds).unwrap_or(i32::MAX).to_be_bytes());
            entries.extend_from_slice(&previous.to_be_bytes());
        }
        write_all_at(io, &self.file, &self.path, &entries, self.entry_at(header.count))?;
        io.sync_data(&self.file, &self.path)?;
        for (at, page) in &pages {
            write_all_at(io, &self.file, &self.path, page, *at)?;
        }
        header.end_physical = last.physical_offset;
        header.end_timestamp = last.store_timestamp;
        header.slots_used = header.slots_used.saturating_add(fresh);
        header.count += u32::try_from(keys.len()).unwrap_or(0);
        write_all_at(io, &self.file, &self.path, &header.encode(), 0)?;
        self.header = header;
        Ok(())
    }

    /// Links keys, sorted by slot, into their slots' chains: changed pages of slots, each key's predecessor, and how
    /// many slots were empty.
    #[expect(clippy::type_complexity, reason = "three results of one pass")]
    fn chain(&self, order: &[(u32, u32)], keys: usize) -> io::Result<(Vec<(u64, Vec<u8>)>, Vec<u32>, u32)> {
        let mut pages: Vec<(u64, Vec<u8>)> = Vec::new();
        let mut previous = vec![0; keys];
        let mut fresh = 0;
        let mut before: Option<(u32, u32)> = None;
        for (slot, at) in order {
            let first = slot - slot % PAGE_SLOTS;
            let page_at = HEADER_LEN + u64::from(first) * SLOT_LEN;
            if pages.last().is_none_or(|page| page.0 != page_at) {
                let slots = PAGE_SLOTS.min(self.size.slots - first);
                let mut page = vec![0; slots as usize * SLOT_LEN as usize];
                read_at(&self.file, &mut page, page_at)?;
                pages.push((page_at, page));
            }
            let place = ((slot - first) * 4) as usize;
            let cell = pages.last_mut().and_then(|page| page.1.get_mut(place..)).and_then(<[u8]>::first_chunk_mut::<4>);
            let (Some(cell), Some(link)) = (cell, previous.get_mut(*at as usize)) else { continue };
            let newest = u32::from_be_bytes(*cell);
            *link = match before {
                Some((same, number)) if same == *slot => number,
                _ => self.settled(newest)?,
            };
            before = Some((*slot, self.header.count + at));
            fresh += u32::from(*link == 0);
            *cell = (self.header.count + at).to_be_bytes();
        }
        Ok((pages, previous, fresh))
    }

    /// After a crash: makes no slot lead beyond the entries that the header vouches for. Entries behind them are written anew,
    /// perhaps with other keys, and what they say of their chains is then gone.
    pub fn settle(&self, io: &dyn Io) -> io::Result<()> {
        let mut changed = false;
        for first in (0..self.size.slots).step_by(PAGE_SLOTS as usize) {
            let page_at = HEADER_LEN + u64::from(first) * SLOT_LEN;
            let mut page = vec![0; (PAGE_SLOTS.min(self.size.slots - first) as u64 * SLOT_LEN) as usize];
            read_at(&self.file, &mut page, page_at)?;
            let mut astray = false;
            for cell in page.as_chunks_mut::<{ SLOT_LEN as usize }>().0 {
                let newest = u32::from_be_bytes(*cell);
                if newest >= self.header.count {
                    *cell = self.settled(newest)?.to_be_bytes();
                    astray = true;
                }
            }
            if astray {
                write_all_at(io, &self.file, &self.path, &page, page_at)?;
                changed = true;
            }
        }
        if changed { io.sync_data(&self.file, &self.path) } else { Ok(()) }
    }

    /// The newest entry of a chain that the header vouches for.
    fn settled(&self, mut number: u32) -> io::Result<u32> {
        while number >= self.header.count && number < self.size.entries {
            let entry = self.entry(number)?;
            if entry.previous >= number {
                return Ok(0);
            }
            number = entry.previous;
        }
        Ok(if number >= self.size.entries { 0 } else { number })
    }

    /// Finds log offsets of records that may have the key, the newest first, until `found` says stop.
    pub fn find(&self, hash: u32, begin: i64, end: i64, found: &mut dyn FnMut(u64) -> bool) -> io::Result<bool> {
        let mut raw = [0; SLOT_LEN as usize];
        read_at(&self.file, &mut raw, HEADER_LEN + u64::from(self.slot(hash)) * SLOT_LEN)?;
        let mut number = self.settled(u32::from_be_bytes(raw))?;
        while number > 0 {
            let entry = self.entry(number)?;
            let earliest = self.header.begin_timestamp.saturating_add(i64::from(entry.seconds) * 1_000);
            // The time is cut to seconds and capped: the record itself has the last word.
            let may_match = entry.hash == hash && earliest <= end && earliest.saturating_add(1_000) >= begin;
            if may_match && !found(entry.physical_offset) {
                return Ok(false);
            }
            if entry.previous >= number {
                break;
            }
            number = entry.previous;
        }
        Ok(true)
    }

    fn slot(&self, hash: u32) -> u32 {
        hash.checked_rem(self.size.slots).unwrap_or(0)
    }

    fn entry_at(&self, number: u32) -> u64 {
        HEADER_LEN + u64::from(self.size.slots) * SLOT_LEN + u64::from(number) * ENTRY_LEN
    }

    fn entry(&self, number: u32) -> io::Result<Entry> {
        let mut raw = [0; ENTRY_LEN as usize];
        read_at(&self.file, &mut raw, self.entry_at(number))?;
        let [h0, h1, h2, h3, a, b, c, d, e, f, g, h, s0, s1, s2, s3, p0, p1, p2, p3] = raw;
        Ok(Entry {
            hash: u32::from_be_bytes([h0, h1, h2, h3]),
            physical_offset: u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            seconds: i32::from_be_bytes([s0, s1, s2, s3]),
            previous: u32::from_be_bytes([p0, p1, p2, p3]),
        })
    }
}

struct Entry {
    hash: u32,
    physical_offset: u64,
    seconds: i32,
    previous: u32,
}

/// Length of every index file.
pub fn file_len(size: IndexSize) -> u64 {
    HEADER_LEN + u64::from(size.slots) * SLOT_LEN + u64::from(size.entries) * ENTRY_LEN
}

impl Header {
    fn encode(self) -> [u8; HEADER_LEN as usize] {
        let mut raw = [0; HEADER_LEN as usize];
        let fields = self
            .begin_timestamp
            .to_be_bytes()
            .into_iter()
            .chain(self.end_timestamp.to_be_bytes())
            .chain(self.begin_physical.to_be_bytes())
            .chain(self.end_physical.to_be_bytes())
            .chain(self.slots_used.to_be_bytes())
            .chain(self.count.to_be_bytes());
        for (place, byte) in raw.iter_mut().zip(fields) {
            *place = byte;
        }
        raw
    }

    fn decode(raw: &[u8; HEADER_LEN as usize]) -> Self {
        let word =
            |at: usize| raw.get(at..).and_then(<[u8]>::first_chunk::<8>).map_or(0, |bytes| u64::from_be_bytes(*bytes));
        let half =
            |at: usize| raw.get(at..).and_then(<[u8]>::first_chunk::<4>).map_or(0, |bytes| u32::from_be_bytes(*bytes));
        Self {
            begin_timestamp: word(0).cast_signed(),
            end_timestamp: word(8).cast_signed(),
            begin_physical: word(16),
            end_physical: word(24),
            slots_used: half(32),
            count: half(36).max(1),
        }
    }
}
