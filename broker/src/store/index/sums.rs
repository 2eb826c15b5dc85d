//! Checksums of an index file, and the files in which they are kept: RocketMQ's form has no place for them.
//!
//! An index file has two of them, `orbitmq.index/<its name>.0` and `.1`: in the index's own directory RocketMQ would take them
//! for index files. They are written in turn, so that the one that belongs to the last checkpoint is whole at any moment.
//!
//! ```text
//! magic 8 | the index file's header 40 | pages of slots 4 | blocks of entries 4 | checksum of the sums 4 |
//! checksum of all before 4 | sum of a page 4 … | sum of a block 4 …
//! ```

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::store::index::form::{BLOCK_ENTRIES, ENTRY_LEN, HEADER_LEN, Header, SLOT_LEN, block_of, blocks, first_of};
use crate::store::io::{Io, write_all_at};
use crate::store::open::ignore_missing;
use crate::store::options::IndexSize;

/// Directory of the files with checksums, beside that of the index.
pub const DIR: &str = "orbitmq.index";
const MAGIC: &[u8; 8] = b"ORBITIX\x01";
const HEAD_LEN: usize = 8 + HEADER_LEN + 16;

/// Checksums of an index file: of each page of slots, and of each block of entries before the next entry.
#[derive(Debug, Default)]
pub struct Sums {
    pages: Vec<Sum>,
    blocks: Vec<Sum>,
}

#[derive(Debug)]
struct Sum {
    value: u32,
    /// Whether this process wrote the bytes, or has compared them.
    checked: AtomicBool,
}

/// What one checksum stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A page of slots.
    Page(u32),
    /// A block of entries.
    Block(u32),
}

impl Sum {
    fn known(value: u32) -> Self {
        Self { value, checked: AtomicBool::new(true) }
    }
}

impl Sums {
    /// Checksums of a file without an entry.
    pub fn empty(size: IndexSize) -> Self {
        let sum = |page| crc32fast::hash(&vec![0; size.slots_of(page) as usize * SLOT_LEN]);
        let full = if size.pages() > 1 { sum(0) } else { 0 };
        let last = size.pages().saturating_sub(1);
        let pages = (0..size.pages()).map(|page| Sum::known(if page == last { sum(page) } else { full }));
        Self { pages: pages.collect(), blocks: Vec::new() }
    }

    fn sum(&self, part: Part) -> Option<&Sum> {
        match part {
            Part::Page(page) => self.pages.get(page as usize),
            Part::Block(block) => self.blocks.get(block as usize),
        }
    }

    /// Whether this process knows that the bytes are as they should be.
    pub fn is_checked(&self, part: Part) -> bool {
        self.sum(part).is_some_and(|sum| sum.checked.load(Ordering::Relaxed))
    }

    /// Whether the bytes are as they should be.
    pub fn fits(&self, part: Part, bytes: &[u8]) -> bool {
        self.sum(part).is_some_and(|sum| sum.value == crc32fast::hash(bytes))
    }

    /// The same for bytes that are in the file: they need not be compared again.
    pub fn check(&self, part: Part, bytes: &[u8]) -> bool {
        let fits = self.fits(part, bytes);
        if let Some(sum) = self.sum(part).filter(|_| fits) {
            sum.checked.store(true, Ordering::Relaxed);
        }
        fits
    }

    /// The bytes are these from now on.
    pub fn set(&mut self, part: Part, bytes: &[u8]) {
        let (sums, at) = match part {
            Part::Page(page) => (&mut self.pages, page as usize),
            Part::Block(block) => (&mut self.blocks, block as usize),
        };
        let sum = Sum::known(crc32fast::hash(bytes));
        match sums.get_mut(at) {
            Some(place) => *place = sum,
            // In order, as a new file is gone through.
            None => sums.push(sum),
        }
    }

    /// Entries follow, the first of which has this number. What stood before them in the block need not be read for that.
    pub fn append(&mut self, number: u32, entries: &[u8]) {
        let room = (first_of(block_of(number) + 1) - number) as usize * ENTRY_LEN;
        let begun = number > first_of(block_of(number));
        let (head, rest) = if begun { entries.split_at(room.min(entries.len())) } else { ([].as_slice(), entries) };
        if let Some(last) = self.blocks.last_mut().filter(|_| begun) {
            let mut hasher = crc32fast::Hasher::new_with_initial(last.value);
            hasher.update(head);
            last.value = hasher.finalize();
        }
        let new = rest.chunks(BLOCK_ENTRIES as usize * ENTRY_LEN);
        self.blocks.extend(new.map(|block| Sum::known(crc32fast::hash(block))));
    }

