//! The quorum's log, vote and snapshots in sled. What is acknowledged to the quorum survives a power cut.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use openraft::{AnyError, ErrorSubject, ErrorVerb, StorageError, StorageIOError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::controller::raft::{decode, encode};

pub mod log;
pub mod machine;

/// Room for sled's cache: a quorum's log is short.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;

const OWNER: &str = "owner";

/// What reading and writing fails with; the consensus stops at the first one.
pub type Failure = StorageError<u64>;

/// The directory of the controller does not open.
#[derive(Debug, thiserror::Error)]
#[error("the controller's state in {} does not open: {cause}; is another name server running on this directory?", path.display())]
pub struct OpenError {
    path: PathBuf,
    cause: Cause,
}

/// What goes wrong below.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The database.
    #[error(transparent)]
    Db(#[from] sled::Error),
    /// The files below it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Something that has no stored form.
    #[error("not written: {0}")]
    Encode(#[from] rmp_serde::encode::Error),
    /// Something that was not written by this version or an earlier one.
    #[error("not read: {0}; a newer version wrote it, or the disk is broken")]
    Decode(#[from] rmp_serde::decode::Error),
    /// A part that was written before is not there.
    #[error("a part of the snapshot is missing: the disk is broken")]
    Missing,
    /// The runtime stops.
    #[error("the name server is stopping")]
    Stopping,
}

fn failure(subject: ErrorSubject<u64>, verb: ErrorVerb) -> impl FnOnce(Cause) -> Failure {
    move |cause| StorageIOError::new(subject, verb, AnyError::new(&cause)).into()
}

/// The database. The names of trees and keys are on disk and stay.
#[derive(Debug)]
pub struct Disk {
    db: sled::Db,
    /// Entries by index.
    log: sled::Tree,
    /// Single values by name.
    about: sled::Tree,
    /// Snapshots in parts.
    snapshot: sled::Tree,
    path: PathBuf,
}

impl Disk {
    /// Opens the directory, or makes it.
    pub fn open(path: &Path) -> Result<Arc<Self>, OpenError> {
        let failed = |cause| OpenError { path: path.to_owned(), cause };
        let disk = Self::open_trees(path).map_err(|cause| failed(cause.into()))?;
        disk.sync().map_err(failed)?;
        // The directories hold new names.
        for directory in [Some(path), path.parent()].into_iter().flatten() {
            File::open(directory).and_then(|directory| directory.sync_all()).map_err(|cause| failed(cause.into()))?;
        }
        Ok(Arc::new(disk))
    }

    /// The member to which the directory belongs: the first that asked. Two members with one vote would be no quorum.
    pub fn owner(&self, id: u64) -> Result<u64, Cause> {
        if let Some(owner) = self.read(OWNER)? {
            return Ok(owner);
        }
        self.write(OWNER, &id)?;
        self.sync()?;
        Ok(id)
    }

    fn open_trees(path: &Path) -> sled::Result<Self> {
        let db = sled::Config::new().path(path).cache_capacity(CACHE_BYTES).open()?;
        let (log, about, snapshot) = (db.open_tree("log")?, db.open_tree("about")?, db.open_tree("snapshot")?);
        Ok(Self { db, log, about, snapshot, path: path.to_owned() })
    }

    /// Brings everything written so far to the platter: sled's own flush ends in the system's cache.
    fn sync(&self) -> Result<(), Cause> {
        self.db.flush()?;
        Ok(File::open(self.path.join("db"))?.sync_all()?)
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Cause> {
        self.about.get(name)?.map(|bytes| decode(&bytes)).transpose().map_err(Cause::Decode)
    }

    fn write<T: Serialize>(&self, name: &str, value: &T) -> Result<(), Cause> {
        self.about.insert(name, encode(value)?)?;
        Ok(())
    }

    /// Does what waits for the disk on a thread that may.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, Cause> + Send + 'static,
    ) -> Result<T, Cause> {
        let disk = Arc::clone(self);
        let working = move || {
            let done = work(&disk);
            // Whoever waits may want to close the directory next.
            drop(disk);
            done
        };
        tokio::task::spawn_blocking(working).await.map_err(|_| Cause::Stopping)?
    }
}

#[cfg(test)]
mod tests;
