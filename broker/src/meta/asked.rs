//! How often the producer of each open half message was asked about it.

use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::meta::db::{Db, DbError};
use crate::meta::kept::Kept;
use crate::meta::tree::Tree;

/// Numbers of questions by offset in the queue of half messages; those never asked about have none.
pub struct Asked {
    rows: Mutex<HashMap<u64, u32>>,
    db: Arc<Db>,
}

fn encode_key(offset: u64) -> Vec<u8> {
    offset.to_be_bytes().to_vec()
}

impl Asked {
    /// Loads what was stored.
    ///
    /// # Errors
    /// The metadata cannot be read.
    pub fn load(db: Arc<Db>) -> Result<Self, DbError> {
        let stored = db.load(Tree::Asked)?;
        let rows = stored.iter().filter_map(|(key, value)| {
            Some((u64::from_be_bytes(*key.first_chunk()?), u32::from_be_bytes(*value.first_chunk()?)))
        });
        Ok(Self { rows: Mutex::new(rows.collect()), db })
    }

    /// How often its producer was asked.
    #[must_use]
    pub fn get(&self, offset: u64) -> u32 {
        self.rows.lock().get(&offset).copied().unwrap_or(0)
    }

    /// Its producer was asked so often by now.
    pub fn set(&self, offset: u64, times: u32) {
        let mut rows = self.rows.lock();
        rows.insert(offset, times);
        self.db.put(Tree::Asked, encode_key(offset), times.to_be_bytes().to_vec());
    }

    /// It has ended, or is to be asked about from the beginning.
    pub fn forget(&self, offset: u64) {
        let mut rows = self.rows.lock();
        if rows.remove(&offset).is_some() {
            self.db.remove(Tree::Asked, encode_key(offset));
        }
    }

    /// Forgets all but some.
    pub fn retain(&self, keep: impl Fn(u64) -> bool) {
        let gone: Vec<u64> = self.rows.lock().keys().copied().filter(|offset| !keep(*offset)).collect();
        gone.into_iter().for_each(|offset| self.forget(offset));
    }
}

impl Kept for Asked {
    fn tree(&self) -> Tree {
        Tree::Asked
    }

    fn take(&self, key: &[u8], value: Option<&[u8]>) {
        let offset = key.first_chunk().map(|offset| u64::from_be_bytes(*offset));
        match (offset, value.map(<[u8]>::first_chunk)) {
            (Some(offset), None) => self.forget(offset),
            (Some(offset), Some(Some(times))) => {
                let times = u32::from_be_bytes(*times);
                if self.get(offset) != times {
                    self.set(offset, times);
                }
            }
            _ => tracing::error!(?key, ?value, "a number of questions of the master's does not parse; skipped"),
        }
    }
}