    fn encode(&self, header: &Header) -> Vec<u8> {
        let all = || self.pages.iter().chain(&self.blocks);
        let mut sums = Vec::with_capacity(all().count() * 4);
        all().for_each(|sum| sums.extend_from_slice(&sum.value.to_be_bytes()));
        let mut bytes = Vec::with_capacity(HEAD_LEN + sums.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&header.encode());
        for len in [self.pages.len(), self.blocks.len()] {
            bytes.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
        }
        bytes.extend_from_slice(&crc32fast::hash(&sums).to_be_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
        bytes.extend_from_slice(&sums);
        bytes
    }

    /// Reads the stable form; `None` if a byte of it is wrong or it does not belong to that header.
    fn decode(bytes: &[u8], size: IndexSize, header: &Header) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<HEAD_LEN>()?;
        let pages = size.pages() as usize;
        let whole = decode_head(head)? == *header
            && word(head, 8 + HEADER_LEN)? == size.pages()
            && word(head, 12 + HEADER_LEN)? == blocks(header.count)
            && word(head, 16 + HEADER_LEN)? == crc32fast::hash(rest)
            && rest.len() == (pages + blocks(header.count) as usize) * 4;
        let sum = |raw: &[u8; 4]| Sum { value: u32::from_be_bytes(*raw), checked: AtomicBool::new(false) };
        let all = rest.as_chunks::<4>().0;
        let (pages, blocks) = all.split_at_checked(pages).filter(|_| whole)?;
        Some(Self { pages: pages.iter().map(sum).collect(), blocks: blocks.iter().map(sum).collect() })
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk::<4>().map(|raw| u32::from_be_bytes(*raw))
}

/// The header of the index file, if the bytes are whole.
fn decode_head(head: &[u8; HEAD_LEN]) -> Option<Header> {
    let (covered, sum) = head.split_last_chunk::<4>()?;
    let whole = u32::from_be_bytes(*sum) == crc32fast::hash(covered);
    let header = covered.strip_prefix(MAGIC)?.first_chunk::<HEADER_LEN>()?;
    whole.then(|| Header::decode(header))
}

/// The two files with checksums of one index file.
#[derive(Debug)]
pub struct Sides {
    dir: PathBuf,
    name: String,
    /// Whether it is the second that the last checkpoint relies on.
    kept: AtomicBool,
    /// Whether it is the second that was written last.
    written: AtomicBool,
}

/// What is known of an index file at opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vouched {
    /// Its header; the rest is read when it is needed.
    For(Header),
    /// Nothing: no file of checksums was ever written.
    Never,
    /// Nothing: the files of checksums are damaged, or of another moment.
    Unfit,
}

impl Sides {
    /// The files for an index file of a name, in a directory that need not exist.
    pub fn new(dir: &Path, name: String) -> Self {
        Self { dir: dir.to_owned(), name, kept: AtomicBool::new(true), written: AtomicBool::new(true) }
    }

    fn path(&self, second: bool) -> PathBuf {
        self.dir.join(format!("{}.{}", self.name, u8::from(second)))
    }

    /// Finds the file that belongs to a number of entries.
    pub fn find(&self, count: u32) -> Vouched {
        let mut found = Vouched::Never;
        for second in [false, true] {
            let mut head = [0; HEAD_LEN];
            let read =
                std::fs::File::open(self.path(second)).and_then(|file| crate::store::io::read_at(&file, &mut head, 0));
            match read {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                _ => found = Vouched::Unfit,
            }
            if let Some(header) = decode_head(&head).filter(|header| header.count == count) {
                self.kept.store(second, Ordering::Relaxed);
                self.written.store(second, Ordering::Relaxed);
                return Vouched::For(header);
            }
        }
        found
    }

    /// Reads the checksums that were found; `None` if they are damaged.
    pub fn load(&self, size: IndexSize, header: &Header) -> Option<Sums> {
        let bytes = std::fs::read(self.path(self.kept.load(Ordering::Relaxed)));
        Sums::decode(&bytes.ok()?, size, header)
    }

    /// Writes checksums for the next checkpoint; those of the last one stay.
    pub fn store(&self, io: &dyn Io, header: &Header, sums: &Sums) -> io::Result<()> {
        let second = !self.kept.load(Ordering::Relaxed);
        let path = self.path(second);
        let new_dir = !self.dir.exists();
        let new_file = new_dir || !path.exists();
        if new_dir {
            std::fs::create_dir_all(&self.dir)?;
        }
        let bytes = sums.encode(header);
        let file = io.create(&path)?;
        io.set_len(&file, &path, bytes.len() as u64)?;
        write_all_at(io, &file, &path, &bytes, 0)?;
        io.sync_data(&file, &path)?;
        if new_file {
            io.sync_dir(&self.dir)?;
        }
        if new_dir {
            self.dir.parent().map_or(Ok(()), |root| io.sync_dir(root))?;
        }
        self.written.store(second, Ordering::Relaxed);
        Ok(())
    }

    /// A checkpoint relies on what was written last.
    pub fn keep(&self) {
        self.kept.store(self.written.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Removes both files.
    pub fn remove(&self, io: &dyn Io) -> io::Result<()> {
        [false, true].into_iter().try_for_each(|second| io.remove(&self.path(second)).or_else(ignore_missing))
    }
}

/// Removes files with checksums of index files that are not among the given ones.
pub fn remove_others(io: &dyn Io, dir: &Path, is_kept: impl Fn(&str) -> bool) -> io::Result<()> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let of = name.strip_suffix(".0").or_else(|| name.strip_suffix(".1"));
        if of.is_some_and(|of| !is_kept(of)) {
            io.remove(&dir.join(&name))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
