//! A topic's memory against the simplest thing that could decide the same, with crashes that cut the log anywhere behind what was
//! acknowledged, and with every way in which a message can wait.

use std::time::Duration;

use hashbrown::HashMap;
use orbitmq_common::clock::now_ms;
use orbitmq_common::message::record::NewRecord;
use orbitmq_common::message::sysflag;
use orbitmq_common::name;
use orbitmq_common::protocol::body::dedup::Dedup;
use proptest::prelude::*;
use tempfile::TempDir;

use crate::duplicates::memory::{Memory, NotRead, Sent};
use crate::duplicates::read::windows;
use crate::duplicates::window::First;
use crate::store::Store;
use crate::store::error::AppendError;
use crate::store::tests::support::*;
use crate::store::truncate::truncate;

const TOPIC: &str = "orders";
const COUNT: usize = 12;
const BOUNDS: Dedup = Dedup { window: Duration::from_secs(3_600), count: COUNT };

#[derive(Debug, Clone, Copy)]
enum Kind {
    Plain,
    Delayed,
    Timer,
    Half,
}

#[derive(Debug, Clone)]
enum Step {
    Send {
        key: u8,
        queue: u32,
        kind: Kind,
    },
    Batch {
        keys: Vec<u8>,
        queue: u32,
    },
    /// Something of another topic, with a key of this one.
    Other {
        key: u8,
    },
    Fail {
        key: u8,
    },
    Acknowledge,
    Crash {
        cut: usize,
    },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..30_u8;
    let kind =
        prop_oneof![4 => Just(Kind::Plain), 1 => Just(Kind::Delayed), 1 => Just(Kind::Timer), 1 => Just(Kind::Half)];
    let keys = proptest::collection::vec(key.clone(), 1..6);
    prop_oneof![
        12 => (key.clone(), 0..3_u32, kind).prop_map(|(key, queue, kind)| Step::Send { key, queue, kind }),
        4 => (keys, 0..3_u32).prop_map(|(keys, queue)| Step::Batch { keys, queue }),
        1 => key.clone().prop_map(|key| Step::Other { key }),
        1 => key.prop_map(|key| Step::Fail { key }),
        2 => Just(Step::Acknowledge),
        2 => (0..1_000_usize).prop_map(|cut| Step::Crash { cut }),
        1 => Just(Step::Restart),
    ]
}

#[derive(Debug)]
enum Error {
    NotRead,
    Append,
}

impl From<NotRead> for Error {
    fn from(_: NotRead) -> Self {
        Self::NotRead
    }
}

impl From<AppendError> for Error {
    fn from(_: AppendError) -> Self {
        Self::Append
    }
}

struct World {
    dir: TempDir,
    store: Store,
    memory: Memory,
    /// All messages that were stored, in the order of the log.
    stored: Vec<(u8, First)>,
    acknowledged: u64,
}

fn properties(key: u8, queue: u32, kind: Kind) -> String {
    let key = format!("UNIQ_KEY\u{1}K{key}\u{2}");
    let real = format!("REAL_TOPIC\u{1}{TOPIC}\u{2}REAL_QID\u{1}{queue}\u{2}");
    match kind {
        Kind::Plain => key,
        Kind::Delayed => format!("{key}{real}DELAY\u{1}3\u{2}"),
        Kind::Timer => format!("{key}{real}TIMER_OUT_MS\u{1}1900000000000\u{2}"),
        Kind::Half => format!("{key}{real}TRAN_MSG\u{1}true\u{2}PGROUP\u{1}P\u{2}"),
    }
}

fn record(queue: u32, kind: Kind, properties: &str) -> NewRecord<'_> {
    let (topic, queue) = match kind {
        Kind::Plain => (TOPIC, queue),
        Kind::Delayed => (name::SCHEDULE_TOPIC, 2),
        Kind::Timer => (name::TIMER_TOPIC, 0),
        Kind::Half => (name::HALF_TOPIC, 0),
    };
    message(topic, queue, b"body", properties)
}

fn read_memory(store: &Store) -> Memory {
    settle(store);
    let memory = Memory::new(TOPIC, BOUNDS);
    memory.fill(windows(store, &[(TOPIC.to_owned(), BOUNDS)], now_ms()).remove(TOPIC).unwrap());
    memory
}

