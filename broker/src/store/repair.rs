//! Building single queues again from the log, when their files turn out to be missing or wrong.

use std::io;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use orbitmq_common::message::record::RecordView;
use orbitmq_common::message::sysflag;
use parking_lot::Mutex;

use crate::store::derived::Derived;
use crate::store::entry::ENTRY_LEN;
use crate::store::queue::Queue;
use crate::store::scan::{self, Trust};
use crate::store::segments::Segments;

/// Entries gathered per queue before they are written.
const GATHER: usize = 4_096;
/// Offsets given up after which nothing is tried any more.
const MAX_GIVEN_UP: usize = 65_536;

/// Repairs queues, one scan at a time.
#[derive(Debug, Default)]
pub struct Repair {
    /// Offsets that a repair did not heal: the log itself has no sound record for them.
    given_up: Mutex<HashSet<(u64, u64)>>,
}

impl Repair {
    /// Builds a queue again if an entry is still wrong; tells whether it is right afterwards.
    pub fn heal(
        &self,
        segments: &Segments,
        derived: &Derived,
        queue: &Arc<Queue>,
        offset: u64,
        upto: u64,
        is_right: &dyn Fn() -> bool,
    ) -> bool {
        // One scan at a time; who waited here finds the work done.
        let mut given_up = self.given_up.lock();
        if is_right() {
            return true;
        }
        if given_up.len() >= MAX_GIVEN_UP || given_up.contains(&(queue.uid(), offset)) {
            return false;
        }
        tracing::warn!(topic = &**queue.topic(), queue = queue.id(), offset, "a queue file disagrees with the log");
        if let Err(error) = rebuild(segments, derived, std::slice::from_ref(queue), upto) {
            tracing::warn!(topic = &**queue.topic(), queue = queue.id(), %error, "the queue cannot be repaired now");
            return false;
        }
        let healed = is_right();
        if !healed {
            given_up.insert((queue.uid(), offset));
        }
        healed
    }
}

#[derive(Default)]
struct Gathered {
    start: u64,
    bytes: Vec<u8>,
}

/// Writes the entries of queues again from the log up to an offset.
pub fn rebuild(segments: &Segments, derived: &Derived, queues: &[Arc<Queue>], upto: u64) -> io::Result<()> {
    let mut gathered: HashMap<u64, Gathered> = queues.iter().map(|queue| (queue.uid(), Gathered::default())).collect();
    let mut failure = None;
    let mut at = segments.start();
    while failure.is_none() {
        let (stopped, bad) =
            scan::walk(segments, at, upto, Trust::Checksum, &mut |view| match gather(derived, &mut gathered, view) {
                Ok(()) => true,
                Err(error) => {
                    failure = Some(error);
                    false
                }
            });
        // Over damage: the entries of what lies in it stay what they were. Believed by its form alone, a record with a wrong
        // offset would take the place of a sound one.
        match bad.and_then(|_| scan::find_sound(segments, stopped + 1)) {
            Some(next) if next < upto => at = next,
            _ => break,
        }
    }
    failure.map_or(Ok(()), Err)?;
    for queue in queues {
        if let Some(gathered) = gathered.get_mut(&queue.uid()) {
            write(derived, queue, gathered)?;
        }
    }
    Ok(())
}

fn gather(derived: &Derived, gathered: &mut HashMap<u64, Gathered>, view: &RecordView<'_>) -> io::Result<()> {
    let kind = sysflag::transaction(view.sys_flag);
    if kind == sysflag::TRANSACTION_PREPARED || kind == sysflag::TRANSACTION_ROLLBACK || derived.is_deleted(view) {
        return Ok(());
    }
    let Some(queue) = derived.queues.get(view.topic, view.queue_id) else { return Ok(()) };
    let Some(gathered) = gathered.get_mut(&queue.uid()) else { return Ok(()) };
    let next = gathered.start + gathered.bytes.len() as u64 / ENTRY_LEN;
    if view.queue_offset != next || gathered.bytes.len() >= GATHER * ENTRY_LEN as usize {
        write(derived, &queue, gathered)?;
        gathered.start = view.queue_offset;
    }
    gathered.bytes.extend_from_slice(&derived.entry_of(view).encode());
    Ok(())
}

fn write(derived: &Derived, queue: &Queue, gathered: &mut Gathered) -> io::Result<()> {
    // Entries that are still in memory get written from there.
    let (_, max) = queue.bounds();
    let count = (gathered.bytes.len() as u64 / ENTRY_LEN).min(max.saturating_sub(gathered.start));
    let bytes = gathered.bytes.get(..usize::try_from(count * ENTRY_LEN).unwrap_or(0)).unwrap_or_default();
    let mut changed = Vec::new();
    let written = queue.write(&derived.files, gathered.start, bytes, queue.bounds().0, &mut changed);
    derived.note_unsynced(queue, &changed);
    gathered.start += gathered.bytes.len() as u64 / ENTRY_LEN;
    gathered.bytes.clear();
    written
}
