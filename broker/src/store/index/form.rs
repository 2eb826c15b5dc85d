//! The stable form of an index file, which is RocketMQ's: a header, a table of hash slots, entries chained from the newest back.
//!
//! ```text
//! first time 8 | last time 8 | first log offset 8 | last log offset 8 | slots used 4 | next entry 4
//! slot: number of its newest entry 4 …
//! entry: hash 4 | log offset 8 | seconds since first time 4 | number of the entry before it in the slot 4 …
//! ```
//! Entries are numbered from 1.

use crate::store::keys::Key;
use crate::store::options::IndexSize;

/// Bytes of the header.
pub const HEADER_LEN: usize = 40;
/// Bytes of a slot.
pub const SLOT_LEN: usize = 4;
/// Bytes of an entry.
pub const ENTRY_LEN: usize = 20;
/// Slots that are read, written and summed at a time.
pub const PAGE_SLOTS: u32 = 1_024;
/// Entries that are summed at a time.
pub const BLOCK_ENTRIES: u32 = 1_024;

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

/// An entry of an index file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IndexEntry {
    /// Hash of topic and key.
    pub hash: u32,
    /// Where the record is.
    pub physical_offset: u64,
    /// Seconds since the header's first time.
    pub seconds: i32,
    /// Number of the entry before it in the slot, 0 for none.
    pub previous: u32,
}

impl IndexSize {
    /// Bytes of every file.
    pub fn file_len(self) -> u64 {
        self.entry_at(self.entries)
    }

    /// The slot of a hash.
    pub fn slot_of(self, hash: u32) -> u32 {
        hash.checked_rem(self.slots).unwrap_or(0)
    }

    /// Where a slot is.
    pub fn slot_at(self, slot: u32) -> u64 {
        HEADER_LEN as u64 + u64::from(slot) * SLOT_LEN as u64
    }

    /// Where an entry is.
    pub fn entry_at(self, number: u32) -> u64 {
        self.slot_at(self.slots) + u64::from(number) * ENTRY_LEN as u64
    }

    /// Pages of slots.
    pub fn pages(self) -> u32 {
        self.slots.div_ceil(PAGE_SLOTS)
    }

    /// Slots of a page.
    pub fn slots_of(self, page: u32) -> u32 {
        PAGE_SLOTS.min(self.slots.saturating_sub(page.saturating_mul(PAGE_SLOTS)))
    }
}

/// The block of an entry.
pub fn block_of(number: u32) -> u32 {
    number.saturating_sub(1) / BLOCK_ENTRIES
}

/// Number of the first entry of a block.
pub fn first_of(block: u32) -> u32 {
    block.saturating_mul(BLOCK_ENTRIES).saturating_add(1)
}

/// Blocks of a file whose next entry has this number.
pub fn blocks(count: u32) -> u32 {
    count.saturating_sub(1).div_ceil(BLOCK_ENTRIES)
}

impl Header {
    /// The stable form.
    pub fn encode(self) -> [u8; HEADER_LEN] {
        let mut raw = [0; HEADER_LEN];
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

    /// Reads the stable form.
    pub fn decode(raw: &[u8; HEADER_LEN]) -> Self {
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

impl IndexEntry {
    /// The entry of a key in a file whose first key has a time, behind another entry of its slot.
    pub fn of(key: &Key, begin_timestamp: i64, previous: u32) -> Self {
        let seconds = (key.store_timestamp - begin_timestamp).max(0) / 1_000;
        Self {
            hash: key.hash,
            physical_offset: key.physical_offset,
            seconds: i32::try_from(seconds).unwrap_or(i32::MAX),
            previous,
        }
    }

    /// The stable form.
    pub fn encode(self) -> [u8; ENTRY_LEN] {
        let [h0, h1, h2, h3] = self.hash.to_be_bytes();
        let [a, b, c, d, e, f, g, h] = self.physical_offset.to_be_bytes();
        let [s0, s1, s2, s3] = self.seconds.to_be_bytes();
        let [p0, p1, p2, p3] = self.previous.to_be_bytes();
        [h0, h1, h2, h3, a, b, c, d, e, f, g, h, s0, s1, s2, s3, p0, p1, p2, p3]
    }

    /// Reads the stable form.
    pub fn decode(raw: &[u8; ENTRY_LEN]) -> Self {
        let [h0, h1, h2, h3, a, b, c, d, e, f, g, h, s0, s1, s2, s3, p0, p1, p2, p3] = *raw;
        Self {
            hash: u32::from_be_bytes([h0, h1, h2, h3]),
            physical_offset: u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            seconds: i32::from_be_bytes([s0, s1, s2, s3]),
            previous: u32::from_be_bytes([p0, p1, p2, p3]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stable_form_reads_back() {
        let header = Header {
            begin_timestamp: -1,
            end_timestamp: 2,
            begin_physical: 3,
            end_physical: 4,
            slots_used: 5,
            count: 6,
        };
        assert_eq!(Header::decode(&header.encode()), header);
        let entry = IndexEntry { hash: 0x0102_0304, physical_offset: 5 << 40, seconds: -2, previous: 7 };
        assert_eq!(IndexEntry::decode(&entry.encode()), entry);
    }

    #[test]
    fn every_entry_has_its_block() {
        assert_eq!((block_of(1), block_of(BLOCK_ENTRIES), block_of(BLOCK_ENTRIES + 1)), (0, 0, 1));
        assert_eq!((first_of(0), first_of(1)), (1, BLOCK_ENTRIES + 1));
        assert_eq!((blocks(1), blocks(2), blocks(BLOCK_ENTRIES + 1), blocks(BLOCK_ENTRIES + 2)), (0, 1, 1, 2));
        let size = IndexSize { slots: 2_500, entries: 10 };
        assert_eq!((size.pages(), size.slots_of(0), size.slots_of(2), size.slots_of(3)), (3, 1_024, 452, 0));
        assert_eq!(size.file_len(), 40 + 2_500 * 4 + 10 * 20);
    }
}
