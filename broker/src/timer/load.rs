//! What waits, made again from the timer queue and the log behind the newest mark.

use orbitmq_common::message::record::RecordView;
use orbitmq_common::name::TIMER_TOPIC;

use crate::meta::marks::Mark;
use crate::store::follow::Numbered;
use crate::timer::engine::Engine;
use crate::timer::identity;
use crate::timer::pending::Key;

/// Entries read in one go.
const READ: usize = 16_384;
/// A mark of RocketMQ's broker does not say where in the log it stands: copies are looked for from so much before its time on, ms.
const UNSURE: i64 = 60_000;

/// Something in the timer queue.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// Its offset there.
    pub queue: u64,
    /// When, what and where it is.
    pub key: Key,
    /// Bytes of its record.
    pub size: u32,
}

impl Seen {
    fn waits(self, mark: Mark) -> bool {
        self.queue >= mark.queue || self.key.due >= mark.due
    }
}

impl Engine {
    /// Learns what waits. All of the log must be confirmed and in the queues. Recalls are taken from then on.
    pub fn load(&mut self, now: i64) {
        let end = self.store.end();
        let nothing_done = Mark { due: i64::MIN, ..Mark::default() };
        let mark = self.timers.marks.lead(end).unwrap_or(nothing_done);
        self.kept = mark.kept.max(self.store.min_physical());
        self.done = mark.due;
        self.began = now;
        if self.store.max_offset(TIMER_TOPIC, 0) > 0 {
            self.find_copies(mark, end);
            self.read_queue(mark);
        }
        // No mark before that time: it would lie behind copies of what is not done according to it.
        self.latest = self.known.1;
        self.log.hold(self.kept);
        self.timers.gate.open(mark.due.saturating_sub(1).max(self.known.1));
    }

    fn find_copies(&mut self, mark: Mark, end: u64) {
        let from = match mark.log {
            0 if mark.due == i64::MIN => 0,
            0 => self.log.offset_before(mark.due.saturating_sub(UNSURE)),
            log => log,
        };
        let (copies, latest) = &mut self.known;
        self.log.records(from, end, &mut |record| {
            if let Some((identity, due)) = identity::delivered(record) {
                *copies.entry(identity).or_default() += 1;
                *latest = due.max(*latest);
            }
        });
        if !copies.is_empty() {
            tracing::info!(copies = copies.len(), "delivered messages found behind the newest mark of the timers");
        }
    }

    fn read_queue(&mut self, mark: Mark) {
        let mut gathered = self.pending.gather();
        self.reader = self.walk(0, &mut |seen| {
            if seen.waits(mark) {
                gathered.add(seen.key);
            }
        });
        self.pending.fill(gathered.done());
    }

    /// Everything that waits according to the newest mark, in the order of the log, and the last entry of the timer queue. For
    /// an engine that does nothing else.
    pub(super) fn all_waiting(&mut self) -> (Vec<Seen>, Option<Seen>) {
        if self.store.max_offset(TIMER_TOPIC, 0) == 0 {
            return (Vec::new(), None);
        }
        let end = self.store.end();
        let mark = self.timers.marks.best(end).unwrap_or(Mark { due: i64::MIN, ..Mark::default() });
        self.kept = mark.kept.max(self.store.min_physical());
        self.find_copies(mark, end);
        let (mut waiting, mut last) = (Vec::new(), None);
        self.walk(0, &mut |seen| {
            last = Some(seen);
            if seen.waits(mark) {
                waiting.push(seen);
            }
        });
        // What was delivered behind the mark.
        let latest = self.known.1;
        waiting.retain(|seen| seen.key.due > latest || !self.was_delivered(seen.key));
        (waiting, last)
    }

    fn was_delivered(&mut self, key: Key) -> bool {
        let Some(record) = self.record(key.log_offset()) else { return false };
        let view = RecordView::parse(&record).ok();
        view.is_some_and(|view| self.is_known(identity::of(&view), key.due))
    }

    /// Reads from the timer queue what was beyond the horizon of memory.
    pub(super) fn refill(&mut self) {
        let mut gathered = self.pending.gather();
        let horizon = self.pending.horizon();
        self.pending.keys().for_each(|key| gathered.add(key));
        let upto = self.reader;
        self.walk(self.first, &mut |seen| {
            if seen.queue < upto && seen.key.due >= horizon {
                gathered.add(seen.key);
            }
        });
        self.pending.fill(gathered.done());
    }

    /// Shows everything that the timer queue has from an offset on and that is still kept, with its offset; returns the end.
    fn walk(&self, from: u64, visit: &mut dyn FnMut(Seen)) -> u64 {
        let (mut at, mut buffer): (u64, Vec<Numbered>) = (from, Vec::new());
        loop {
            let next = self.log.entries(TIMER_TOPIC, 0, at, READ, &mut buffer);
            for (queue, entry) in buffer.drain(..).filter(|(_, entry)| entry.physical_offset >= self.kept) {
                if let Some(due) = self.due_of(entry) {
                    visit(Seen { queue, key: Key::new(due, entry.physical_offset), size: entry.size });
                }
            }
            if next <= at {
                return next.max(at);
            }
            at = next;
        }
    }
}
