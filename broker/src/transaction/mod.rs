//! Transactions: half messages, how each of them ends exactly once, and the index of those that are open.
//!
//! ```text
//! half message ──> half topic ──> index ──┬─ committed ──> its topic ──────┐
//!                                  │      ├─ rolled back                   ├──> a note in the op topic, right behind
//!                       asked, and asked  └─ given up ──> give-up topic ───┘
//! ```
//! See `docs/transactions.md` for the decisions.

pub mod check;
pub mod end;
pub mod fresh;
pub mod half;
pub mod progress;
pub mod rebuild;
pub mod table;

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::store::Store;
use crate::transaction::table::Table;

/// What transactions stand on.
#[derive(Clone, Copy)]
pub struct Ground<'a> {
    /// Messages.
    pub store: &'a Store,
    /// Address that clients are told.
    pub host: SocketAddr,
    /// Delay levels that there are.
    pub levels: usize,
    /// Time until a producer is asked, ms.
    pub timeout: i64,
}

/// Half messages of this broker.
pub struct Transactions {
    /// Held while a half message or a note is appended: the index and the log agree whenever it is free.
    table: Mutex<Table>,
    /// Whether the index is complete. Before that nothing ends.
    ready: watch::Sender<bool>,
    /// Rung when a producer is to be asked earlier than was known.
    sooner: Notify,
    /// Chooses among the producers of a group.
    turn: AtomicUsize,
    /// Most half messages that may be open.
    max_open: usize,
    counts: Counts,
}

/// What happened since the start.
#[derive(Debug, Default)]
pub struct Counts {
    /// Half messages whose message went to its topic.
    pub committed: AtomicU64,
    /// Half messages that were rolled back.
    pub rolled_back: AtomicU64,
    /// Half messages laid aside because nobody said how they end.
    pub given_up: AtomicU64,
    /// Half messages that could not be read any more.
    pub lost: AtomicU64,
    /// Questions to producers.
    pub asked: AtomicU64,
    /// Questions for which no producer was connected.
    pub unasked: AtomicU64,
}

/// Milliseconds since the process began to count: questions must not wait for a wall clock that was set back.
fn steady_ms() -> i64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    i64::try_from(START.elapsed().as_millis()).unwrap_or(i64::MAX)
}

impl Transactions {
    /// Nothing is known yet.
    pub fn new(max_open: usize) -> Self {
        Self {
            table: Mutex::default(),
            ready: watch::Sender::new(false),
            sooner: Notify::new(),
            turn: AtomicUsize::new(0),
            max_open,
            counts: Counts::default(),
        }
    }

    /// Half messages that are open.
    pub fn open(&self) -> usize {
        self.table.lock().count()
    }

    /// Whether half messages can end now.
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Resolves when half messages can end.
    pub async fn ready(&self) {
        // It ends only with the sender, which is ours.
        let _ = self.ready.subscribe().wait_for(|ready| *ready).await;
    }

    /// What happened since the start.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}

/// Counts one more.
fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests;
