//! Popping against a small model: any order of pops, acknowledgements, changes, time, steps of the clock and crashes.
//!
//! What an answer has promised holds: what was acknowledged never comes back, what is held by one reader is not given to another
//! before its time is over, and every message is acknowledged by somebody in the end.

mod gathered;
mod in_order;
mod own_notes;

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use orbitmq_common::clock::now_ms;
use orbitmq_common::message::entry;
use orbitmq_common::message::record::NewRecord;
use orbitmq_common::name;
use orbitmq_common::protocol::body::group::GroupConfig;
use orbitmq_common::protocol::body::topic::TopicConfig;
use proptest::prelude::*;

use super::*;
use crate::broker::Broker;
use crate::config::Config;
use crate::life::{self, Sockets};
use crate::pop::take::Want;
use crate::store::options::IndexSize;
use crate::store::read::ReadLimit;

const TOPIC: &str = "T";
const GROUP: &str = "g";

#[derive(Debug, Clone)]
enum Step {
    Send { queue: u32, count: usize },
    Pop { queue: u32, retry: bool, count: usize, invisible: i64, answered: bool },
    Ack { nth: usize, answered: bool },
    AckAll { answered: bool },
    Change { nth: usize, invisible: i64, answered: bool },
    Wait { ms: i64 },
    Clock { by: i64 },
    Revive { settled: bool },
    Keep,
    NoteAgain,
    Crash { forget_offsets: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let answered = prop::bool::weighted(0.9);
    prop_oneof![
        4 => (0..2_u32, 1..6_usize).prop_map(|(queue, count)| Step::Send { queue, count }),
        8 => (0..2_u32, prop::bool::weighted(0.3), 1..5_usize, 1_000..60_000_i64, answered).prop_map(
            |(queue, retry, count, invisible, answered)| Step::Pop { queue, retry, count, invisible, answered }
        ),
        6 => (0..30_usize, answered).prop_map(|(nth, answered)| Step::Ack { nth, answered }),
        1 => answered.prop_map(|answered| Step::AckAll { answered }),
        2 => (0..30_usize, 0..90_000_i64, answered)
            .prop_map(|(nth, invisible, answered)| Step::Change { nth, invisible, answered }),
        4 => (1..40_000_i64).prop_map(|ms| Step::Wait { ms }),
        1 => (-60..=60_i64).prop_map(|seconds| Step::Clock { by: seconds * 1_000 }),
        4 => prop::bool::weighted(0.8).prop_map(|settled| Step::Revive { settled }),
        2 => Just(Step::Keep),
        1 => Just(Step::NoteAgain),
        2 => any::<bool>().prop_map(|forget_offsets| Step::Crash { forget_offsets }),
    ]
}

/// A message in a reader's hands.
#[derive(Debug, Clone)]
struct Held {
    id: u64,
    topic: String,
    queue: u32,
    start: i64,
    pop_time: i64,
    invisible: i64,
    revive_queue: u32,
    offset: i64,
    /// By how much the clock moved meanwhile.
    moved: i64,
}

impl Held {
    fn handle(&self) -> Handle<'_> {
        Handle {
            topic: &self.topic,
            group: GROUP,
            queue: self.queue,
            start: self.start,
            pop_time: self.pop_time,
            invisible: self.invisible,
            revive_queue: self.revive_queue,
        }
    }

    fn due(&self) -> i64 {
        self.pop_time + self.invisible + self.moved
    }
}

