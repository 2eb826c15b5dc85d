//! Takes messages out of a queue for a group, changes for how long they are invisible, and forgets where a group was.

use std::sync::Arc;

use orbitmq_common::clock::now_ms;
use orbitmq_common::message::entry;
use orbitmq_common::message::receipt::PopInfo;
use orbitmq_common::protocol::code::response;

use crate::meta::offsets::Offsets;
use crate::meta::orders::{Acked, Orders};
use crate::pop::lanes::{Lane, State};
use crate::pop::notes::Checkpoint;
use crate::pop::open::Key;
use crate::pop::{Counts, Handle, Pop};
use crate::refusal::Refusal;
use crate::store::read::{Accept, Read, ReadLimit, ReadStatus};

/// What a pop wants of one queue.
pub struct Want<'a> {
    /// The topic, which may be a retry topic.
    pub topic: &'a str,
    /// The group.
    pub group: &'a str,
    /// The queue.
    pub queue: u32,
    /// How much.
    pub limit: ReadLimit,
    /// The time of the pop, ms since the epoch.
    pub pop_time: i64,
    /// For how long nobody else sees the messages, ms.
    pub invisible: i64,
    /// Where a group without an offset begins.
    pub init: &'a dyn Fn() -> i64,
}

/// What was taken.
pub struct Taken {
    /// The records, and the queue's ends.
    pub read: Read,
    /// First offset of the messages, as their receipts say it.
    pub start: i64,
    /// The messages' offsets.
    pub offsets: Vec<i64>,
    /// Where the group goes on.
    pub position: i64,
    /// The messages' revive queue.
    pub revive_queue: u32,
    /// Log offset behind the note of them: to be durable before the reader has them.
    pub noted: u64,
}

/// The longest invisible time, ms: 49 days.
pub const LONGEST: i64 = u32::MAX as i64;

/// Messages taken in order, or when the queue is free again, ms since the epoch.
pub enum Ordered {
    /// Another batch of the group is in hand.
    Blocked(i64),
    /// Messages, or none.
    Taken(Taken),
}

impl Pop {
    /// Takes the next batch of a queue for a group that consumes in order, unless one is in hand. The group's offset stays where
    /// the batch begins until it is acknowledged.
    pub fn take_ordered(
        &self,
        offsets: &Offsets,
        orders: &Orders,
        want: &Want<'_>,
        attempt: Option<&str>,
        info: &mut PopInfo,
        accept: Accept<'_>,
    ) -> Ordered {
        let lane = self.lanes.of(want.topic, want.group, want.queue);
        // Held from the look to the note: no two batches of a queue at once.
        let _state = lane.state.lock();
        let queue = i32::try_from(want.queue).unwrap_or(i32::MAX);
        let place = (want.topic, want.group, queue);
        if let Some(reset) = offsets.take_reset(want.topic, want.group, queue) {
            orders.clear(place);
            offsets.commit(want.topic, want.group, queue, reset);
        }
        if let Some(free_at) = orders.blocked(place, attempt, want.pop_time) {
            return Ordered::Blocked(free_at);
        }
        let stored = offsets.get(want.topic, want.group, queue);
        let from = stored.unwrap_or_else(want.init);
        let mut read = self.store.read(want.topic, want.queue, from, want.limit, accept);
        if matches!(read.status, ReadStatus::OffsetTooSmall | ReadStatus::OffsetTooLarge) {
            read = self.store.read(want.topic, want.queue, read.next_offset, want.limit, accept);
        }
        let found = offsets_of(&read);
        let (start, position) = match found.first().copied() {
            Some(start) => {
                orders.begin(place, attempt, (want.pop_time, want.invisible), &found, info);
                Counts::add(&self.counts.popped, found.len());
                (start, start)
            }
            None => (read.next_offset, read.next_offset),
        };
        if stored != Some(position) {
            offsets.commit(want.topic, want.group, queue, position);
        }
        let position = read.next_offset;
        Ordered::Taken(Taken { read, start, offsets: found, position, revive_queue: 0, noted: 0 })
    }

    /// Notes that a message taken in order is done with, and moves the group; tells the number of the move too. Whoever takes next sees both
    /// or neither, and a later acknowledgement does not move the group back.
    pub fn done_in_order(
        &self,
        offsets: &Offsets,
        orders: &Orders,
        handle: &Handle<'_>,
        offset: i64,
    ) -> (Acked, Option<u64>) {
        let Handle { topic, group, queue, pop_time, .. } = *handle;
        let lane = self.lanes.of(topic, group, queue);
        let _state = lane.state.lock();
        let queue = i32::try_from(queue).unwrap_or(i32::MAX);
        let acked = orders.ack((topic, group, queue), offset, pop_time);
        let moved = match acked {
            Acked::Next(next, _) => offsets.commit(topic, group, queue, next),
            Acked::Late | Acked::NotOpen => None,
        };
        (acked, moved)
    }

