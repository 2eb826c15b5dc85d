//! Cutting the power: at any place of a recording, and once more while the store recovers from it.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use fastrand::Rng;
use orbitmq_broker::store::Store;
use orbitmq_broker::store::io::Io;

use crate::check::{self, Breach};
use crate::disk::{Image, Platter, lay_out};
use crate::history::{History, Life, Promise, Sent};
use crate::message::{DELETED, TOPICS};
use crate::record::{Op, Recorder};
use crate::workload::{Kind, Recording, SEGMENT, options};

/// The disk at one place of a recording, and what is promised there.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// Number of changes before it.
    pub at: usize,
    /// The disk.
    pub disk: Platter,
    /// The promise.
    pub promise: Promise,
}

impl Place {
    /// Goes on to a later place.
    pub fn advance(&mut self, ops: &[Op], at: usize) {
        for op in &ops[self.at..at] {
            self.disk.apply(op);
            self.promise.follow(op, SEGMENT);
        }
        self.at = at;
    }
}

/// What a cut left, and what is wrong with it.
#[derive(Debug)]
pub struct Failed {
    /// What is wrong.
    pub breach: Breach,
    /// The files as the power cut left them.
    pub files: Image,
}

/// Calls something of which a panic is a breach as well.
pub fn guarded<T>(work: impl FnOnce() -> Result<T, Breach>) -> Result<T, Breach> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason");
        Err(Breach::Unopened(format!("panicked: {text}")))
    })
}

/// Cuts the power at a place, opens what is left and checks it; sometimes the power goes again meanwhile.
pub fn explore(recording: &Recording, place: &Place, kind: Kind, chance: &mut Rng, dir: &Path) -> Result<(), Failed> {
    let files = place.disk.cut(chance);
    let first = dir.join("first");
    lay_out(&files, &first);
    let again = chance.u8(0..4) == 0;
    let opened = guarded(|| reopen(&recording.history, place, kind, again, chance, &first));
    std::fs::remove_dir_all(&first).expect("a directory in memory goes");
    let (ops, history) = opened.map_err(|breach| Failed { breach, files: files.clone() })?;
    if !again {
        return Ok(());
    }
    let mut later = Place { at: 0, disk: Platter::of(&files), promise: place.promise };
    later.advance(&ops, chance.usize(0..=ops.len()));
    let files = later.disk.cut(chance);
    let second = dir.join("second");
    lay_out(&files, &second);
    let opened = guarded(|| reopen(&history, &later, kind, false, chance, &second));
    std::fs::remove_dir_all(&second).expect("a directory in memory goes");
    opened.map(drop).map_err(|breach| Failed { breach, files })
}

/// Opens, checks, goes on and checks again; returns what was done to the disk and what was sent by then.
fn reopen(
    history: &History,
    place: &Place,
    kind: Kind,
    close: bool,
    chance: &mut Rng,
    dir: &Path,
) -> Result<(Vec<Op>, History), Breach> {
    let disk = Arc::new(Recorder::new(dir));
    let io: Arc<dyn Io> = disk.clone();
    let store = Store::open(options(dir, io, kind)).map_err(|error| Breach::Unopened(error.to_string()))?;
    check::holds(&store, history, place.promise, place.at)?;
    let mut settled = settle(&store, history, place.at)?;
    let end = check::goes_on(&store, &mut settled)?;
    let upto = if kind == Kind::Async { store.flushed() } else { end };
    disk.note(Op::Promise(upto));
    let promise = Promise { upto: upto.max(place.promise.upto), ..place.promise };
    check::holds(&store, &settled, promise, 0)?;
    if close && chance.bool() {
        store.close().map_err(|error| Breach::Unopened(format!("does not close: {error}")))?;
    }
    drop(store);
    Ok((disk.take(), settled))
}

/// Decides what the cut left open: whether a deletion that was under way took place.
fn settle(store: &Store, history: &History, at: usize) -> Result<History, Breach> {
    let mut there = BTreeSet::new();
    if history.sent.iter().any(|sent| sent.life(at) == Life::Either) {
        let queues = TOPICS.iter().find(|topic| topic.0 == DELETED).map_or(0, |topic| topic.1);
        for queue in 0..queues {
            there.extend(check::drain(store, DELETED, queue)?.into_iter().map(|shown| shown.physical));
        }
    }
    Ok(history.settled(at, store.confirmed(), |sent: &Sent| there.contains(&sent.place.physical_offset)))
}
