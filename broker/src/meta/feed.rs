//! Recent changes of metadata in their order, for those who follow them.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::meta::db::Tree;

/// Bytes of changes that are kept. Whoever is behind by more gets everything anew.
const KEPT: usize = 8 << 20;
/// What a change costs beside its key and value.
const OVERHEAD: usize = 96;
/// Bytes of changes that are handed out at once; one always is.
const PAGE: usize = 1 << 20;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub tree: Tree,
    /// Which row.
    pub key: Bytes,
    /// The new value; `None`: the row is gone.
    pub value: Option<Bytes>,
}

impl Change {
    fn size(&self) -> usize {
        OVERHEAD + self.key.len() + self.value.as_ref().map_or(0, Bytes::len)
    }
}

/// The changes. Older ones of a key stay beside newer ones, so that what is handed out is always a state that once was:
/// who has everything up to a number has no row older than that.
#[derive(Debug, Default)]
pub struct Feed {
    /// Nothing is kept before somebody has asked.
    asked: bool,
    /// Changes up to this one are no longer here.
    floor: u64,
    recent: VecDeque<(u64, Change)>,
    bytes: usize,
}

impl Feed {
    /// Begins to keep changes, with the one after `newest`, unless that has begun already.
    pub fn ask(&mut self, newest: u64) {
        if !self.asked {
            (self.asked, self.floor) = (true, newest);
        }
    }

    /// Notes a change; numbers rise.
    pub fn push(&mut self, number: u64, change: Change) {
        if !self.asked || !change.tree.replicates() {
            return;
        }
        self.bytes += change.size();
        self.recent.push_back((number, change));
        while self.bytes > KEPT
            && let Some((number, change)) = self.recent.pop_front()
        {
            self.floor = number;
            self.bytes -= change.size();
        }
    }

    /// Whether every change after `number` is here.
    pub fn reaches(&self, number: u64) -> bool {
        self.asked && number >= self.floor
    }

    /// Changes after `since` up to `last`, or the first of them, with the number up to which these are all.
    pub fn since(&self, since: u64, last: u64) -> (u64, Vec<Change>) {
        let start = self.recent.partition_point(|(number, _)| *number <= since);
        let (mut bytes, mut changes) = (0, Vec::new());
        for (number, change) in self.recent.range(start..).take_while(|(number, _)| *number <= last) {
            bytes += change.size();
            changes.push(change.clone());
            if bytes >= PAGE {
                return (*number, changes);
            }
        }
        (last.max(since), changes)
    }
}