    /// Takes messages for a group and notes them.
    ///
    /// # Errors
    /// The note cannot be written; nothing is taken.
    pub fn take(&self, offsets: &Offsets, want: &Want<'_>, accept: Accept<'_>) -> Result<Taken, Refusal> {
        let lane = self.lanes.of(want.topic, want.group, want.queue);
        let mut state = lane.state.lock();
        let from = self.position(offsets, &lane, &mut state, want.init)?;
        let mut read = self.store.read(want.topic, want.queue, from, want.limit, accept);
        if matches!(read.status, ReadStatus::OffsetTooSmall | ReadStatus::OffsetTooLarge) {
            let (topic, group, queue, next) = (want.topic, want.group, want.queue, read.next_offset);
            tracing::warn!(topic, group, queue, from, next, "the queue does not reach to where the group stood");
            self.move_to(&lane, &mut state, next);
            read = self.store.read(want.topic, want.queue, next, want.limit, accept);
        }
        let found = offsets_of(&read);
        let Some(start) = found.first().copied() else {
            let position = read.next_offset.max(state.position.unwrap_or(0));
            if matches!(read.status, ReadStatus::NoMatch) {
                self.move_to(&lane, &mut state, position);
            }
            let revive_queue = lane.revive_queue;
            return Ok(Taken { read, start: position, offsets: found, position, revive_queue, noted: 0 });
        };
        let key = Key { lane: lane.id, start, pop_time: want.pop_time };
        self.note(&lane, &mut state, key, want.invisible, &found)?;
        self.move_to(&lane, &mut state, read.next_offset);
        Counts::add(&self.counts.popped, found.len());
        let (position, revive_queue, noted) = (read.next_offset, lane.revive_queue, state.noted);
        Ok(Taken { read, start, offsets: found, position, revive_queue, noted })
    }

    /// Where the group goes on in the queue.
    fn position(
        &self,
        offsets: &Offsets,
        lane: &Arc<Lane>,
        state: &mut State,
        init: &dyn Fn() -> i64,
    ) -> Result<i64, Refusal> {
        let queue = i32::try_from(lane.queue).unwrap_or(i32::MAX);
        let stored = offsets.get(&lane.topic, &lane.group, queue);
        let reset = offsets.take_reset(&lane.topic, &lane.group, queue);
        let position = match (reset, state.position, stored) {
            (Some(reset), ..) => {
                state.resets += 1;
                self.note_position(lane, state, reset)?;
                reset
            }
            (None, Some(position), Some(stored)) => position.max(stored),
            (None, Some(position), None) => position,
            (None, None, Some(stored)) => stored,
            (None, None, None) => init(),
        };
        if state.position != Some(position) {
            self.move_to(lane, state, position);
        }
        Ok(position)
    }

    fn move_to(&self, lane: &Arc<Lane>, state: &mut State, position: i64) {
        state.position = Some(position);
        if !state.is_dirty && !state.is_gone {
            state.is_dirty = true;
            self.dirty.lock().push(Arc::clone(lane));
        }
    }

    /// Where the group goes on, for those who only look; `init` when that is not decided yet.
    pub fn look(&self, offsets: &Offsets, topic: &str, group: &str, queue: u32, init: impl FnOnce() -> i64) -> i64 {
        let popped = self.lanes.find(topic, group, queue).and_then(|lane| lane.state.lock().position);
        let stored = i32::try_from(queue).ok().and_then(|queue| offsets.get(topic, group, queue));
        popped.max(stored).unwrap_or_else(init)
    }

    /// Notes what was popped, in the log and in memory.
    fn note(&self, lane: &Lane, state: &mut State, key: Key, invisible: i64, offsets: &[i64]) -> Result<(), Refusal> {
        let Some(shelf) = self.shelf(lane.revive_queue) else {
            return Err(Refusal::invalid("this broker does not pop yet; try again"));
        };
        let checkpoint = self.checkpoint(lane, key, invisible, offsets);
        let mut shelf = shelf.lock();
        let appended = self.notebook().checkpoint(lane.revive_queue, &checkpoint)?;
        shelf.open.insert(key, u32::try_from(invisible).unwrap_or(u32::MAX), offsets, appended.queue_offset);
        shelf.noted(appended.queue_offset);
        state.noted = appended.end;
        Ok(())
    }

