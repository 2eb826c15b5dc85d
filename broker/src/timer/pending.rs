//! What waits, in the order of delivery: a time and a log offset each. Only so many of the nearest are in memory; those beyond the
//! horizon are in the timer queue alone, from where they are read when their time comes near.

use std::collections::BTreeSet;

use crate::store::due::{Due, Kind};

/// One that waits. Of one time recalls come first, then messages written again, which are older than the others, each in the
/// order of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// When it is due, ms since the epoch.
    pub due: i64,
    /// Kind and log offset.
    place: u64,
}

const KIND_AT: u32 = 62;

impl Key {
    /// Of a record at a log offset.
    pub fn new(due: Due, log_offset: u64) -> Self {
        let rank = match due.kind {
            Kind::Recall => 0,
            Kind::Rolled => 1,
            Kind::Sent => 2,
        };
        Self { due: due.time, place: rank << KIND_AT | log_offset }
    }

    /// What it is.
    pub fn kind(self) -> Kind {
        match self.place >> KIND_AT {
            0 => Kind::Recall,
            1 => Kind::Rolled,
            _ => Kind::Sent,
        }
    }

    /// Where its record is.
    pub fn log_offset(self) -> u64 {
        self.place & ((1 << KIND_AT) - 1)
    }
}

/// What waits.
#[derive(Debug)]
pub struct Pending {
    keys: BTreeSet<Key>,
    /// What is due at this time or later is not in memory.
    horizon: i64,
    /// How many those are, roughly.
    beyond: u64,
    /// Keys in memory above which the farthest go.
    limit: usize,
}

/// The nearest of many that wait.
#[derive(Debug)]
pub struct Gathered {
    keys: Vec<Key>,
    horizon: i64,
    beyond: u64,
    limit: usize,
}

impl Gathered {
    /// Adds one.
    pub fn add(&mut self, key: Key) {
        if key.due >= self.horizon {
            self.beyond += 1;
            return;
        }
        self.keys.push(key);
        if self.keys.len() > self.limit && self.keys.len() >= self.limit * 2 {
            self.prune();
        }
    }

    /// As many as are kept in memory.
    pub fn done(mut self) -> Self {
        if self.keys.len() > self.limit {
            self.prune();
        }
        self
    }

    fn prune(&mut self) {
        let (_, middle, _) = self.keys.select_nth_unstable(self.limit / 4 * 3);
        let horizon = middle.due;
        // All of one time stay together.
        if self.keys.iter().any(|key| key.due < horizon) {
            let all = self.keys.len();
            self.keys.retain(|key| key.due < horizon);
            self.horizon = horizon;
            self.beyond += (all - self.keys.len()) as u64;
        }
    }
}

impl Pending {
    /// Nothing; later at most `limit` in memory.
    pub fn new(limit: usize) -> Self {
        Self { keys: BTreeSet::new(), horizon: i64::MAX, beyond: 0, limit: limit.max(4) }
    }

    /// Takes what was gathered in the place of what was there before.
    pub fn fill(&mut self, gathered: Gathered) {
        let Gathered { mut keys, horizon, beyond, .. } = gathered;
        keys.sort_unstable();
        (self.keys, self.horizon, self.beyond) = (BTreeSet::from_iter(keys), horizon, beyond);
    }

    /// To gather what shall be in memory.
    pub fn gather(&self) -> Gathered {
        Gathered { keys: Vec::new(), horizon: i64::MAX, beyond: 0, limit: self.limit }
    }

    /// Adds one.
    pub fn insert(&mut self, key: Key) {
        if key.due >= self.horizon {
            self.beyond += 1;
            return;
        }
        self.keys.insert(key);
        // Not each time: it looks through a quarter of them, and all may be due at one time.
        let over = self.keys.len().saturating_sub(self.limit);
        if over > 0 && over.is_multiple_of(self.limit / 64 + 1) {
            self.shed();
        }
    }

    /// Lets the farthest quarter go, all of one time together; nothing if all are due at one time.
    fn shed(&mut self) {
        let Some(horizon) = self.keys.iter().nth_back(self.limit / 4).map(|key| key.due) else { return };
        if self.keys.first().is_some_and(|first| first.due == horizon) {
            return;
        }
        let gone = self.keys.split_off(&Key { due: horizon, place: 0 });
        self.horizon = horizon;
        self.beyond += gone.len() as u64;
    }

    /// Whether those beyond the horizon have to be read: little else is left and their time is near, or nothing is left.
    pub fn is_short(&self, now: i64) -> bool {
        const AHEAD: i64 = 10_000;
        let is_near = self.keys.len() < self.limit / 4 && self.horizon <= now.saturating_add(AHEAD);
        self.horizon < i64::MAX && (self.keys.is_empty() || is_near)
    }

    /// Takes the first out, if it is due.
    pub fn pop_due(&mut self, now: i64) -> Option<Key> {
        self.keys.first().is_some_and(|first| first.due <= now).then(|| self.keys.pop_first()).flatten()
    }

    /// Takes one out.
    pub fn remove(&mut self, key: Key) {
        if key.due < self.horizon {
            self.keys.remove(&key);
        } else {
            self.beyond = self.beyond.saturating_sub(1);
        }
    }

    /// Whether one that was read is still to come. What is beyond the horizon always is.
    pub fn waits(&self, key: Key) -> bool {
        key.due >= self.horizon || self.keys.contains(&key)
    }

    /// Those of one kind that are due at a time and in memory.
    pub fn at(&self, due: i64, kind: Kind) -> impl Iterator<Item = Key> + '_ {
        let from = Key::new(Due { time: due, kind }, 0);
        let to = Key { due, place: from.place | ((1 << KIND_AT) - 1) };
        self.keys.range(from..=to).copied()
    }

    /// When the first is due.
    pub fn next_due(&self) -> Option<i64> {
        let first = self.keys.first().map(|key| key.due);
        first.or((self.horizon < i64::MAX).then_some(self.horizon))
    }

    /// From when on nothing is in memory; `i64::MAX`: everything is.
    pub fn horizon(&self) -> i64 {
        self.horizon
    }

    /// All in memory.
    pub fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        self.keys.iter().copied()
    }

    /// How many wait.
    pub fn count(&self) -> u64 {
        self.keys.len() as u64 + self.beyond
    }
}
