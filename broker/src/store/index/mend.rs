//! Going through an index file from its first entry to its last: entries that are damaged come from the log, links and slots from
//! the entries.
//!
//! An entry's slot follows from its hash, and the entry before it in the slot is the last one met. So whole entries give all
//! links and slots. Entries follow the log's order, so the neighbours of a damaged block tell which records its keys are of;
//! its checksum tells which of them is the first. Without checksums a block counts as damaged if its links do not fit.

use std::io;

use crate::store::index::bytes::IndexBytes;
use crate::store::index::form::{
    BLOCK_ENTRIES, ENTRY_LEN, Header, IndexEntry, PAGE_SLOTS, SLOT_LEN, block_of, blocks, first_of,
};
use crate::store::index::sums::{Part, Sums};
use crate::store::keys::{Key, keys_of};
use crate::store::scan::{self, Trust};
use crate::store::segments::Segments;

/// Keys of one record at most of which it must be found out which is the first of a block.
const MAX_SHIFT: usize = 256;

/// What was wrong with an index file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mended {
    /// Blocks of entries that came from the log.
    pub blocks: u32,
    /// Blocks of which links were wrong.
    pub links: u32,
    /// Pages of slots.
    pub pages: u32,
    /// Entries of which the log has no record any more.
    pub gone: u32,
}

/// Mends an index file; returns its checksums, its header and what was wrong.
pub fn mend(
    bytes: &IndexBytes,
    header: Header,
    known: Option<&Sums>,
    log: &Segments,
) -> io::Result<(Sums, Header, Mended)> {
    let mut mending = Mending {
        bytes,
        log,
        header,
        known,
        sums: Sums::default(),
        newest: vec![0; bytes.size.slots as usize],
        undo: Vec::new(),
        before: None,
        mended: Mended::default(),
    };
    mending.entries()?;
    // Entries before the slots that lead to them, as always.
    bytes.sync()?;
    mending.slots()?;
    Ok((mending.sums, mending.header, mending.mended))
}

struct Mending<'a> {
    bytes: &'a IndexBytes,
    log: &'a Segments,
    header: Header,
    known: Option<&'a Sums>,
    sums: Sums,
    /// The newest entry of each slot so far.
    newest: Vec<u32>,
    /// Slots as they were before the last entries were linked.
    undo: Vec<(u32, u32)>,
    /// The last entry so far, and how many there are with its log offset.
    before: Option<(IndexEntry, usize)>,
    mended: Mended,
}

/// Damaged entries: the numbers from one to before another, and what the entry behind them says.
#[derive(Clone, Copy)]
struct Gap {
    first: u32,
    end: u32,
    /// Log offsets of their keys, both inclusive.
    from: u64,
    upto: u64,
    /// Entries with the same log offset as the last that lie behind them.
    behind: usize,
}

impl Gap {
    fn len(self) -> usize {
        self.end.saturating_sub(self.first) as usize
    }
}

/// Keys that the log has for a gap, and of these those of its first and of its last log offset.
#[derive(Clone, Copy, Default)]
struct There {
    all: usize,
    of_first: usize,
    of_last: usize,
}

/// How the keys that the log has from the gap's first offset on become its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fit {
    /// Keys to pass over: they are entries before the gap, or of the file before.
    skip: usize,
    /// Entries of which the record is gone.
    gone: u32,
}

fn decode(raw: &[u8]) -> Vec<IndexEntry> {
    raw.as_chunks::<ENTRY_LEN>().0.iter().map(IndexEntry::decode).collect()
}

fn encode(entries: &[IndexEntry]) -> Vec<u8> {
    entries.iter().flat_map(|entry| entry.encode()).collect()
}

