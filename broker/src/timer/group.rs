//! What concerns all messages of one time: which of them were taken back, and which were written again since.

use hashbrown::{HashMap, HashSet};

/// Messages of one time, by identity.
#[derive(Debug, Default)]
pub struct Group {
    /// Those that were taken back.
    pub recalled: HashSet<u64>,
    /// Those that were written again.
    rolled: HashMap<u64, Rolled>,
}

/// The record that counts of a message that was written again. A crash may have it written again twice.
#[derive(Debug, Default)]
struct Rolled {
    /// How often it was written again.
    times: u32,
    /// Its log offset, once it was come to.
    at: Option<u64>,
}

impl Group {
    /// Of a time, with those taken back that are known already.
    pub fn new(recalled: Vec<u64>) -> Self {
        Self { recalled: recalled.into_iter().collect(), rolled: HashMap::new() }
    }

    /// Notes that a message was written again; tells whether it was not known.
    pub fn roll(&mut self, identity: u64, times: u32) -> bool {
        let known = self.rolled.entry(identity).or_default();
        let is_new = known.times == 0;
        known.times = times.max(known.times);
        is_new
    }

    /// Whether the record of a message at a log offset, written again so many times, is the one that counts: the first of those
    /// written again most often, or any if none was.
    pub fn counts(&mut self, identity: u64, times: u32, at: u64) -> bool {
        match self.rolled.get_mut(&identity) {
            Some(newest) => times == newest.times && *newest.at.get_or_insert(at) == at,
            None => true,
        }
    }
}
