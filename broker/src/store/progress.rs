//! How far the log is written and flushed, and who waits for it.
//!
//! ```text
//! appended ──pwrite──▶ written ──fdatasync──▶ flushed
//!                         └─ async: confirmed      └─ sync: confirmed
//! ```
//! An acknowledged byte is a promise: only what lies below `confirmed` is acknowledged, shown to readers or built upon,
//! and `confirmed` stands still for good after the first failed write or flush.
//!
//! Replication sets a ceiling to what is confirmed: on a master the least that an in-sync slave has, on a slave what its master
//! has confirmed. Without replicas there is none.
//!
//! Waiters stand in two groups: those whose bytes are with the flusher now, and those whose bytes go next. A flush wakes
//! one whole group, so thousands of waiters cost one lock and no search. Where slaves confirm, batches overlap: there waiters
//! stand in the order of what they wait for.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::store::error::Poisoned;
use crate::store::options::Flush;

/// Offsets of the log that were reached.
#[derive(Debug)]
pub struct Progress {
    flush: Flush,
    written: AtomicU64,
    flushed: AtomicU64,
    /// Nothing beyond it is confirmed, however durable it is here.
    ceiling: AtomicU64,
    failure: OnceLock<Arc<str>>,
    waiters: Mutex<Waiters>,
    /// Where slaves confirm: who waits, by log offset and number; else `None`.
    ordered: Option<Mutex<BTreeMap<(u64, u64), Waker>>>,
    next_waiter: AtomicU64,
    /// Woken when more is written, flushed or confirmed, and at the first failure.
    news: Notify,
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
    /// Everything up to `end` is durable already. `replicated`: slaves confirm what is acknowledged.
    pub fn new(flush: Flush, replicated: bool, end: u64) -> Self {
        Self {
            flush,
            written: AtomicU64::new(end),
            flushed: AtomicU64::new(end),
            ceiling: AtomicU64::new(u64::MAX),
            failure: OnceLock::new(),
            waiters: Mutex::new(Waiters { taken: end, ..Waiters::default() }),
            ordered: replicated.then(Mutex::default),
            next_waiter: AtomicU64::new(0),
            news: Notify::new(),
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

    /// Offset up to which this broker alone could vouch for the log.
    pub fn local(&self) -> u64 {
        match self.flush {
            Flush::Sync => self.flushed(),
            Flush::Async => self.written(),
        }
    }

    /// Offset up to which the log is acknowledged, shown and built upon.
    pub fn confirmed(&self) -> u64 {
        self.local().min(self.ceiling.load(Ordering::Acquire))
    }

    /// Sets what replicas allow to be confirmed; [`Self::wake_confirmed`] makes it known. What is confirmed stays so: readers have
    /// seen it, and would pass over it if it were not there any more.
    pub fn set_ceiling(&self, ceiling: u64) {
        let _ordered = self.ordered.as_ref().map(Mutex::lock);
        self.ceiling.store(ceiling.max(self.confirmed()), Ordering::Release);
    }

    /// Confirms nothing more until the ceiling is set anew, and tells what is confirmed.
    pub fn freeze(&self) -> u64 {
        // No flush can end while this is held: what is confirmed cannot slip past the ceiling.
        let _ordered = self.ordered.as_ref().map(Mutex::lock);
        let confirmed = self.confirmed();
        self.ceiling.store(confirmed, Ordering::Release);
        confirmed
    }

    /// Wakes whoever waits for what is confirmed by now.
    pub fn wake_confirmed(&self) {
        self.wake_ordered();
        self.news.notify_waiters();
    }

    /// Woken when more is written, flushed or confirmed, and at the first failure.
    pub fn news(&self) -> &Notify {
        &self.news
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
        self.reach(&self.written, end);
        self.news.notify_waiters();
    }

    /// The log begins at an offset of which nothing was there before.
    pub fn begin_at(&self, offset: u64) {
        self.flushed.store(offset, Ordering::Release);
        self.written.store(offset, Ordering::Release);
    }

    /// The log is durable up to there.
    pub fn set_flushed(&self, end: u64) {
        self.reach(&self.flushed, end);
        self.news.notify_waiters();
    }

    fn reach(&self, place: &AtomicU64, end: u64) {
        // Held for the sake of `freeze`.
        let _ordered = self.ordered.as_ref().map(Mutex::lock);
        place.fetch_max(end, Ordering::AcqRel);
    }

    fn wake_ordered(&self) {
        let Some(ordered) = &self.ordered else { return };
        let woken = {
            let mut ordered = ordered.lock();
            let rest = ordered.split_off(&(self.confirmed().saturating_add(1), 0));
            std::mem::replace(&mut *ordered, rest)
        };
        woken.into_values().for_each(Waker::wake);
    }

    /// Wakes those whose bytes were in hand.
    pub fn wake(&self) {
        if self.ordered.is_some() {
            return self.wake_ordered();
        }
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
        let ordered = self.ordered.as_ref().map(|ordered| std::mem::take(&mut *ordered.lock()));
        ordered.into_iter().flatten().for_each(|(_, waker)| waker.wake());
        self.news.notify_waiters();
    }

    /// Waits until the log is confirmed up to `end`.
    pub fn durable(&self, end: u64) -> Durable<'_> {
        Durable { progress: self, end, place: None, number: None }
    }
}

/// Resolves when the log is confirmed up to an offset.
#[derive(Debug)]
pub struct Durable<'a> {
    progress: &'a Progress,
    end: u64,
    place: Option<Place>,
    /// Number among the ordered waiters.
    number: Option<u64>,
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

    fn poll_ordered(
        &mut self,
        ordered: &Mutex<BTreeMap<(u64, u64), Waker>>,
        waker: &Waker,
    ) -> Poll<Result<(), Poisoned>> {
        let mut ordered = ordered.lock();
        // Again under the lock: what was confirmed in between has woken its waiters already.
        if let Some(result) = self.ready() {
            return Poll::Ready(result);
        }
        let number = *self.number.get_or_insert_with(|| self.progress.next_waiter.fetch_add(1, Ordering::Relaxed));
        ordered.insert((self.end, number), waker.clone());
        Poll::Pending
    }
}

impl Future for Durable<'_> {
    type Output = Result<(), Poisoned>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Some(result) = this.ready() {
            return Poll::Ready(result);
        }
        if let Some(ordered) = &this.progress.ordered {
            return this.poll_ordered(ordered, context.waker());
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
        if let (Some(number), Some(ordered)) = (self.number, &self.progress.ordered) {
            ordered.lock().remove(&(self.end, number));
        }
        if let Some(place) = self.place
            && self.ready().is_none()
            && let Some(slot) = self.progress.waiters.lock().slot(place)
        {
            *slot = None;
        }
    }
}
