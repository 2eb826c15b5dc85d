//! Bits that flip at rest: nothing wrong may be served, and what is derived must be healed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use fastrand::Rng;
use orbitmq_broker::store::Store;
use orbitmq_broker::store::error::OpenError;
use orbitmq_broker::store::io::Disk;
use orbitmq_broker::store::options::{OnHole, Options};

use crate::check::{self, Breach, Shown, drain};
use crate::cuts::guarded;
use crate::disk::{Image, lay_out};
use crate::history::Sent;
use crate::message::TOPICS;
use crate::workload::{Kind, Recording, SEGMENT, block, options};

/// A store's files at rest, and what they show.
#[derive(Debug)]
pub struct Rest {
    files: Image,
    shown: BTreeMap<(&'static str, u32), Vec<Shown>>,
    sent: Vec<Sent>,
    end: u64,
    scanned_from: u64,
}

/// Files that suffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// The log.
    Log,
    /// Consume queues.
    Queues,
    /// The key index.
    Index,
    /// The checksums of the key index.
    Sums,
    /// Checkpoints and marks.
    Checkpoint,
}

/// What became of a flip that broke no promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// All messages are served.
    Healed,
    /// All messages are served, and a file of the key index was mended.
    IndexMended,
    /// All but the one that was hit.
    Missing,
    /// The store opened only when told to skip the hole.
    Refused,
    /// Behind the last checkpoint a flip in the last segment cannot be told from a torn end.
    TornEnd,
}

impl Outcome {
    /// For the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Healed => "all served",
            Self::IndexMended => "index mended",
            Self::Missing => "one missing",
            Self::Refused => "refused, then skipped",
            Self::TornEnd => "taken for a torn end",
        }
    }
}

impl Victim {
    fn of(name: &str) -> Option<Self> {
        match name.split('/').next() {
            Some("commitlog") => Some(Self::Log),
            Some("consumequeue") => Some(Self::Queues),
            Some("index") => Some(Self::Index),
            Some("orbitmq.index") => Some(Self::Sums),
            Some("orbitmq.checkpoint" | "orbitmq.checkpoint.copy" | "checkpoint" | "abort") => Some(Self::Checkpoint),
            _ => None,
        }
    }
}

fn sound(dir: &Path) -> Options {
    options(dir, Arc::new(Disk), Kind::Sync)
}

fn queues() -> impl Iterator<Item = (&'static str, u32)> {
    TOPICS.into_iter().flat_map(|(topic, queues)| (0..queues).map(move |queue| (topic, queue)))
}

impl Rest {
    /// The files at the end of a recording, closed or not.
    pub fn of(recording: &Recording, dir: &Path) -> Self {
        let dir = dir.join("rest");
        lay_out(&recording.last, &dir);
        let store = Store::open(sound(&dir)).expect("sound files open");
        let shown = queues().map(|(topic, queue)| ((topic, queue), drain(&store, topic, queue).expect("sound files")));
        let shown: BTreeMap<_, _> = shown.collect();
        let sent = recording.history.sent.iter().filter(|sent| {
            let queue = shown.get(&(sent.topic, sent.queue));
            queue.is_some_and(|queue| queue.iter().any(|shown| shown.physical == sent.place.physical_offset))
        });
        let sent = sent.cloned().collect();
        let end = store.confirmed();
        drop(store);
        std::fs::remove_dir_all(&dir).expect("a directory in memory goes");
        let scanned_from = if recording.closed { end } else { 0 };
        Self { files: recording.last.clone(), shown, sent, end, scanned_from }
    }

    /// Flips a bit and looks at everything.
    pub fn flip(&self, victim: Victim, chance: &mut Rng, dir: &Path) -> (Result<Outcome, Breach>, Image) {
        let (name, at) = self.place(victim, chance);
        let mut files = self.files.clone();
        Arc::make_mut(files.get_mut(&name).expect("a file of ours"))[at] ^= 1 << chance.u8(0..8);
        let dir = dir.join("flipped");
        lay_out(&files, &dir);
        let hit = (victim == Victim::Log).then(|| base_of(&name) + at as u64);
        let result = guarded(|| self.look(hit, &dir)).map_err(|breach| breach.at(&format!("{name}, byte {at}")));
        std::fs::remove_dir_all(&dir).expect("a directory in memory goes");
        (result, files)
    }

