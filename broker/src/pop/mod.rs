//! Popping: messages go to whoever asks and are invisible to the rest of the group until they are acknowledged or their time is over.
//!
//! ```text
//! pop ──> checkpoint ─┐                                ┌─> position of the group in each queue (lanes)
//! ack ──> ack, bAck ──┴─> revive topic in the log ──> open receipts in memory ──(time is over)──> retry topic ──> ack
//! ```
//! The log is the truth: memory is what its notes say from a stored progress on, and is read from there when a broker becomes
//! master. An acknowledgement is answered when its note is as safe as a message; the note of what was popped lies before it. Offsets
//! of groups are stored once the notes that moved them are durable, progress only after the offsets. See `docs/pop.md`.

pub mod clock;
pub mod hall;
pub mod keep;
pub mod lanes;
pub mod notes;
pub mod open;
pub mod rebuild;
pub mod revive;
pub mod routes;
pub mod slots;
pub mod take;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use orbitmq_common::name;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::pop::hall::Halls;
use crate::pop::lanes::{Lane, Lanes};
use crate::pop::notes::{Acks, Notebook};
use crate::pop::open::{Acked, Key, OpenPops};
use crate::pop::routes::Routes;
use crate::refusal::Refusal;
use crate::store::Store;

/// Queues of the revive topic; RocketMQ's number.
pub const REVIVE_QUEUES: u32 = 8;

/// Counts of what popping did in this process.
#[derive(Debug, Default)]
pub struct Counts {
    /// Messages popped.
    pub popped: AtomicU64,
    /// Messages acknowledged.
    pub acked: AtomicU64,
    /// Acknowledgements whose receipt was over.
    pub late: AtomicU64,
    /// Messages given back to their group because their time was over.
    pub revived: AtomicU64,
    /// Messages that became dead letters instead.
    pub dead: AtomicU64,
    /// Messages whose time was over and that the log no longer has, or whose topic or group are gone.
    pub lost: AtomicU64,
}

impl Counts {
    fn add(count: &AtomicU64, n: usize) {
        count.fetch_add(n as u64, Ordering::Relaxed);
    }
}

/// How a batch of acknowledgements was written: its end in the log, or why not.
type Written = Arc<OnceLock<Result<u64, Refusal>>>;

/// One revive queue.
#[derive(Default)]
pub struct Shelf {
    /// Its open receipts.
    pub open: OpenPops,
    /// Offset behind the last note that is known.
    next_note: u64,
    /// Offsets, from and to, of notes that others have written: RocketMQ's timer brings some when they are due.
    foreign: Vec<(u64, u64)>,
    /// Acknowledgements for the next write.
    acks: Vec<(Key, i64)>,
    /// Log offset behind the last acknowledgement that was written.
    acks_end: u64,
    /// Tells those of that write how it went.
    written: Written,
}

impl Shelf {
    /// A note of ours has this offset; what lies between it and the one before is not ours.
    fn noted(&mut self, offset: u64) {
        if offset > self.next_note {
            self.foreign.push((self.next_note, offset));
        }
        self.next_note = offset + 1;
    }
}

/// Everything about popping.
pub struct Pop {
    store: Arc<Store>,
    topic: String,
    broker: String,
    host: SocketAddr,
    /// Lanes.
    pub lanes: Lanes,
    /// One for each revive queue, once the notes are read.
    shelves: OnceLock<Vec<Mutex<Shelf>>>,
    /// Lanes whose group's offset is behind.
    dirty: Mutex<Vec<Arc<Lane>>>,
    /// Requests that wait.
    pub halls: Halls,
    /// Routes for those who ask which queues are theirs.
    pub routes: Routes,
    /// Counts.
    pub counts: Counts,
    ready: watch::Sender<bool>,
}

impl Pop {
    /// For a broker; it pops once [`Self::rebuild`] has read the notes.
    pub fn new(store: Arc<Store>, cluster: &str, broker: &str, host: SocketAddr) -> Self {
        Self {
            store,
            topic: name::revive_topic(cluster),
            broker: broker.to_owned(),
            host,
            lanes: Lanes::default(),
            shelves: OnceLock::new(),
            dirty: Mutex::default(),
            halls: Halls::default(),
            routes: Routes::default(),
            counts: Counts::default(),
            ready: watch::Sender::new(false),
        }
    }

    /// The revive topic.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Waits until the notes are read.
    pub async fn ready(&self) {
        // The sender is ours.
        let _ = self.ready.subscribe().wait_for(|ready| *ready).await;
    }

