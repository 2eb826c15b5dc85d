//! How far the log is written and flushed, and who waits for it.
//!
//! ```text
//! appended ──pwrite──▶ written ──fdatasync──▶ flushed
//!                         └─ async: confirmed      └─ sync: confirmed
//! ```
//! An acknowledged byte is a promise: only what lies below `confirmed` is acknowledged, shown to readers or built upon,
//! and `confirmed` stands still for good after the first failed write or flush.
//!
//! Waiters stand in two groups: those whose bytes are with the flusher now, and those whose bytes go next. A flush wakes
//! one whole group, so thousands of waiters cost one lock and no search.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::store::error::Poisoned;
use crate::store::options::Flush;

/// Offsets of the log that were reached.
#[derive(Debug)]
pub struct Progress {
    flush: Flush,
    written: AtomicU64,
    flushed: AtomicU64,
    failure: OnceLock<Arc<str>>,
    waiters: Mutex<Waiters>,
}

#[derive(Debug, Default)]
struct Waiters {
    /// Number of the batch that the flusher has in hand, or had last.
    batch: u64,
    /// Log offset behind that batch.
    taken: u64,
    now: Vec<Option<Waker>>,
    next: Vec<Option<Waker>>,
}

impl Progress {
    /// Everything up to `end` is durable already.
    pub fn new(flush: Flush, end: u64) -> Self {
        Self {
            flush,
            written: AtomicU64::new(end),
            flushed: AtomicU64::new(end),
            failure: OnceLock::new(),
            waiters: Mutex::new(Waiters { taken: end, ..Waiters::default() }),
        }
    }

    /// Offset up to which the log is in the page cache.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// Offset up to which the log is durable.
    pub fn flushed(&self) -> u64 {
        self.flushed.load(Ordering::Acquire)
    }

    /// Offset up to which the log is acknowledged, shown and built upon.
    pub fn confirmed(&self) -> u64 {
        match self.flush {
            Flush::Sync => self.flushed(),
            Flush::Async => self.written(),
        }
    }

    /// The first failure, if there was one.
    pub fn failure(&self) -> Option<Poisoned> {
        self.failure.get().map(|reason| Poisoned { reason: Arc::clone(reason) })
    }

    /// The flusher takes everything up to `end` in hand: the next group becomes the present one.
    pub fn take(&self, end: u64) {
        let mut waiters = self.waiters.lock();
        let waiters = &mut *waiters;
        std::mem::swap(&mut waiters.now, &mut waiters.next);
        waiters.batch = waiters.batch.wrapping_add(1);
        waiters.taken = end;
    }

    /// The batch in hand is in the page cache.
    pub fn set_written(&self, end: u64) {
        self.written.fetch_max(end, Ordering::AcqRel);
    }

    /// The log is durable up to there.
    pub fn set_flushed(&self, end: u64) {
        self.flushed.fetch_max(end, Ordering::AcqRel);
    }

    /// Wakes those whose bytes were in hand.
    pub fn wake(&self) {
        let mut woken = std::mem::take(&mut self.waiters.lock().now);
        for waker in woken.drain(..).flatten() {
            waker.wake();
        }
        let mut waiters = self.waiters.lock();
        if waiters.now.capacity() == 0 {
            waiters.now = woken;
        }
    }

    /// Nothing is confirmed any more; everybody hears why.
    pub fn fail(&self, reason: Arc<str>) {
        if self.failure.set(reason).is_err() {
            return;
        }
        let woken = {
            let mut waiters = self.waiters.lock();
            let mut woken = std::mem::take(&mut waiters.now);
            woken.append(&mut waiters.next);
            woken
        };
        woken.into_iter().flatten().for_each(Waker::wake);
    }

    /// Waits until the log is confirmed up to `end`.
    pub fn durable(&self, end: u64) -> Durable<'_> {
        Durable { progress: self, end, place: None }
    }
}

/// Resolves when the log is confirmed up to an offset.
#[derive(Debug)]
pub struct Durable<'a> {
    progress: &'a Progress,
    end: u64,
    place: Option<Place>,
}

/// Where a waiter stands: in the group of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    batch: u64,
    index: usize,
}

impl Waiters {
    fn group(&mut self, batch: u64) -> Option<&mut Vec<Option<Waker>>> {
        if batch == self.batch {
            Some(&mut self.now)
        } else if batch == self.batch.wrapping_add(1) {
            Some(&mut self.next)
        } else {
            None
        }
    }

    fn slot(&mut self, place: Place) -> Option<&mut Option<Waker>> {
        self.group(place.batch)?.get_mut(place.index)
    }
}

impl Durable<'_> {
    fn ready(&self) -> Option<Result<(), Poisoned>> {
        if self.progress.confirmed() >= self.end {
            return Some(Ok(()));
        }
        self.progress.failure().map(Err)
    }
}

impl Future for Durable<'_> {
    type Output = Result<(), Poisoned>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Some(result) = this.ready() {
            return Poll::Ready(result);
        }
        let mut waiters = this.progress.waiters.lock();
        // Again under the lock: a flush that ended in between has woken its group already.
        if let Some(result) = this.ready() {
            drop(waiters);
            return Poll::Ready(result);
        }
        let waker = context.waker();
        if let Some(place) = this.place
            && let Some(Some(slot)) = waiters.slot(place)
        {
            slot.clone_from(waker);
            return Poll::Pending;
        }
        let batch = if this.end <= waiters.taken { waiters.batch } else { waiters.batch.wrapping_add(1) };
        let group = if this.end <= waiters.taken { &mut waiters.now } else { &mut waiters.next };
        this.place = Some(Place { batch, index: group.len() });
        group.push(Some(waker.clone()));
        Poll::Pending
    }
}

impl Drop for Durable<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place
            && self.ready().is_none()
            && let Some(slot) = self.progress.waiters.lock().slot(place)
        {
            *slot = None;
        }
    }
}
