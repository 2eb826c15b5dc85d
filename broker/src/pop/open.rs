//! The open receipts of one revive queue: what was popped and is neither acknowledged nor given back.
//!
//! A checkpoint is what one pop took from one queue; it is found by lane, first offset and time of the pop. Checkpoints stand
//! in the order of their notes, which says up to where the notes are dealt with, and by the time at which they are due.
//! With its place in the table a checkpoint takes 73 bytes, whether it has one message or 64.

use std::collections::BTreeMap;
use std::hash::BuildHasher;

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use crate::pop::clock::{Doubts, full_seconds};
use crate::pop::slots::{NONE, Slot, Slots};

/// Messages that one checkpoint may have.
pub const MAX_MESSAGES: usize = 64;
/// Width of a bucket of due times, ms: so much later than due a message may come back.
const TICK: i64 = 100;

/// What finds a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The group's lane through the queue.
    pub lane: u32,
    /// First offset.
    pub start: i64,
    /// When it was popped, ms since the epoch.
    pub pop_time: i64,
}

/// What became of an acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acked {
    /// The message was open. [`OpenPops::written`] follows.
    Now,
    /// It was acknowledged before.
    Before,
    /// The receipt's time is over, or there is no such receipt.
    Unknown,
}

/// A checkpoint whose time is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Its key.
    pub key: Key,
    /// When it was due, ms since the epoch.
    pub at: i64,
    /// Offsets of its open messages.
    pub offsets: Vec<i64>,
}

/// The open receipts.
#[derive(Debug)]
pub struct OpenPops {
    slots: Slots,
    table: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// Ends of the order of notes.
    first: u32,
    last: u32,
    /// First slot of each bucket of due times.
    due: BTreeMap<i64, u32>,
    /// Distances of the messages from the first offset, of checkpoints with gaps.
    gaps: HashMap<u32, Box<[u32]>>,
    receipts: u64,
    /// About those that are no longer open.
    pub doubts: Doubts,
}

impl Default for OpenPops {
    fn default() -> Self {
        Self {
            slots: Slots::default(),
            table: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            first: NONE,
            last: NONE,
            due: BTreeMap::new(),
            gaps: HashMap::new(),
            receipts: 0,
            doubts: Doubts::default(),
        }
    }
}

fn key_of(slot: &Slot) -> Key {
    Key { lane: slot.lane, start: slot.start, pop_time: slot.pop_time }
}

fn bucket(due: i64) -> i64 {
    due.div_euclid(TICK).saturating_add(1)
}

impl OpenPops {
    /// Open messages.
    pub fn receipts(&self) -> u64 {
        self.receipts
    }

    /// Checkpoints that have open messages.
    pub fn checkpoints(&self) -> usize {
        self.slots.in_use()
    }

    /// Bytes that they take, about.
    pub fn bytes(&self) -> usize {
        self.slots.bytes() + self.table.capacity() * 5 + self.due.len() * 24 + self.gaps.len() * 160
    }

    /// Notes a checkpoint; one of the same key is replaced: its messages are the open ones. Offsets ascend, `invisible` is in ms.
    pub fn insert(&mut self, key: Key, invisible: u32, offsets: &[i64], note: u64) {
        if offsets.is_empty() {
            return;
        }
        let before = self.find(key);
        let moved = before.and_then(|number| self.slots.get(number)).map_or(0, |slot| slot.moved);
        if let Some(number) = before {
            self.drop_slot(number);
        }
        let distances: Vec<u32> =
            offsets.iter().filter_map(|offset| u32::try_from(offset - key.start).ok()).take(MAX_MESSAGES).collect();
        let dense = distances.last().is_some_and(|last| (*last as usize) < MAX_MESSAGES);
        let bits = if dense { distances.clone() } else { (0..64).take(distances.len()).collect() };
        let mask = bits.iter().fold(0_u64, |mask, bit| mask | 1 << bit);
        if mask == 0 {
            return;
        }
        let slot = Slot {
            start: key.start,
            pop_time: key.pop_time,
            mask,
            note,
            invisible,
            moved,
            lane: key.lane,
            before: NONE,
            after: NONE,
            due_before: NONE,
            due_after: NONE,
            unwritten: 0,
            reviving: false,
        };
        let number = self.slots.add(slot);
        if !dense {
            self.gaps.insert(number, distances.into());
        }
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.table.insert_unique(hasher.hash_one(key), number, |other| {
            slots.get(*other).map_or(0, |slot| hasher.hash_one(key_of(slot)))
        });
        self.append(number);
        self.schedule(number, bucket(slot.due()));
        self.receipts += u64::from(mask.count_ones());
    }

