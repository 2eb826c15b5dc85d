//! The index of open half messages: which there are, when each producer is asked, and how far all before are ended.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::transaction::fresh::Fresh;

/// An open half message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open {
    /// Offset of its record in the log.
    pub physical: u64,
    /// When its producer is asked next, in ms of `steady_ms`.
    pub due: i64,
    /// How often it was asked.
    pub checks: u32,
    /// Whether it was here when this broker became master: a crash may have left its end without a note.
    pub inherited: bool,
}

/// Where an index is built again from: half messages before `half` are ended, and notes before `op` concern only such.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Offset in the queue of half messages.
    pub half: u64,
    /// Offset in the queue of notes.
    pub op: u64,
}

/// New half messages between two marks.
const STRIDE: u64 = 1024;
/// Marks kept; of more, every second one is dropped.
const MARKS: usize = 1024;

/// The index. Whoever appends a half message or a note holds it until both know, so that it agrees with the log.
#[derive(Debug, Default)]
pub struct Table {
    open: BTreeMap<u64, Open>,
    due: BTreeSet<(i64, u64)>,
    /// Ends of both queues as far as they are known here.
    ends: Progress,
    /// The newest mark that what is ended has passed.
    passed: Progress,
    /// Ends of both queues at earlier moments: half messages from there on have their notes from there on.
    marks: VecDeque<Progress>,
    /// What came of half messages a moment ago.
    pub fresh: Fresh,
}

impl Table {
    /// Open half messages.
    pub fn count(&self) -> usize {
        self.open.len()
    }

    /// One that is open.
    pub fn get(&self, offset: u64) -> Option<Open> {
        self.open.get(&offset).copied()
    }

    /// A half message at an offset of its queue; one that is known stays as it is.
    pub fn insert(&mut self, offset: u64, open: Open) {
        self.ends.half = self.ends.half.max(offset.saturating_add(1));
        if self.open.contains_key(&offset) {
            return;
        }
        self.open.insert(offset, open);
        self.due.insert((open.due, offset));
        let last = self.marks.back().copied().unwrap_or(self.passed);
        if self.ends.half >= last.half.saturating_add(STRIDE) {
            self.marks.push_back(self.ends);
        }
        if self.marks.len() > MARKS {
            let mut keep = false;
            self.marks.retain(|_| {
                keep = !keep;
                keep
            });
        }
    }

    /// It is ended, by the note at `op`.
    pub fn end(&mut self, offset: u64, op: u64) {
        self.ends.op = self.ends.op.max(op.saturating_add(1));
        if let Some(open) = self.open.remove(&offset) {
            self.due.remove(&(open.due, offset));
        }
    }

    /// Asks again at `due`, after `checks` times.
    pub fn again(&mut self, offset: u64, due: i64, checks: u32) {
        let Some(open) = self.open.get_mut(&offset) else { return };
        self.due.remove(&(open.due, offset));
        (open.due, open.checks) = (due, checks);
        self.due.insert((due, offset));
    }

    /// No crash has ended it.
    pub fn is_surely_open(&mut self, offset: u64) {
        if let Some(open) = self.open.get_mut(&offset) {
            open.inherited = false;
        }
    }

    /// When the next producer is to be asked.
    pub fn next_due(&self) -> Option<i64> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Those whose time has come, at most `max`.
    pub fn due(&self, now: i64, max: usize) -> Vec<(u64, Open)> {
        let due = self.due.iter().take_while(|(due, _)| *due <= now).take(max);
        due.filter_map(|(_, offset)| Some((*offset, self.get(*offset)?))).collect()
    }

    /// Both queues have ended at `ends` when the index was built from `from` on.
    pub fn built(&mut self, from: Progress, ends: Progress) {
        self.passed = from;
        self.ends.half = self.ends.half.max(ends.half);
        self.ends.op = self.ends.op.max(ends.op);
        self.marks.clear();
        self.marks.push_back(self.ends);
    }

    /// Where the index could be built again from.
    pub fn progress(&mut self) -> Progress {
        let half = self.open.first_key_value().map_or(self.ends.half, |(offset, _)| *offset);
        while let Some(mark) = self.marks.front().filter(|mark| mark.half <= half) {
            self.passed = *mark;
            self.marks.pop_front();
        }
        Progress { half, op: self.passed.op }
    }
}

#[cfg(test)]
mod tests;
