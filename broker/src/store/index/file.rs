//! One file of the key index: finds keys in it and merges new ones, with an eye on its checksums.
//!
//! It is written page of slots by page of slots. Entries are made durable before the slots that lead to them, so that after a
//! crash every chain can be followed back to the entries that a checkpoint vouches for, before the entries behind those are
//! written anew. What an earlier process wrote is compared with its checksum when it is read first.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::store::index::bytes::IndexBytes;
use crate::store::index::form::{ENTRY_LEN, Header, IndexEntry, PAGE_SLOTS, SLOT_LEN, block_of};
use crate::store::index::mend::{self, Mended};
use crate::store::index::sums::{Part, Sides, Sums, Vouched};
use crate::store::io::Io;
use crate::store::keys::Key;
use crate::store::options::IndexSize;
use crate::store::segments::Segments;

/// Why an index file is not read or written.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The file system refused.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Something is not what its checksum says, or there are no checksums: the file must be mended before.
    #[error("the index file is damaged")]
    Damaged,
}

/// An index file.
#[derive(Debug)]
pub struct IndexFile {
    bytes: IndexBytes,
    /// As it should be in the file.
    pub header: Header,
    /// Whether something of it may not be durable.
    unsynced: AtomicBool,
    /// Set by who meets damage, until it is mended.
    damaged: AtomicBool,
    sides: Sides,
    /// Read when they are needed; none if the file has to be gone through first.
    sums: OnceLock<Option<Sums>>,
}

/// Where an index file and its checksums are.
#[derive(Debug, Clone)]
pub struct Place {
    /// The file.
    pub path: PathBuf,
    /// Directory of the checksums.
    pub sides: PathBuf,
    /// Sizes of the file.
    pub size: IndexSize,
}

impl Place {
    fn sides(&self) -> Sides {
        Sides::new(&self.sides, file_name(&self.path))
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned()
}

impl IndexFile {
    /// Creates an empty file.
    pub fn create(io: Arc<dyn Io>, place: Place) -> io::Result<Self> {
        let sides = place.sides();
        sides.remove(&*io)?;
        let bytes = IndexBytes::create(io, place.path, place.size)?;
        let header = Header { count: 1, ..Header::default() };
        let sums = OnceLock::from(Some(Sums::empty(place.size)));
        Ok(Self { bytes, header, unsynced: AtomicBool::new(true), damaged: AtomicBool::new(false), sides, sums })
    }

