//! How far timer messages were delivered: marks, each true of one stretch of the log.
//!
//! A mark may be older than the last copy in the log, for it is written behind; what the log has behind the mark is read at the
//! next start. It may also be ahead of the log: a slave learns of it before it has the copies. Then an older one is right, so
//! that some are kept, one a second.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::meta::db::{Db, DbError};
use crate::meta::kept::Kept;
use crate::meta::tree::Tree;

/// Marks kept.
const SLOTS: u8 = 64;
/// Time after which the next mark leaves this one in its place.
const STEP: Duration = Duration::from_secs(1);

/// What of the timer queue is done. Each number is eight bytes on disk, big endian, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mark {
    /// What is due before this time, in ms, and was read, is done: nothing else is.
    pub due: i64,
    /// Offset in the timer queue of the first entry that was not read.
    pub queue: u64,
    /// Log offset before which all copies lie of what is done, and none of what is not; 0: not known, for RocketMQ's broker does
    /// not say.
    pub log: u64,
    /// Log offset before which nothing is waited for any more.
    pub kept: u64,
}

impl Mark {
    fn encode(self) -> Vec<u8> {
        [self.due.cast_unsigned(), self.queue, self.log, self.kept].map(u64::to_be_bytes).concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (numbers, []) = bytes.as_chunks::<8>() else { return None };
        let [due, queue, log, kept] = numbers else { return None };
        let number = |bytes: &[u8; 8]| u64::from_be_bytes(*bytes);
        let due = number(due).cast_signed();
        Some(Self { due, queue: number(queue), log: number(log), kept: number(kept) })
    }

    /// What a checkpoint of RocketMQ's timers says, its file or the answer to 60: when everything before was delivered, a place in
    /// its own file, offsets in the timer queue that it has read up to, a slave and its master. `None`: nothing yet.
    #[must_use]
    pub fn of_rocketmq(checkpoint: &[u8]) -> Option<Self> {
        let (numbers, _) = checkpoint.as_chunks::<8>();
        let [due, _, queue, ..] = numbers else { return None };
        let (due, queue) = (i64::from_be_bytes(*due), u64::from_be_bytes(*queue));
        (due > 0 && queue > 0).then_some(Self { due, queue, log: 0, kept: 0 })
    }

    /// The row under which a mark of RocketMQ's broker stands, the only one then.
    pub fn foreign_row(self) -> (Vec<u8>, Vec<u8>) {
        (vec![0], self.encode())
    }
}

#[derive(Debug, Default)]
struct Rows {
    marks: BTreeMap<u8, Mark>,
    slot: u8,
    /// When the slot's first mark was put there.
    since: Option<Instant>,
}

/// The marks of a broker.
pub struct Marks {
    rows: Mutex<Rows>,
    db: Arc<Db>,
}

impl Marks {
    /// Loads the marks that a log which ends at `end` can bear out: others were made with a log of which something is gone.
    ///
    /// # Errors
    /// The metadata cannot be read.
    pub fn load(db: Arc<Db>, end: u64) -> Result<Self, DbError> {
        let mut rows = Rows::default();
        for (key, value) in db.load(Tree::Timers)? {
            let (Some(slot), Some(mark)) = (key.first(), Mark::decode(&value)) else { continue };
            if mark.log > end {
                db.remove(Tree::Timers, key);
            } else {
                rows.marks.insert(*slot, mark);
            }
        }
        rows.slot = rows.newest(u64::MAX).map_or(0, |(slot, _)| slot);
        Ok(Self { rows: Mutex::new(rows), db })
    }

    /// The newest mark that a log which ends at `end` bears out.
    #[must_use]
    pub fn best(&self, end: u64) -> Option<Mark> {
        self.rows.lock().newest(end).map(|(_, mark)| mark)
    }

