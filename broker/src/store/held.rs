//! What retention has to spare: messages that are still to be delivered, until they are written again behind.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

/// What retention would delete if it might.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Log offset behind the last segment to go; 0: nothing is wanted.
    pub upto: u64,
    /// Whether it is too old, and not only too much.
    pub too_old: bool,
}

/// The log offset from which on nothing is deleted.
#[derive(Debug)]
pub struct Held {
    from: AtomicU64,
    wanted: watch::Sender<Wanted>,
}

impl Held {
    /// Holds everything from an offset on.
    pub fn new(from: u64) -> Self {
        Self { from: AtomicU64::new(from), wanted: watch::Sender::new(Wanted::default()) }
    }

    /// Moves the offset.
    pub fn hold(&self, from: u64) {
        self.from.store(from, Ordering::Release);
    }

    /// Whether what lies before an offset may go. If not, whoever holds it hears of it.
    pub fn lets_go(&self, wanted: Wanted) -> bool {
        let free = wanted.upto <= self.from.load(Ordering::Acquire);
        let news = if free { Wanted::default() } else { wanted };
        // Each look rings again: what failed is tried again.
        if news != Wanted::default() || *self.wanted.borrow() != news {
            self.wanted.send_replace(news);
        }
        free
    }

    /// Follows what retention would delete.
    pub fn watch(&self) -> watch::Receiver<Wanted> {
        self.wanted.subscribe()
    }
}
