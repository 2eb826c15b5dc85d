//! One queue that this consumer holds: its messages, its window, its lock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use orbitmq_common::clock::now_ms;
use orbitmq_common::message::message::StoredMessage;
use orbitmq_common::protocol::body::running::ProcessQueueInfo;
use orbitmq_common::route::table::Queue;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::figures::TopicFigures;
use crate::offsets::Window;

/// A lock that was not renewed for so long counts as lost; brokers keep it for twice that.
pub(crate) const LOCK_LASTS: Duration = Duration::from_secs(30);

/// How deliveries of a queue follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// As many at once as are there.
    Free,
    /// The next when the one before is done, and only under the broker's lock.
    OneByOne,
}

#[derive(Debug, Default)]
struct State {
    /// `None` until it is known where to start.
    window: Option<Window>,
    /// Fetched and not delivered.
    waiting: BTreeMap<i64, Arc<StoredMessage>>,
    /// Delivered, given back, and due again at a time.
    returned: Vec<(Instant, Arc<StoredMessage>)>,
    /// Delivered, and neither done nor given back.
    in_hand: usize,
    /// The offset that the broker has.
    stored: Option<i64>,
    /// How often somebody else has set the offset.
    resets: u32,
    /// The member of the broker group that has it; the next master may have an older one.
    stored_at: String,
    /// Until when the broker's lock is ours.
    locked_until: Option<Instant>,
    /// The broker that gave it.
    locked_at: String,
    /// An ordered queue rests until then.
    rests_until: Option<Instant>,
    on_shelf: bool,
}

/// An offset on its way to where it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Commit {
    pub offset: i64,
    /// How often the offset had been set by somebody else by then.
    resets: u32,
}

impl Commit {
    /// Of a queue that has not begun.
    pub(crate) fn first(offset: i64) -> Self {
        Self { offset, resets: 0 }
    }
}

/// How far a queue is done, when its broker has only stored less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unstored {
    stored: Option<i64>,
    done: i64,
}

impl Unstored {
    /// Where to go on, given what the broker has stored now. An offset outside of what was done here was set by somebody else,
    /// who knows better.
    pub(crate) fn start(self, stored: Option<i64>) -> Option<i64> {
        let ours =
            stored == self.stored || stored.is_some_and(|now| self.stored.unwrap_or(0) <= now && now <= self.done);
        ours.then_some(self.done)
    }
}

/// A queue assigned to this consumer.
#[derive(Debug)]
pub(crate) struct Assigned {
    pub topic: Arc<str>,
    pub queue: Queue,
    pub order: Order,
    /// Cancelled when the queue is somebody else's.
    pub revoked: CancellationToken,
    /// Rung when the lock came or an offset was set from outside.
    pub bell: Notify,
    /// Member of the broker group that the broker suggests to read from.
    pub read_from: AtomicI64,
    /// Whether an offset is on its way to the broker.
    pub committing: AtomicBool,
    pub figures: Arc<TopicFigures>,
    /// When it was last asked for messages, and when one was last done; ms since the epoch.
    pub pulled_at: AtomicI64,
    done_at: AtomicI64,
    state: Mutex<State>,
}

/// Messages and bytes that no longer count as held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Freed {
    pub messages: usize,
    pub bytes: usize,
}

impl Assigned {
    pub(crate) fn new(
        topic: Arc<str>,
        queue: Queue,
        order: Order,
        revoked: CancellationToken,
        figures: Arc<TopicFigures>,
    ) -> Self {
        Self {
            topic,
            queue,
            order,
            revoked,
            bell: Notify::new(),
            read_from: AtomicI64::new(0),
            committing: AtomicBool::new(false),
            figures,
            pulled_at: AtomicI64::new(0),
            done_at: AtomicI64::new(now_ms()),
            state: Mutex::default(),
        }
    }

    /// Begins at an offset; `stored`: what the broker at `told_by` has.
    pub(crate) fn begin(&self, start: i64, stored: Option<i64>, told_by: String) {
        let mut state = self.state.lock();
        state.window = Some(Window::new(start));
        state.stored = stored;
        state.stored_at = told_by;
    }

    /// Where to fetch next; `None` until it has begun.
    pub(crate) fn next(&self) -> Option<i64> {
        self.state.lock().window.as_ref().map(Window::next)
    }

