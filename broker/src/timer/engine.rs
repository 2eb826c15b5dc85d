//! Delivery: reads the timer queue, stores again what is due, and notes how far it came. The caller brings the time.
//!
//! Order is what makes it right. A time is closed to recalls before anything due at it is looked at. A mark is noted only when its copies are
//! confirmed, and only between two times: what the log has behind the newest mark is then enough to tell, after a
//! crash, what of the times behind it was delivered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use hashbrown::HashMap;
use orbitmq_common::message::record::RecordView;
use orbitmq_common::name::TIMER_TOPIC;

use crate::meta::marks::Mark;
use crate::store::Store;
use crate::store::due::{Due, Kind};
use crate::store::entry::QueueEntry;
use crate::store::error::AppendError;
use crate::store::follow::{Follower, Numbered};
use crate::timer::Timers;
use crate::timer::copy::{self, Copy};
use crate::timer::figures::Figures;
use crate::timer::group::Group;
use crate::timer::identity;
use crate::timer::marking::Marking;
use crate::timer::pending::{Key, Pending};
use crate::timer::roll::Waiting;

/// Entries read in one go.
const READ: usize = 4_096;
/// What a round does at most, so that the store is not kept waiting for its bytes.
const CHUNK_BYTES: usize = 4 << 20;

/// How much at once.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// What waits and is held in memory, at most.
    pub in_memory: usize,
    /// Messages delivered in one go.
    pub chunk: usize,
}

/// Delivery cannot go on now; it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// The copies cannot be stored.
    #[error("due messages cannot be stored: {0}")]
    Append(#[from] AppendError),
}

/// What a round did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Round {
    /// Whether there is more to do at once.
    pub more: bool,
    /// When the next message is due; `None`: nothing waits.
    pub next: Option<i64>,
    /// Whether the timer queue has more than can be read now.
    pub stalled: bool,
}

/// Delivers timer messages of one broker while it is master.
pub struct Engine {
    pub(super) store: Arc<Store>,
    pub(super) log: Follower,
    pub(super) timers: Arc<Timers>,
    pub(super) host: SocketAddr,
    pub(super) pending: Pending,
    /// Offset in the timer queue of the next entry to read.
    pub(super) reader: u64,
    /// Log offset before which nothing waits.
    pub(super) kept: u64,
    /// Everything read that is due before is done.
    pub(super) done: i64,
    /// Messages whose copies the log had behind the mark at the start, with how many copies each, and the latest time of them.
    pub(super) known: (HashMap<u64, u32>, i64),
    /// When it began: what was due before could not be in time.
    pub(super) began: i64,
    chunk: usize,
    /// The latest time of which something may have been delivered.
    pub(super) latest: i64,
    /// Where reading stood still, if it did.
    stalled: Option<u64>,
    /// What concerns all messages of a time, of those times that are not done.
    groups: HashMap<i64, Group>,
    /// Queue offset of the first entry that may wait.
    pub(super) first: u64,
    /// Log offset that retention may go up to, once what was stored up to the other is confirmed.
    pub(super) release: Option<(u64, u64)>,
    /// What is being written again.
    pub(super) rolling: Option<Waiting>,
    /// Whether it was told that a segment stays because most of it waits.
    pub(super) told_full: bool,
    marking: Marking,
    buffer: Vec<Numbered>,
}

impl Engine {
    /// Knows nothing yet; see [`Self::load`].
    pub fn new(store: Arc<Store>, timers: Arc<Timers>, host: SocketAddr, limits: Limits) -> Self {
        Self {
            log: store.follower(),
            store,
            timers,
            host,
            pending: Pending::new(limits.in_memory),
            chunk: limits.chunk,
            reader: 0,
            kept: 0,
            done: i64::MIN,
            known: (HashMap::new(), i64::MIN),
            began: i64::MIN,
            latest: i64::MIN,
            stalled: None,
            groups: HashMap::new(),
            first: 0,
            release: None,
            rolling: None,
            told_full: false,
            marking: Marking::default(),
            buffer: Vec::new(),
        }
    }

    /// Offset in the timer queue of the next entry to read.
    pub fn reader(&self) -> u64 {
        self.reader
    }

    /// How much waits: messages and recalls.
    pub fn waiting_count(&self) -> u64 {
        self.pending.count()
    }

    /// The log offset whose confirmation is waited for.
    pub fn awaited(&self) -> Option<u64> {
        self.marking.awaited().into_iter().chain(self.release.map(|(end, _)| end)).min()
    }