impl World {
    fn new() -> Self {
        let dir = tempdir().unwrap();
        let store = open(dir.path());
        let memory = read_memory(&store);
        Self { dir, store, memory, stored: Vec::new(), acknowledged: 0 }
    }

    /// The newest keys, and where each is.
    fn known(&self) -> HashMap<u8, First> {
        self.stored.iter().rev().take(COUNT).copied().collect()
    }

    fn send(&mut self, key: u8, queue: u32, kind: Kind) {
        let known = self.known().get(&key).copied();
        let (text, number) = (properties(key, queue, kind), i32::try_from(queue).unwrap());
        let append = || Ok::<_, Error>(self.store.append(&record(queue, kind, &text))?);
        let sent = self.memory.append(&format!("K{key}"), number, append).unwrap();
        match known {
            Some(place) => assert_eq!(sent, Sent { place, again: true }),
            None => {
                assert!(!sent.again, "{key} is new");
                self.stored.push((key, sent.place));
            }
        }
    }

    fn batch(&mut self, keys: &[u8], queue: u32) {
        let mut known = self.known();
        let names: Vec<String> = keys.iter().map(|key| format!("K{key}")).collect();
        let names: Vec<Option<&str>> = names.iter().map(|name| Some(name.as_str())).collect();
        let texts: Vec<String> = keys.iter().map(|key| properties(*key, queue, Kind::Plain)).collect();
        let number = i32::try_from(queue).unwrap();
        let append = |new: &[usize]| {
            let records: Vec<_> = new.iter().map(|new| record(queue, Kind::Plain, &texts[*new])).collect();
            Ok::<_, Error>(self.store.append_batch(&records)?)
        };
        let sent = self.memory.append_batch(&names, number, append).unwrap();
        assert_eq!(sent.len(), keys.len());
        for (key, sent) in keys.iter().zip(sent) {
            if let Some(place) = known.get(key).copied() {
                assert_eq!(sent, Sent { place, again: true });
                continue;
            }
            assert!(!sent.again);
            self.stored.push((*key, sent.place));
            known.insert(*key, sent.place);
        }
    }

    /// What is refused is not remembered.
    fn fail(&self, key: u8) {
        let known = self.known().get(&key).copied();
        let refused = self.memory.append(&format!("K{key}"), 0, || Err(Error::Append));
        match known {
            Some(place) => assert_eq!(refused.unwrap(), Sent { place, again: true }),
            None => assert!(matches!(refused, Err(Error::Append))),
        }
    }

    fn crash(&mut self, cut: usize) {
        settle(&self.store);
        let ends = self.stored.iter().map(|(_, place)| place.end());
        let places: Vec<u64> = ends.chain([self.acknowledged]).filter(|end| *end >= self.acknowledged).collect();
        let cut = places[cut % places.len()];
        self.store.abandon();
        truncate(&small(self.dir.path()), cut).unwrap();
        self.store = open(self.dir.path());
        self.stored.retain(|(_, place)| place.end() <= cut);
        self.memory = read_memory(&self.store);
        self.acknowledge();
    }

    fn acknowledge(&mut self) {
        settle(&self.store);
        self.acknowledged = self.store.end();
    }

    fn restart(&mut self) {
        self.acknowledge();
        self.store.close().unwrap();
        self.store = open(self.dir.path());
        self.memory = read_memory(&self.store);
    }
}