    /// A byte in a sector that is not empty.
    fn place(&self, victim: Victim, chance: &mut Rng) -> (String, usize) {
        let names: Vec<&String> = self
            .files
            .iter()
            .filter(|file| Victim::of(file.0) == Some(victim) && !file.1.is_empty())
            .map(|file| file.0)
            .collect();
        loop {
            let name = names[chance.usize(0..names.len())];
            let bytes = &self.files[name];
            let at = chance.usize(0..bytes.len());
            let sector = at - at % 64;
            if bytes[sector..bytes.len().min(sector + 64)].iter().any(|byte| *byte != 0) {
                return (name.clone(), at);
            }
        }
    }

    fn look(&self, hit: Option<u64>, dir: &Path) -> Result<Outcome, Breach> {
        let mut refused = false;
        let opened = Store::open(sound(dir)).or_else(|error| match error {
            OpenError::Hole { .. } => {
                refused = true;
                Store::open(Options { on_hole: OnHole::Skip, ..sound(dir) })
            }
            other => Err(other),
        });
        let store = opened.map_err(|error| Breach::Unopened(error.to_string()))?;
        block(store.built(store.confirmed()));
        let mut outcome = if refused { Outcome::Refused } else { Outcome::Healed };
        // Before that of the flip nothing is excused, behind it only what a torn end would take.
        let torn = hit.filter(|hit| self.looks_torn(*hit, store.confirmed()));
        let hit_by = |sent: &Sent| hit.is_some_and(|hit| sent.place.physical_offset <= hit && hit < sent.place.end);
        let excused = |sent: &Sent| hit_by(sent) || torn.is_some_and(|hit| sent.place.end > hit);
        for (topic, queue) in queues() {
            let shown = drain(&store, topic, queue)?;
            let right = &self.shown[&(topic, queue)];
            if let Some(wrong) = shown.iter().find(|shown| !right.contains(shown)) {
                return Err(Breach::Served(format!("{topic}/{queue} at {} is wrong", wrong.offset)));
            }
            if shown.len() < right.len() {
                outcome = if torn.is_some() {
                    Outcome::TornEnd
                } else if refused {
                    outcome
                } else {
                    Outcome::Missing
                };
            }
            let there: Vec<u64> = shown.iter().map(|shown| shown.physical).collect();
            let of_queue = |sent: &&Sent| sent.topic == topic && sent.queue == queue;
            for sent in self.sent.iter().filter(of_queue).filter(|sent| !excused(sent)) {
                if !there.contains(&sent.place.physical_offset) {
                    return Err(Breach::Unhealed(format!("{topic}/{queue} at {} is missing", sent.place.queue_offset)));
                }
            }
        }
        for sent in self.sent.iter().filter(|sent| hit_by(sent)) {
            if let Ok(bytes) = store.record_at(sent.place.physical_offset)
                && self.shown[&(sent.topic, sent.queue)].iter().all(|shown| shown.record != bytes)
            {
                return Err(Breach::Served(format!("the record at {} is wrong", sent.place.physical_offset)));
            }
        }
        self.sent.iter().filter(|sent| !excused(sent)).try_for_each(|sent| check::key_leads_to(&store, sent))?;
        for (topic, queue) in queues() {
            let of_queue = |sent: &&Sent| sent.topic == topic && sent.queue == queue && !excused(sent);
            check::tags_lead_to(&store, topic, queue, &self.sent.iter().filter(of_queue).collect::<Vec<_>>())?;
        }
        if outcome == Outcome::Healed && store.stats().index_mended > 0 {
            return Ok(Outcome::IndexMended);
        }
        Ok(outcome)
    }

    /// Whether the log was read up to a flip in its last segment and took it for its end.
    fn looks_torn(&self, hit: u64, end: u64) -> bool {
        let last = self.end - self.end % SEGMENT;
        hit >= last && hit >= self.scanned_from && end <= hit
    }
}

fn base_of(name: &str) -> u64 {
    name.rsplit('/').next().and_then(|name| name.parse().ok()).unwrap_or(0)
}
