//! Cutting a closed log: a broker that was master takes back what was never acknowledged.

use std::sync::Arc;

use crate::store::checkpoint::{self, Checkpoint};
use crate::store::error::OpenError;
use crate::store::identity;
use crate::store::index::sums;
use crate::store::lock::DirLock;
use crate::store::open::ignore_missing;
use crate::store::options::Options;
use crate::store::recovery::load_segments;
use crate::store::scan;

/// Cuts the log of a directory that no broker has open at `to`, the beginning of a record, and returns how many bytes that
/// took. The next opening recovers: it clears queues and index of what is gone.
///
/// Order: the checkpoint goes first if it speaks of what is cut; then whole segments, the last one first; then the rest of the
/// segment is zeroed. A crash in between leaves a log that is too long, and the cut is done again.
pub fn truncate(options: &Options, to: u64) -> Result<u64, OpenError> {
    let lock = DirLock::take(&options.dir)?;
    let io = &*options.io;
    let segments = load_segments(options, &options.dir.join("commitlog"))?;
    lock.mark(io)?;
    if Checkpoint::load(&options.dir).is_some_and(|checkpoint| checkpoint.offset > to) {
        for name in checkpoint::FILES {
            let path = options.dir.join(name);
            io.remove(&path).or_else(ignore_missing).map_err(OpenError::io("remove", &path))?;
        }
        io.sync_dir(&options.dir).map_err(OpenError::io("flush", &options.dir))?;
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
