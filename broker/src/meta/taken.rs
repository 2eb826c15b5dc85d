//! Offsets that a slave was given for a master that was away, until the master has them.
//!
//! ```text
//! commit ──> noted here with what it replaced ──> told to the master ──> comes back with its metadata ──> forgotten
//! ```
//! While an offset is noted, a lower one of the master's does not replace it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::meta::db::{Db, DbError};
use crate::meta::tree::Tree;

/// An offset to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    /// The master's offset as it was known when a commit replaced it here, or was told; `None`: it had none.
    base: Option<i64>,
    /// The offset that the master has accepted from here.
    told: Option<i64>,
}

/// The offsets, by key of their row. Whoever notes or settles one holds the table of offsets, so that both agree.
pub struct Taken {
    follows: AtomicBool,
    rows: Mutex<HashMap<Vec<u8>, Entry>>,
    news: Notify,
    db: Arc<Db>,
}

impl Taken {
    /// Loads what was noted.
    ///
    /// # Errors
    /// The metadata cannot be read.
    pub fn load(db: Arc<Db>) -> Result<Self, DbError> {
        let entry =
            |value: Vec<u8>| Entry { base: value.first_chunk().map(|base| i64::from_be_bytes(*base)), told: None };
        let rows = db.load(Tree::Taken)?.into_iter().map(|(key, value)| (key, entry(value))).collect();
        Ok(Self { follows: AtomicBool::new(false), rows: Mutex::new(rows), news: Notify::new(), db })
    }

    /// Whether another broker is the master.
    pub fn follows(&self) -> bool {
        self.follows.load(Ordering::Acquire)
    }

    /// From now on another broker is the master.
    pub fn follow(&self) {
        self.follows.store(true, Ordering::Release);
    }

    /// From now on this broker is the master: its offsets are those that count.
    pub fn lead(&self) {
        self.follows.store(false, Ordering::Release);
        for (key, _) in self.rows.lock().drain() {
            self.db.remove(Tree::Taken, key);
        }
    }

    /// Notes a commit that replaced `before`.
    pub fn note(&self, key: &[u8], before: Option<i64>) {
        let mut rows = self.rows.lock();
        if !rows.contains_key(key) {
            let value = before.map_or(Vec::new(), |base| base.to_be_bytes().to_vec());
            self.db.put(Tree::Taken, key.to_vec(), value);
            rows.insert(key.to_vec(), Entry { base: before, told: None });
        }
        self.news.notify_one();
    }

    /// Whether the offset here stands against the master's for now. Forgets it once the master has come as far.
    pub fn stands(&self, key: &[u8], here: Option<i64>, master: Option<i64>) -> bool {
        let mut rows = self.rows.lock();
        if rows.is_empty() || !rows.contains_key(key) {
            return false;
        }
        let stands = master < here;
        if !stands {
            rows.remove(key);
            self.db.remove(Tree::Taken, key.to_vec());
        }
        stands
    }

    /// The master has an offset that counts, or none.
    pub fn forget(&self, key: &[u8]) {
        if self.rows.lock().remove(key).is_some() {
            self.db.remove(Tree::Taken, key.to_vec());
        }
    }

    /// The master has accepted an offset; it comes back with the master's metadata. If it is less there afterwards, it was set back.
    pub fn told(&self, key: &[u8], offset: i64) {
        if let Some(entry) = self.rows.lock().get_mut(key) {
            *entry = Entry { base: Some(offset), told: Some(offset) };
            self.db.put(Tree::Taken, key.to_vec(), offset.to_be_bytes().to_vec());
        }
    }

    /// Forgets what the master has accepted, unless the offset `here` has moved on since.
    pub fn settle_told(&self, here: impl Fn(&[u8]) -> Option<i64>) {
        let mut rows = self.rows.lock();
        let settled = rows.extract_if(|key, entry| entry.told.is_some() && entry.told == here(key));
        for (key, _) in settled {
            self.db.remove(Tree::Taken, key);
        }
    }

    /// What is noted: key, what the first commit replaced, what the master has accepted.
    pub fn all(&self) -> Vec<(Vec<u8>, Option<i64>, Option<i64>)> {
        self.rows.lock().iter().map(|(key, entry)| (key.clone(), entry.base, entry.told)).collect()
    }

    /// Waits until something was noted since the last time.
    pub async fn news(&self) {
        self.news.notified().await;
    }
}