    /// Messages, bytes and offsets that are held.
    pub(crate) fn load(&self) -> (usize, usize, i64) {
        self.state.lock().window.as_ref().map_or((0, 0, 0), |window| (window.held(), window.bytes(), window.span()))
    }

    /// Takes fetched messages in, of a fetch from `asked` that scanned up to `next`; tells what is new.
    pub(crate) fn receive(&self, asked: i64, messages: Vec<StoredMessage>, next: i64) -> Freed {
        let mut state = self.state.lock();
        let State { window: Some(window), waiting, .. } = &mut *state else { return Freed::default() };
        // Somebody set another offset meanwhile.
        if window.next() != asked {
            return Freed::default();
        }
        let mut new = Freed::default();
        for message in messages {
            let offset = i64::try_from(message.queue_offset).unwrap_or(i64::MAX);
            if window.receive(offset, message.stored_size) {
                new.messages += 1;
                new.bytes += message.stored_size;
                waiting.insert(offset, Arc::new(message));
            }
        }
        window.scanned_to(next);
        new
    }

    /// Goes on at another offset; what is held no longer counts.
    pub(crate) fn reset(&self, next: i64) -> Freed {
        let mut state = self.state.lock();
        state.waiting.clear();
        state.returned.clear();
        // Whoever set the offset has stored it: what was stored here before is not there any more, and what is on its way counts
        // for nothing.
        state.stored = None;
        state.resets = state.resets.wrapping_add(1);
        let (messages, bytes) = state.window.as_mut().map_or((0, 0), |window| window.reset(next));
        Freed { messages, bytes }
    }

    /// The next message to deliver, and whether there is another one after it.
    pub(crate) fn take(&self) -> Option<(Arc<StoredMessage>, bool)> {
        let mut state = self.state.lock();
        if !self.may_deliver(&state) {
            state.on_shelf = false;
            return None;
        }
        let Some((_, message)) = state.waiting.pop_first() else {
            state.on_shelf = false;
            return None;
        };
        state.in_hand += 1;
        let more = self.may_deliver(&state) && !state.waiting.is_empty();
        state.on_shelf = more;
        Some((message, more))
    }

    /// Whether the queue has to be put on the shelf; marks it as being there.
    pub(crate) fn wants_shelf(&self) -> bool {
        let mut state = self.state.lock();
        let wants = !state.on_shelf && !state.waiting.is_empty() && self.may_deliver(&state);
        state.on_shelf |= wants;
        wants
    }

    fn may_deliver(&self, state: &State) -> bool {
        if self.revoked.is_cancelled() {
            return false;
        }
        let now = Instant::now();
        match self.order {
            Order::Free => true,
            Order::OneByOne => {
                state.in_hand == 0
                    && state.returned.is_empty()
                    && state.rests_until.is_none_or(|until| now >= until)
                    && state.locked_until.is_some_and(|until| now < until)
            }
        }
    }

    /// A delivered message is done.
    pub(crate) fn done(&self, message: &StoredMessage) -> Freed {
        self.done_at.store(now_ms(), Ordering::Relaxed);
        let mut state = self.state.lock();
        state.in_hand = state.in_hand.saturating_sub(1);
        let offset = i64::try_from(message.queue_offset).unwrap_or(i64::MAX);
        match state.window.as_mut().and_then(|window| window.done(offset)) {
            Some(bytes) => Freed { messages: 1, bytes },
            None => Freed::default(),
        }
    }

    /// A delivered message comes back, to be delivered again at `due`.
    pub(crate) fn put_back(&self, message: Arc<StoredMessage>, due: Instant) {
        let mut state = self.state.lock();
        state.in_hand = state.in_hand.saturating_sub(1);
        if self.order == Order::OneByOne {
            state.rests_until = Some(due);
        }
        state.returned.push((due, message));
    }

    /// Moves what is due again among the waiting; tells when the next will be.
    pub(crate) fn return_due(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut state = self.state.lock();
        let (due, later) = std::mem::take(&mut state.returned).into_iter().partition::<Vec<_>, _>(|(at, _)| *at <= now);
        state.returned = later;
        for (_, message) in due {
            let offset = i64::try_from(message.queue_offset).unwrap_or(i64::MAX);
            state.waiting.insert(offset, message);
        }
        state.returned.iter().map(|(at, _)| *at).min()
    }

