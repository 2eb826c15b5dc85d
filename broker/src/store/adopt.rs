//! Queue files as they are found at opening: which queues exist, where they end, which files are missing or reach too far.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::store::checkpoint::QueueMark;
use crate::store::derived::Derived;
use crate::store::queue::Queue;
use crate::store::queue_files;

/// Takes in queues of which the log has no record any more: their offsets go on where they ended.
pub fn adopt(derived: &Derived, log: LogEnd, marks: &[QueueMark], search: bool) -> io::Result<()> {
    for mark in marks {
        // Known to a checkpoint whose files were not trusted, and not met in the log.
        if let Some(queue) = derived.queues.get(&mark.topic, mark.id).filter(|queue| queue.max() == 0) {
            go_on(derived, &queue, log, mark.max)?;
        }
    }
    if !search {
        return Ok(());
    }
    for topic in directories(derived.queues.dir())? {
        for number in directories(&derived.queues.dir().join(&topic))? {
            let Ok(id) = number.parse::<u32>() else {
                tracing::warn!(topic, directory = number, "a foreign directory among the queues is left alone");
                continue;
            };
            if derived.queues.get(&topic, id).is_none() {
                go_on(derived, &derived.queues.insert(&topic, id, None), log, 0)?;
            }
        }
    }
    Ok(())
}

/// Where the log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogEnd {
    /// Offset behind its last record.
    pub offset: u64,
    /// Whether there is no file of it: whoever took the log away did not mean its queues to begin again.
    pub gone: bool,
}

fn go_on(derived: &Derived, queue: &Arc<Queue>, log: LogEnd, at_least: u64) -> io::Result<()> {
    let limit = if log.gone { u64::MAX } else { log.offset };
    let end = queue_files::end_of_files(queue.dir(), queue.file_len(), limit)?;
    queue.adopt(end.max(at_least), log.offset);
    if !log.gone && end > 0 {
        queue.clear_behind(&derived.files, end)?;
    }
    Ok(())
}

/// Queues whose newest file is missing or has the wrong length; after a crash, entries behind the end are cleared too.
pub fn broken(derived: &Derived, aborted: bool) -> io::Result<Vec<Arc<Queue>>> {
    let mut broken = Vec::new();
    for queue in derived.queues.all() {
        let written = queue.written();
        let (min, _) = queue.bounds();
        if written <= min {
            continue;
        }
        let path = queue.file_path(queue.file_of(written - 1));
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.len() == queue.file_len() => {}
            Ok(_) => {
                derived.files.io().remove(&path)?;
                broken.push(Arc::clone(&queue));
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                broken.push(Arc::clone(&queue));
                continue;
            }
            Err(error) => return Err(error),
        }
        if aborted {
            // They belong to records that a power cut took from the log.
            queue.clear_behind(&derived.files, written)?;
        }
    }
    Ok(broken)
}

fn directories(dir: &Path) -> io::Result<Vec<String>> {
    let listing = match std::fs::read_dir(dir) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in listing {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        } else {
            tracing::warn!(file = %entry.path().display(), "a foreign file among the queues is left alone");
        }
    }
    Ok(names)
}
