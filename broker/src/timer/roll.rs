//! Making room for retention: what waits in a segment that shall go is written again at the end of the timer queue, some of it each
//! round, so that delivery goes on.

use orbitmq_common::message::record::RecordView;
use orbitmq_common::name::TIMER_TOPIC;

use crate::store::due::Kind;
use crate::store::held::Wanted;
use crate::timer::copy::Copy;
use crate::timer::engine::{DeliverError, Engine};
use crate::timer::figures::Figures;
use crate::timer::identity;
use crate::timer::pending::Key;

/// Entries read in one go.
const READ: usize = 4_096;
/// Messages written again in one go.
const CHUNK: usize = 256;

/// What waits at the beginning of the log.
#[derive(Debug)]
pub struct Waiting {
    /// What lies before the wanted offset, the first of it last.
    before: Vec<Key>,
    /// Its bytes.
    bytes: u64,
    /// Queue offset and log offset of the first that waits behind; of the end, if none does.
    first: (u64, u64),
}

impl Engine {
    /// Begins to free the log up to `wanted.upto`; rounds go on with it, and retention is told once what was written again is
    /// confirmed. A segment that is only too much, not too old, stays when most of it waits: writing it again would free nothing.
    pub fn make_room(&mut self, wanted: Wanted) {
        if self.rolling.is_some() {
            return;
        }
        // What was confirmed before the queue was read to its end is in what was read.
        let confirmed = self.store.confirmed();
        while self.read() > 0 {}
        let mut waiting = self.waiting(wanted.upto, confirmed);
        let room = wanted.upto.saturating_sub(self.kept);
        let is_full = !wanted.too_old && waiting.bytes > room / 4 * 3;
        if is_full && !self.told_full {
            tracing::warn!(
                upto = wanted.upto,
                bytes = waiting.bytes,
                "more messages wait for their time than retention_bytes leaves room for: the log grows beyond it"
            );
        }
        self.told_full = is_full;
        if !is_full {
            if !waiting.before.is_empty() {
                let messages = waiting.before.len();
                tracing::info!(upto = wanted.upto, messages, "waiting messages are written again");
            }
            waiting.before.reverse();
            self.rolling = Some(waiting);
        }
    }

    /// Writes some of it again; tells whether there is more.
    pub(super) fn roll(&mut self, now: i64) -> Result<bool, DeliverError> {
        let Some(mut waiting) = self.rolling.take() else { return Ok(false) };
        let from = waiting.before.len().saturating_sub(CHUNK);
        let mut keys = waiting.before.split_off(from);
        keys.reverse();
        // What came due meanwhile was delivered, or is being delivered: that comes first, for it knows what was taken back.
        keys.retain(|key| self.pending.waits(*key));
        let is_due = keys.iter().any(|key| key.due <= now);
        let written = if is_due { Ok(()) } else { self.write_again(&keys) };
        if is_due || written.is_err() {
            waiting.before.extend(keys.into_iter().rev());
            self.rolling = Some(waiting);
            return written.map(|()| true);
        }
        if !waiting.before.is_empty() {
            self.rolling = Some(waiting);
            return Ok(true);
        }
        (self.first, self.kept) = waiting.first;
        self.release = Some((self.store.end(), self.kept));
        self.store.nudge();
        self.note(now);
        Ok(false)
    }

    fn waiting(&self, upto: u64, confirmed: u64) -> Waiting {
        let mut waiting = Waiting { before: Vec::new(), bytes: 0, first: (self.reader, confirmed.max(self.kept)) };
        let (mut at, mut buffer) = (self.first, Vec::new());
        while at < self.reader {
            let next = self.log.entries(TIMER_TOPIC, 0, at, READ, &mut buffer);
            for (queue, entry) in buffer.drain(..).filter(|(queue, _)| *queue < self.reader) {
                if entry.physical_offset < self.kept {
                    continue;
                }
                let Some(due) = self.due_of(entry) else { continue };
                let key = Key::new(due, entry.physical_offset);
                if !self.pending.waits(key) {
                    continue;
                }
                if entry.physical_offset >= upto {
                    waiting.first = (queue, entry.physical_offset);
                    return waiting;
                }
                waiting.bytes += u64::from(entry.size);
                waiting.before.push(key);
            }
            if next <= at {
                // It cannot be read now: nothing is given up.
                waiting.first = (at, self.kept);
                return waiting;
            }
            at = next;
        }
        waiting
    }

    fn write_again(&mut self, keys: &[Key]) -> Result<(), DeliverError> {
        let mut copies = Vec::with_capacity(keys.len());
        let mut gone = 0;
        for key in keys {
            let Some(record) = self.record(key.log_offset()) else { continue };
            let Ok(view) = RecordView::parse(&record) else { continue };
            if key.kind() != Kind::Recall && self.group_of(key.due).recalled.contains(&identity::of(&view)) {
                gone += 1;
                continue;
            }
            copies.extend(Copy::rolled(&record));
        }
        let records: Vec<_> = copies.iter().filter_map(|copy| copy.to_store(self.host)).collect();
        self.store.append_batch(&records)?;
        Figures::add(&self.timers.figures.rolled, records.len() as u64);
        Figures::add(&self.timers.figures.recalled, gone);
        keys.iter().for_each(|key| self.pending.remove(*key));
        Ok(())
    }
}
