//! How far each delay level was delivered.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::meta::db::{Db, DbError};
use crate::meta::kept::Kept;
use crate::meta::tree::Tree;

/// The next undelivered offset of each level.
pub struct Progress {
    levels: Mutex<BTreeMap<u32, i64>>,
    db: Arc<Db>,
}

/// Key of a level's row.
pub fn encode_key(level: u32) -> Vec<u8> {
    level.to_be_bytes().to_vec()
}

impl Progress {
    /// Loads the progress that was stored.
    ///
    /// # Errors
    /// The metadata cannot be read.
    pub fn load(db: Arc<Db>) -> Result<Self, DbError> {
        let stored = db.load(Tree::Delay)?;
        let rows = stored.iter().filter_map(|(key, value)| {
            Some((u32::from_be_bytes(*key.first_chunk()?), i64::from_be_bytes(*value.first_chunk()?)))
        });
        Ok(Self { levels: Mutex::new(rows.collect()), db })
    }

    /// Next undelivered offset of a level.
    #[must_use]
    pub fn get(&self, level: u32) -> i64 {
        self.levels.lock().get(&level).copied().unwrap_or(0)
    }

    /// Moves a level.
    pub fn set(&self, level: u32, offset: i64) {
        let mut levels = self.levels.lock();
        levels.insert(level, offset);
        self.db.put(Tree::Delay, encode_key(level), offset.to_be_bytes().to_vec());
    }

    /// All levels.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<u32, i64> {
        self.levels.lock().clone()
    }
}

impl Kept for Progress {
    fn tree(&self) -> Tree {
        Tree::Delay
    }

    fn take(&self, key: &[u8], value: Option<&[u8]>) {
        let Some(level) = key.first_chunk().map(|level| u32::from_be_bytes(*level)) else {
            tracing::error!(?key, "a delay level of the master's does not parse; skipped");
            return;
        };
        let offset = value.and_then(<[u8]>::first_chunk).map_or(0, |offset| i64::from_be_bytes(*offset));
        if self.get(level) != offset {
            self.set(level, offset);
        }
    }
}
