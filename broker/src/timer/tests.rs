//! Checks of the engine on a real store, with a clock of their own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod export;
mod model;
mod retention;
mod wire;

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use orbitmq_common::message::entry;
use orbitmq_common::message::property;
use orbitmq_common::message::recall::RecallHandle;
use orbitmq_common::message::record::NewRecord;
use orbitmq_common::name::TIMER_TOPIC;
use tempfile::TempDir;

use crate::meta::db::Db;
use crate::meta::kept::Kept;
use crate::meta::marks::{Mark, Marks};
use crate::store::Store;
use crate::store::options::{Flush, IndexSize, Options, Retention};
use crate::store::read::ReadLimit;
use crate::store::tail::Appended;
use crate::timer::engine::{Engine, Limits};
use crate::timer::gate::RecallError;
use crate::timer::{Timers, identity, recall};

/// When tests begin, ms since the epoch.
const BEGIN: i64 = 1_800_000_000_000;
const HOST: ([u8; 4], u16) = ([127, 0, 0, 1], 10_911);
const ALL: ReadLimit = ReadLimit { max_messages: usize::MAX, max_bytes: usize::MAX };

fn block<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(30), future).await.unwrap() })
}

/// A store with an engine.
struct Site {
    dir: TempDir,
    db: Arc<Db>,
    limits: Limits,
    retention: Retention,
    store: Arc<Store>,
    timers: Arc<Timers>,
    engine: Engine,
    now: i64,
    /// Every mark that was noted, in order.
    marks: Vec<Mark>,
}

fn open(dir: &Path, retention: Retention) -> Arc<Store> {
    let options = Options {
        segment_size: 64 << 10,
        queue_file_entries: 50,
        index: Some(IndexSize { slots: 101, entries: 500 }),
        flush: Flush::Async,
        checkpoint_every: Duration::from_secs(3_600),
        retention,
        hold_from: 0,
        ..Options::new(dir)
    };
    Arc::new(Store::open(options).unwrap())
}

fn engine(store: &Arc<Store>, timers: &Arc<Timers>, limits: Limits, now: i64) -> Engine {
    let mut engine = Engine::new(Arc::clone(store), Arc::clone(timers), HOST.into(), limits);
    engine.load(now);
    engine
}

const FOREVER: Retention = Retention { max_age: None, max_bytes: None, check_every: Duration::from_secs(3_600) };

impl Site {
    fn new(limits: Limits, retention: Retention) -> Self {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let db = Arc::new(Db::open(&dir.path().join("orbitmq")).unwrap());
        let store = open(dir.path(), retention);
        let timers = Arc::new(Timers::new(Arc::new(Marks::load(Arc::clone(&db), store.end()).unwrap())));
        let engine = engine(&store, &timers, limits, BEGIN);
        Self { dir, db, limits, retention, store, timers, engine, now: BEGIN, marks: Vec::new() }
    }

    /// Stores a message that is due after so many ms, and waits until it is durable.
    fn send(&self, key: &str, topic: &str, queue: u32, wait: i64) -> i64 {
        let due = self.now + wait;
        let text = [
            (property::UNIQ_KEY, key),
            (property::REAL_TOPIC, topic),
            (property::REAL_QUEUE_ID, &queue.to_string()),
            (property::TIMER_OUT_MS, &due.to_string()),
        ]
        .map(|(name, value)| format!("{name}\u{1}{value}\u{2}"))
        .concat();
        let appended = self.append(key.as_bytes(), &text).unwrap();
        self.until_read(appended);
        due
    }

    fn append(&self, body: &[u8], properties: &str) -> Result<Appended, crate::store::error::AppendError> {
        self.store.append(&NewRecord {
            topic: TIMER_TOPIC,
            queue_id: 0,
            flag: 0,
            sys_flag: 0,
            born_timestamp: self.now,
            born_host: HOST.into(),
            store_host: HOST.into(),
            reconsume_times: 0,
            prepared_offset: 0,
            body,
            properties: properties.as_bytes(),
        })
    }

