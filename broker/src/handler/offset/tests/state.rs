//! What the model knows.

use std::collections::{BTreeMap, BTreeSet};

use super::step::{Place, QUEUES};

/// What is known of topics, groups and offsets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    pub topics: BTreeSet<&'static str>,
    pub groups: BTreeSet<&'static str>,
    pub offsets: BTreeMap<Place, i64>,
    /// Offsets that an administrator set and the group has yet to follow.
    pub resets: BTreeSet<Place>,
}

impl State {
    pub fn has_queue(&self, (topic, _, queue): Place) -> bool {
        self.topics.contains(topic) && queue < QUEUES
    }

    pub fn commit(&mut self, place: Place, offset: i64) {
        if !self.resets.contains(&place) {
            self.offsets.insert(place, offset);
        }
    }

    pub fn reset(&mut self, place: Place, offset: i64) {
        self.offsets.insert(place, offset);
        self.resets.insert(place);
    }

    pub fn forget(&mut self, gone: impl Fn(&Place) -> bool) {
        self.offsets.retain(|place, _| !gone(place));
        self.resets.retain(|place| !gone(place));
    }
}
