//! What happened in a round: who sent what, when, and what was answered; what consumers saw; which offsets were committed.

use std::ops::Range;
use std::time::Instant;

use parking_lot::Mutex;

use super::proxy::Member;
use crate::ledger::Id;

/// Microseconds from the start of the round.
pub type Moment = u64;

/// A producer's way into one queue: one message at a time, numbered without gaps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Lane {
    /// The producer.
    pub producer: u8,
    /// The broker group.
    pub group: u8,
    /// The queue.
    pub queue: u8,
}

impl Lane {
    /// The message of this number.
    #[must_use]
    pub fn id(self, sequence: u64) -> Id {
        Id { sender: u32::from_be_bytes([0, self.producer, self.group, self.queue]), sequence }
    }

    /// The lane of a message.
    #[must_use]
    pub fn of(id: Id) -> Self {
        let [_, producer, group, queue] = id.sender.to_be_bytes();
        Self { producer, group, queue }
    }
}

/// How a send ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Acknowledged.
    Stored {
        /// Offset in its queue.
        offset: i64,
        /// Place in the log.
        physical: u64,
    },
    /// No answer, or one that leaves it open: stored or not.
    Doubtful,
    /// Certainly not stored by this request.
    Refused,
}

/// One request to store one message.
#[derive(Debug, Clone)]
pub struct Send {
    /// The message.
    pub id: Id,
    /// Whom it was sent to.
    pub member: Member,
    /// When the request began.
    pub started: Moment,
    /// When the answer was there, or was given up.
    pub ended: Moment,
    /// The answer.
    pub outcome: Outcome,
}

/// One delivery to a consumer.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The message; `None` when its body is none of ours.
    pub id: Option<Id>,
    /// The group that it came from.
    pub group: u8,
    /// The queue.
    pub queue: u8,
    /// Offset in the queue.
    pub offset: i64,
    /// When.
    pub at: Moment,
}

/// A commit of an offset, or a question for it.
#[derive(Debug, Clone)]
pub struct Offset {
    /// Whom it was sent to.
    pub member: Member,
    /// The queue.
    pub queue: u8,
    /// When the request began.
    pub started: Moment,
    /// When the answer was there.
    pub ended: Moment,
    /// The offset; -1 is the answer that there is none.
    pub offset: i64,
    /// Whether it was committed, or read.
    pub committed: bool,
}

/// Who was the master of an epoch, as the controller says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch {
    /// The epoch.
    pub number: i64,
    /// Its master.
    pub master: Member,
}

/// An in-sync set of a group, as the controller says.
#[derive(Debug, Clone)]
pub struct InSync {
    /// The group.
    pub group: u8,
    /// Its set epoch.
    pub number: i64,
    /// Numbers of the members.
    pub members: Vec<i64>,
    /// From here on it was certainly in force.
    pub from: Moment,
    /// Up to here it was.
    pub to: Moment,
}

/// A kill, and what the process had written to its log and not flushed.
#[derive(Debug, Clone)]
pub struct Death {
    /// Whose.
    pub member: Member,
    /// When the process had been started.
    pub since: Moment,
    /// When it was killed.
    pub at: Moment,
    /// Places in the log.
    pub unflushed: Vec<Range<u64>>,
}

/// Everything.
#[derive(Debug, Clone, Default)]
pub struct Records {
    /// Sends, in the order of their ends.
    pub sends: Vec<Send>,
    /// Deliveries, in their order.
    pub seen: Vec<Seen>,
    /// What members of the group that pops were given; `None` when the body is none of ours.
    pub popped: Vec<Option<Id>>,
    /// Commits and questions, in the order of their ends; only those that were answered.
    pub offsets: Vec<Offset>,
    /// Epochs that were noticed.
    pub epochs: Vec<Epoch>,
    /// In-sync sets that were noticed.
    pub sets: Vec<InSync>,
    /// Kills of brokers.
    pub deaths: Vec<Death>,
}

/// Collects.
pub struct History {
    start: Instant,
    records: Mutex<Records>,
}

impl Default for History {
    fn default() -> Self {
        Self { start: Instant::now(), records: Mutex::default() }
    }
}

impl History {
    /// The moment.
    #[must_use]
    pub fn now(&self) -> Moment {
        u64::try_from(self.start.elapsed().as_micros()).unwrap()
    }

    /// Notes a send that ends now.
    pub fn sent(&self, id: Id, member: Member, started: Moment, outcome: Outcome) {
        let mut records = self.records.lock();
        // The order of entries is that of their times.
        let ended = self.now();
        records.sends.push(Send { id, member, started, ended, outcome });
    }

    /// Notes a delivery.
    pub fn saw(&self, id: Option<Id>, group: u8, queue: u8, offset: i64) {
        let mut records = self.records.lock();
        let at = self.now();
        records.seen.push(Seen { id, group, queue, offset, at });
    }

    /// Notes a delivery to the group that pops.
    pub fn popped(&self, id: Option<Id>) {
        self.records.lock().popped.push(id);
    }

    /// Notes a commit, or the answer to a question, that ends now.
    pub fn offset(&self, member: Member, queue: u8, started: Moment, offset: i64, committed: bool) {
        let mut records = self.records.lock();
        let ended = self.now();
        records.offsets.push(Offset { member, queue, started, ended, offset, committed });
    }

    /// Notes who is master of an epoch.
    pub fn epoch(&self, number: i64, master: Member) {
        let mut records = self.records.lock();
        let epoch = Epoch { number, master };
        if !records.epochs.contains(&epoch) {
            records.epochs.push(epoch);
        }
    }

    /// Notes an in-sync set, which was asked for at a moment and is told now.
    pub fn set(&self, group: u8, number: i64, members: Vec<i64>, asked: Moment) {
        let mut records = self.records.lock();
        let from = self.now();
        match records.sets.iter_mut().find(|set| (set.group, set.number) == (group, number)) {
            Some(set) => set.to = set.to.max(asked),
            None => records.sets.push(InSync { group, number, members, from, to: asked }),
        }
    }

    /// Notes a kill.
    pub fn death(&self, death: Death) {
        self.records.lock().deaths.push(death);
    }

    /// Looks at the records.
    pub fn read<T>(&self, look: impl FnOnce(&Records) -> T) -> T {
        look(&self.records.lock())
    }
}

impl Records {
    /// Acknowledged sends: the send, its offset, its place in the log.
    pub fn acknowledged(&self) -> impl Iterator<Item = (&Send, i64, u64)> {
        self.sends.iter().filter_map(|send| match send.outcome {
            Outcome::Stored { offset, physical } => Some((send, offset, physical)),
            Outcome::Doubtful | Outcome::Refused => None,
        })
    }

    /// When acknowledgements of a group came in.
    pub fn answers(&self, group: u8) -> impl Iterator<Item = &Send> {
        self.acknowledged().map(|(send, ..)| send).filter(move |send| send.member.group == group)
    }
}
