//! Reads the notes of popped messages from where they are not dealt with, when a broker becomes master.

use std::sync::Arc;

use orbitmq_common::message::entry;
use orbitmq_common::name;
use parking_lot::Mutex;

use crate::meta::offsets::Offsets;
use crate::pop::notes::{Acks, Checkpoint, Note};
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
        while at < end {
            let read = self.store.read(&self.topic, queue, at, ROUND, &mut |_, _| true);
            if read.status != ReadStatus::Found && read.next_offset <= at {
                tracing::error!(queue, at, end, "notes of popped messages cannot be read; what they say is not known");
                break;
            }
            for record in read.chunks.iter().flat_map(|chunk| entry::records(chunk)) {
                let Ok(record) = record else { continue };
                match Note::parse(&record) {
                    Some(Note::Checkpoint(checkpoint)) => self.replay(&mut shelf, &checkpoint, record.queue_offset),
                    Some(Note::Acks(acks)) => self.close(&mut shelf, &acks),
                    None => tracing::warn!(queue, offset = record.queue_offset, "no note of a popped message; skipped"),
                }
            }
            at = read.next_offset;
        }
        shelf.next_note = end.max(0).cast_unsigned();
        shelf
    }

    fn replay(&self, shelf: &mut Shelf, checkpoint: &Checkpoint<'_>, note: u64) {
        let Ok(queue) = u32::try_from(checkpoint.queue) else { return };
        let lane = self.lanes.of(&checkpoint.topic, &checkpoint.group, queue);
        let offsets = checkpoint.offsets();
        let Some(last) = offsets.last().copied() else {
            if checkpoint.start < 0 {
                self.lanes.remove(|other| other.id == lane.id);
            } else {
                lane.state.lock().position = Some(checkpoint.start);
            }
            return;
        };
        let key = Key { lane: lane.id, start: checkpoint.start, pop_time: checkpoint.pop_time };
        let invisible = u32::try_from(checkpoint.invisible.max(0)).unwrap_or(u32::MAX);
        shelf.open.insert(key, invisible, &offsets, note);
        let mut state = lane.state.lock();
        let position = state.position.unwrap_or(0).max(last + 1);
        self.restore(&lane, &mut state, position);
    }

    fn restore(&self, lane: &Arc<super::Lane>, state: &mut super::lanes::State, position: i64) {
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
