//! Following the log and its queues without serving them: entries alone, records in their order, places by time; and keeping
//! retention from what is still needed.

use std::sync::Arc;

use orbitmq_common::message::record::RecordView;
use tokio::sync::watch;

use crate::store::derived::Derived;
use crate::store::entry::QueueEntry;
use crate::store::held::Wanted;
use crate::store::queue::Queue;
use crate::store::retention;
use crate::store::scan::{self, Trust};
use crate::store::shared::Shared;

/// Entries read at a time.
const BLOCK: usize = 4_096;

/// An entry with its offset in the queue.
pub type Numbered = (u64, QueueEntry);

/// Looks at the log and its queues.
#[derive(Debug, Clone)]
pub struct Follower {
    shared: Arc<Shared>,
}

impl Follower {
    /// Of a store.
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Hands out entries of a queue from an offset on, at most `max`, and tells where to go on. Offsets without a message are
    /// passed over, entries that were never written are mended.
    pub fn entries(&self, topic: &str, queue_id: u32, from: u64, max: usize, out: &mut Vec<Numbered>) -> u64 {
        out.clear();
        let Some(queue) = self.shared.derived.queues.get(topic, queue_id) else { return from };
        let end = queue.max();
        let mut at = from.max(self.shared.min_of(&queue));
        let mut raw = Vec::new();
        while at < end && out.len() < max {
            let wanted = usize::try_from(end - at).unwrap_or(BLOCK).min(BLOCK).min(max - out.len());
            if let Err(error) = queue.read(&self.shared.derived.files, at, wanted, &mut raw) {
                tracing::warn!(topic, queue = queue_id, %error, "a queue cannot be read");
                break;
            }
            if raw.is_empty() {
                break;
            }
            for entry in &raw {
                let Some(entry) = self.written(&queue, at, QueueEntry::decode(entry)) else { return at };
                if !entry.is_blank() && !entry.is_unwritten() {
                    out.push((at, entry));
                }
                at += 1;
            }
        }
        at
    }

    /// The entry, mended if it was never written; `None`: it cannot be read now.
    fn written(&self, queue: &Arc<Queue>, at: u64, entry: QueueEntry) -> Option<QueueEntry> {
        if entry.is_unwritten() { self.shared.entry(queue, at) } else { Some(entry) }
    }

    /// Shows the records of the log between two offsets in their order, passing over damage.
    pub fn records(&self, from: u64, to: u64, visit: &mut dyn FnMut(&RecordView<'_>)) {
        let segments = &self.shared.log.segments;
        let mut at = from.max(segments.start());
        while at < to {
            let (stopped, bad) = scan::walk(segments, at, to, Trust::Form, &mut |record| {
                visit(record);
                true
            });
            match bad.and_then(|_| scan::find_sound(segments, stopped + 1)) {
                Some(next) => at = next,
                None => return,
            }
        }
    }

    /// A log offset before which everything was stored before a time, in ms.
    pub fn offset_before(&self, time: i64) -> u64 {
        let segments = self.shared.log.segments.snapshot();
        let begins_before =
            |segment: &&Arc<_>| retention::begin_time(&self.shared, segment).is_some_and(|begin| begin < time);
        segments.iter().rev().find(begins_before).or(segments.first()).map_or(0, |segment| segment.base())
    }

    /// Has retention delete nothing from a log offset on.
    pub fn hold(&self, from: u64) {
        self.shared.held.hold(from);
    }

    /// Follows what retention would delete if it might.
    pub fn wanted(&self) -> watch::Receiver<Wanted> {
        self.shared.held.watch()
    }
}

/// Resolves when the end of a queue, which need not exist yet, is greater than an offset.
pub async fn grown(derived: Arc<Derived>, topic: Arc<str>, queue_id: u32, beyond: i64) {
    // Looked up anew after every wake: the topic may have been deleted and made again.
    loop {
        let created = Arc::clone(derived.queues.created()).notified_owned();
        let Some(queue) = derived.queues.get(&topic, queue_id) else {
            created.await;
            continue;
        };
        let news = Arc::clone(queue.news()).notified_owned();
        if queue.max().cast_signed() > beyond {
            return;
        }
        drop(queue);
        news.await;
    }
}
