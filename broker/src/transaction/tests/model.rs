//! Transactions against the simplest thing that could decide the same, with crashes that cut the log anywhere behind what was
//! acknowledged.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use orbitmq_common::message::entry::records;
use orbitmq_common::message::property;
use orbitmq_common::name;
use proptest::prelude::*;
use tempfile::TempDir;

use crate::meta::asked::Asked;
use crate::meta::db::Db;
use crate::meta::offsets::Offsets;
use crate::store::Store;
use crate::store::tests::support::*;
use crate::store::truncate::truncate;
use crate::transaction::end::{EndError, Outcome, Wish, half_of};
use crate::transaction::table::Progress;
use crate::transaction::{Ground, Transactions};

const GROUP: &str = "P";
const TOPIC: &str = "orders";
const NOBODY: i64 = 3_600_000;

#[derive(Debug, Clone)]
enum Step {
    Begin { len: usize, delayed: bool },
    End { which: usize, outcome: Outcome },
    EndWrongly { which: usize },
    Asked { which: usize, times: u32 },
    Acknowledge,
    Note,
    Crash { cut: usize, progress: usize },
    Restart,
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        4 => Just(Outcome::Commit),
        3 => Just(Outcome::Rollback),
        1 => (0..20_u32).prop_map(|checks| Outcome::GiveUp { checks }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let one = 0..1_000_usize;
    prop_oneof![
        10 => (0..3_000_usize, any::<bool>()).prop_map(|(len, delayed)| Step::Begin { len, delayed: delayed && len % 4 == 0 }),
        10 => (one.clone(), outcome()).prop_map(|(which, outcome)| Step::End { which, outcome }),
        1 => one.clone().prop_map(|which| Step::EndWrongly { which }),
        1 => (one.clone(), 1..15_u32).prop_map(|(which, times)| Step::Asked { which, times }),
        2 => Just(Step::Acknowledge),
        3 => Just(Step::Note),
        3 => (one.clone(), one).prop_map(|(cut, progress)| Step::Crash { cut, progress }),
        1 => Just(Step::Restart),
    ]
}

/// What became of a half message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Open,
    /// Ended; where the message that came of it and the note end in the log.
    Ended {
        outcome: Outcome,
        message: u64,
        note: u64,
    },
}

impl Fate {
    fn outcome(self) -> Option<Outcome> {
        match self {
            Self::Open => None,
            Self::Ended { outcome, .. } => Some(outcome),
        }
    }

    /// Whether no note of the end is left: a crash took it and left the message.
    fn is_unnoted(self) -> bool {
        matches!(self, Self::Open | Self::Ended { note: UNNOTED, .. })
    }
}

const UNNOTED: u64 = u64::MAX;

#[derive(Debug, Clone)]
struct Known {
    key: String,
    delayed: bool,
    offset: u64,
    physical: u64,
    end: u64,
    fate: Fate,
}

struct World {
    dir: TempDir,
    offsets: Offsets,
    asked: Asked,
    store: Store,
    transactions: Transactions,
    halves: Vec<Known>,
    /// The log's end when something was acknowledged last.
    acknowledged: u64,
    noted: Vec<Progress>,
    number: usize,
    _meta: TempDir,
}

fn ground(store: &Store) -> Ground<'_> {
    let host: SocketAddr = HOST.parse().unwrap();
    Ground { store, host, levels: 18, timeout: NOBODY }
}

/// Ends of all records of the log.
fn ends(store: &Store) -> Vec<u64> {
    let (mut at, end, mut ends) = (0, store.end(), Vec::new());
    while at < end {
        let bytes = store.log_bytes(at, end, u64::MAX).unwrap();
        let found = records(&bytes).map(|record| record.unwrap());
        ends.extend(found.map(|record| record.physical_offset + record.size() as u64));
        at = (at / (64 << 10) + 1) * (64 << 10);
    }
    ends
}

impl World {
    fn new() -> Self {
        let (dir, meta) = (tempdir().unwrap(), tempdir().unwrap());
        let db = Arc::new(Db::open(meta.path()).unwrap());
        let mut world = Self {
            offsets: Offsets::load(Arc::clone(&db)).unwrap(),
            asked: Asked::load(db).unwrap(),
            store: open(dir.path()),
            transactions: Transactions::new(10_000),
            halves: Vec::new(),
            acknowledged: 0,
            noted: Vec::new(),
            number: 0,
            dir,
            _meta: meta,
        };
        world.rebuild();
        world
    }

