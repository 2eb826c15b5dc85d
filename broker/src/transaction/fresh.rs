//! Messages that came of half messages a moment ago, which the key index may not know yet.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};

use hashbrown::HashSet;

use crate::transaction::half::Half;

/// For so long they are known here, ms. The key index is milliseconds behind.
const KEPT: i64 = 3_000;

/// A producer's id of a message with the time of its birth: two SipHashes of it, which no two messages have in common, by chance or on
/// purpose.
type Name = (u64, u64);

/// The messages.
#[derive(Debug, Default)]
pub struct Fresh {
    names: HashSet<Name>,
    /// When each was noted, in ms of `steady_ms`.
    order: VecDeque<(i64, Name)>,
    hashers: (RandomState, RandomState),
}

impl Fresh {
    /// `None`: its producer gave it no id.
    fn name(&self, half: &Half<'_>) -> Option<Name> {
        let (one, other) = &self.hashers;
        let id = (half.key, half.record.born_timestamp);
        (!half.key.is_empty()).then(|| (one.hash_one(id), other.hash_one(id)))
    }

    /// A message came of a half message.
    pub fn note(&mut self, half: &Half<'_>, now: i64) {
        while let Some((at, old)) = self.order.front().copied()
            && at < now - KEPT
        {
            self.names.remove(&old);
            self.order.pop_front();
        }
        if let Some(name) = self.name(half) {
            self.names.insert(name);
            self.order.push_back((now, name));
        }
    }

    /// Whether a message came of a half message like this one.
    pub fn has(&self, half: &Half<'_>) -> bool {
        self.name(half).is_some_and(|name| self.names.contains(&name))
    }
}