    fn until_read(&self, appended: Appended) {
        block(async {
            self.store.durable(appended.end).await.unwrap();
            self.store.built(appended.end).await;
        });
    }

    /// Takes a message back; tells whether that was acknowledged.
    fn recall(&self, key: &str, topic: &str, due: i64) -> bool {
        let handle = RecallHandle { topic: topic.to_owned(), broker: "b".to_owned(), due, key: key.to_owned() };
        let text = recall::properties(&handle, Some("P")).unwrap();
        let append = || self.append(recall::BODY, &text);
        match self.timers.gate.recall(due, identity::of_message(topic, key), append) {
            Ok(appended) => {
                self.until_read(appended);
                true
            }
            Err(RecallError::Due) => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// One round.
    fn step(&mut self) -> bool {
        let round = self.engine.round(self.now).unwrap();
        let mark = self.timers.marks.best(u64::MAX);
        if mark != self.marks.last().copied() {
            self.marks.extend(mark);
        }
        round.more
    }

    /// Rounds until nothing is left to do at this time, all of it confirmed, noted and read again.
    fn run(&mut self) {
        loop {
            if self.step() {
                continue;
            }
            let end = self.store.end();
            block(self.store.durable(end)).unwrap();
            block(self.store.built(end));
            let unread = self.store.max_offset(TIMER_TOPIC, 0) > self.engine.reader().cast_signed();
            if self.engine.awaited().is_none() && !unread {
                return;
            }
        }
    }

    fn advance(&mut self, by: i64) {
        self.now += by;
        self.run();
    }

    /// Ends as a kill does and begins again. Of the marks the last `lost` are lost, for they are written behind.
    fn crash(self, lost: usize) -> Self {
        let Self { dir, db, limits, retention, store, timers, engine: old, now, mut marks } = self;
        store.abandon();
        drop((old, store));
        marks.truncate(marks.len().saturating_sub(lost));
        for slot in 0..64 {
            timers.marks.take(&[slot], None);
        }
        let store = open(dir.path(), retention);
        // What is ahead of the log goes at a start: the log may grow there again, to something else.
        marks.retain(|mark| mark.log <= store.end());
        for (slot, mark) in (0..64).zip(marks.iter().rev()) {
            timers.marks.take(&[slot], Some(&mark.foreign_row().1));
        }
        let timers = Arc::new(Timers::new(Arc::clone(&timers.marks)));
        let engine = engine(&store, &timers, limits, now);
        Self { dir, db, limits, retention, store, timers, engine, now, marks }
    }

    /// How often each key was delivered, and where.
    fn delivered(&self) -> BTreeMap<String, Vec<(String, u32)>> {
        let mut found: BTreeMap<String, Vec<(String, u32)>> = BTreeMap::new();
        for topic in self.store.topics().into_iter().filter(|topic| topic != TIMER_TOPIC) {
            for queue in self.store.queues(&topic) {
                for key in self.queue(&topic, queue) {
                    found.entry(key).or_default().push((topic.clone(), queue));
                }
            }
        }
        found
    }

    /// Keys in a queue, in its order.
    fn queue(&self, topic: &str, queue: u32) -> Vec<String> {
        let (mut keys, mut at) = (Vec::new(), self.store.min_offset(topic, queue));
        while at < self.store.max_offset(topic, queue) {
            let read = self.store.read(topic, queue, at, ALL, &mut |_, _| true);
            for chunk in &read.chunks {
                keys.extend(entry::records(chunk).map(|record| {
                    let record = record.unwrap();
                    record.verify().unwrap();
                    assert!(record.property(property::REAL_TOPIC).is_none(), "what delivery needed is gone");
                    String::from_utf8(record.body.to_vec()).unwrap()
                }));
            }
            at = read.next_offset;
        }
        keys
    }
}

const ROOMY: Limits = Limits { in_memory: 1_000, chunk: 512 };

#[test]
fn messages_come_at_their_time_in_the_order_of_the_log() {
    let mut site = Site::new(ROOMY, FOREVER);
    for (key, wait) in [("late", 50), ("first", 20), ("second", 20), ("early", 10)] {
        site.send(key, "T", 1, wait);
    }
    site.advance(9);
    assert!(site.queue("T", 1).is_empty(), "nothing is early");
    site.advance(1);
    assert_eq!(site.queue("T", 1), ["early"]);
    site.advance(10);
    assert_eq!(site.queue("T", 1), ["early", "first", "second"]);
    site.advance(1_000);
    assert_eq!(site.queue("T", 1), ["early", "first", "second", "late"]);
    assert_eq!(site.engine.waiting_count(), 0);
}

#[test]
fn a_restart_across_due_times_loses_none_and_delivers_none_twice() {
    let mut site = Site::new(Limits { in_memory: 1_000, chunk: 10 }, FOREVER);
    for number in 0..100 {
        site.send(&format!("k{number:03}"), "T", number % 3, i64::from(number) * 10 + 10);
    }
    site.advance(300);
    // In the midst of what is due, before anything of it is noted.
    site.now += 400;
    site.step();
    site.step();
    let mut site = site.crash(3);
    site.advance(0);
    let mut site = site.crash(0);
    site.advance(10_000);
    let delivered = site.delivered();
    assert_eq!(delivered.len(), 100);
    assert!(delivered.values().all(|places| places.len() == 1), "{delivered:?}");
    assert!(crate::timer::figures::Figures::get(&site.timers.figures.lost) == 0);
}

#[test]
fn what_was_taken_back_never_comes() {
    let mut site = Site::new(ROOMY, FOREVER);
    let due = site.send("gone", "T", 0, 1_000);
    site.send("stays", "T", 0, 1_000);
    let soon = site.send("due", "T", 0, 10);
    assert!(site.recall("gone", "T", due));
    assert!(site.recall("gone", "T", due), "twice is as good as once");
    site.advance(10);
    assert!(!site.recall("due", "T", soon), "it was delivered");
    let mut site = site.crash(10);
    site.advance(5_000);
    assert_eq!(site.queue("T", 0), ["due", "stays"]);
}

#[test]
fn two_messages_of_one_key_and_time_come_both() {
    let mut site = Site::new(ROOMY, FOREVER);
    for _ in 0..3 {
        site.send("same", "T", 0, 10);
    }
    site.advance(10);
    let mut site = site.crash(10);
    site.advance(10);
    assert_eq!(site.queue("T", 0), ["same", "same", "same"]);
}

#[test]
fn more_than_memory_holds_come_all_in_order() {
    let mut site = Site::new(Limits { in_memory: 16, chunk: 7 }, FOREVER);
    let mut expected = Vec::new();
    for number in 0..200_i64 {
        let wait = (number * 7_919) % 5_000 + 100_000;
        let key = format!("{wait:06}-{number:03}");
        site.send(&key, "T", 0, wait);
        expected.push(key);
        site.step();
    }
    expected.sort();
    let mut site = site.crash(0);
    assert_eq!(site.engine.waiting_count(), 200);
    for _ in 0..60 {
        site.advance(2_000);
    }
    assert_eq!(site.queue("T", 0), expected);
}

#[test]
fn a_mark_of_rocketmqs_broker_is_taken_up() {
    let mut site = Site::new(ROOMY, FOREVER);
    let done = site.send("done", "T", 0, 10);
    site.send("waits", "T", 0, 5_000);
    // RocketMQ's broker delivered the first and says so; its copies carry the time, too.
    let mark = Mark { due: done + 1, queue: 2, log: 0, kept: 0 };
    site.marks = vec![mark];
    let mut site = site.crash(0);
    site.advance(6_000);
    assert_eq!(site.queue("T", 0), ["waits"]);
}
