//! The work that is recorded: sends, batches, deletions, checkpoints, retention, stops and crashes in between.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use orbitmq_broker::store::Store;
use orbitmq_broker::store::io::{Disk, Io};
use orbitmq_broker::store::options::{Flush, IndexSize, Options, Retention};
use orbitmq_broker::store::truncate;
use orbitmq_common::message::record::NewRecord;

use crate::disk::{self, Image};
use crate::history::History;
use crate::message::{DELETED, Draft, TOPICS};
use crate::record::{Op, Recorder};

/// Length of a segment of the log.
pub const SEGMENT: u64 = 64 << 10;
const RUNS: usize = 3;
const STEPS: usize = 60;
const PATIENCE: Duration = Duration::from_secs(20);

/// Which promises are under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A message is acknowledged once it is flushed.
    Sync,
    /// A message is acknowledged once it is written; what was flushed in the background is there.
    Async,
    /// A slave: what it says it has flushed is there.
    Slave,
    /// A master that was followed by another: between its lives its log is cut, and goes on otherwise.
    Rejoin,
}

impl Kind {
    /// For the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sync => "power cut, sync",
            Self::Async => "power cut, async",
            Self::Slave => "power cut, slave",
            Self::Rejoin => "power cut, log cut short",
        }
    }
}

/// A bug put in on purpose, to see that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// Messages are acknowledged when they are appended.
    AckBeforeFlush,
    /// Names in directories are never flushed.
    NoDirectoryFlush,
}

/// Changes to a disk in order, and what was sent meanwhile.
#[derive(Debug)]
pub struct Recording {
    /// The changes.
    pub ops: Vec<Op>,
    /// The messages.
    pub history: History,
    /// The files at the end.
    pub last: Image,
    /// Whether the store was closed at the end.
    pub closed: bool,
}

/// Options of all stores here: files so small that each state has several of every sort.
pub fn options(dir: &Path, io: Arc<dyn Io>, kind: Kind) -> Options {
    let hour = Duration::from_secs(3_600);
    Options {
        segment_size: SEGMENT,
        queue_file_entries: 40,
        index: Some(IndexSize { slots: 1_300, entries: 1_200 }),
        flush: if kind == Kind::Async { Flush::Async } else { Flush::Sync },
        flush_every: Duration::from_millis(15),
        checkpoint_every: hour,
        retention: Retention { max_age: None, max_bytes: None, check_every: hour },
        io,
        ..Options::new(dir)
    }
}

/// Waits for something that must come.
pub fn block<F: Future>(future: F) -> F::Output {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    }
    RUNTIME.with(|runtime| {
        runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("an answer in time") })
    })
}

struct Worker {
    kind: Kind,
    plant: Option<Plant>,
    disk: Arc<Recorder>,
    store: Store,
    /// The master, if the recorded store is a slave.
    master: Option<Arc<Store>>,
    history: History,
    chance: Rng,
}

/// Records a store's life in a directory.
pub fn record(kind: Kind, plant: Option<Plant>, seed: u64, dir: &Path) -> Recording {
    let mut chance = Rng::with_seed(seed);
    let disk = Arc::new(Recorder::new(dir));
    let mut history = History::default();
    let mut closed = false;
    let beside = dir.with_extension("master");
    let master = (kind == Kind::Slave)
        .then(|| Arc::new(Store::open(options(&beside, Arc::new(Disk), kind)).expect("the master opens")));
    for _ in 0..RUNS {
        let store = Store::open(working(dir, &disk, kind)).expect("the recorded store opens");
        if master.is_none() {
            history.forget_behind(store.confirmed());
        }
        let master = master.clone();
        let mut worker = Worker { kind, plant, disk: Arc::clone(&disk), store, master, history, chance: chance.fork() };
        worker.run();
        closed = worker.chance.bool();
        if closed {
            worker.store.close().expect("the recorded store closes");
            worker.promise(worker.store.flushed());
        }
        if kind == Kind::Rejoin {
            worker.cut(dir);
        }
        history = worker.history;
    }
    if master.is_some() {
        drop(master);
        std::fs::remove_dir_all(&beside).expect("a directory in memory goes");
    }
    let last = disk::take_in(dir);
    let mut ops = disk.take();
    if plant == Some(Plant::NoDirectoryFlush) {
        ops.retain(|op| !matches!(op, Op::SyncDir(_)));
    }
    Recording { ops, history, last, closed }
}

/// While it works, the keeper makes a checkpoint and applies retention with every look.
fn working(dir: &Path, disk: &Arc<Recorder>, kind: Kind) -> Options {
    let io: Arc<dyn Io> = disk.clone();
    let retention = Retention { max_age: None, max_bytes: Some(4 * SEGMENT), check_every: Duration::ZERO };
    Options { checkpoint_every: Duration::ZERO, retention, ..options(dir, io, kind) }
}

