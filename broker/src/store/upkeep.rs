//! What an administrator has done at once and the store does by itself in time.

use std::io;

use crate::store::Store;
use crate::store::retention;

/// Deletes the segments that retention gives up; tells how many. Takes as long as it takes to remove files.
///
/// # Errors
/// A file cannot be removed.
pub fn delete_expired(store: &Store) -> io::Result<usize> {
    let _chores = store.shared.chores.lock();
    retention::expire(&store.shared)
}

/// Deletes the queue and index files that speak of deleted segments only.
///
/// # Errors
/// A file cannot be removed.
pub fn clean_queues(store: &Store) -> io::Result<()> {
    let _chores = store.shared.chores.lock();
    retention::follow(&store.shared)
}

/// Free and all bytes of the file system that the store is on; `None`: it does not tell.
pub fn space(store: &Store) -> Option<(u64, u64)> {
    store.shared.options.io.usage(&store.shared.options.dir).ok()
}