    /// Reads what came, delivers what is due at `now` (ms since the epoch), notes what is confirmed: some of it each.
    ///
    /// # Errors
    /// See [`DeliverError`]; nothing is lost by it.
    pub fn round(&mut self, now: i64) -> Result<Round, DeliverError> {
        if self.pending.is_short(now) {
            self.refill();
        }
        let read = self.read();
        let delivered = self.deliver(now);
        let rolling = self.roll(now);
        self.settle();
        let next = self.pending.next_due();
        let figures = &self.timers.figures;
        figures.pending.store(self.pending.count(), Ordering::Relaxed);
        figures.next_due.store(next.unwrap_or(0), Ordering::Relaxed);
        figures.read.store(self.reader, Ordering::Relaxed);
        delivered?;
        let more = rolling? || read == READ || next.is_some_and(|next| next <= now);
        // The second time in a row: what came since the first look was read by the second.
        let unread = read == 0 && self.store.max_offset(TIMER_TOPIC, 0) > self.reader.cast_signed();
        let stalled = unread && self.stalled == Some(self.reader);
        self.stalled = unread.then_some(self.reader);
        Ok(Round { more, next, stalled })
    }

    /// Takes entries of the timer queue into memory; returns how many there were.
    pub(super) fn read(&mut self) -> usize {
        let mut buffer = std::mem::take(&mut self.buffer);
        self.reader = self.log.entries(TIMER_TOPIC, 0, self.reader, READ, &mut buffer);
        let (read, mut last) = (buffer.len(), 0);
        for (_, entry) in buffer.drain(..) {
            last = entry.physical_offset + 1;
            if let Some(due) = self.due_of(entry) {
                self.pending.insert(Key::new(due, entry.physical_offset));
            }
        }
        self.buffer = buffer;
        if read > 0 {
            self.timers.gate.seen(last);
            Figures::add(&self.timers.figures.taken, read as u64);
        }
        read
    }

    /// When an entry's message is due, from the entry, or from the record where another broker wrote the entry.
    pub(super) fn due_of(&self, entry: QueueEntry) -> Option<Due> {
        if let Some(due) = Due::decode(entry.tag_hash) {
            return Some(due);
        }
        let record = self.record(entry.physical_offset)?;
        let due = RecordView::parse(&record).ok().and_then(|view| Due::of(&view));
        if due.is_none() {
            self.give_up(entry.physical_offset, "it does not say when it is due");
        }
        due
    }

    pub(super) fn record(&self, at: u64) -> Option<Bytes> {
        match self.store.record_at(at) {
            Ok(record) => Some(record),
            Err(error) => {
                self.give_up(at, &error.to_string());
                None
            }
        }
    }

    fn give_up(&self, at: u64, reason: &str) {
        Figures::add(&self.timers.figures.lost, 1);
        tracing::error!(at, reason, "a timer message cannot be delivered; it stays in the log until retention");
    }

    /// Delivers some of what is due.
    fn deliver(&mut self, now: i64) -> Result<(), DeliverError> {
        self.timers.gate.enter(now);
        let (mut looked_at, mut copies, mut bytes) = (0, Vec::new(), 0);
        while looked_at < self.chunk && bytes < CHUNK_BYTES {
            let Some(key) = self.pending.pop_due(now) else { break };
            looked_at += 1;
            self.latest = self.latest.max(key.due);
            if let Some((copy, size)) = self.judge(key, now) {
                bytes += size;
                copies.push((key, copy));
            }
        }
        if looked_at == 0 {
            return Ok(());
        }
        // Those of one queue stand together and keep their order.
        copies.sort_by(|(_, one), (_, other)| (&one.topic, one.queue).cmp(&(&other.topic, other.queue)));
        let stored = self.store_all(&copies, now);
        self.store.nudge();
        stored?;
        self.mark(now);
        Ok(())
    }

    /// Stores copies, of one queue as a batch. What is not stored waits again.
    fn store_all(&mut self, copies: &[(Key, Copy)], now: i64) -> Result<(), DeliverError> {
        // So many are stored one by one, for one of them spoiled their batch.
        let (mut rest, mut singly) = (copies, 0);
        while let Some((_, first)) = rest.first() {
            let of_one_queue = |(_, copy): &&(Key, Copy)| copy.topic == first.topic && copy.queue == first.queue;
            let count = if singly > 0 { 1 } else { rest.iter().take_while(of_one_queue).count() };
            let (these, others) = rest.split_at(count);
            match self.store_batch(these, now) {
                Ok(()) => {}
                Err(error) if !error.is_of_the_record() => {
                    rest.iter().for_each(|(key, _)| self.pending.insert(*key));
                    return Err(error.into());
                }
                Err(_) if count > 1 => {
                    singly = count;
                    continue;
                }
                Err(error) => these.iter().for_each(|(key, _)| self.give_up(key.log_offset(), &error.to_string())),
            }
            singly = usize::saturating_sub(singly, 1);
            rest = others;
        }
        Ok(())
    }

