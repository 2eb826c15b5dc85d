//! Builds the index of open half messages from the log: half messages that no note ends.

use hashbrown::HashSet;
use orbitmq_common::clock::now_ms;
use orbitmq_common::message::record::RecordView;
use orbitmq_common::message::{entry, property};
use orbitmq_common::name;

use crate::meta::asked::Asked;
use crate::meta::offsets::Offsets;
use crate::store::Store;
use crate::store::read::{ReadLimit, ReadStatus};
use crate::transaction::half::{self, immunity};
use crate::transaction::progress;
use crate::transaction::table::{Open, Progress};
use crate::transaction::{Ground, Transactions, steady_ms};

/// Records read at a time.
const ROUND: ReadLimit = ReadLimit { max_messages: 1024, max_bytes: 4 << 20 };

/// A queue of transactions cannot be read now.
#[derive(Debug, thiserror::Error)]
#[error("topic {topic} cannot be read beyond offset {at}")]
pub struct RebuildError {
    topic: &'static str,
    at: u64,
}

/// What was found.
#[derive(Debug, Clone, Copy)]
pub struct Found {
    /// Half messages that are open.
    pub open: usize,
    /// Where it began to look.
    pub from: Progress,
    /// Ends of both queues.
    pub ends: Progress,
}

impl Transactions {
    /// Builds the index and lets half messages end. Half messages may begin meanwhile. Blocks. No producer is asked sooner than in
    /// `pause` ms: they have to connect first.
    ///
    /// # Errors
    /// A queue cannot be read; nothing is lost, to be tried again.
    pub fn rebuild(
        &self,
        ground: Ground<'_>,
        offsets: &Offsets,
        asked: &Asked,
        pause: i64,
    ) -> Result<Found, RebuildError> {
        let store = ground.store;
        let ends = Progress { half: max(store, name::HALF_TOPIC), op: max(store, name::HALF_OP_TOPIC) };
        let from = begin(store, offsets, ends);
        let mut ended: HashSet<u64> = HashSet::new();
        scan(store, name::HALF_OP_TOPIC, from.op, ends.op, |note| {
            ended.extend(half::noted(note).filter(|offset| *offset >= from.half));
        })?;
        let (now, soonest) = (now_ms(), steady_ms().saturating_add(pause));
        scan(store, name::HALF_TOPIC, from.half, ends.half, |record| {
            if ended.contains(&record.queue_offset) {
                return;
            }
            let wait = immunity(record.properties).unwrap_or(ground.timeout);
            let age = now.saturating_sub(record.store_timestamp).max(0);
            let due = steady_ms().saturating_add(wait.saturating_sub(age)).max(soonest);
            // RocketMQ's broker counts there.
            let counted = record.property(property::TRANSACTION_CHECK_TIMES).and_then(|times| times.parse().ok());
            let checks = counted.unwrap_or(0).max(asked.get(record.queue_offset));
            let open = Open { physical: record.physical_offset, due, checks, inherited: true };
            self.table.lock().insert(record.queue_offset, open);
        })?;
        let mut table = self.table.lock();
        table.built(from, ends);
        asked.retain(|offset| table.get(offset).is_some());
        let found = Found { open: table.count(), from, ends };
        drop(table);
        self.ready.send_replace(true);
        self.sooner.notify_one();
        Ok(found)
    }
}

fn max(store: &Store, topic: &str) -> u64 {
    u64::try_from(store.max_offset(topic, 0)).unwrap_or(0)
}

/// Where to begin: where this broker, its master or RocketMQ's broker has come to, or at the first message that is left.
fn begin(store: &Store, offsets: &Offsets, ends: Progress) -> Progress {
    let least = |topic| u64::try_from(store.min_offset(topic, 0)).unwrap_or(0);
    let first = Progress { half: least(name::HALF_TOPIC), op: least(name::HALF_OP_TOPIC) };
    let Some(stored) = progress::stored(offsets) else { return first };
    if stored.half > ends.half || stored.op > ends.op {
        tracing::warn!(
            ?stored,
            ?ends,
            "the log does not reach to where transactions stood: all half messages are looked at again"
        );
        return first;
    }
    Progress { half: stored.half.max(first.half), op: stored.op.max(first.op) }
}

fn scan(
    store: &Store,
    topic: &'static str,
    from: u64,
    to: u64,
    mut each: impl FnMut(&RecordView<'_>),
) -> Result<(), RebuildError> {
    let mut at = from;
    while at < to {
        let read = store.read(topic, 0, at.cast_signed(), ROUND, &mut |_, _| true);
        for record in read.chunks.iter().flat_map(|chunk| entry::records(chunk)) {
            match record {
                Ok(record) if record.queue_offset < to => each(&record),
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(topic, at, %error, "a record of a transaction does not parse; passed over")
                }
            }
        }
        let next = u64::try_from(read.next_offset).unwrap_or(0);
        if next <= at || read.status == ReadStatus::OffsetTooLarge {
            return Err(RebuildError { topic, at });
        }
        at = next;
    }
    Ok(())
}