impl Mending<'_> {
    fn entries(&mut self) -> io::Result<()> {
        let end = blocks(self.header.count);
        let mut block = 0;
        while block < end {
            let raw = self.bytes.block(block, self.header.count)?;
            if self.is_sound(block, &raw) {
                self.keep(block, &raw)?;
                block += 1;
                continue;
            }
            let mut next = block + 1;
            // Without checksums nothing can be said of a block before those before it are right.
            while let Some(known) = self.known.filter(|_| next < end) {
                if known.fits(Part::Block(next), &self.bytes.block(next, self.header.count)?) {
                    break;
                }
                next += 1;
            }
            if !self.restore(block, next)? {
                self.keep(block, &raw)?;
            }
            block = next;
        }
        Ok(())
    }

    fn is_sound(&mut self, block: u32, raw: &[u8]) -> bool {
        if let Some(known) = self.known {
            return known.fits(Part::Block(block), raw);
        }
        let mut entries = decode(raw);
        let before = self.before.map_or(self.header.begin_physical, |before| before.0.physical_offset);
        let in_order = entries
            .iter()
            .try_fold(before, |before, entry| (entry.physical_offset >= before).then_some(entry.physical_offset));
        let linked = !self.link(first_of(block), &mut entries);
        self.unlink();
        linked && in_order.is_some_and(|last| last <= self.header.end_physical)
    }

    /// Takes a block as it is, but for its links.
    fn keep(&mut self, block: u32, raw: &[u8]) -> io::Result<()> {
        let mut entries = decode(raw);
        if !self.link(first_of(block), &mut entries) {
            self.sums.set(Part::Block(block), raw);
        } else {
            self.mended.links += 1;
            let raw = encode(&entries);
            self.bytes.set_entries(first_of(block), &raw)?;
            self.sums.set(Part::Block(block), &raw);
        }
        self.follow(&entries);
        Ok(())
    }

    /// Links entries to those before them in their slots; tells whether a link was another.
    fn link(&mut self, first: u32, entries: &mut [IndexEntry]) -> bool {
        self.undo.clear();
        let mut changed = false;
        for (number, entry) in (first..).zip(entries) {
            let slot = self.bytes.size.slot_of(entry.hash);
            let Some(newest) = self.newest.get_mut(slot as usize) else { continue };
            changed |= entry.previous != *newest;
            entry.previous = *newest;
            self.undo.push((slot, *newest));
            *newest = number;
        }
        changed
    }

    /// Takes back what was linked last.
    fn unlink(&mut self) {
        while let Some((slot, before)) = self.undo.pop() {
            if let Some(newest) = self.newest.get_mut(slot as usize) {
                *newest = before;
            }
        }
    }

    fn follow(&mut self, entries: &[IndexEntry]) {
        for entry in entries {
            let same = self.before.filter(|before| before.0.physical_offset == entry.physical_offset);
            self.before = Some((*entry, same.map_or(0, |before| before.1) + 1));
        }
    }

    /// Writes blocks anew from the log; false if it cannot be told which keys are theirs, and there are no checksums.
    fn restore(&mut self, block: u32, next: u32) -> io::Result<bool> {
        let gap = self.gap(block, next)?;
        let Some(fit) = self.fit(gap)? else {
            if self.known.is_none() {
                return Ok(false);
            }
            let (file, first, end) = (self.bytes.path().display(), gap.first, gap.end);
            return Err(io::Error::other(format!(
                "entries {first} to {end} of the index file {file} are damaged and the log does not say which keys they had: \
                 stop the broker and delete the directory of the index, which is then built anew"
            )));
        };
        let filler = self
            .before
            .map_or_else(|| IndexEntry { physical_offset: gap.from, ..IndexEntry::default() }, |before| before.0);
        let mut entries = vec![filler; fit.gone.min(BLOCK_ENTRIES) as usize];
        // More than a block of them is written as it comes.
        let mut gone = fit.gone - u32::try_from(entries.len()).unwrap_or(0);
        let (mut number, mut skip) = (gap.first, fit.skip);
        let begin = self.header.begin_timestamp;
        while gone > 0 {
            self.fill(&mut number, gap.end, &mut entries)?;
            let more = gone.min(BLOCK_ENTRIES);
            entries.extend(std::iter::repeat_n(filler, more as usize));
            gone -= more;
        }
        self.fill(&mut number, gap.end, &mut entries)?;
        let (log, from, upto) = (self.log, gap.from, gap.upto);
        walk(log, from, upto, &mut |key| {
            if skip > 0 {
                skip -= 1;
                return Ok(());
            }
            entries.push(IndexEntry::of(&key, begin, 0));
            self.fill(&mut number, gap.end, &mut entries)
        })?;
        if number < gap.end {
            return Err(io::Error::other("the log changed while an index file was mended"));
        }
        self.mended.blocks += next - block;
        self.mended.gone += fit.gone;
        Ok(true)
    }

    /// Writes the next block of a gap as soon as there are entries for it.
    fn fill(&mut self, number: &mut u32, end: u32, entries: &mut Vec<IndexEntry>) -> io::Result<()> {
        loop {
            let block = block_of(*number);
            let wanted = first_of(block + 1).min(end).saturating_sub(*number) as usize;
            if wanted == 0 || entries.len() < wanted {
                return Ok(());
            }
            let mut ready: Vec<IndexEntry> = entries.drain(..wanted).collect();
            self.link(*number, &mut ready);
            let raw = encode(&ready);
            self.bytes.set_entries(*number, &raw)?;
            self.sums.set(Part::Block(block), &raw);
            self.follow(&ready);
            *number += u32::try_from(wanted).unwrap_or(0);
        }
    }

    fn gap(&self, block: u32, next: u32) -> io::Result<Gap> {
        let (first, end) = (first_of(block), first_of(next).min(self.header.count));
        let following = if end < self.header.count { self.bytes.block(next, self.header.count)? } else { Vec::new() };
        let following = decode(&following);
        let upto = following.first().map_or(self.header.end_physical, |entry| entry.physical_offset);
        let behind = following.iter().take_while(|entry| entry.physical_offset == upto).count();
        let from = self.before.map_or(self.header.begin_physical, |before| before.0.physical_offset);
        Ok(Gap { first, end, from, upto, behind })
    }

    /// Finds out which keys of the log are those of a gap.
    fn fit(&mut self, gap: Gap) -> io::Result<Option<Fit>> {
        let first_len = first_of(block_of(gap.first) + 1).min(gap.end).saturating_sub(gap.first) as usize;
        let (mut head, mut there) = (Vec::with_capacity(first_len + MAX_SHIFT), There::default());
        walk(self.log, gap.from, gap.upto, &mut |key| {
            there.all += 1;
            there.of_first += usize::from(key.physical_offset == gap.from);
            there.of_last += usize::from(key.physical_offset == gap.upto);
            if head.len() < first_len + MAX_SHIFT {
                head.push(IndexEntry::of(&key, self.header.begin_timestamp, 0));
            }
            Ok(())
        })?;
        if let Some(known) = self.known {
            // None if the log itself has lost keys.
            let trials = (there.all + 1).saturating_sub(gap.len());
            for (skip, keys) in head.windows(first_len.max(1)).take(trials).enumerate() {
                let mut entries = keys.to_vec();
                self.link(gap.first, &mut entries);
                self.unlink();
                if known.fits(Part::Block(block_of(gap.first)), &encode(&entries)) {
                    return Ok(Some(Fit { skip, gone: 0 }));
                }
            }
        }
        Ok(self.fit_by_number(gap, there))
    }

    /// The same by the number of keys alone.
    fn fit_by_number(&self, gap: Gap, there: There) -> Option<Fit> {
        let begun = self.before.map_or(0, |before| before.1).min(there.of_first);
        let between = there.all.saturating_sub(begun + gap.behind.min(there.of_last));
        if between > gap.len() {
            // The first keys of the file's first record may be in the file before.
            return self.before.is_none().then_some(Fit { skip: between - gap.len(), gone: 0 });
        }
        let gone = u32::try_from(gap.len() - between).unwrap_or(u32::MAX);
        (gone == 0 || self.known.is_some()).then_some(Fit { skip: begun, gone })
    }

    /// Brings the slots level with the entries.
    fn slots(&mut self) -> io::Result<()> {
        for (page, slots) in (0..).zip(self.newest.chunks(PAGE_SLOTS as usize)) {
            let mut right = Vec::with_capacity(slots.len() * SLOT_LEN);
            slots.iter().for_each(|slot| right.extend_from_slice(&slot.to_be_bytes()));
            if self.bytes.page(page)? != right {
                self.bytes.set_page(page, &right)?;
                self.mended.pages += 1;
            }
            self.sums.set(Part::Page(page), &right);
        }
        let used = self.newest.iter().filter(|slot| **slot != 0).count();
        self.header.slots_used = u32::try_from(used).unwrap_or(u32::MAX);
        if self.bytes.header()? != self.header { self.bytes.set_header(&self.header) } else { Ok(()) }
    }
}

/// Hands out keys of the log's records from one offset to another, both inclusive, passing over damage.
fn walk(log: &Segments, from: u64, upto: u64, visit: &mut dyn FnMut(Key) -> io::Result<()>) -> io::Result<()> {
    let mut at = from.max(log.start());
    loop {
        let mut failure = None;
        let (stopped, bad) = scan::walk(log, at, log.end(), Trust::Checksum, &mut |record| {
            if record.physical_offset > upto {
                return false;
            }
            keys_of(record, &mut |key| {
                if failure.is_none() {
                    failure = visit(key).err();
                }
            });
            failure.is_none()
        });
        if let Some(error) = failure {
            return Err(error);
        }
        match bad.and_then(|_| scan::find_sound(log, stopped + 1)).filter(|next| *next <= upto) {
            Some(next) => at = next,
            None => return Ok(()),
        }
    }
}
