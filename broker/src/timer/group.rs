//! What concerns all messages of one time: which of them were taken back, and which were written again since.

use hashbrown::{HashMap, HashSet};

/// Messages of one time, by identity.
#[derive(Debug, Default)]
pub struct Group {
    /// Those that were taken back.
    pub recalled: HashSet<u64>,
    /// Those that were written again, with how often: an older record of the same message counts for nothing.
    pub rolled: HashMap<u64, u32>,
}

impl Group {
    /// Of a time, with those taken back that are known already.
    pub fn new(recalled: Vec<u64>) -> Self {
        Self { recalled: recalled.into_iter().collect(), rolled: HashMap::new() }
    }

    /// Notes that a message was written again; tells whether it was not known.
    pub fn roll(&mut self, identity: u64, times: u32) -> bool {
        let known = self.rolled.entry(identity).or_default();
        let is_new = *known == 0;
        *known = times.max(*known);
        is_new
    }

    /// Whether a record of a message, written again so many times, was written again after that.
    pub fn is_outdated(&self, identity: u64, times: u32) -> bool {
        self.rolled.get(&identity).is_some_and(|newest| times < *newest)
    }
}