    /// Opens a file as it was when its next entry had this number; tells what its header says now.
    pub fn open(io: Arc<dyn Io>, place: Place, count: u32) -> io::Result<(Self, Header)> {
        let sides = place.sides();
        let bytes = IndexBytes::open(io, place.path, place.size)?;
        let found = bytes.header()?;
        let (header, sums) = match sides.find(count) {
            Vouched::For(header) => (header, OnceLock::new()),
            Vouched::Never | Vouched::Unfit if found.count < count => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "keys are missing in the file"));
            }
            vouched => {
                if vouched == Vouched::Unfit {
                    tracing::warn!(file = %bytes.path().display(), "the checksums of an index file are lost: they are made anew");
                }
                (Header { count, ..found }, OnceLock::from(None))
            }
        };
        let (unsynced, damaged) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok((Self { bytes, header, unsynced, damaged, sides, sums }, found))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.bytes.path()
    }

    /// Name of the file.
    pub fn name(&self) -> String {
        file_name(self.bytes.path())
    }

    /// Keys that still fit.
    pub fn room(&self) -> usize {
        self.bytes.size.entries.saturating_sub(self.header.count) as usize
    }

    /// Whether somebody has met damage that is not mended.
    pub fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Acquire)
    }

    /// Whether the checksums are known to be missing.
    pub fn is_unvouched(&self) -> bool {
        matches!(self.sums.get(), Some(None))
    }

    /// Makes file and checksums durable, if they are not.
    pub fn sync(&self) -> io::Result<()> {
        if !self.unsynced.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let synced = self.bytes.sync().and_then(|()| match self.sums.get() {
            Some(Some(sums)) => self.sides.store(self.bytes.io(), &self.header, sums),
            _ => Ok(()),
        });
        synced.inspect_err(|_| self.unsynced.store(true, Ordering::Release))
    }

    /// A checkpoint relies on the last [`Self::sync`] from now on.
    pub fn keep(&self) {
        self.sides.keep();
    }

    /// Removes file and checksums.
    pub fn remove(&self) -> io::Result<()> {
        self.bytes.io().remove(self.bytes.path())?;
        self.sides.remove(self.bytes.io())
    }

    /// Writes the header as it should be.
    pub fn set_header(&self) -> io::Result<()> {
        self.unsynced.store(true, Ordering::Release);
        self.bytes.set_header(&self.header)
    }

    /// Goes through the whole file, sets right what is wrong in it, and knows its checksums afterwards.
    pub fn mend(&mut self, log: &Segments) -> io::Result<Mended> {
        self.unsynced.store(true, Ordering::Release);
        let known = self.sums().as_ref();
        let (sums, header, mended) = mend::mend(&self.bytes, self.header, known, log)?;
        self.header = header;
        self.sums = OnceLock::from(Some(sums));
        self.damaged.store(false, Ordering::Release);
        Ok(mended)
    }

    fn sums(&self) -> &Option<Sums> {
        self.sums.get_or_init(|| {
            let sums = self.sides.load(self.bytes.size, &self.header);
            if sums.is_none() {
                tracing::warn!(file = %self.path().display(), "the checksums of an index file are damaged: they are made anew");
            }
            sums
        })
    }

    /// Compares a part of the file if this process has not done so; hands out its bytes if it read them.
    fn check(&self, part: Part) -> Result<Option<Vec<u8>>, Trouble> {
        let Some(sums) = self.sums().as_ref().filter(|sums| !sums.is_checked(part)) else { return Ok(None) };
        let bytes = match part {
            Part::Page(page) => self.bytes.page(page)?,
            Part::Block(block) => self.bytes.block(block, self.header.count)?,
        };
        if sums.check(part, &bytes) { Ok(Some(bytes)) } else { Err(self.damage()) }
    }

    fn damage(&self) -> Trouble {
        self.damaged.store(true, Ordering::Release);
        Trouble::Damaged
    }

    /// Adds keys, which fit; on an error the file's header still says what it said.
    pub fn merge(&mut self, keys: &[Key]) -> Result<(), Trouble> {
        let (Some(first), Some(last)) = (keys.first(), keys.last()) else { return Ok(()) };
        if self.sums().is_none() {
            return Err(self.damage());
        }
        self.unsynced.store(true, Ordering::Release);
        let mut header = self.header;
        if header.count <= 1 {
            header.begin_physical = first.physical_offset;
            header.begin_timestamp = first.store_timestamp;
        }
        let slot = |key: &Key| self.bytes.size.slot_of(key.hash);
        let mut order: Vec<(u32, u32)> =
            keys.iter().enumerate().map(|(at, key)| (slot(key), u32::try_from(at).unwrap_or(0))).collect();
        order.sort_unstable();
        let (pages, previous, fresh) = self.chain(&order, keys.len())?;
        let mut entries = Vec::with_capacity(keys.len() * ENTRY_LEN);
        for (key, previous) in keys.iter().zip(previous) {
            entries.extend_from_slice(&IndexEntry::of(key, header.begin_timestamp, previous).encode());
        }
        self.bytes.set_entries(header.count, &entries)?;
        self.bytes.sync()?;
        for (page, bytes) in &pages {
            self.bytes.set_page(*page, bytes)?;
        }
        header.end_physical = last.physical_offset;
        header.end_timestamp = last.store_timestamp;
        header.slots_used = header.slots_used.saturating_add(fresh);
        header.count += u32::try_from(keys.len()).unwrap_or(0);
        self.bytes.set_header(&header)?;
        if let Some(Some(sums)) = self.sums.get_mut() {
            pages.iter().for_each(|(page, bytes)| sums.set(Part::Page(*page), bytes));
            sums.append(self.header.count, &entries);
        }
        self.header = header;
        Ok(())
    }

    /// Links keys, sorted by slot, into their slots' chains: changed pages of slots, each key's predecessor, and how
    /// many slots were empty.
    #[expect(clippy::type_complexity, reason = "three results of one pass")]
    fn chain(&self, order: &[(u32, u32)], keys: usize) -> Result<(Vec<(u32, Vec<u8>)>, Vec<u32>, u32), Trouble> {
        let mut pages: Vec<(u32, Vec<u8>)> = Vec::new();
        let mut previous = vec![0; keys];
        let mut fresh = 0;
        let mut before: Option<(u32, u32)> = None;
        for (slot, at) in order {
            let page = slot / PAGE_SLOTS;
            if pages.last().is_none_or(|last| last.0 != page) {
                let bytes = match self.check(Part::Page(page))? {
                    Some(bytes) => bytes,
                    None => self.bytes.page(page)?,
                };
                pages.push((page, bytes));
            }
            let place = (slot % PAGE_SLOTS) as usize * SLOT_LEN;
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
    /// perhaps with other keys, and what they say of their chains is then gone. The slots are then what they were when the
    /// checksums were written.
    pub fn settle(&self) -> Result<(), Trouble> {
        let mut changed = false;
        for page in 0..self.bytes.size.pages() {
            let mut bytes = self.bytes.page(page)?;
            let mut astray = false;
            for cell in bytes.as_chunks_mut::<SLOT_LEN>().0 {
                let newest = u32::from_be_bytes(*cell);
                if newest >= self.header.count {
                    *cell = self.settled(newest)?.to_be_bytes();
                    astray = true;
                }
            }
            if self.sums().as_ref().is_some_and(|sums| !sums.check(Part::Page(page), &bytes)) {
                return Err(self.damage());
            }
            if astray {
                self.bytes.set_page(page, &bytes)?;
                changed = true;
            }
        }
        if changed { Ok(self.bytes.sync()?) } else { Ok(()) }
    }

    /// The newest entry of a chain that the header vouches for.
    fn settled(&self, mut number: u32) -> io::Result<u32> {
        while number >= self.header.count && number < self.bytes.size.entries {
            let entry = self.bytes.entry(number)?;
            if entry.previous >= number {
                return Ok(0);
            }
            number = entry.previous;
        }
        Ok(if number >= self.bytes.size.entries { 0 } else { number })
    }

    /// Finds log offsets of records that may have the key, the newest first, until `found` says stop.
    pub fn find(&self, hash: u32, begin: i64, end: i64, found: &mut dyn FnMut(u64) -> bool) -> Result<bool, Trouble> {
        let slot = self.bytes.size.slot_of(hash);
        self.check(Part::Page(slot / PAGE_SLOTS))?;
        let mut number = self.settled(self.bytes.slot(slot)?)?;
        while number > 0 {
            self.check(Part::Block(block_of(number)))?;
            let entry = self.bytes.entry(number)?;
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
}
