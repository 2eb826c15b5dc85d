//! Stores how far groups have popped and how far the notes are dealt with, and keeps the stretch of notes short.
//!
//! Order, so that a crash at any point finds what it needs: notes durable, then the groups' offsets, then the progress.

use std::sync::Arc;
use std::time::Duration;

use orbitmq_common::name;

use crate::broker::Broker;
use crate::meta::offsets::Offsets;
use crate::pop::Pop;
use crate::pop::lanes::Lane;
use crate::refusal::Refusal;

/// Time between two looks at the groups' offsets.
const OFFSETS: Duration = Duration::from_millis(200);
/// Looks at the offsets between two at the progress.
const PER_PROGRESS: u32 = 25;
/// Notes behind the oldest open one that are read at a start for nothing, beyond four for each checkpoint.
const STRETCH: u64 = 50_000;
/// Checkpoints noted again in one go.
const AGAIN: usize = 256;

/// Works until the broker stops.
pub async fn run(broker: &Arc<Broker>) {
    let (mut round, mut tick) = (0_u32, tokio::time::interval(OFFSETS));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = broker.stop.cancelled() => break,
        }
        round = round.wrapping_add(1);
        // Slaves may let a note wait; a stop does not wait for them.
        tokio::select! {
            () = pass(broker, round.is_multiple_of(PER_PROGRESS)) => {}
            () = broker.stop.cancelled() => break,
        }
    }
    let _ = tokio::time::timeout(Duration::from_secs(1), store_offsets(broker, 0)).await;
}

async fn pass(broker: &Broker, with_progress: bool) {
    store_offsets(broker, 0).await;
    if with_progress {
        broker.pop.read_foreign();
        broker.pop.shorten();
        store_progress(broker).await;
    }
}

/// Stores the offsets of groups once the notes that moved them are durable, and the log up to `end`. False: they never will be.
async fn store_offsets(broker: &Broker, end: u64) -> bool {
    let moved = broker.pop.moved();
    let end = moved.iter().map(|moved| moved.noted).max().unwrap_or(0).max(end);
    if broker.store.durable(end).await.is_err() {
        return false;
    }
    // With flush = async an end is confirmed before it is on the disk.
    while broker.store.flushed() < end {
        if broker.store.poisoned().is_some() {
            return false;
        }
        let _ = tokio::time::timeout(Duration::from_millis(50), broker.store.news().notified()).await;
    }
    broker.pop.store_moved(&broker.offsets, moved);
    true
}

/// Notes up to here are dealt with, once what they did is stored.
pub(super) async fn store_progress(broker: &Broker) {
    let (pop, offsets) = (&broker.pop, &broker.offsets);
    let moved = pop.progress().into_iter().filter(|(queue, note)| {
        offsets.get(pop.topic(), name::REVIVE_GROUP, *queue).is_none_or(|stored| stored < *note)
    });
    let moved: Vec<(i32, i64)> = moved.collect();
    // All that lets the progress pass a note lies before this end: the same checkpoint noted again, the copy of a message. And the
    // offsets are taken after the progress was: they are those of all its notes, or of more.
    let end = broker.store.end();
    if moved.is_empty() || !store_offsets(broker, end).await {
        return;
    }
    if let Err(error) = broker.db.sync().await {
        tracing::warn!(%error, "the progress of popping is stored later");
        return;
    }
    for (queue, note) in moved {
        offsets.commit(pop.topic(), name::REVIVE_GROUP, queue, note);
    }
}

/// Where a group has got to in a queue.
pub struct Moved {
    lane: Arc<Lane>,
    position: i64,
    /// Log offset behind the note that moved it.
    pub noted: u64,
    resets: u32,
}

impl Pop {
    /// Where groups have got to since the last time.
    pub fn moved(&self) -> Vec<Moved> {
        let lanes: Vec<Arc<Lane>> = std::mem::take(&mut *self.dirty.lock());
        let moved = lanes.into_iter().filter_map(|lane| {
            let mut state = lane.state.lock();
            state.is_dirty = false;
            let (position, noted, resets) = (state.position?, state.noted, state.resets);
            drop(state);
            Some(Moved { lane, position, noted, resets })
        });
        moved.collect()
    }

    /// Stores it as the groups' offsets; what was reset or forgotten meanwhile is not.
    pub fn store_moved(&self, offsets: &Offsets, moved: Vec<Moved>) {
        for Moved { lane, position, resets, .. } in moved {
            let state = lane.state.lock();
            let queue = i32::try_from(lane.queue).unwrap_or(i32::MAX);
            let stored = offsets.get(&lane.topic, &lane.group, queue);
            if !state.is_gone && state.resets == resets && stored.is_none_or(|stored| stored < position) {
                offsets.commit(&lane.topic, &lane.group, queue, position);
            }
        }
    }

    /// The last note of each revive queue before all open ones.
    pub fn progress(&self) -> Vec<(i32, i64)> {
        let each = (0..).zip(self.shelves());
        let note = |shelf: &super::Shelf| {
            let foreign = shelf.foreign.first().map_or(u64::MAX, |(from, _)| *from);
            shelf.open.oldest().unwrap_or(shelf.next_note).min(foreign).cast_signed() - 1
        };
        each.map(|(queue, shelf)| (queue, note(&shelf.lock()))).filter(|(_, note)| *note >= 0).collect()
    }

    /// Notes old open checkpoints again, where many notes that are done with lie behind them.
    pub fn shorten(&self) {
        for (queue, shelf) in (0..).zip(self.shelves()) {
            loop {
                let mut shelf = shelf.lock();
                let Some(oldest) = shelf.open.oldest() else { break };
                let allowed = STRETCH + 4 * shelf.open.checkpoints() as u64;
                if shelf.next_note.saturating_sub(oldest) <= allowed {
                    break;
                }
                match self.note_again(queue, &mut shelf, AGAIN) {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(refusal) => {
                        tracing::warn!(queue, reason = refusal.remark, "old notes of popped messages stay");
                        break;
                    }
                }
            }
        }
    }

    /// Notes up to `max` of the oldest checkpoints again; the new note replaces the old one. Returns how many.
    pub fn note_again(&self, queue: u32, shelf: &mut super::Shelf, max: usize) -> Result<usize, Refusal> {
        let old = shelf.open.old(max);
        for (key, invisible, offsets) in &old {
            let Some(lane) = self.lanes.numbered(key.lane) else {
                offsets.iter().for_each(|offset| shelf.open.close(*key, *offset));
                continue;
            };
            let checkpoint = self.checkpoint(&lane, *key, i64::from(*invisible), offsets);
            let appended = self.notebook().checkpoint(queue, &checkpoint)?;
            shelf.open.insert(*key, *invisible, offsets, appended.queue_offset);
            shelf.noted(appended.queue_offset);
        }
        Ok(old.len())
    }
}
