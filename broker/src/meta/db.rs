//! The lasting copy of metadata in sled: changes are gathered by key and written behind by one thread.
//!
//! sled is used as measured to be safe and small: plain inserts, one `flush` per round, a small cache. Its `flush` hands the
//! data to the system, which survives the end of this process; against a power cut sled syncs every 500 ms by itself, and
//! [`Db::sync`] does at once.
//!
//! ```text
//! put, remove ──> number ──> pending ──(written)──> stored ──> feed, snapshots ──> followers ──> replicated
//! ```
//! Followers are told only what survives the end of this process: what they have never is what their master has forgotten.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use crate::meta::copy;
use crate::meta::feed::{Change, Feed};
use crate::meta::followers::Followers;
use crate::meta::rows::{self, Changes, Opened, Row};
use crate::meta::tree::Tree;

/// Changes that nobody waits for are gathered for this long.
const GATHER: Duration = Duration::from_millis(50);

/// Metadata cannot be read or written.
#[derive(Debug, Clone, thiserror::Error)]
#[error("metadata in {}: {cause}", path.display())]
pub struct DbError {
    path: PathBuf,
    cause: String,
}

#[derive(Default)]
struct Pending {
    changes: Changes,
    /// Number of the newest change.
    newest: u64,
    /// Changes up to this number have somebody waiting for them.
    wanted: u64,
    stopping: bool,
    feed: Feed,
}

struct Shared {
    /// Nothing after a failed write: sled refuses everything from then on until it is opened anew.
    opened: Mutex<Option<Opened>>,
    path: PathBuf,
    pending: Mutex<Pending>,
    wake: Condvar,
    stored: watch::Sender<Result<u64, DbError>>,
}

/// The lasting metadata.
pub struct Db {
    shared: Arc<Shared>,
    /// Drawn at each opening: numbers of changes mean something only together with it.
    instance: u64,
    followers: Followers,
    writer: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Db {
    /// Opens the metadata in `path`, or makes it.
    ///
    /// # Errors
    /// The directory cannot be opened, or another process has it.
    pub fn open(path: &Path) -> Result<Self, DbError> {
        let failed = |cause: String| DbError { path: path.to_owned(), cause };
        let opened = copy::open(path).map_err(failed)?;
        let shared = Arc::new(Shared {
            opened: Mutex::new(Some(opened)),
            path: path.to_owned(),
            pending: Mutex::default(),
            wake: Condvar::new(),
            stored: watch::channel(Ok(0)).0,
        });
        let writing = Arc::clone(&shared);
        let writer =
            std::thread::Builder::new().name("metadata".to_owned()).spawn(move || writing.write_until_stopped());
        let writer = writer.map_err(|error| failed(error.to_string()))?;
        let (instance, followers) = (fastrand::u64(1..), Followers::default());
        Ok(Self { shared, instance, followers, writer: Mutex::new(Some(writer)) })
    }

    /// Everything in a tree.
    ///
    /// # Errors
    /// The tree cannot be read.
    pub fn load(&self, tree: Tree) -> Result<Vec<Row>, DbError> {
        rows::all(&self.shared.tree(tree)?).map_err(|error| self.shared.failed(&error))
    }

    /// Rows of a tree behind the key `after`, in the order of their keys, and whether these are all. Blocks.
    ///
    /// # Errors
    /// The tree cannot be read.
    pub fn page(&self, tree: Tree, after: &[u8]) -> Result<(Vec<Row>, bool), DbError> {
        rows::page(&self.shared.tree(tree)?, after).map_err(|error| self.shared.failed(&error))
    }

    /// Keys of a tree behind `after` up to `last`, or to the end. Blocks.
    ///
    /// # Errors
    /// The tree cannot be read.
    pub fn keys(&self, tree: Tree, after: &[u8], last: Option<&[u8]>) -> Result<Vec<Vec<u8>>, DbError> {
        rows::keys(&self.shared.tree(tree)?, after, last).map_err(|error| self.shared.failed(&error))
    }

    /// Notes a change; it is written soon. The number is for [`Db::stored`].
    pub fn put(&self, tree: Tree, key: Vec<u8>, value: Vec<u8>) -> u64 {
        self.change(tree, key, Some(value))
    }

    /// Notes a removal.
    pub fn remove(&self, tree: Tree, key: Vec<u8>) -> u64 {
        self.change(tree, key, None)
    }

    fn change(&self, tree: Tree, key: Vec<u8>, value: Option<Vec<u8>>) -> u64 {
        let (key, value) = (Bytes::from(key), value.map(Bytes::from));
        let mut pending = self.shared.pending.lock();
        pending.changes.insert((tree, key.clone()), value.clone());
        pending.newest += 1;
        let number = pending.newest;
        pending.feed.push(number, Change { tree, key, value });
        if pending.changes.len() == 1 {
            self.shared.wake.notify_one();
        }
        number
    }

    /// Names the numbers of changes; another opening of the same directory has another one. Never 0.
    #[must_use]
    pub fn instance(&self) -> u64 {
        self.instance
    }

    /// Number of the newest change.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.shared.pending.lock().newest
    }

