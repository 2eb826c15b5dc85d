//! The builder: follows the confirmed log and enters each record into queues and index.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use crate::store::bell::Bell;
use crate::store::derived::Derived;
use crate::store::log::CommitLog;
use crate::store::queue::Queue;
use crate::store::scan::{self, Trust};

/// Bytes entered between two announcements.
const STRIDE: u64 = 1 << 20;
/// Entries and keys in memory that are worth writing at once.
const MANY_WAITING: usize = 1 << 17;
/// Entries and keys in memory at which the builder waits for the keeper to write some.
const MAX_WAITING: usize = 1 << 20;

/// Where the builder stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Built {
    /// Every record before this log offset is in queues and index.
    pub offset: u64,
    /// Log offset of the last record.
    pub last: Option<u64>,
    /// Its store time, in ms.
    pub timestamp: i64,
}

/// What the builder tells those who wait for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announced {
    /// How far queues and index have come.
    pub offset: u64,
    /// Whether they will come no further.
    pub stopped: bool,
}

/// Follows the log.
#[derive(Debug)]
pub struct Builder {
    log: Arc<CommitLog>,
    derived: Arc<Derived>,
    /// Held while records are entered: whoever holds it sees queues and index at exactly that offset.
    built: Mutex<Built>,
    announced: watch::Sender<Announced>,
    /// Rung when more is confirmed or the builder is to stop.
    pub bell: Arc<Bell>,
    /// Rung when much waits to be written.
    pub keeper: Arc<Bell>,
    stop: AtomicBool,
}

impl Builder {
    /// Goes on from where recovery ended.
    pub fn new(log: Arc<CommitLog>, derived: Arc<Derived>, built: Built, bell: Arc<Bell>, keeper: Arc<Bell>) -> Self {
        let announced = watch::Sender::new(Announced { offset: built.offset, stopped: false });
        Self { log, derived, built: Mutex::new(built), announced, bell, keeper, stop: AtomicBool::new(false) }
    }

    /// Works until told to stop.
    pub fn run(&self) {
        let mut grown = Vec::new();
        while !self.stop.load(Ordering::Acquire) {
            let waiting = self.derived.waiting();
            if waiting > MANY_WAITING {
                self.keeper.ring();
            }
            if waiting > MAX_WAITING {
                self.bell.wait(Duration::from_millis(20));
                continue;
            }
            if self.advance(&mut grown) == self.log.progress.confirmed() {
                self.bell.wait(Duration::from_secs(1));
            }
        }
    }

    /// Enters what was just confirmed, on the thread that confirmed it: no other has to be woken. What would take long, or has to
    /// wait, is left to the builder's own thread.
    pub fn follow(&self) {
        let confirmed = self.log.progress.confirmed();
        let behind = confirmed.saturating_sub(self.offset());
        let free = behind < STRIDE && self.derived.waiting() < MANY_WAITING;
        match self.built.try_lock().filter(|_| free) {
            Some(built) => drop(self.enter(built, confirmed, &mut Vec::new())),
            None => self.bell.ring(),
        }
    }

    /// Enters some of what is confirmed and tells how far it came.
    fn advance(&self, grown: &mut Vec<Arc<Queue>>) -> u64 {
        let confirmed = self.log.progress.confirmed();
        self.enter(self.built.lock(), confirmed, grown)
    }

    fn enter(&self, mut built: MutexGuard<'_, Built>, confirmed: u64, grown: &mut Vec<Arc<Queue>>) -> u64 {
        if built.offset >= confirmed {
            return confirmed;
        }
        let limit = built.offset.saturating_add(STRIDE);
        let mut last = (built.last, built.timestamp);
        let (mut at, bad) = scan::walk(&self.log.segments, built.offset, confirmed, Trust::Form, &mut |view| {
            if let Some(queue) = self.derived.apply(view)
                && grown.last().is_none_or(|newest| !Arc::ptr_eq(newest, &queue))
            {
                grown.push(queue);
            }
            last = (Some(view.physical_offset), view.store_timestamp);
            view.physical_offset < limit
        });
        if at == built.offset {
            let next = scan::find_sound(&self.log.segments, at + 1).filter(|next| *next < confirmed);
            let reason = bad.unwrap_or_else(|| "no record".to_owned());
            tracing::error!(at, ?next, reason, "confirmed bytes of the log are damaged: queues go on behind them");
            at = next.unwrap_or(confirmed);
        }
        *built = Built { offset: at, last: last.0, timestamp: last.1 };
        drop(built);
        self.announced.send_modify(|announced| announced.offset = announced.offset.max(at));
        for queue in grown.drain(..) {
            queue.news().notify_waiters();
        }
        at
    }

    /// The log begins at an offset of which nothing was there before.
    pub fn begin_at(&self, offset: u64) {
        self.built.lock().offset = offset;
        self.announced.send_modify(|announced| announced.offset = offset);
    }

    /// Stops the thread.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.bell.ring();
    }

    /// Once the thread has ended: enters what is left, if it should, and tells those who wait.
    pub fn finish(&self, catch_up: bool) {
        let mut grown = Vec::new();
        while catch_up && self.advance(&mut grown) < self.log.progress.confirmed() {}
        self.announced.send_modify(|announced| announced.stopped = true);
    }

    /// How far queues and index have come.
    pub fn offset(&self) -> u64 {
        self.announced.borrow().offset
    }

    /// Follows how far queues and index have come.
    pub fn watch(&self) -> watch::Receiver<Announced> {
        self.announced.subscribe()
    }

    /// Looks at queues and index while nothing is entered.
    pub fn cut<T>(&self, look: impl FnOnce(Built) -> T) -> T {
        look(*self.built.lock())
    }
}