    pub(super) fn checkpoint<'a>(
        &'a self,
        lane: &'a Lane,
        key: Key,
        invisible: i64,
        offsets: &[i64],
    ) -> Checkpoint<'a> {
        let distances: Vec<i64> = offsets.iter().map(|offset| offset - key.start).collect();
        Checkpoint {
            acked: 0,
            broker: self.broker.as_str().into(),
            group: (&*lane.group).into(),
            count: i64::try_from(distances.len()).unwrap_or(0),
            distances: (!distances.is_empty()).then_some(distances),
            invisible,
            pop_time: key.pop_time,
            queue: i32::try_from(lane.queue).unwrap_or(i32::MAX),
            note: 0,
            start: key.start,
            topic: (&*lane.topic).into(),
        }
    }

    /// Notes that the group goes on at `position`, whatever was popped before; -1: that nothing is known of it.
    fn note_position(&self, lane: &Lane, state: &mut State, position: i64) -> Result<(), Refusal> {
        let key = Key { lane: lane.id, start: position, pop_time: now_ms() };
        let checkpoint = self.checkpoint(lane, key, 0, &[]);
        let Some(shelf) = self.shelf(lane.revive_queue) else { return Ok(()) };
        let mut shelf = shelf.lock();
        let appended = self.notebook().checkpoint(lane.revive_queue, &checkpoint)?;
        shelf.noted(appended.queue_offset);
        state.noted = appended.end;
        Ok(())
    }

    /// Gives a popped message another invisible time from `now` on; returns when it begins and the end of the note in the log.
    ///
    /// # Errors
    /// The receipt is over, or the log takes no message now.
    pub fn change(&self, handle: &Handle<'_>, offset: i64, invisible: i64, now: i64) -> Result<(i64, u64), Refusal> {
        let lane = self.lanes.find(handle.topic, handle.group, handle.queue);
        let shelf = self.shelf(handle.revive_queue);
        let (Some(lane), Some(shelf)) = (lane, shelf) else { return Err(over(handle, offset)) };
        let old = Key { lane: lane.id, start: handle.start, pop_time: handle.pop_time };
        let mut shelf = shelf.lock();
        if !shelf.open.holds(old, offset) {
            Counts::add(&self.counts.late, 1);
            return Err(over(handle, offset));
        }
        let mut new = Key { start: offset, pop_time: now, ..old };
        while shelf.open.has(new) {
            new.pop_time += 1;
        }
        // In this order: after a crash in between the message comes once more rather than never.
        let checkpoint = self.checkpoint(&lane, new, invisible, &[offset]);
        let appended = self.notebook().checkpoint(handle.revive_queue, &checkpoint)?;
        let short = u32::try_from(invisible).unwrap_or(u32::MAX);
        shelf.open.insert(new, short, &[offset], appended.queue_offset);
        shelf.noted(appended.queue_offset);
        let end = self.note_acks(handle.revive_queue, old, &[offset], &mut shelf)?;
        shelf.open.close(old, offset);
        Ok((new.pop_time, end))
    }

    /// Forgets the lanes of a topic and its retry topics, or of a group. Their open receipts end with them.
    pub fn forget(&self, which: impl Fn(&Lane) -> bool) {
        for lane in self.lanes.remove(which) {
            let mut state = lane.state.lock();
            if let Err(refusal) = self.note_position(&lane, &mut state, -1) {
                tracing::warn!(
                    topic = &*lane.topic,
                    group = &*lane.group,
                    reason = refusal.remark,
                    "not noted as forgotten"
                );
            }
        }
    }
}

/// The refusal of a receipt that is over.
pub fn over(handle: &Handle<'_>, offset: i64) -> Refusal {
    let Handle { topic, group, queue, .. } = handle;
    let remark = format!(
        "the receipt of '{group}' for offset {offset} in queue {queue} of '{topic}' is over: the message is given to the group again; acknowledge sooner, or pop with a longer invisible time"
    );
    Refusal::new(response::NO_MESSAGE, remark)
}

/// Offsets of the records that were read.
pub fn offsets_of(read: &Read) -> Vec<i64> {
    let records = read.chunks.iter().flat_map(|chunk| entry::records(chunk));
    records.filter_map(|record| i64::try_from(record.ok()?.queue_offset).ok()).collect()
}
