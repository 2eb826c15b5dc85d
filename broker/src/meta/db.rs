//! The lasting copy of metadata in sled: changes are gathered by key and written behind by one thread.
//!
//! sled is used as measured to be safe and small: plain inserts, one `flush` per round, a small cache. Its `flush` hands the
//! data to the system, which survives the end of this process; against a power cut sled syncs every 500 ms by itself, and
//! [`Db::sync`] does at once.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

const CACHE: u64 = 16 << 20;
/// Changes that nobody waits for are gathered for this long.
const GATHER: Duration = Duration::from_millis(50);

/// Kinds of metadata; each is a tree of its own. The names are on disk and stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tree {
    /// Topic settings by name.
    Topics,
    /// Group settings by name.
    Groups,
    /// Offsets by topic, group and queue.
    Offsets,
    /// How far each delay level was delivered.
    Delay,
    /// Which mastership wrote which part of the log; this broker's own.
    Epochs,
    /// Facts about this directory.
    About,
}

impl Tree {
    const ALL: [Self; 6] = [Self::Topics, Self::Groups, Self::Offsets, Self::Delay, Self::Epochs, Self::About];

    fn name(self) -> &'static str {
        match self {
            Self::Topics => "topics",
            Self::Groups => "groups",
            Self::Offsets => "offsets",
            Self::Delay => "delay",
            Self::Epochs => "epochs",
            Self::About => "about",
        }
    }
}

/// Metadata cannot be read or written.
#[derive(Debug, Clone, thiserror::Error)]
#[error("metadata in {}: {cause}", path.display())]
pub struct DbError {
    path: PathBuf,
    cause: String,
}

type Key = (Tree, Vec<u8>);
type Change = Option<Vec<u8>>;
type Changes = HashMap<Key, Change>;
/// Key and value of something stored.
pub type Row = (Vec<u8>, Vec<u8>);

#[derive(Default)]
struct Pending {
    changes: Changes,
    /// Number of the newest change.
    newest: u64,
    /// Changes up to this number have somebody waiting for them.
    wanted: u64,
    stopping: bool,
}

/// sled on the directory.
struct Opened {
    trees: Vec<(Tree, sled::Tree)>,
    db: sled::Db,
}

impl Opened {
    fn open(path: &Path) -> sled::Result<Self> {
        let db = sled::Config::new().path(path).cache_capacity(CACHE).flush_every_ms(Some(500)).open()?;
        let open = |tree: Tree| Ok((tree, db.open_tree(tree.name())?));
        let trees = Tree::ALL.into_iter().map(open).collect::<sled::Result<Vec<_>>>()?;
        Ok(Self { trees, db })
    }

    fn tree(&self, wanted: Tree) -> sled::Result<&sled::Tree> {
        let found = self.trees.iter().find(|(tree, _)| *tree == wanted).map(|(_, tree)| tree);
        found.ok_or_else(|| sled::Error::CollectionNotFound(wanted.name().into()))
    }

    fn write(&self, changes: &Changes) -> sled::Result<()> {
        for ((tree, key), change) in changes {
            let tree = self.tree(*tree)?;
            match change {
                Some(value) => tree.insert(key, value.as_slice())?,
                None => tree.remove(key)?,
            };
        }
        self.db.flush().map(drop)
    }
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
    writer: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Db {
    /// Opens the metadata in `path`, or makes it.
    ///
    /// # Errors
    /// The directory cannot be opened, or another process has it.
    pub fn open(path: &Path) -> Result<Self, DbError> {
        let failed = |cause: String| DbError { path: path.to_owned(), cause };
        let opened = Opened::open(path).map_err(|error| failed(error.to_string()))?;
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
        Ok(Self { shared, writer: Mutex::new(Some(writer)) })
    }

    /// Everything in a tree.
    ///
    /// # Errors
    /// The tree cannot be read.
    pub fn load(&self, tree: Tree) -> Result<Vec<Row>, DbError> {
        let failed = |error: sled::Error| self.shared.failed(&error);
        let opened = self.shared.opened.lock();
        let Some(opened) = opened.as_ref() else { return Ok(Vec::new()) };
        let entries = opened.tree(tree).map_err(failed)?.iter();
        entries.map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec())).map_err(failed)).collect()
    }

    /// Notes a change; it is written soon. The number is for [`Db::stored`].
    pub fn put(&self, tree: Tree, key: Vec<u8>, value: Vec<u8>) -> u64 {
        self.change(tree, key, Some(value))
    }

    /// Notes a removal.
    pub fn remove(&self, tree: Tree, key: Vec<u8>) -> u64 {
        self.change(tree, key, None)
    }

    fn change(&self, tree: Tree, key: Vec<u8>, change: Change) -> u64 {
        let mut pending = self.shared.pending.lock();
        pending.changes.insert((tree, key), change);
        pending.newest += 1;
        if pending.changes.len() == 1 {
            self.shared.wake.notify_one();
        }
        pending.newest
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
        let newest = self.shared.pending.lock().newest;
        self.stored(newest).await?;
        let shared = Arc::clone(&self.shared);
        let synced = tokio::task::spawn_blocking(move || shared.sync_file()).await;
        synced.map_err(|error| DbError { path: self.shared.path.clone(), cause: error.to_string() })?
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
        drop(self.shared.opened.lock().take());
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
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
