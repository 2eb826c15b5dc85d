//! Cutting a closed log: a broker that was master takes back what was never acknowledged.

use std::sync::Arc;

use hashbrown::HashMap;
use orbitmq_common::message::sysflag;

use crate::store::checkpoint::{self, Checkpoint};
use crate::store::error::OpenError;
use crate::store::identity;
use crate::store::index::sums;
use crate::store::lock::DirLock;
use crate::store::options::Options;
use crate::store::recovery::load_segments;
use crate::store::scan::{self, Trust};
use crate::store::segments::Segments;

/// Cuts the log of a directory that no broker has open at `to`, the beginning of a record, and returns how many bytes that
/// took. The next opening recovers: it clears queues and index of what is gone.
///
/// Order: a checkpoint that speaks of what is cut is replaced first; then whole segments go, the last one first; then the rest of
/// the segment is zeroed. A crash in between leaves a log that is too long, and the cut is done again.
pub fn truncate(options: &Options, to: u64) -> Result<u64, OpenError> {
    let lock = DirLock::take(&options.dir)?;
    let io = &*options.io;
    let segments = load_segments(options, &options.dir.join("commitlog"))?;
    lock.mark(io)?;
    if let Some(checkpoint) = Checkpoint::load(&options.dir).filter(|checkpoint| checkpoint.offset > to) {
        let left = what_is_left(checkpoint, &segments, to);
        left.store(io, &options.dir).map_err(OpenError::io("replace the checkpoint in", &options.dir))?;
    }
    let mut cut = 0;
    while let Some(last) = segments.snapshot().last().filter(|last| last.base() > to).cloned() {
        cut += written(&scan::written_ranges(&last, last.base()));
        segments.remove_last().map_err(OpenError::io("remove", last.path()))?;
    }
    let Some(segment) = segments.find(to) else { return Ok(cut) };
    let ranges = scan::written_ranges(&segment, to);
    cut += written(&ranges);
    let cleared = segment.writer().and_then(|file| {
        for range in &ranges {
            io.zero(&file, segment.path(), range.start - segment.base(), range.end - range.start)?;
        }
        io.sync_data(&file, segment.path())
    });
    cleared.map_err(OpenError::io("cut", segment.path()))?;
    Ok(cut)
}

/// A checkpoint by which the log is read from its beginning, but which still says what the log does not: which topics were
/// deleted, and where queues go on that have no record left.
fn what_is_left(mut checkpoint: Checkpoint, segments: &Segments, to: u64) -> Checkpoint {
    let mut ends: HashMap<(String, u32), u64> = HashMap::new();
    scan::walk(segments, to, checkpoint.offset, Trust::Form, &mut |record| {
        let kind = sysflag::transaction(record.sys_flag);
        if kind != sysflag::TRANSACTION_PREPARED && kind != sysflag::TRANSACTION_ROLLBACK {
            ends.entry((record.topic.to_owned(), record.queue_id)).or_insert(record.queue_offset);
        }
        true
    });
    for queue in &mut checkpoint.queues {
        let end = ends.get(&(queue.topic.to_string(), queue.id)).copied().unwrap_or(queue.max);
        queue.max = queue.max.min(end);
        queue.min = queue.min.min(queue.max);
    }
    checkpoint.deleted.iter_mut().for_each(|(_, upto)| *upto = to.min(*upto));
    let start = segments.start();
    Checkpoint { offset: start, witness: None, min_physical: start, timestamp: 0, index: Vec::new(), ..checkpoint }
}

/// Sets a whole log aside that has nothing in common with the master's, or ends before the master's begins, so that it can be
/// copied anew. Returns the directory in which it lies now.
pub fn set_aside(options: &Options) -> Result<std::path::PathBuf, OpenError> {
    let _lock = DirLock::take(&options.dir)?;
    let number = (1_u32..).find(|number| !options.dir.join(format!("orbitmq.old-{number}")).exists()).unwrap_or(0);
    let old = options.dir.join(format!("orbitmq.old-{number}"));
    std::fs::create_dir_all(&old).map_err(OpenError::io("create", &old))?;
    // The log goes last: until then the next opening finds the whole of it and the cut is done again.
    let [checkpoint, copy] = checkpoint::FILES;
    let derived = [sums::DIR, "index", "consumequeue"];
    for name in
        [identity::FILE, checkpoint, copy, checkpoint::PEER_FILE].into_iter().chain(derived).chain(["commitlog"])
    {
        let from = options.dir.join(name);
        match options.io.rename(&from, &old.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(OpenError::io("set aside", &from)(error));
            }
            _ => {}
        }
    }
    let io = Arc::clone(&options.io);
    io.sync_dir(&options.dir).map_err(OpenError::io("flush", &options.dir))?;
    Ok(old)
}

fn written(ranges: &[std::ops::Range<u64>]) -> u64 {
    ranges.iter().map(|range| range.end - range.start).sum()
}