    fn store_batch(&self, copies: &[(Key, Copy)], now: i64) -> Result<(), AppendError> {
        let records: Vec<_> = copies.iter().filter_map(|(_, copy)| copy.to_store(self.host)).collect();
        self.store.append_batch(&records)?;
        let figures = &self.timers.figures;
        Figures::add(&figures.delivered, records.len() as u64);
        let late = copies.iter().map(|(key, _)| key.due).filter(|due| *due >= self.began).min();
        figures.latest.fetch_max(late.map_or(0, |due| now - due), Ordering::Relaxed);
        Ok(())
    }

    /// What has to be stored for one that is due, and its bytes; `None`: nothing.
    fn judge(&mut self, key: Key, now: i64) -> Option<(Copy, usize)> {
        let record = self.record(key.log_offset())?;
        let view = RecordView::parse(&record).ok()?;
        let due = Due::of(&view).filter(|_| view.topic == TIMER_TOPIC);
        let Some(due) = due else {
            self.give_up(key.log_offset(), "its entry in the timer queue is wrong");
            return None;
        };
        if due.time > now {
            // The entry was damaged: the record itself counts.
            self.pending.insert(Key::new(due, key.log_offset()));
            return None;
        }
        if !self.groups.contains_key(&key.due) {
            self.groups.insert(key.due, self.group_of(key.due));
        }
        let times = copy::rolled_times(&view);
        let group = self.groups.get_mut(&key.due)?;
        if due.kind == Kind::Recall {
            group.recalled.insert(identity::of_recalled(&view));
            return None;
        }
        let identity = identity::of(&view);
        if key.kind() == Kind::Rolled && group.roll(identity, times) {
            // The first of them: all the others of its time, too, before any is delivered.
            let others: Vec<Key> = self.pending.at(key.due, Kind::Rolled).collect();
            self.note_rolled(key.due, &others);
        }
        let group = self.groups.get_mut(&key.due)?;
        if !group.counts(identity, times, key.log_offset()) {
            return None;
        }
        if group.recalled.contains(&identity) {
            Figures::add(&self.timers.figures.recalled, 1);
            return None;
        }
        if self.is_known(identity, due.time) {
            Figures::add(&self.timers.figures.known, 1);
            return None;
        }
        let copy = Copy::delivered(&record);
        if copy.is_none() {
            self.give_up(key.log_offset(), "it does not say which topic it is for");
        }
        copy.map(|copy| (copy, record.len()))
    }

    pub(super) fn group_of(&self, due: i64) -> Group {
        let mut group = Group::new(self.timers.gate.recalled(due));
        let recalls: Vec<Key> = self.pending.at(due, Kind::Recall).collect();
        for recall in recalls {
            let record = self.record(recall.log_offset());
            if let Some(view) = record.as_ref().and_then(|record| RecordView::parse(record).ok()) {
                group.recalled.insert(identity::of_recalled(&view));
            }
        }
        group
    }

    fn note_rolled(&mut self, due: i64, keys: &[Key]) {
        for key in keys {
            let record = self.record(key.log_offset());
            let view = record.as_ref().and_then(|record| RecordView::parse(record).ok());
            if let (Some(view), Some(group)) = (view, self.groups.get_mut(&due)) {
                group.roll(identity::of(&view), copy::rolled_times(&view));
            }
        }
    }

    /// Whether the log had a copy of the message already when delivery began here; each copy stands for one message.
    pub(super) fn is_known(&mut self, identity: u64, due: i64) -> bool {
        let (copies, latest) = &mut self.known;
        if due > *latest {
            return false;
        }
        let identity = identity::of_copy(identity, due);
        match copies.get_mut(&identity) {
            Some(1) => copies.remove(&identity).is_some(),
            Some(count) => {
                *count -= 1;
                true
            }
            None => false,
        }
    }

    /// Has a mark noted once what was stored is confirmed, if it stands between two times: of what is due from it on nothing may
    /// have been delivered.
    fn mark(&mut self, now: i64) {
        let next = self.pending.next_due().unwrap_or(i64::MAX).min(now.saturating_add(1));
        if next < self.done || next <= self.latest {
            return;
        }
        self.done = next;
        self.groups.retain(|due, _| *due >= next);
        self.marking.add(Mark { due: next, queue: self.reader, log: self.store.end().max(1), kept: self.kept });
    }

    /// Notes how far it is even if nothing was delivered lately, for the log has grown and a start reads what is behind the mark.
    pub fn note(&mut self, now: i64) {
        let end = self.store.end().max(1);
        let is_news = self.marking.newest().is_none_or(|mark| (mark.log, mark.kept) != (end, self.kept));
        if self.reader > 0 && is_news {
            self.mark(now);
        }
    }

    fn settle(&mut self) {
        let confirmed = self.store.confirmed();
        self.marking.settle(confirmed, &self.timers.marks);
        if let Some((_, kept)) = self.release.take_if(|(end, _)| *end <= confirmed) {
            self.log.hold(kept);
        }
    }
}