fn open(dir: &Path) -> Arc<Broker> {
    let mut config = Config::local(dir, Vec::new());
    config.store.segment_size = 1 << 20;
    config.store.index = Some(IndexSize { slots: 1000, entries: 4000 });
    let listener = || TcpListener::bind("127.0.0.1:0").unwrap();
    let address = "127.0.0.1:10911".parse().unwrap();
    let sockets =
        Sockets { listener: listener(), ha_listener: listener(), fast_listener: None, address, ha_address: address };
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let broker = loop {
        let store = Arc::new(Store::open(config.store.clone()).unwrap());
        match life::build(config.clone(), &sockets, store) {
            Ok(broker) => break Arc::new(broker),
            // The one before may not have let go of its metadata yet.
            Err(error) => assert!(std::time::Instant::now() < end, "{error}"),
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    };
    broker.topics.ensure(TOPIC, || TopicConfig::new(TOPIC, 2, 6));
    broker.groups.put(GroupConfig { retry_max_times: 1_000, ..GroupConfig::new(GROUP) });
    broker
}

type Rows = Vec<(String, String, i32, i64)>;

struct Run {
    dir: tempfile::TempDir,
    broker: Arc<Broker>,
    now: i64,
    /// When this life began.
    began: i64,
    sent: u64,
    held: BTreeMap<u64, Held>,
    done: BTreeSet<u64>,
    /// Acknowledged, but no answer came.
    maybe: BTreeSet<u64>,
    /// All offsets when the progress was stored last.
    kept: Rows,
    /// Whether the clock was ever set back.
    was_set_back: bool,
}

impl Run {
    async fn new() -> Self {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let broker = open(dir.path());
        // The past, so that everything is stored later than it is said to be popped.
        let now = now_ms() - 1_000_000_000;
        let (held, done, maybe) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        let run =
            Self { dir, broker, now, began: now, sent: 0, held, done, maybe, kept: Rows::new(), was_set_back: false };
        run.settle().await;
        run.broker.pop.rebuild(&run.broker.offsets);
        run
    }

    async fn settle(&self) {
        let end = self.broker.store.end();
        self.broker.store.durable(end).await.unwrap();
        self.broker.store.built(end).await;
    }

    fn send(&mut self, queue: u32, count: usize) {
        for _ in 0..count {
            let (body, key) = (self.sent.to_be_bytes(), format!("UNIQ_KEY\u{1}k{}\u{2}", self.sent));
            let address = self.broker.address;
            let record = NewRecord {
                topic: TOPIC,
                queue_id: queue,
                flag: 0,
                sys_flag: 0,
                born_timestamp: 0,
                born_host: address,
                store_host: address,
                reconsume_times: 0,
                prepared_offset: 0,
                body: &body,
                properties: key.as_bytes(),
            };
            self.broker.store.append(&record).unwrap();
            self.sent += 1;
        }
    }

    /// Pops; the messages with what the reader needs to acknowledge them.
    async fn pop(&mut self, topic: &str, queue: u32, count: usize, invisible: i64, answered: bool) -> Vec<Held> {
        self.settle().await;
        let want = Want {
            topic,
            group: GROUP,
            queue,
            limit: ReadLimit { max_messages: count, max_bytes: 1 << 20 },
            pop_time: self.now,
            invisible,
            init: &|| 0,
        };
        self.now += 1;
        let taken = self.broker.pop.take(&self.broker.offsets, &want, &mut |_, _| true).unwrap();
        let records = taken.read.chunks.iter().flat_map(|chunk| entry::records(chunk));
        let held: Vec<Held> = records
            .map(|record| {
                let record = record.unwrap();
                Held {
                    id: u64::from_be_bytes(record.body.try_into().unwrap()),
                    topic: topic.to_owned(),
                    queue,
                    start: taken.start,
                    pop_time: want.pop_time,
                    invisible,
                    revive_queue: taken.revive_queue,
                    offset: record.queue_offset.cast_signed(),
                    moved: 0,
                }
            })
            .collect();
        for one in &held {
            assert!(!self.done.contains(&one.id), "{one:?} was acknowledged");
            let other = self.held.get(&one.id);
            assert!(other.is_none_or(|other| other.due() <= want.pop_time), "{one:?} is in other hands: {other:?}");
        }
        if answered {
            self.settle().await;
        } else {
            self.crash(false).await;
        }
        held
    }

    async fn ack(&mut self, ids: &[u64], answered: bool) {
        let mut pending = Vec::new();
        for id in ids {
            let Some(held) = self.held.remove(id) else { continue };
            let acked = self.broker.pop.ack(&held.handle(), &[held.offset], self.now).unwrap();
            if acked.late > 0 {
                assert!(held.due() <= self.now, "{held:?} is not over");
            } else {
                pending.push((*id, acked));
            }
        }
        for (_, acked) in &pending {
            self.broker.pop.write(acked).unwrap();
        }
        let ids = pending.iter().map(|(id, _)| *id);
        if answered {
            self.settle().await;
            self.done.extend(ids);
        } else {
            self.maybe.extend(ids);
            self.crash(false).await;
        }
    }

    async fn change(&mut self, nth: usize, invisible: i64, answered: bool) {
        let Some(held) = self.held.values().nth(nth).cloned() else { return };
        self.now += 1;
        match self.broker.pop.change(&held.handle(), held.offset, invisible, self.now) {
            Err(_) => {
                assert!(held.due() <= self.now, "{held:?} is not over");
                self.held.remove(&held.id);
            }
            Ok((pop_time, _)) if answered => {
                self.settle().await;
                let changed = Held { start: held.offset, pop_time, invisible, moved: 0, ..held };
                self.held.insert(changed.id, changed);
            }
            Ok(_) => {
                // The old receipt counts, or the new one that nobody knows.
                self.held.remove(&held.id);
                self.crash(false).await;
            }
        }
    }

    fn revive(&self) {
        for queue in 0..REVIVE_QUEUES as usize {
            while revive::revive(&self.broker, queue, self.began, self.now) > 0 {}
        }
    }

    fn rows(&self) -> Rows {
        let rows = self.broker.offsets.snapshot().into_iter().flat_map(|(key, queues)| {
            let (topic, group) = key.split_once('@').map(|(t, g)| (t.to_owned(), g.to_owned())).unwrap();
            queues.into_iter().map(move |(queue, offset)| (topic.clone(), group.clone(), queue, offset))
        });
        rows.collect()
    }

    async fn keep(&mut self) {
        self.broker.pop.read_foreign();
        keep::store_progress(&self.broker).await;
        self.kept = self.rows();
    }

    /// The end of the process. `forget_offsets`: what was stored of metadata since the last progress is lost as well.
    async fn crash(&mut self, forget_offsets: bool) {
        // What was over by the clock before is not known to a process that starts with another one: neither a copy without its note, nor
        // that a receipt was over.
        if self.was_set_back {
            self.settle().await;
            self.held.retain(|_, held| held.due() > self.now);
        }
        self.broker.store.abandon();
        self.broker.db.close();
        self.broker = open(self.dir.path());
        self.settle().await;
        if forget_offsets {
            for (topic, ..) in self.rows() {
                self.broker.offsets.remove_topic(&topic);
            }
            for (topic, group, queue, offset) in &self.kept {
                self.broker.offsets.commit(topic, group, *queue, *offset);
            }
        }
        self.broker.pop.rebuild(&self.broker.offsets);
        self.began = self.now;
        self.clock_moved(self.now, clock::not_later_than(self.now));
        // What the process before knew of the clock is forgotten; what was over by it may have been given back.
        self.held.values_mut().for_each(|held| held.moved = held.moved.min(0).min(self.now - held.pop_time));
    }

    fn clock_moved(&mut self, reached: i64, moves: impl Fn(i64, i64) -> i64) {
        self.broker.pop.clock_moved(reached, &moves);
        self.held.values_mut().for_each(|held| held.moved += moves(held.pop_time, held.due()));
    }

    async fn step(&mut self, step: &Step) {
        match *step {
            Step::Send { queue, count } => {
                self.send(queue, count);
                self.settle().await;
            }
            Step::Pop { queue, retry, count, invisible, answered } => {
                let (topic, queue) =
                    if retry { (name::pop_retry_topic(GROUP, TOPIC), 0) } else { (TOPIC.to_owned(), queue) };
                let held = self.pop(&topic, queue, count, invisible, answered).await;
                if answered {
                    self.held.extend(held.into_iter().map(|held| (held.id, held)));
                }
            }
            Step::Ack { nth, answered } => {
                let ids: Vec<u64> = self.held.keys().nth(nth).copied().into_iter().collect();
                self.ack(&ids, answered).await;
            }
            Step::AckAll { answered } => {
                let ids: Vec<u64> = self.held.keys().copied().collect();
                self.ack(&ids, answered).await;
            }
            Step::Change { nth, invisible, answered } => self.change(nth, invisible, answered).await,
            Step::Wait { ms } => self.now += ms,
            Step::Clock { by } => {
                let otherwise = self.now;
                self.now += by;
                self.was_set_back |= by < 0;
                let jump = clock::Jump { by, otherwise, now: self.now };
                // What is over stays so.
                let over = self.held.extract_if(.., |_, held| held.due() <= otherwise);
                let over: Vec<_> = over.map(|(id, held)| (id, Held { moved: held.moved + by, ..held })).collect();
                self.clock_moved(otherwise, |pop_time, due| jump.moves(pop_time, due));
                self.held.extend(over);
            }
            Step::Revive { settled } => {
                self.revive();
                if settled {
                    self.settle().await;
                }
            }
            Step::Keep => self.keep().await,
            Step::NoteAgain => {
                for (queue, shelf) in (0..).zip(self.broker.pop.shelves()) {
                    self.broker.pop.note_again(queue, &mut shelf.lock(), 3).unwrap();
                }
            }
            Step::Crash { forget_offsets } => self.crash(forget_offsets).await,
        }
    }

    /// Reads everything to its end: no message is missing.
    async fn drain(&mut self) {
        let retry = name::pop_retry_topic(GROUP, TOPIC);
        let mut idle = 0;
        while idle < 3 {
            self.now += 10_000_000;
            self.revive();
            let mut ids = Vec::new();
            for (topic, queue) in [(TOPIC, 0), (TOPIC, 1), (retry.as_str(), 0)] {
                loop {
                    let held = self.pop(topic, queue, 32, 60_000, true).await;
                    if held.is_empty() {
                        break;
                    }
                    ids.extend(held.iter().map(|held| held.id));
                    self.held.extend(held.into_iter().map(|held| (held.id, held)));
                }
            }
            idle = if ids.is_empty() { idle + 1 } else { 0 };
            self.ack(&ids, true).await;
        }
        let (open, ..) = self.broker.pop.open();
        assert_eq!(open, 0, "receipts are left");
        let seen: BTreeSet<u64> = self.done.union(&self.maybe).copied().collect();
        assert!((0..self.sent).all(|id| seen.contains(&id)), "sent {}, missing some of {seen:?}", self.sent);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn what_an_answer_promised_holds_across_crashes(steps in proptest::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut run = Run::new().await;
            for step in &steps {
                run.step(step).await;
            }
            run.drain().await;
        });
    }
}