    /// The offset to store at a broker, if it differs from what is stored or another member of the group has that.
    pub(crate) fn to_commit(&self, keeper: &str) -> Option<Commit> {
        let state = self.state.lock();
        let done = state.window.as_ref()?.commit();
        let is_news = state.stored != Some(done) || state.stored_at != keeper;
        is_news.then_some(Commit { offset: done, resets: state.resets })
    }

    /// What is done and not stored.
    pub(crate) fn unstored(&self) -> Option<Unstored> {
        let state = self.state.lock();
        let done = state.window.as_ref()?.commit();
        (state.stored != Some(done)).then_some(Unstored { stored: state.stored, done })
    }

    /// The broker at `keeper` has stored this offset.
    pub(crate) fn committed(&self, commit: Commit, keeper: &str) {
        let mut state = self.state.lock();
        if state.resets == commit.resets {
            state.stored = Some(commit.offset);
            keeper.clone_into(&mut state.stored_at);
        }
    }

    /// The offset up to which all is done.
    pub(crate) fn position(&self) -> Option<i64> {
        self.state.lock().window.as_ref().map(Window::commit)
    }

    /// What is told about it to whoever asks.
    pub(crate) fn info(&self) -> ProcessQueueInfo {
        let state = self.state.lock();
        let window = state.window.as_ref();
        let held = window.map_or(0, Window::held);
        let locked = state.locked_until.is_some_and(|until| Instant::now() < until);
        let since = state.locked_until.map_or(0, |until| {
            let ago = LOCK_LASTS.saturating_sub(until.saturating_duration_since(Instant::now()));
            now_ms() - i64::try_from(ago.as_millis()).unwrap_or(0)
        });
        ProcessQueueInfo {
            commit_offset: window.map_or(-1, Window::commit),
            cached_msg_count: i32::try_from(held).unwrap_or(i32::MAX),
            cached_msg_min_offset: window.filter(|_| held > 0).map_or(0, Window::commit),
            cached_msg_max_offset: window.filter(|_| held > 0).map_or(0, |window| window.next() - 1),
            cached_msg_size_in_mi_b: i32::try_from(window.map_or(0, Window::bytes) >> 20).unwrap_or(i32::MAX),
            transaction_msg_count: if self.order == Order::OneByOne { i32::from(state.in_hand > 0) } else { 0 },
            locked,
            last_lock_timestamp: since,
            droped: self.revoked.is_cancelled(),
            last_pull_timestamp: self.pulled_at.load(Ordering::Relaxed),
            last_consume_timestamp: self.done_at.load(Ordering::Relaxed),
            ..ProcessQueueInfo::default()
        }
    }

    /// The lock of the broker at `address` was confirmed (or refused) just now.
    pub(crate) fn lock_is_ours(&self, ours: bool, address: &str) {
        let mut state = self.state.lock();
        address.clone_into(&mut state.locked_at);
        state.locked_until = ours.then(|| Instant::now() + LOCK_LASTS);
        drop(state);
        if ours {
            self.bell.notify_waiters();
        }
    }

    /// The connection to the broker at `address` has ended, and with it its lock.
    pub(crate) fn lock_is_lost(&self, address: &str) {
        let mut state = self.state.lock();
        if state.locked_at == address {
            state.locked_until = None;
        }
    }

    /// Whether the broker's lock is ours, where one is needed.
    pub(crate) fn may_fetch(&self) -> bool {
        self.order == Order::Free || self.is_locked()
    }

    /// Whether the broker's lock is ours.
    pub(crate) fn is_locked(&self) -> bool {
        self.state.lock().locked_until.is_some_and(|until| Instant::now() < until)
    }

    /// Whether the master at `address` has still to be asked for its lock.
    pub(crate) fn wants_lock_of(&self, address: &str) -> bool {
        !self.is_locked() || self.state.lock().locked_at != address
    }

    /// Messages delivered and not settled.
    pub(crate) fn in_hand(&self) -> usize {
        self.state.lock().in_hand
    }

    /// Reads from this member of the broker group from now on.
    pub(crate) fn suggest(&self, broker_id: i64) {
        self.read_from.store(broker_id, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
