//! The keeper: one thread that writes queues and index to their files, makes checkpoints and applies retention.
//!
//! All of this is derived or can wait: a failure is counted, logged once, and tried again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use orbitmq_common::message::record::checksum;

use crate::store::bell::Bell;
use crate::store::builder::Built;
use crate::store::checkpoint::{self, Checkpoint, QueueMark};
use crate::store::flush;
use crate::store::index::{Index, IndexMark};
use crate::store::retention;
use crate::store::shared::Shared;
use crate::store::stats::Counters;

/// Time between two looks for something to write.
const TICK: Duration = Duration::from_millis(500);

/// Does the chores of a store.
#[derive(Debug)]
pub struct Keeper {
    /// The store.
    pub shared: Arc<Shared>,
    /// Rung when there is much to write, or to stop.
    pub bell: Arc<Bell>,
    /// Set to stop.
    pub stop: Arc<AtomicBool>,
    /// Whether opening had to read log behind the last checkpoint.
    pub recovered: bool,
}

impl Keeper {
    /// Works until told to stop.
    pub fn run(self) {
        let shared = &*self.shared;
        let mut checkpointed = (u64::MAX, Instant::now());
        let mut expired = Instant::now();
        let mut failing = false;
        if self.recovered {
            // What recovery had to read need not be read by the next one, however soon that comes.
            let _chores = shared.chores.lock();
            let result = shared.derived.write_out(u64::MAX).and_then(|()| make_checkpoint(shared));
            note(shared, result, &mut failing);
        }
        while !self.stop.load(Ordering::Acquire) {
            self.bell.wait(TICK);
            if self.stop.load(Ordering::Acquire) {
                return;
            }
            let _chores = shared.chores.lock();
            let mut result = shared.derived.write_out(u64::MAX);
            let due = checkpointed.1.elapsed() >= shared.options.checkpoint_every;
            if result.is_ok() && due && shared.builder.offset() != checkpointed.0 {
                let offset = shared.builder.offset();
                result = make_checkpoint(shared);
                shared.derived.queues.all().iter().for_each(|queue| queue.rest());
                checkpointed = if result.is_ok() { (offset, Instant::now()) } else { checkpointed };
            }
            if result.is_ok() {
                result = shared.derived.index.as_ref().map_or(Ok(()), Index::vouch);
            }
            if result.is_ok() && expired.elapsed() >= shared.options.retention.check_every {
                result = retention::expire(shared).map(drop);
                expired = Instant::now();
            }
            note(shared, result, &mut failing);
        }
    }
}

fn note(shared: &Shared, result: io::Result<()>, failing: &mut bool) {
    match result {
        Ok(()) if *failing => tracing::info!("queue and index files can be written again"),
        Err(error) => {
            Counters::add(&shared.counters.derived_failures, 1);
            if !*failing {
                tracing::warn!(%error, "queue and index files cannot be written; it is tried again");
            }
            *failing = true;
            return;
        }
        Ok(()) => {}
    }
    *failing = false;
}

/// Makes queues and index durable as of one log offset and notes it.
pub fn make_checkpoint(shared: &Shared) -> io::Result<()> {
    // So that the marks tell where each queue begins in the log as it is.
    shared.derived.queues.all().iter().for_each(|queue| {
        shared.min_of(queue);
    });
    let (built, queues) = shared.builder.cut(|built| (built, queue_marks(shared)));
    shared.derived.write_out(built.offset)?;
    let index = shared.derived.sync()?;
    // A checkpoint never reaches beyond what the log itself has on disk.
    if built.offset > shared.log.progress.flushed() {
        flush::flush_or_poison(&shared.log, &*shared.options.io, &shared.counters);
    }
    if built.offset > shared.log.progress.flushed() {
        return Ok(());
    }
    let dir = &shared.options.dir;
    describe(shared, built, queues, index).store(&*shared.options.io, dir)?;
    shared.derived.index.iter().for_each(Index::keep);
    checkpoint::store_peer(&*shared.options.io, dir, built.timestamp, built.offset)?;
    Counters::add(&shared.counters.checkpoints, 1);
    Ok(())
}

fn queue_marks(shared: &Shared) -> Vec<QueueMark> {
    let mark = |queue: &Arc<crate::store::queue::Queue>| {
        let (min, max) = queue.bounds();
        QueueMark { topic: Arc::clone(queue.topic()), id: queue.id(), min, max }
    };
    shared.derived.queues.all().iter().map(mark).collect()
}

fn describe(shared: &Shared, built: Built, queues: Vec<QueueMark>, index: IndexMark) -> Checkpoint {
    let sum = |at: u64| {
        let found = shared.log.segments.with_record(at, built.offset, |record| checksum(record.bytes));
        found.ok().map(|sum| (at, sum))
    };
    Checkpoint {
        offset: built.offset,
        witness: built.last.and_then(sum),
        min_physical: shared.log.segments.start(),
        timestamp: built.timestamp,
        queue_file_entries: shared.options.queue_file_entries,
        index,
        deleted: shared.derived.deleted.read().iter().map(|(topic, upto)| (topic.clone(), *upto)).collect(),
        queues,
    }
}
