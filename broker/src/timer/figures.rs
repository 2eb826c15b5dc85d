//! Counts of the timers.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

/// Numbers since the broker's start, and where it stands now.
#[derive(Debug, Default)]
pub struct Figures {
    /// Messages and recalls that wait.
    pub pending: AtomicU64,
    /// Offset in the timer queue of the next entry to read.
    pub read: AtomicU64,
    /// When the first of those that wait is due, ms since the epoch; 0: nothing waits.
    pub next_due: AtomicI64,
    /// Entries read.
    pub taken: AtomicU64,
    /// Messages delivered.
    pub delivered: AtomicU64,
    /// Messages that were taken back before they were due.
    pub recalled: AtomicU64,
    /// Messages written again because their segment had to go.
    pub rolled: AtomicU64,
    /// Messages found delivered already after a crash or a change of masters.
    pub known: AtomicU64,
    /// Messages that could not be read or stored any more.
    pub lost: AtomicU64,
    /// Longest time between due and appended of a message that did not wait for a start, ms.
    pub latest: AtomicI64,
    rates: Mutex<Option<Rates>>,
}

#[derive(Debug, Clone, Copy)]
struct Rates {
    since: Instant,
    taken: u64,
    delivered: u64,
    /// Of the stretch before, a second.
    last: (f64, f64),
}

/// Seconds of a stretch over which rates are taken.
const STRETCH: f64 = 10.0;

impl Figures {
    /// Adds to a count.
    pub fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Ordering::Relaxed);
    }

    /// Reads a count.
    pub fn get(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }

    /// Entries read and messages delivered a second, lately.
    pub fn rates(&self) -> (f64, f64) {
        let (taken, delivered) = (Self::get(&self.taken), Self::get(&self.delivered));
        let mut rates = self.rates.lock();
        let now = Instant::now();
        let known = rates.get_or_insert(Rates { since: now, taken, delivered, last: (0.0, 0.0) });
        let seconds = now.duration_since(known.since).as_secs_f64();
        if seconds >= STRETCH {
            let per_second = |new: u64, old: u64| new.saturating_sub(old) as f64 / seconds;
            let last = (per_second(taken, known.taken), per_second(delivered, known.delivered));
            *known = Rates { since: now, taken, delivered, last };
        }
        known.last
    }
}
