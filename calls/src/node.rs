//! A node that offers a service, as a caller sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::service::Address;

/// A node that does not answer is chosen only if there is no other, for so long.
const SUSPECT_FOR: Duration = Duration::from_secs(5);
/// Calls in a row without an answer that make it so: one alone may have been too much for its deadline.
const SUSPECT_AFTER: usize = 2;

/// One run of a node.
#[derive(Debug)]
pub(crate) struct Node {
    pub address: Address,
    /// Cancelled when brokers no longer know it.
    pub gone: CancellationToken,
    active: AtomicUsize,
    /// Calls without an answer since the last one with one.
    silent: AtomicUsize,
    suspect_until: Mutex<Option<Instant>>,
}

/// A call at a node; it counts until this is dropped.
#[derive(Debug)]
pub(crate) struct Active(Arc<Node>);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Node {
    pub(crate) fn new(address: Address) -> Self {
        Self {
            address,
            gone: CancellationToken::new(),
            active: AtomicUsize::new(0),
            silent: AtomicUsize::new(0),
            suspect_until: Mutex::default(),
        }
    }

    /// Begins a call.
    pub(crate) fn enter(self: &Arc<Self>) -> Active {
        self.active.fetch_add(1, Ordering::Relaxed);
        Active(Arc::clone(self))
    }

    /// Calls of this caller that are at the node now.
    pub(crate) fn active(&self) -> usize {
        self.active.load(Ordering::Relaxed)
    }

    /// It was asked and did not answer.
    pub(crate) fn was_silent(&self) {
        if self.silent.fetch_add(1, Ordering::Relaxed) + 1 >= SUSPECT_AFTER {
            self.leaves();
        }
    }

    /// It says that it stops, or brokers say that it is gone.
    pub(crate) fn leaves(&self) {
        *self.suspect_until.lock() = Some(Instant::now() + SUSPECT_FOR);
    }

    /// It answered.
    pub(crate) fn answered(&self) {
        self.silent.store(0, Ordering::Relaxed);
        *self.suspect_until.lock() = None;
    }

    pub(crate) fn is_suspect(&self) -> bool {
        self.suspect_until.lock().is_some_and(|until| until > Instant::now())
    }
}