fn run(steps: &[Step]) {
    let mut world = World::new();
    for step in steps {
        match step {
            Step::Send { key, queue, kind } => world.send(*key, *queue, *kind),
            Step::Batch { keys, queue } => world.batch(keys, *queue),
            Step::Other { key } => {
                let text = properties(*key, 0, Kind::Plain);
                world.store.append(&message("others", 0, b"body", &text)).unwrap();
            }
            Step::Fail { key } => world.fail(*key),
            Step::Acknowledge => world.acknowledge(),
            Step::Crash { cut } => world.crash(*cut),
            Step::Restart => world.restart(),
        }
        let known = world.known();
        assert_eq!(world.memory.size().0, known.len(), "{step:?}");
    }
    // Nothing that is known is stored again.
    for (key, place) in world.known() {
        let refuse = || -> Result<_, Error> { panic!("appended") };
        assert_eq!(world.memory.append(&format!("K{key}"), 0, refuse).unwrap(), Sent { place, again: true });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn what_is_remembered_is_stored_once(steps in proptest::collection::vec(step(), 1..80)) {
        run(&steps);
    }
}

#[test]
fn copies_and_commits_are_not_the_first() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let key = "UNIQ_KEY\u{1}K1\u{2}";
    let texts = [
        (TOPIC, format!("{key}REAL_TOPIC\u{1}{TOPIC}\u{2}REAL_QID\u{1}0\u{2}")),
        (TOPIC, format!("{key}TIMER_OUT_MS\u{1}1900000000000\u{2}")),
        (name::TIMER_TOPIC, format!("{}TIMER_ROLL_TIMES\u{1}1\u{2}", properties(1, 0, Kind::Timer))),
        (name::TIMER_TOPIC, format!("TIMER_DEL_UNIQKEY\u{1}{TOPIC}+K1\u{2}{}", properties(1, 0, Kind::Timer))),
        (TOPIC, "TAGS\u{1}a\u{2}".to_owned()),
        ("others", key.to_owned()),
    ];
    for (topic, text) in &texts {
        store.append(&message(topic, 0, b"body", text)).unwrap();
    }
    let sys_flag = sysflag::with_transaction(0, sysflag::TRANSACTION_COMMIT);
    store.append(&NewRecord { sys_flag, ..message(TOPIC, 0, b"body", key) }).unwrap();
    assert_eq!(read_memory(&store).size().0, 0);
    store.append(&message(TOPIC, 0, b"body", key)).unwrap();
    assert_eq!(read_memory(&store).size().0, 1);
}

#[test]
fn messages_of_a_batch_without_a_key_are_like_no_other() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let memory = read_memory(&store);
    let append = |new: &[usize]| {
        let records: Vec<_> = new.iter().map(|_| message(TOPIC, 0, b"body", "")).collect();
        Ok::<_, Error>(store.append_batch(&records)?)
    };
    let sent = memory.append_batch(&[None, Some("a"), None, Some("a"), None], 0, append).unwrap();
    let offsets: Vec<_> = sent.iter().map(|sent| (sent.place.queue_offset, sent.again)).collect();
    assert_eq!(offsets, [(0, false), (1, false), (2, false), (1, true), (3, false)]);
}

#[test]
fn what_is_too_old_is_not_read() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    for (number, kind) in (0..10_u8).zip([Kind::Plain, Kind::Half].into_iter().cycle()) {
        store.append(&record(0, kind, &properties(number, 0, kind))).unwrap();
    }
    settle(&store);
    let hour = i64::try_from(BOUNDS.window.as_millis()).unwrap();
    let known = |now: i64| windows(&store, &[(TOPIC.to_owned(), BOUNDS)], now)[TOPIC].count();
    assert_eq!((known(now_ms()), known(now_ms() + hour + 60_000)), (10, 0));
}

#[test]
fn two_at_the_same_time_become_one() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let memory = read_memory(&store);
    let bounds = Dedup { count: 100_000, ..BOUNDS };
    memory.bound(bounds);
    assert!(!memory.is_read(), "other bounds: to be read anew");
    memory.fill(windows(&store, &[(TOPIC.to_owned(), bounds)], now_ms()).remove(TOPIC).unwrap());
    let new = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for queue in 0..4 {
            let (store, memory, new) = (&store, &memory, &new);
            scope.spawn(move || {
                for number in 0..500 {
                    let key = format!("N{number}");
                    let text = format!("UNIQ_KEY\u{1}{key}\u{2}");
                    let append = || Ok::<_, Error>(store.append(&message(TOPIC, queue, b"body", &text))?);
                    let sent = memory.append(&key, i32::try_from(queue).unwrap(), append).unwrap();
                    new.fetch_add(usize::from(!sent.again), std::sync::atomic::Ordering::Relaxed);
                }
            });
        }
    });
    settle(&store);
    let stored: i64 = (0..4).map(|queue| store.max_offset(TOPIC, queue)).sum();
    assert_eq!((new.into_inner(), stored, memory.dropped()), (500, 500, 1_500));
}
