//! Deleted topics, and the log offset up to which their messages are gone: slaves hide exactly the same.

use std::sync::Arc;

use crate::meta::db::{Db, DbError};
use crate::meta::kept::Kept;
use crate::meta::tree::Tree;
use crate::store::Store;

/// The deletions that the log still has messages of.
pub struct Deletions {
    store: Arc<Store>,
    db: Arc<Db>,
}

impl Deletions {
    /// Forgets deletions of which the log has nothing left; the others hold again, should the store have lost its note of them.
    ///
    /// # Errors
    /// The metadata cannot be read.
    pub fn load(store: Arc<Store>, db: Arc<Db>) -> Result<Self, DbError> {
        for (topic, value) in db.load(Tree::Deletions)? {
            let upto = decode(&value).filter(|upto| *upto > store.min_physical());
            match (std::str::from_utf8(&topic), upto) {
                (Ok(name), Some(upto)) => store.forget_topic(name, upto),
                _ => drop(db.remove(Tree::Deletions, topic)),
            }
        }
        Ok(Self { store, db })
    }

    /// Deletes the queues of a topic. Takes as long as it takes to remove their files.
    pub fn delete(&self, topic: &str) {
        let upto = self.store.delete_topic(topic);
        self.db.put(Tree::Deletions, topic.as_bytes().to_vec(), upto.to_be_bytes().to_vec());
    }
}

fn decode(value: &[u8]) -> Option<u64> {
    value.first_chunk().map(|upto| u64::from_be_bytes(*upto))
}

impl Kept for Deletions {
    fn tree(&self) -> Tree {
        Tree::Deletions
    }

    fn take(&self, key: &[u8], value: Option<&[u8]>) {
        let Some(value) = value else {
            self.db.remove(Tree::Deletions, key.to_vec());
            return;
        };
        match (std::str::from_utf8(key), decode(value)) {
            (Ok(topic), Some(upto)) => {
                self.store.forget_topic(topic, upto);
                self.db.put(Tree::Deletions, key.to_vec(), value.to_vec());
            }
            _ => tracing::error!(?key, ?value, "a deletion of the master's does not parse; skipped"),
        }
    }
}