    fn rebuild(&mut self) {
        settle(&self.store);
        self.transactions = Transactions::new(10_000);
        self.transactions.rebuild(ground(&self.store), &self.offsets, &self.asked, NOBODY).unwrap();
        let open = self.halves.iter().filter(|half| half.fate.is_unnoted()).count();
        assert_eq!(self.transactions.open(), open, "{:?}", self.halves);
        for half in self.halves.iter().filter(|half| half.fate.is_unnoted()) {
            let known = self.transactions.table.lock().get(half.offset).expect("open");
            assert_eq!((known.physical, known.inherited), (half.physical, true));
        }
    }

    fn begin(&mut self, len: usize, delayed: bool) {
        self.number += 1;
        let key = format!("K{}", self.number);
        let delay = if delayed { "DELAY\u{1}2\u{2}" } else { "" };
        let properties = format!(
            "UNIQ_KEY\u{1}{key}\u{2}TRAN_MSG\u{1}true\u{2}PGROUP\u{1}{GROUP}\u{2}REAL_TOPIC\u{1}{TOPIC}\u{2}REAL_QID\u{1}1\u{2}{delay}"
        );
        let body = vec![b'x'; len];
        let record = message(name::HALF_TOPIC, 0, &body, &properties);
        let placed = self.transactions.begin(ground(&self.store), &record, NOBODY).unwrap();
        let (offset, physical, end) = (placed.queue_offset, placed.physical_offset, placed.end);
        self.halves.push(Known { key, delayed, offset, physical, end, fate: Fate::Open });
    }

    fn end(&mut self, which: usize, outcome: Outcome) {
        settle(&self.store);
        let count = self.halves.len();
        let Some(half) = self.halves.get_mut(which.checked_rem(count).unwrap_or(0)) else { return };
        let ground = ground(&self.store);
        let ended = if matches!(outcome, Outcome::GiveUp { .. }) {
            let bytes = self.store.record_at(half.physical).unwrap();
            self.transactions.conclude(
                ground,
                &half_of(&bytes, half.physical).unwrap(),
                outcome,
                which.is_multiple_of(2),
            )
        } else {
            let (offset, physical) = (half.offset.cast_signed(), half.physical);
            self.transactions
                .end(ground, &Wish { offset, physical, group: GROUP, outcome, asked: which.is_multiple_of(2) })
        };
        let before = half.fate;
        match before {
            Fate::Open => {
                let note = ended.unwrap();
                settle(&self.store);
                let message = ends(&self.store).into_iter().filter(|end| *end < note).max().unwrap_or(0);
                half.fate = Fate::Ended { outcome, message, note };
            }
            Fate::Ended { outcome, message, note } => {
                assert!(matches!(ended, Err(EndError::Ended)), "{ended:?}");
                let note = if note == UNNOTED { self.store.end() } else { note };
                half.fate = Fate::Ended { outcome, message, note };
            }
        }
    }

    fn end_wrongly(&self, which: usize) {
        settle(&self.store);
        let Some(half) = self.halves.get(which.checked_rem(self.halves.len()).unwrap_or(0)) else { return };
        let right = Wish {
            offset: half.offset.cast_signed(),
            physical: half.physical,
            group: GROUP,
            outcome: Outcome::Commit,
            asked: false,
        };
        let wrong = [
            Wish { group: "Q", ..right },
            Wish { offset: right.offset + 1, ..right },
            Wish { offset: -1, ..right },
            Wish { physical: right.physical + 1, ..right },
            Wish { physical: u64::MAX, ..right },
        ];
        let open = self.transactions.open();
        for wish in wrong {
            self.transactions.end(ground(&self.store), &wish).unwrap_err();
        }
        assert_eq!(self.transactions.open(), open);
    }

    fn acknowledge(&mut self) {
        settle(&self.store);
        self.acknowledged = self.store.end();
    }

    /// Notes the progress as [`super::super::progress`] does: only what cannot be taken back any more.
    fn note(&mut self) {
        let (progress, end) = (self.transactions.table.lock().progress(), self.store.end());
        self.acknowledge();
        assert!(self.acknowledged >= end);
        self.noted.push(progress);
        self.commit(progress.half, progress.op);
    }