impl Worker {
    fn run(&mut self) {
        let rest_at = self.chance.usize(0..STEPS);
        for step in 0..STEPS {
            match self.chance.u8(0..40) {
                0 if matches!(self.kind, Kind::Sync | Kind::Async) => self.delete(),
                1..=8 => self.batch(),
                _ => self.burst(),
            }
            if self.chance.bool() {
                self.wait();
            }
            if step == rest_at {
                self.await_keeper();
            }
        }
    }

    /// The store that takes messages.
    fn front(&self) -> &Store {
        self.master.as_deref().unwrap_or(&self.store)
    }

    /// Brings some of the master's log to the slave, in pieces of any size.
    fn copy(&mut self, master: &Store) {
        while self.store.end() < master.flushed() {
            let piece = self.chance.u64(10_000..40_000);
            let at = self.store.end();
            let Some(bytes) = master.log_bytes(at, master.flushed(), piece) else { break };
            let taken = self.store.replicate(at, &bytes).expect("sound records fit");
            if self.chance.bool() {
                self.store.nudge();
            }
            if taken == 0 || self.chance.u8(0..8) == 0 {
                break;
            }
        }
    }

    fn promise(&self, upto: u64) {
        self.disk.note(Op::Promise(upto));
    }

    fn draft(&mut self, ahead: u64) -> Draft {
        let (topic, queues) = TOPICS[self.chance.usize(0..TOPICS.len())];
        Draft::new(self.history.next_number() + ahead, topic, self.chance.u32(0..queues))
    }

    fn burst(&mut self) {
        for _ in 0..self.chance.usize(1..10) {
            let draft = self.draft(0);
            let born = self.disk.count();
            let place = self.front().append(&draft.record()).expect("an append");
            self.history.add(&draft, place, born);
            self.appended(place.end);
        }
    }

    fn batch(&mut self) {
        let first = self.draft(0);
        let drafts: Vec<Draft> = (0..self.chance.u64(2..6))
            .map(|ahead| Draft::new(first.number + ahead, first.topic, first.queue))
            .collect();
        let records: Vec<NewRecord<'_>> = drafts.iter().map(Draft::record).collect();
        let born = self.disk.count();
        let places = self.front().append_batch(&records).expect("an append");
        for (draft, place) in drafts.iter().zip(places) {
            self.history.add(draft, place, born);
            self.appended(place.end);
        }
    }

    fn appended(&self, end: u64) {
        if self.plant == Some(Plant::AckBeforeFlush) {
            self.promise(end);
        }
    }

    /// Waits for the acknowledgement of all that was sent.
    fn wait(&mut self) {
        let Some(end) = self.history.sent.last().map(|last| last.place.end) else { return };
        block(self.front().durable(end)).expect("an acknowledgement");
        if let Some(master) = self.master.clone() {
            self.copy(&master);
            block(self.store.durable(self.store.end())).expect("the slave flushes");
        }
        self.promise(if matches!(self.kind, Kind::Sync | Kind::Rejoin) { end } else { self.store.flushed() });
    }

    fn delete(&mut self) {
        self.wait();
        block(self.store.built(self.store.confirmed()));
        let begun = self.disk.count();
        self.store.delete_topic(DELETED);
        self.history.delete(DELETED, begun, self.disk.count());
    }

    /// Ends, and loses the log from some message on.
    fn cut(&mut self, dir: &Path) {
        self.store.abandon();
        let (start, end) = (self.store.min_physical(), self.store.confirmed());
        let inside = |at: &u64| (start..end).contains(at);
        let places: Vec<u64> = self
            .history
            .sent
            .iter()
            .filter(|sent| sent.cut.is_none())
            .map(|sent| sent.place.physical_offset)
            .filter(inside)
            .collect();
        // Mostly little is lost.
        let least = if self.chance.u8(0..4) == 0 { 0 } else { places.len().saturating_sub(30) };
        let Some(to) = places.get(self.chance.usize(least..=places.len())) else { return };
        self.disk.note(Op::Cut(*to));
        truncate::truncate(&working(dir, &self.disk, self.kind), *to).expect("the log is cut");
        self.history.cut(*to, self.disk.count());
    }

    /// Waits for a checkpoint by the keeper, which writes queues and index and deletes old segments too.
    fn await_keeper(&mut self) {
        self.wait();
        let (before, deadline) = (self.store.stats().checkpoints, Instant::now() + PATIENCE);
        while self.store.stats().checkpoints == before {
            assert!(Instant::now() < deadline, "the keeper makes a checkpoint");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