    /// Keeps changes from now on for those who follow; returns the number of the newest before.
    pub fn begin(&self) -> u64 {
        let mut pending = self.shared.pending.lock();
        let newest = pending.newest;
        pending.feed.begin(newest);
        newest
    }

    /// Stored changes after `since` of `instance`, or the first of them, with the number up to which these are all. `None`: not
    /// all of them are known any more, only the rows as they are.
    #[must_use]
    pub fn since(&self, instance: u64, since: u64) -> Option<(u64, Vec<Change>)> {
        let stored = self.shared.stored_number();
        let pending = self.shared.pending.lock();
        let known = instance == self.instance && pending.feed.reaches(since);
        known.then(|| pending.feed.since(since, stored))
    }

    /// Whether [`Db::since`] would tell all changes after `since`.
    #[must_use]
    pub fn reaches(&self, instance: u64, since: u64) -> bool {
        instance == self.instance && self.shared.pending.lock().feed.reaches(since)
    }

    /// Waits until a change after `number` is stored.
    pub async fn news(&self, number: u64) {
        let mut stored = self.shared.stored.subscribe();
        // It ends only with the sender, which is ours.
        let _ = stored.wait_for(|state| state.as_ref().is_ok_and(|done| *done > number)).await;
    }

    /// Those who follow, and how far each of them has stored the changes.
    #[must_use]
    pub fn followers(&self) -> &Followers {
        &self.followers
    }

    /// Waits until the change with this number survives the end of the process.
    ///
    /// # Errors
    /// It could not be written.
    pub async fn stored(&self, number: u64) -> Result<(), DbError> {
        let mut stored = self.shared.stored.subscribe();
        {
            let mut pending = self.shared.pending.lock();
            pending.wanted = pending.wanted.max(number);
            self.shared.wake.notify_one();
        }
        let settled = stored.wait_for(|state| state.as_ref().map_or(true, |done| *done >= number)).await;
        match settled {
            Ok(state) => state.clone().map(drop),
            Err(_) => Err(DbError { path: self.shared.path.clone(), cause: "the writer has ended".to_owned() }),
        }
    }