    fn find(&self, key: Key) -> Option<u32> {
        let is_it = |number: &u32| self.slots.get(*number).is_some_and(|slot| key_of(slot) == key);
        self.table.find(self.hasher.hash_one(key), is_it).copied()
    }

    fn bit(&self, number: u32, slot: &Slot, offset: i64) -> Option<u64> {
        let distance = u32::try_from(offset.checked_sub(slot.start)?).ok()?;
        let bit = match self.gaps.get(&number) {
            Some(distances) => distances.binary_search(&distance).ok().and_then(|bit| u32::try_from(bit).ok())?,
            None => distance,
        };
        1_u64.checked_shl(bit)
    }

    fn offsets(&self, number: u32, slot: &Slot) -> Vec<i64> {
        let gaps = self.gaps.get(&number);
        let distance = |bit: u32| gaps.map_or(Some(bit), |gaps| gaps.get(bit as usize).copied());
        let open = (0..64).filter(|bit| slot.mask & 1 << bit != 0);
        open.filter_map(distance).map(|distance| slot.start.saturating_add(i64::from(distance))).collect()
    }

    /// Whether there is a checkpoint of this key.
    pub fn has(&self, key: Key) -> bool {
        self.find(key).is_some()
    }

    /// Whether a message is open, its time is not over, and nobody gives it back.
    pub fn holds(&self, key: Key, offset: i64) -> bool {
        let slot = self.find(key).and_then(|number| Some((number, self.slots.get(number)?)));
        slot.is_some_and(|(number, slot)| {
            !slot.reviving && self.bit(number, slot, offset).is_some_and(|bit| slot.mask & bit != 0)
        })
    }

    /// A message is acknowledged. `due`: when its receipt ends, ms since the epoch.
    pub fn ack(&mut self, key: Key, offset: i64, due: i64, now: i64) -> Acked {
        // Before it is due nothing is given back: what is not open was acknowledged.
        let otherwise = if self.doubts.is_in_time(key.pop_time, due, now) { Acked::Before } else { Acked::Unknown };
        let Some(number) = self.find(key) else { return otherwise };
        let Some(slot) = self.slots.get(number).copied() else { return otherwise };
        let Some(bit) = self.bit(number, &slot, offset) else { return Acked::Unknown };
        if slot.reviving {
            return Acked::Unknown;
        }
        if slot.mask & bit == 0 {
            return otherwise;
        }
        if let Some(slot) = self.slots.get_mut(number) {
            slot.mask &= !bit;
            slot.unwritten += 1;
            self.receipts -= 1;
        }
        Acked::Now
    }

    /// An acknowledgement that was [`Acked::Now`] is written, or could not be: then the message is open again.
    pub fn written(&mut self, key: Key, offset: i64, is_written: bool) {
        let Some(number) = self.find(key) else { return };
        let Some(slot) = self.slots.get(number).copied() else { return };
        let Some(bit) = self.bit(number, &slot, offset) else { return };
        if let Some(slot) = self.slots.get_mut(number) {
            slot.unwritten = slot.unwritten.saturating_sub(1);
            if !is_written {
                slot.mask |= bit;
                self.receipts += 1;
            }
        }
        self.drop_if_done(number);
    }

    /// What a note says: the message is acknowledged, and that is written.
    pub fn close(&mut self, key: Key, offset: i64) {
        let Some(number) = self.find(key) else { return };
        let Some(slot) = self.slots.get(number).copied() else { return };
        let Some(bit) = self.bit(number, &slot, offset) else { return };
        if slot.mask & bit != 0
            && let Some(slot) = self.slots.get_mut(number)
        {
            slot.mask &= !bit;
            self.receipts -= 1;
        }
        self.drop_if_done(number);
    }

    /// Checkpoints whose time is over, to be given back: at most `max`. Each of them is answered by [`Self::revived`].
    pub fn take_due(&mut self, now: i64, max: usize) -> Vec<Due> {
        let mut found = Vec::new();
        let over: Vec<u32> = self.due.range(..=now.div_euclid(TICK)).map(|(_, first)| *first).collect();
        for first in over {
            let mut number = first;
            while let Some(slot) = self.slots.get(number).copied() {
                if found.len() >= max {
                    return found;
                }
                // Acknowledgements on their way end by themselves.
                if !slot.reviving && slot.mask != 0 {
                    let offsets = self.offsets(number, &slot);
                    found.push(Due { key: key_of(&slot), at: slot.due(), offsets });
                    if let Some(slot) = self.slots.get_mut(number) {
                        slot.reviving = true;
                    }
                }
                number = slot.due_after;
            }
        }
        found
    }

