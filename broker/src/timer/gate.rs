//! Decides between a recall and the delivery: a message that was acknowledged as taken back is never delivered.
//!
//! A recall is stored in the log before the delivery of its time begins, or it is refused. Delivery asks here for those that
//! it has not read in the timer queue yet.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::store::error::AppendError;
use crate::store::tail::Appended;

/// Why a recall is refused.
#[derive(Debug, thiserror::Error)]
pub enum RecallError {
    /// What waits is not known yet.
    #[error("what waits for delivery is being read, as after every start; try again")]
    Loading,
    /// Delivery of that time has begun.
    #[error("the message is due: it is delivered, or about to be")]
    Due,
    /// The recall cannot be stored.
    #[error(transparent)]
    Append(#[from] AppendError),
}

#[derive(Debug, Default)]
struct State {
    open: bool,
    /// What is due up to this time, in ms, may have been delivered.
    delivered: i64,
    /// Recalls not read yet by delivery, by log offset: when the message is due, and which it is.
    fresh: BTreeMap<u64, (i64, u64)>,
}

/// The gate.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<State>,
}

impl Gate {
    /// Stores a recall of the message `identity` that is due at `due`, unless it is too late.
    ///
    /// # Errors
    /// See [`RecallError`].
    pub fn recall(
        &self,
        due: i64,
        identity: u64,
        store: impl FnOnce() -> Result<Appended, AppendError>,
    ) -> Result<Appended, RecallError> {
        let mut state = self.state.lock();
        if !state.open {
            return Err(RecallError::Loading);
        }
        if due <= state.delivered {
            return Err(RecallError::Due);
        }
        let appended = store()?;
        state.fresh.insert(appended.physical_offset, (due, identity));
        Ok(appended)
    }

    /// From now on recalls are taken, of what is due later than `delivered`.
    pub fn open(&self, delivered: i64) {
        let mut state = self.state.lock();
        state.open = true;
        state.delivered = state.delivered.max(delivered);
    }

    /// Delivery of everything due up to a time begins.
    pub fn enter(&self, upto: i64) {
        let mut state = self.state.lock();
        state.delivered = state.delivered.max(upto);
    }

    /// Messages due at a time that were taken back by recalls not read yet.
    pub fn recalled(&self, due: i64) -> Vec<u64> {
        let state = self.state.lock();
        state.fresh.values().filter(|(time, _)| *time == due).map(|(_, identity)| *identity).collect()
    }

    /// Delivery has read the recalls before a log offset.
    pub fn seen(&self, log_offset: u64) {
        let mut state = self.state.lock();
        if state.fresh.first_key_value().is_some_and(|(at, _)| *at < log_offset) {
            state.fresh = state.fresh.split_off(&log_offset);
        }
    }
}
