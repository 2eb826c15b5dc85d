//! Reads the notes of popped messages from where they are not dealt with, when a broker becomes master.

use std::sync::Arc;

use orbitmq_common::message::entry;
use orbitmq_common::name;
use parking_lot::Mutex;

use crate::meta::offsets::Offsets;
use crate::pop::lanes::{Lane, State};
use crate::pop::notes::{Acks, Note};
use crate::pop::open::Key;
use crate::pop::{Pop, REVIVE_QUEUES, Shelf};
use crate::store::read::{ReadLimit, ReadStatus};

const ROUND: ReadLimit = ReadLimit { max_messages: 1024, max_bytes: 4 << 20 };

impl Pop {
    /// Reads the notes; from then on messages can be popped. All of the log must be in the queues.
    pub fn rebuild(&self, offsets: &Offsets) {
        let last = self.store.queues(&self.topic).into_iter().max();
        let count = last.map_or(0, |last| last + 1).max(REVIVE_QUEUES);
        let shelves: Vec<_> = (0..count).map(|queue| Mutex::new(self.read_shelf(offsets, queue))).collect();
        if self.shelves.set(shelves).is_ok() {
            let (receipts, checkpoints, _) = self.open();
            tracing::info!(receipts, checkpoints, lanes = self.lanes.count(), "popped messages that are open");
            self.ready.send_replace(true);
        }
    }

    fn read_shelf(&self, offsets: &Offsets, queue: u32) -> Shelf {
        let mut shelf = Shelf::default();
        let number = i32::try_from(queue).unwrap_or(i32::MAX);
        let dealt_with = offsets.get(&self.topic, name::REVIVE_GROUP, number);
        // The offset stored is that of the last note that is dealt with: RocketMQ's way.
        let mut at = dealt_with.map_or(0, |note| note.saturating_add(1)).max(self.store.min_offset(&self.topic, queue));
        let end = self.store.max_offset(&self.topic, queue);
        if at > end {
            tracing::warn!(queue, at, end, "notes of popped messages are missing at the end of this broker's log");
            at = end;
        }
        self.read_notes(queue, at, end, &mut |note, offset| {
            self.enter(&mut shelf, &note, offset);
            self.move_lane(&note);
        });
        shelf.next_note = end.max(0).cast_unsigned();
        shelf
    }

    /// Hands out the notes from `at` to `end`.
    fn read_notes(&self, queue: u32, mut at: i64, end: i64, take: &mut dyn FnMut(Note<'_>, u64)) {
        while at < end {
            let read = self.store.read(&self.topic, queue, at, ROUND, &mut |_, _| true);
            if read.status != ReadStatus::Found && read.next_offset <= at {
                tracing::error!(queue, at, end, "notes of popped messages cannot be read; what they say is not known");
                break;
            }
            for record in read.chunks.iter().flat_map(|chunk| entry::records(chunk)) {
                let Ok(record) = record else { continue };
                if record.queue_offset.cast_signed() >= end {
                    return;
                }
                match Note::parse(&record) {
                    Some(note) => take(note, record.queue_offset),
                    None => tracing::warn!(queue, offset = record.queue_offset, "no note of a popped message; skipped"),
                }
            }
            at = read.next_offset;
        }
    }

    /// Reads notes that others have written meanwhile.
    pub fn read_foreign(&self) {
        for (queue, shelf) in (0..).zip(self.shelves()) {
            let end = self.store.max_offset(&self.topic, queue).max(0).cast_unsigned();
            let foreign: Vec<(u64, u64)> = {
                let mut shelf = shelf.lock();
                // Of our own notes some may not be readable yet; what is readable behind the last of them is not ours.
                if end > shelf.next_note {
                    let from = std::mem::replace(&mut shelf.next_note, end);
                    shelf.foreign.push((from, end));
                }
                let readable = shelf.foreign.iter().filter(|(_, to)| *to <= end).count();
                shelf.foreign.drain(..readable).collect()
            };
            for (from, to) in foreign {
                // A lane may be locked before its shelf, never after.
                self.read_notes(queue, from.cast_signed(), to.cast_signed(), &mut |note, offset| {
                    self.enter(&mut shelf.lock(), &note, offset);
                    self.move_lane(&note);
                });
            }
        }
    }

    /// Notes in memory what a note says about receipts.
    fn enter(&self, shelf: &mut Shelf, note: &Note<'_>, offset: u64) {
        match note {
            Note::Acks(acks) => self.close(shelf, acks),
            Note::Checkpoint(checkpoint) => {
                let Ok(queue) = u32::try_from(checkpoint.queue) else { return };
                let lane = self.lanes.of(&checkpoint.topic, &checkpoint.group, queue);
                let key = Key { lane: lane.id, start: checkpoint.start, pop_time: checkpoint.pop_time };
                let invisible = u32::try_from(checkpoint.invisible.max(0)).unwrap_or(u32::MAX);
                shelf.open.insert(key, invisible, &checkpoint.offsets(), offset);
            }
        }
    }

    /// And what it says about where the group goes on.
    fn move_lane(&self, note: &Note<'_>) {
        let Note::Checkpoint(checkpoint) = note else { return };
        let Ok(queue) = u32::try_from(checkpoint.queue) else { return };
        let lane = self.lanes.of(&checkpoint.topic, &checkpoint.group, queue);
        match checkpoint.offsets().last() {
            Some(last) => {
                let mut state = lane.state.lock();
                let position = state.position.unwrap_or(0).max(last + 1);
                self.restore(&lane, &mut state, position);
            }
            None if checkpoint.start < 0 => drop(self.lanes.remove(|other| other.id == lane.id)),
            None => lane.state.lock().position = Some(checkpoint.start),
        }
    }

    fn restore(&self, lane: &Arc<Lane>, state: &mut State, position: i64) {
        state.position = Some(position);
        if !state.is_dirty {
            state.is_dirty = true;
            self.dirty.lock().push(Arc::clone(lane));
        }
    }

    fn close(&self, shelf: &mut Shelf, acks: &Acks<'_>) {
        let Ok(queue) = u32::try_from(acks.queue) else { return };
        let Some(lane) = self.lanes.find(&acks.topic, &acks.group, queue) else { return };
        let key = Key { lane: lane.id, start: acks.start, pop_time: acks.pop_time };
        for offset in acks.all() {
            shelf.open.close(key, *offset);
        }
    }
}
