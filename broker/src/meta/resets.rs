//! Offsets that an administrator has set and to which the group has yet to be sent.

use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::RwLock;

use crate::meta::db::{Db, DbError};
use crate::meta::kept::Kept;
use crate::meta::tree::Tree;

/// The offsets, by key of their row among all offsets.
pub struct Resets {
    table: RwLock<HashMap<Vec<u8>, i64>>,
    db: Arc<Db>,
}

impl Resets {
    /// Loads those that were not followed yet.
    ///
    /// # Errors
    /// The metadata cannot be read.
    pub fn load(db: Arc<Db>) -> Result<Self, DbError> {
        let rows = db.load(Tree::Resets)?.into_iter();
        let rows = rows.filter_map(|(key, value)| Some((key, i64::from_be_bytes(*value.first_chunk()?))));
        Ok(Self { table: RwLock::new(rows.collect()), db })
    }

    /// Whether nothing is to be followed, as is almost always so.
    pub fn is_empty(&self) -> bool {
        self.table.read().is_empty()
    }

    /// Whether the group has yet to follow.
    pub fn holds(&self, key: &[u8]) -> bool {
        let table = self.table.read();
        !table.is_empty() && table.contains_key(key)
    }

    /// Notes where the group is to be sent.
    pub fn set(&self, key: Vec<u8>, offset: i64) {
        let mut table = self.table.write();
        table.insert(key.clone(), offset);
        self.db.put(Tree::Resets, key, offset.to_be_bytes().to_vec());
    }

    /// Where the group is to be sent; it is now.
    pub fn take(&self, key: &[u8]) -> Option<i64> {
        let mut table = self.table.write();
        let offset = table.remove(key)?;
        self.db.remove(Tree::Resets, key.to_vec());
        Some(offset)
    }
}

impl Kept for Resets {
    fn tree(&self) -> Tree {
        Tree::Resets
    }

    fn take(&self, key: &[u8], value: Option<&[u8]>) {
        match value.map(<[u8]>::first_chunk) {
            None => drop(Self::take(self, key)),
            Some(Some(offset)) => self.set(key.to_vec(), i64::from_be_bytes(*offset)),
            Some(None) => tracing::error!(?key, ?value, "a reset of the master's does not parse; skipped"),
        }
    }
}
