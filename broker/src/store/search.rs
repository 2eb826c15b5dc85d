//! Finding messages by time and by key.

use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashSet;
use orbitmq_common::message::property;
use orbitmq_common::message::record::RecordView;

use crate::store::index::KeyQuery;
use crate::store::queue::Queue;
use crate::store::shared::Shared;

/// Which of two neighbours a time between them means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundary {
    /// The first message not before the time.
    Lower,
    /// The last message not after the time.
    Upper,
}

/// Result of a query by key.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// The records, newest first.
    pub records: Vec<Bytes>,
    /// Store time of the newest record in the index.
    pub last_update_timestamp: i64,
    /// Its log offset.
    pub last_update_physical: i64,
    /// Why records may be missing: the index could neither be read nor mended.
    pub failed: Option<String>,
}

/// What to look for.
#[derive(Debug, Clone, Copy)]
pub struct KeySearch<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Key.
    pub key: &'a str,
    /// Records at most.
    pub max: usize,
    /// Earliest store time, in ms.
    pub begin: i64,
    /// Latest store time, in ms.
    pub end: i64,
    /// Whether the key is the producer's message id, and nothing else.
    pub unique: bool,
}

/// Records whose keys' hashes agree that are looked at before a query ends.
const MAX_CANDIDATES: usize = 100_000;

/// The offset of a time in a queue.
pub fn offset_by_time(shared: &Shared, queue: &Arc<Queue>, timestamp: i64, boundary: Boundary) -> u64 {
    let (min, max) = (shared.min_of(queue), queue.max());
    // First offset whose message is not before (lower) or is after (upper) the time.
    let beyond = |time: i64| match boundary {
        Boundary::Lower => time >= timestamp,
        Boundary::Upper => time > timestamp,
    };
    let (mut low, mut high) = (min, max);
    while low < high {
        let middle = low.midpoint(high);
        if shared.store_timestamp(queue, middle).is_some_and(beyond) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    match boundary {
        Boundary::Lower => low,
        Boundary::Upper => low.saturating_sub(1).max(min),
    }
}

/// Records of a topic that carry a key.
pub fn query(shared: &Shared, search: KeySearch<'_>) -> Query {
    let Some(index) = &shared.derived.index else { return Query::default() };
    let (last_update_timestamp, physical) = index.last_update();
    let last_update_physical = physical.cast_signed();
    let mut result = Query { records: Vec::new(), last_update_timestamp, last_update_physical, failed: None };
    let mut seen = HashSet::new();
    let hash = property::key_hash(search.topic, search.key);
    let found = index.find(KeyQuery { hash, begin: search.begin, end: search.end }, &mut |physical| {
        if result.records.len() < search.max && seen.insert(physical) {
            let record = shared.record_at(physical).ok();
            result.records.extend(record.filter(|bytes| has_key(bytes, search)));
        }
        result.records.len() < search.max && seen.len() < MAX_CANDIDATES
    });
    if let Err(error) = found {
        tracing::warn!(topic = search.topic, key = search.key, %error, "the key index cannot be read");
        result.failed = Some(error.to_string());
    }
    result
}

fn has_key(bytes: &[u8], search: KeySearch<'_>) -> bool {
    let Ok(record) = RecordView::parse(bytes) else { return false };
    let in_time = record.store_timestamp >= search.begin && record.store_timestamp <= search.end;
    let unique = record.property(property::UNIQ_KEY) == Some(search.key);
    let listed = || record.property(property::KEYS).is_some_and(|keys| keys.split(' ').any(|key| key == search.key));
    in_time && record.topic == search.topic && (unique || !search.unique && listed())
}