    /// Waits until all changes noted so far survive a power cut.
    ///
    /// # Errors
    /// They could not be written or synced.
    pub async fn sync(&self) -> Result<(), DbError> {
        self.stored(self.newest()).await?;
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || shared.sync_file()).await.unwrap_or_else(|error| Err(self.broken(error)))
    }

    /// A thread that read or wrote was broken off.
    pub(crate) fn broken(&self, cause: tokio::task::JoinError) -> DbError {
        DbError { path: self.shared.path.clone(), cause: cause.to_string() }
    }

    /// Writes what is left and ends the writer.
    pub fn close(&self) {
        {
            let mut pending = self.shared.pending.lock();
            pending.stopping = true;
            self.shared.wake.notify_one();
        }
        if let Some(writer) = self.writer.lock().take()
            && writer.join().is_err()
        {
            tracing::error!("the metadata writer ended badly");
        }
        if let Err(error) = self.shared.sync_file() {
            tracing::error!(%error, "the last metadata may not survive a power cut");
        }
        // Whoever opens the directory next finds it free, although parts of this broker may still hold on to us.
        if let Some(opened) = self.shared.opened.lock().take() {
            copy::close(&self.shared.path, opened);
        }
    }

    /// Ends as the end of the process would: what is not written yet is lost.
    #[cfg(test)]
    pub fn abandon(&self) {
        {
            let mut pending = self.shared.pending.lock();
            pending.changes.clear();
            pending.stopping = true;
            self.shared.wake.notify_one();
        }
        if let Some(writer) = self.writer.lock().take() {
            writer.join().unwrap_or_default();
        }
        drop(self.shared.opened.lock().take());
        let ended = DbError { path: self.shared.path.clone(), cause: "abandoned".to_owned() };
        self.shared.stored.send_modify(|state| *state = Err(ended));
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    /// A tree to read. It is let go of soon: while it is held, a database that failed cannot be opened anew.
    fn tree(&self, tree: Tree) -> Result<sled::Tree, DbError> {
        let opened = self.opened.lock();
        let Some(opened) = opened.as_ref() else {
            let cause = "it has failed and is being opened anew".to_owned();
            return Err(DbError { path: self.path.clone(), cause });
        };
        opened.tree(tree).cloned().map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &sled::Error) -> DbError {
        DbError { path: self.path.clone(), cause: error.to_string() }
    }

    fn write_until_stopped(&self) {
        let mut failing = false;
        loop {
            let (changes, number, stopping) = self.next_round();
            if !changes.is_empty() {
                let written = self.write(&changes);
                match &written {
                    Ok(()) if failing => tracing::info!("metadata can be written again"),
                    Err(error) if !failing => tracing::error!(%error, "metadata cannot be written; it is tried again"),
                    _ => {}
                }
                failing = written.is_err();
                if failing {
                    self.put_back(changes);
                }
                self.stored.send_modify(|state| *state = written.map(|()| number));
                if failing && !stopping {
                    std::thread::sleep(Duration::from_millis(200));
                    continue;
                }
            }
            if stopping {
                return;
            }
        }
    }

    /// Waits for changes, and a moment longer for more of them unless somebody waits.
    fn next_round(&self) -> (Changes, u64, bool) {
        let mut pending = self.pending.lock();
        while pending.changes.is_empty() && !pending.stopping {
            self.wake.wait(&mut pending);
        }
        let until = std::time::Instant::now() + GATHER;
        while !pending.stopping && pending.wanted <= self.stored_number() {
            if self.wake.wait_until(&mut pending, until).timed_out() {
                break;
            }
        }
        (std::mem::take(&mut pending.changes), pending.newest, pending.stopping)
    }

    fn stored_number(&self) -> u64 {
        self.stored.borrow().as_ref().map_or(0, |number| *number)
    }

    fn write(&self, changes: &Changes) -> Result<(), DbError> {
        let mut place = self.opened.lock();
        let opened = match place.take() {
            Some(opened) => opened,
            None => Opened::open(&self.path).map_err(|error| self.failed(&error))?,
        };
        opened.write(changes).map_err(|error| self.failed(&error))?;
        *place = Some(opened);
        Ok(())
    }

    /// Keeps changes that could not be written, unless newer ones are there.
    fn put_back(&self, changes: Changes) {
        let mut pending = self.pending.lock();
        for (key, change) in changes {
            pending.changes.entry(key).or_insert(change);
        }
    }

    fn sync_file(&self) -> Result<(), DbError> {
        let synced = File::open(self.path.join("db")).and_then(|file| file.sync_all());
        synced.map_err(|error| DbError { path: self.path.clone(), cause: error.to_string() })
    }
}