    /// Messages of a checkpoint were given back; what is left of it is due again at `again`, ms since the epoch.
    pub fn revived(&mut self, key: Key, offsets: &[i64], again: i64) {
        let Some(number) = self.find(key) else { return };
        for offset in offsets {
            let Some(slot) = self.slots.get(number).copied() else { return };
            let bit = self.bit(number, &slot, *offset).unwrap_or(0);
            if slot.mask & bit != 0
                && let Some(slot) = self.slots.get_mut(number)
            {
                slot.mask &= !bit;
                self.receipts -= 1;
            }
        }
        if let Some(slot) = self.slots.get_mut(number) {
            slot.reviving = false;
            let later = again.saturating_sub(slot.due()).max(0);
            let invisible = slot.invisible.saturating_add(u32::try_from(later).unwrap_or(u32::MAX));
            self.put_off(number, |slot| slot.invisible = invisible);
        }
        self.drop_if_done(number);
    }

    /// The clock, which had `reached` a time, was set: what was popped at a time and is due at another is due so much later, in ms, as
    /// `moves` says.
    pub fn clock_moved(&mut self, reached: i64, moves: impl Fn(i64, i64) -> i64) {
        self.doubts.reached(reached);
        let mut number = self.first;
        while let Some(slot) = self.slots.get(number).copied() {
            let later = moves(slot.pop_time, slot.due());
            if later != 0 {
                self.put_off(number, |slot| slot.moved = slot.moved.saturating_add(full_seconds(later)));
            }
            if later < 0 {
                self.doubts.shorten(slot.pop_time);
            }
            number = slot.after;
        }
    }

    fn put_off(&mut self, number: u32, change: impl FnOnce(&mut Slot)) {
        let Some(slot) = self.slots.get_mut(number) else { return };
        let before = bucket(slot.due());
        change(slot);
        let after = bucket(slot.due());
        self.unschedule(number, before);
        self.schedule(number, after);
    }

    fn drop_if_done(&mut self, number: u32) {
        if self.slots.get(number).is_some_and(|slot| slot.mask == 0 && slot.unwritten == 0) {
            self.drop_slot(number);
        }
    }

    /// The note that is the first of all open checkpoints'.
    pub fn oldest(&self) -> Option<u64> {
        self.slots.get(self.first).map(|slot| slot.note)
    }

    /// Up to `max` checkpoints with the oldest notes, with invisible time and open messages: to be noted again at the end.
    pub fn old(&self, max: usize) -> Vec<(Key, u32, Vec<i64>)> {
        let mut found = Vec::new();
        let mut number = self.first;
        while let Some(slot) = self.slots.get(number)
            && found.len() < max
        {
            // One that is about to end needs no new note.
            if slot.reviving || slot.unwritten > 0 {
                break;
            }
            found.push((key_of(slot), slot.invisible, self.offsets(number, slot)));
            number = slot.after;
        }
        found
    }

    fn append(&mut self, number: u32) {
        let last = self.last;
        if let Some(slot) = self.slots.get_mut(number) {
            slot.before = last;
        }
        match self.slots.get_mut(last) {
            Some(before) => before.after = number,
            None => self.first = number,
        }
        self.last = number;
    }

    fn schedule(&mut self, number: u32, bucket: i64) {
        let next = self.due.insert(bucket, number).unwrap_or(NONE);
        if let Some(slot) = self.slots.get_mut(number) {
            (slot.due_before, slot.due_after) = (NONE, next);
        }
        if let Some(next) = self.slots.get_mut(next) {
            next.due_before = number;
        }
    }

    fn unschedule(&mut self, number: u32, bucket: i64) {
        let Some(slot) = self.slots.get(number).copied() else { return };
        if let Some(next) = self.slots.get_mut(slot.due_after) {
            next.due_before = slot.due_before;
        }
        match self.slots.get_mut(slot.due_before) {
            Some(before) => before.due_after = slot.due_after,
            None if slot.due_after == NONE => drop(self.due.remove(&bucket)),
            None => drop(self.due.insert(bucket, slot.due_after)),
        }
    }

    fn drop_slot(&mut self, number: u32) {
        let Some(slot) = self.slots.get(number).copied() else { return };
        if let Ok(entry) = self.table.find_entry(self.hasher.hash_one(key_of(&slot)), |other| *other == number) {
            entry.remove();
        }
        self.unschedule(number, bucket(slot.due()));
        match self.slots.get_mut(slot.before) {
            Some(before) => before.after = slot.after,
            None => self.first = slot.after,
        }
        match self.slots.get_mut(slot.after) {
            Some(after) => after.before = slot.before,
            None => self.last = slot.before,
        }
        self.gaps.remove(&number);
        self.receipts -= u64::from(slot.mask.count_ones());
        self.slots.remove(number);
        // What a burst has left behind is given back.
        if self.slots.in_use() == 0 {
            *self = Self { doubts: self.doubts, ..Self::default() };
        }
    }
}

#[cfg(test)]
mod tests;