    fn commit(&self, half: u64, op: u64) {
        self.offsets.commit(name::HALF_TOPIC, name::TRANSACTION_GROUP, 0, half.cast_signed());
        self.offsets.commit(name::HALF_OP_TOPIC, name::TRANSACTION_GROUP, 0, op.cast_signed());
    }

    /// The log loses its end, at any record behind what was acknowledged; the progress may be an older one, but not less than
    /// what is kept by the log of half messages alone.
    fn crash(&mut self, cut: usize, progress: usize) {
        settle(&self.store);
        let ends = ends(&self.store);
        let places: Vec<u64> = ends.iter().copied().filter(|end| *end >= self.acknowledged).collect();
        let Some(cut) = places.get(cut.checked_rem(places.len()).unwrap_or(0)).copied() else { return };
        self.store.abandon();
        truncate(&small(self.dir.path()), cut).unwrap();
        self.store = open(self.dir.path());
        self.halves.retain(|half| half.end <= cut);
        for half in &mut self.halves {
            let Fate::Ended { outcome, message, note } = half.fate else { continue };
            half.fate = match outcome {
                _ if note <= cut => continue,
                Outcome::Rollback => Fate::Open,
                _ if message <= cut => Fate::Ended { outcome, message, note: UNNOTED },
                _ => Fate::Open,
            };
        }
        if let Some(older) = self.noted.get(progress.checked_rem(self.noted.len()).unwrap_or(0)).copied() {
            let op = self.noted.get(progress % 3 % self.noted.len()).copied().unwrap_or(older);
            self.commit(older.half, older.op.min(op.op));
        }
        self.rebuild();
        // What recovery finds counts from then on.
        self.acknowledge();
    }

    fn restart(&mut self) {
        self.acknowledge();
        self.store.close().unwrap();
        self.store = open(self.dir.path());
        self.rebuild();
    }

    fn keys(&self, topic: &str, queue: u32) -> BTreeMap<String, usize> {
        let (mut keys, mut at) = (BTreeMap::new(), 0);
        while at < self.store.max_offset(topic, queue) {
            let page = read(&self.store, topic, queue, at);
            for record in page.chunks.iter().flat_map(|chunk| records(chunk)).map(Result::unwrap) {
                *keys.entry(record.property(property::UNIQ_KEY).unwrap().to_owned()).or_default() += 1;
            }
            at = page.next_offset;
        }
        keys
    }

    /// Each half message has become exactly what it should.
    fn check(&self) {
        settle(&self.store);
        let wanted = |wanted: fn(&Known, Outcome) -> bool| -> BTreeMap<String, usize> {
            let ended =
                self.halves.iter().filter(|half| half.fate.outcome().is_some_and(|outcome| wanted(half, outcome)));
            ended.map(|half| (half.key.clone(), 1)).collect()
        };
        assert_eq!(self.keys(TOPIC, 1), wanted(|half, outcome| outcome == Outcome::Commit && !half.delayed));
        assert_eq!(
            self.keys(name::SCHEDULE_TOPIC, 1),
            wanted(|half, outcome| outcome == Outcome::Commit && half.delayed)
        );
        let given_up = wanted(|_, outcome| matches!(outcome, Outcome::GiveUp { .. }));
        assert_eq!(self.keys(name::CHECK_MAX_TIME_TOPIC, 0), given_up);
    }
}

fn run(steps: &[Step]) {
    let mut world = World::new();
    for step in steps {
        match *step {
            Step::Begin { len, delayed } => world.begin(len, delayed),
            Step::End { which, outcome } => world.end(which, outcome),
            Step::EndWrongly { which } => world.end_wrongly(which),
            Step::Asked { which, times } => {
                if let Some(half) = world.halves.get(which.checked_rem(world.halves.len()).unwrap_or(0)) {
                    world.asked.set(half.offset, times);
                }
            }
            Step::Acknowledge => world.acknowledge(),
            Step::Note => world.note(),
            Step::Crash { cut, progress } => world.crash(cut, progress),
            Step::Restart => world.restart(),
        }
    }
    world.check();
    for which in 0..world.halves.len() {
        world.end(which, Outcome::Commit);
    }
    world.check();
    world.note();
    world.rebuild();
    assert_eq!(world.transactions.open(), 0);
    let progress = world.transactions.table.lock().progress();
    assert_eq!(progress.half.cast_signed(), world.store.max_offset(name::HALF_TOPIC, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn each_half_message_ends_exactly_once(steps in proptest::collection::vec(step(), 1..80)) {
        run(&steps);
    }
}
