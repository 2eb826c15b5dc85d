//! A node that offers a service, as a caller sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::service::Address;

/// A node that did not answer is chosen only if there is no other, for so long.
const SUSPECT_FOR: Duration = Duration::from_secs(5);

/// One run of a node.
#[derive(Debug)]
pub(crate) struct Node {
    pub address: Address,
    /// Cancelled when brokers no longer know it.
    pub gone: CancellationToken,
    active: AtomicUsize,
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
        Self { address, gone: CancellationToken::new(), active: AtomicUsize::new(0), suspect_until: Mutex::default() }
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
    pub(crate) fn failed(&self) {
        *self.suspect_until.lock() = Some(Instant::now() + SUSPECT_FOR);
    }

    /// It answered.
    pub(crate) fn answered(&self) {
        *self.suspect_until.lock() = None;
    }

    pub(crate) fn is_suspect(&self) -> bool {
        self.suspect_until.lock().is_some_and(|until| until > Instant::now())
    }
}