    /// Whether the notes are read.
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    fn notebook(&self) -> Notebook<'_> {
        Notebook { store: &self.store, topic: &self.topic, host: self.host }
    }

    fn shelves(&self) -> &[Mutex<Shelf>] {
        self.shelves.get().map_or(&[], Vec::as_slice)
    }

    fn shelf(&self, revive_queue: u32) -> Option<&Mutex<Shelf>> {
        self.shelves().get(revive_queue as usize)
    }

    /// Open messages, checkpoints and the bytes that they take.
    pub fn open(&self) -> (u64, usize, usize) {
        self.shelves().iter().fold((0, 0, 0), |(receipts, checkpoints, bytes), shelf| {
            let open = &shelf.lock().open;
            (receipts + open.receipts(), checkpoints + open.checkpoints(), bytes + open.bytes())
        })
    }

    /// The clock was set; see [`OpenPops::clock_moved`].
    pub fn clock_moved(&self, reached: i64, moves: impl Fn(i64, i64) -> i64) {
        self.shelves().iter().for_each(|shelf| shelf.lock().open.clock_moved(reached, &moves));
    }

    /// Messages are acknowledged; returns what to write and to wait for. `due`: when their receipts end, ms since the epoch.
    ///
    /// # Errors
    /// Nothing of it can be acknowledged.
    pub fn ack(&self, handle: &Handle<'_>, offsets: &[i64], now: i64) -> Result<Pending, Refusal> {
        let due = handle.pop_time.saturating_add(handle.invisible);
        let Some(shelf) = self.shelf(handle.revive_queue) else {
            return Err(Refusal::invalid(format!("there is no revive queue {}", handle.revive_queue)));
        };
        let lane = self.lanes.find(handle.topic, handle.group, handle.queue);
        let mut shelf = shelf.lock();
        let (mut done, mut late) = (0, 0);
        for offset in offsets {
            let Some(lane) = lane.as_ref() else { break };
            let key = Key { lane: lane.id, start: handle.start, pop_time: handle.pop_time };
            match shelf.open.ack(key, *offset, due, now) {
                Acked::Now => {
                    shelf.acks.push((key, *offset));
                    done += 1;
                }
                Acked::Before => {}
                Acked::Unknown => late += 1,
            }
        }
        if lane.is_none() {
            late = offsets.len();
        }
        Counts::add(&self.counts.acked, done);
        Counts::add(&self.counts.late, late);
        // One that was acknowledged before waits as well: its note may be on its way.
        Ok(Pending { revive_queue: handle.revive_queue, written: Arc::clone(&shelf.written), late })
    }

    /// Writes what is to be written, or sees that it was. Returns the end of it in the log.
    ///
    /// # Errors
    /// The log takes no message now; the messages are not acknowledged.
    pub fn write(&self, pending: &Pending) -> Result<u64, Refusal> {
        let shelf = self.shelf(pending.revive_queue).map(Mutex::lock);
        if let Some(mut shelf) = shelf
            && Arc::ptr_eq(&shelf.written, &pending.written)
        {
            self.write_acks(pending.revive_queue, &mut shelf);
        }
        pending.written.get().cloned().unwrap_or(Ok(0))
    }

    fn write_acks(&self, revive_queue: u32, shelf: &mut Shelf) {
        let written = std::mem::take(&mut shelf.written);
        let mut acks = std::mem::take(&mut shelf.acks);
        acks.sort_unstable();
        // One that was acknowledged before waits for that.
        let mut result = Ok(shelf.acks_end);
        for same in acks.chunk_by(|(key, _), (other, _)| key == other) {
            let Some((key, _)) = same.first() else { continue };
            let offsets: Vec<i64> = same.iter().map(|(_, offset)| *offset).collect();
            let noted = self.note_acks(revive_queue, *key, &offsets, shelf);
            for offset in &offsets {
                shelf.open.written(*key, *offset, noted.is_ok());
            }
            match noted {
                Ok(end) => result = result.map(|_| end),
                Err(refusal) => result = Err(refusal),
            }
        }
        // Nobody else sets it.
        let _ = written.set(result);
    }

    /// Notes that messages are done with; returns the end of the note in the log.
    fn note_acks(&self, revive_queue: u32, key: Key, offsets: &[i64], shelf: &mut Shelf) -> Result<u64, Refusal> {
        let Some(lane) = self.lanes.numbered(key.lane) else { return Ok(0) };
        let several = (offsets.len() > 1).then(|| offsets.to_vec());
        let acks = Acks {
            offset: if several.is_some() { -1 } else { offsets.first().copied().unwrap_or(-1) },
            offsets: several,
            broker: Some(self.broker.as_str().into()),
            group: (&*lane.group).into(),
            pop_time: key.pop_time,
            queue: i32::try_from(lane.queue).unwrap_or(i32::MAX),
            start: key.start,
            topic: (&*lane.topic).into(),
        };
        let appended = self.notebook().acks(revive_queue, &acks)?;
        shelf.noted(appended.queue_offset);
        shelf.acks_end = appended.end;
        Ok(appended.end)
    }
}

/// What a receipt names, without the message.
#[derive(Debug, Clone, Copy)]
pub struct Handle<'a> {
    /// The topic that the messages lie in.
    pub topic: &'a str,
    /// The group.
    pub group: &'a str,
    /// The queue.
    pub queue: u32,
    /// First offset.
    pub start: i64,
    /// When they were popped, ms since the epoch.
    pub pop_time: i64,
    /// For how long they were invisible, ms.
    pub invisible: i64,
    /// Queue of the revive topic.
    pub revive_queue: u32,
}

/// Acknowledgements that are on their way into the log.
pub struct Pending {
    revive_queue: u32,
    written: Written,
    /// Messages whose receipt was over.
    pub late: usize,
}

#[cfg(test)]
mod tests;
