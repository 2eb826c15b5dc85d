//! Which mastership wrote which part of the log: how two logs that parted find the last offset they have in common.
//!
//! Every mastership has an epoch and begins at a log offset. What was written before the first epoch counts as epoch 0.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::meta::db::{Db, DbError};
use crate::meta::tree::Tree;

/// An epoch and the log offset at which it begins.
pub type Epoch = (i32, u64);

/// The epochs of this broker's log, lasting.
pub struct Epochs {
    list: Mutex<Vec<Epoch>>,
    db: Arc<Db>,
}

impl Epochs {
    /// Loads what was stored.
    ///
    /// # Errors
    /// The metadata cannot be read.
    pub fn load(db: Arc<Db>) -> Result<Self, DbError> {
        let rows = db.load(Tree::Epochs)?;
        let mut list: Vec<Epoch> = rows
            .iter()
            .filter_map(|(key, value)| {
                Some((i32::from_be_bytes(*key.first_chunk()?), u64::from_be_bytes(*value.first_chunk()?)))
            })
            .collect();
        list.sort_unstable();
        Ok(Self { list: Mutex::new(list), db })
    }

    /// The epochs of which the log, which ends at `end`, has records.
    pub fn until(&self, end: u64) -> Vec<Epoch> {
        self.list.lock().iter().copied().filter(|(_, start)| *start < end).collect()
    }

    /// The newest epoch that was ever heard of here.
    pub fn highest(&self) -> i32 {
        self.list.lock().last().map_or(0, |epoch| epoch.0)
    }

    /// Begins an epoch at the log's end. It survives a power cut when this returns, and only then may be written under it.
    ///
    /// # Errors
    /// It could not be stored.
    pub async fn begin(&self, epoch: i32, end: u64) -> Result<(), DbError> {
        let mut list = self.until(end);
        list.retain(|(known, _)| *known < epoch);
        list.push((epoch, end));
        self.replace(list).await
    }

    /// Takes over a master's epochs; they survive a power cut when this returns.
    ///
    /// # Errors
    /// They could not be stored.
    pub async fn replace(&self, list: Vec<Epoch>) -> Result<(), DbError> {
        let before = std::mem::replace(&mut *self.list.lock(), list.clone());
        if before == list {
            return Ok(());
        }
        for (epoch, _) in before.iter().filter(|(epoch, _)| !list.iter().any(|(kept, _)| kept == epoch)) {
            self.db.remove(Tree::Epochs, epoch.to_be_bytes().to_vec());
        }
        for (epoch, start) in &list {
            self.db.put(Tree::Epochs, epoch.to_be_bytes().to_vec(), start.to_be_bytes().to_vec());
        }
        self.db.sync().await
    }
}

/// Up to where a slave's log is surely the master's: the end, in the shorter log, of the newest epoch that both have.
pub fn common_end(slave: &[Epoch], slave_end: u64, master: &[Epoch], master_end: u64) -> u64 {
    let zero = (0, 0);
    let newest = slave.iter().rev().find(|epoch| master.contains(epoch)).copied().unwrap_or(zero);
    let end_in = |list: &[Epoch], end: u64| {
        let next = list.iter().find(|(epoch, _)| *epoch > newest.0);
        next.map_or(end, |(_, start)| (*start).min(end))
    };
    end_in(slave, slave_end).min(end_in(master, master_end))
}

#[cfg(test)]
mod tests;
