//! What one topic remembers: keys of messages, and where the first of each was stored, in the order of the log.
//!
//! A key is kept as 128 bits of a hash that is drawn anew with each window: none is taken for another by accident or by design.
//! An entry takes 48 bytes, and 6 to 12 of the table that finds it; both grow by doubling.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use orbitmq_common::protocol::body::dedup::Dedup;

use crate::store::tail::Appended;

/// Where a message lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct First {
    /// Its offset in the log.
    pub physical: u64,
    /// Its offset in its queue, or in that of the messages that wait for their time or their transaction's end.
    pub queue_offset: u64,
    /// The queue of its topic.
    pub queue: i32,
    /// Bytes of its record.
    pub size: u32,
}

impl First {
    /// Of a message that was appended for a queue of its topic.
    pub fn new(appended: &Appended, queue: i32) -> Self {
        let size = u32::try_from(appended.end - appended.physical_offset).unwrap_or(u32::MAX);
        Self { physical: appended.physical_offset, queue_offset: appended.queue_offset, queue, size }
    }

    /// Log offset behind it: what an acknowledgement waits for.
    pub fn end(&self) -> u64 {
        self.physical.saturating_add(u64::from(self.size))
    }
}

/// Entries forgotten in one go for their age: a topic that was silent must not hold its next sender up.
const EXPIRE: usize = 1_024;

/// A key's fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Print(u128);

impl Print {
    /// What the table is searched by.
    fn hash(self) -> u64 {
        u64::try_from(self.0 >> 64).unwrap_or(0)
    }
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    print: Print,
    /// When it was stored, ms since the epoch.
    time: i64,
    first: First,
}

/// The newest messages of a topic.
#[derive(Debug)]
pub struct Window {
    bounds: Dedup,
    hashers: [RandomState; 2],
    entries: VecDeque<Entry>,
    /// Number of the first entry; numbers begin again behind 2^32.
    base: u32,
    numbers: HashTable<u32>,
    /// What was stored before that time is not known, ms since the epoch.
    oldest: i64,
}

impl Window {
    /// Remembers nothing yet.
    pub fn new(bounds: Dedup) -> Self {
        let hashers = [RandomState::new(), RandomState::new()];
        Self { bounds, hashers, entries: VecDeque::new(), base: 0, numbers: HashTable::new(), oldest: i64::MIN }
    }

    /// Time and number that bound it.
    pub fn bounds(&self) -> Dedup {
        self.bounds
    }

    /// Fingerprint of a key.
    pub fn print(&self, key: &str) -> Print {
        let [one, other] = &self.hashers;
        Print(u128::from(one.hash_one(key)) << 64 | u128::from(other.hash_one(key)))
    }

    /// Where the message with this key was stored.
    pub fn get(&self, print: Print) -> Option<First> {
        let entry = |number: &u32| at(&self.entries, self.base, *number).filter(|entry| entry.print == print);
        let number = self.numbers.find(print.hash(), |number| entry(number).is_some())?;
        entry(number).filter(|entry| entry.time >= self.oldest).map(|entry| entry.first)
    }

    /// A message was stored, behind all others, at a time in ms. If its key is known it was forgotten in between, or the topic took
    /// duplicates then: the newer place counts, and the older one waits without a number for its end. Returns whether another had to
    /// be forgotten before its time.
    pub fn insert(&mut self, print: Print, time: i64, first: First) -> bool {
        let known = self.numbers.find_entry(print.hash(), |number| {
            at(&self.entries, self.base, *number).is_some_and(|entry| entry.print == print)
        });
        if let Ok(known) = known {
            known.remove();
        }
        let is_full = self.entries.len() >= self.bounds.count.max(1);
        let is_early = is_full && self.entries.front().is_some_and(|entry| entry.time >= self.oldest);
        if is_full {
            self.forget_oldest();
        }
        let number = self.base.wrapping_add(u32::try_from(self.entries.len()).unwrap_or(0));
        self.entries.push_back(Entry { print, time, first });
        let (entries, base) = (&self.entries, self.base);
        self.numbers.insert_unique(print.hash(), number, |number| {
            at(entries, base, *number).map_or(0, |entry| entry.print.hash())
        });
        is_early
    }

    /// What is too old is not known from now on. Takes some of it out; false: there is more.
    pub fn expire(&mut self, now: i64) -> bool {
        let window = i64::try_from(self.bounds.window.as_millis()).unwrap_or(i64::MAX);
        self.oldest = now.saturating_sub(window);
        for _ in 0..EXPIRE {
            if self.entries.front().is_none_or(|entry| entry.time >= self.oldest) {
                self.give_back();
                return true;
            }
            self.forget_oldest();
        }
        false
    }

    /// Gives back memory of which most is not needed.
    fn give_back(&mut self) {
        let wanted = self.entries.len().saturating_mul(2).saturating_add(64);
        if self.entries.capacity() > wanted.saturating_mul(2) {
            self.entries.shrink_to(wanted);
            let (entries, base) = (&self.entries, self.base);
            self.numbers.shrink_to(wanted, |number| at(entries, base, *number).map_or(0, |entry| entry.print.hash()));
        }
    }

    fn forget_oldest(&mut self) {
        let Some(oldest) = self.entries.pop_front() else { return };
        let base = self.base;
        if let Ok(found) = self.numbers.find_entry(oldest.print.hash(), |number| *number == base) {
            found.remove();
        }
        self.base = base.wrapping_add(1);
    }

    /// Messages that are remembered.
    pub fn count(&self) -> usize {
        self.numbers.len()
    }

    /// Memory that it takes.
    pub fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.numbers.allocation_size()
    }
}

fn at(entries: &VecDeque<Entry>, base: u32, number: u32) -> Option<&Entry> {
    entries.get(usize::try_from(number.wrapping_sub(base)).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests;