    /// Begins to note marks of its own: those go that a log which ends at `end` does not bear out. Returns the newest of the rest.
    pub fn lead(&self, end: u64) -> Option<Mark> {
        let ahead: Vec<u8> = {
            let rows = self.rows.lock();
            rows.marks.iter().filter(|(_, mark)| mark.log > end).map(|(slot, _)| *slot).collect()
        };
        ahead.into_iter().for_each(|slot| self.take(&[slot], None));
        self.best(end)
    }

    /// Notes a mark.
    pub fn set(&self, mark: Mark) {
        let mut rows = self.rows.lock();
        if rows.since.is_some_and(|since| since.elapsed() >= STEP) {
            rows.slot = (rows.slot + 1) % SLOTS;
            rows.since = None;
        }
        rows.since.get_or_insert_with(Instant::now);
        let slot = rows.slot;
        rows.marks.insert(slot, mark);
        self.db.put(Tree::Timers, vec![slot], mark.encode());
    }

    /// Puts a mark in the place of all others.
    pub fn replace(&self, mark: Mark) {
        let (key, value) = mark.foreign_row();
        let others: Vec<u8> = self.rows.lock().marks.keys().copied().filter(|slot| *slot != 0).collect();
        others.into_iter().for_each(|slot| self.take(&[slot], None));
        self.take(&key, Some(&value));
    }
}

impl Rows {
    fn newest(&self, end: u64) -> Option<(u8, Mark)> {
        let borne_out = self.marks.iter().filter(|(_, mark)| mark.log <= end);
        borne_out.max_by_key(|(_, mark)| (mark.log, mark.queue, mark.due)).map(|(slot, mark)| (*slot, *mark))
    }
}

impl Kept for Marks {
    fn tree(&self) -> Tree {
        Tree::Timers
    }

    fn take(&self, key: &[u8], value: Option<&[u8]>) {
        let mark = value.map(Mark::decode);
        let (Some(slot), false) = (key.first().copied(), mark == Some(None)) else {
            tracing::error!(?key, "a mark of the master's timers does not parse; skipped");
            return;
        };
        let mut rows = self.rows.lock();
        match mark.flatten() {
            Some(mark) if rows.marks.insert(slot, mark) != Some(mark) => {
                self.db.put(Tree::Timers, key.to_vec(), mark.encode());
            }
            Some(_) => return,
            None if rows.marks.remove(&slot).is_some() => drop(self.db.remove(Tree::Timers, key.to_vec())),
            None => return,
        }
        rows.slot = rows.newest(u64::MAX).map_or(0, |(slot, _)| slot);
        rows.since = None;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn a_mark_comes_back_and_garbage_is_refused() {
        let mark = Mark { due: 1, queue: 3, log: u64::MAX, kept: 5 };
        assert_eq!(Mark::decode(&mark.encode()), Some(mark));
        assert_eq!(mark.encode().len(), 32);
        assert_eq!(Mark::decode(&[0; 31]), None);
        assert_eq!(Mark::decode(&[0; 40]), None);
    }

    #[test]
    fn a_mark_ahead_of_the_log_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let db = Arc::new(Db::open(dir.path()).unwrap());
        let marks = Marks::load(Arc::clone(&db), 0).unwrap();
        assert_eq!(marks.best(100), None);
        let at = |log| Mark { due: 7, queue: 1, log, kept: 0 };
        for (slot, log) in [(0, 10), (1, 20), (2, 30)] {
            marks.take(&[slot], Some(&at(log).encode()));
        }
        assert_eq!(marks.best(25), Some(at(20)));
        assert_eq!(marks.best(5), None);
        // A log that was cut and grew again must not be taken for the one that the mark was made with.
        db.close();
        drop((marks, db));
        let db = Arc::new(Db::open(dir.path()).unwrap());
        let marks = Marks::load(db, 25).unwrap();
        assert_eq!(marks.best(u64::MAX), Some(at(20)));
        marks.replace(at(0));
        assert_eq!(marks.best(u64::MAX), Some(at(0)));
    }
}
