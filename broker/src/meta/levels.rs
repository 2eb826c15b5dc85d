//! How far each delay level was delivered.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::meta::db::{Db, DbError, Tree};

/// The next undelivered offset of each level.
pub struct Progress {
    levels: Mutex<BTreeMap<u32, i64>>,
    db: Arc<Db>,
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
        self.levels.lock().insert(level, offset);
        self.db.put(Tree::Delay, level.to_be_bytes().to_vec(), offset.to_be_bytes().to_vec());
    }

    /// All levels.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<u32, i64> {
        self.levels.lock().clone()
    }
}
