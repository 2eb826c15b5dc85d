//! A source that this consumer pops from: a topic at a broker, all of its queues there or one of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use orbitmq_common::protocol::body::group::MessageQueue;
use tokio_util::sync::CancellationToken;

use crate::core::Core;
use crate::figures::TopicFigures;
use crate::queue::Freed;

/// What is popped and by what it is counted.
#[derive(Debug)]
pub(crate) struct Lane {
    pub topic: Arc<str>,
    pub broker: Arc<str>,
    /// One queue; -1: all.
    pub queue: i32,
    /// Cancelled when it is not this consumer's any more.
    pub revoked: CancellationToken,
    pub figures: Arc<TopicFigures>,
    /// Popped and not settled.
    held: AtomicUsize,
    bytes: AtomicUsize,
    /// Popped and not delivered.
    waiting: AtomicUsize,
    /// When it was last popped, ms since the epoch.
    pub popped_at: AtomicI64,
}

impl Lane {
    pub(crate) fn new(
        topic: Arc<str>,
        broker: Arc<str>,
        queue: i32,
        revoked: CancellationToken,
        figures: Arc<TopicFigures>,
    ) -> Self {
        Self {
            topic,
            broker,
            queue,
            revoked,
            figures,
            held: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            popped_at: AtomicI64::new(0),
        }
    }

    /// As bodies name it.
    pub(crate) fn name(&self) -> MessageQueue {
        let (broker_name, topic) = (self.broker.as_ref().to_owned(), self.topic.as_ref().to_owned());
        MessageQueue { broker_name, queue_id: self.queue, topic }
    }

    /// Messages that are not settled.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Notes what came.
    pub(crate) fn took(&self, core: &Core, new: Freed) {
        self.held.fetch_add(new.messages, Ordering::Relaxed);
        self.waiting.fetch_add(new.messages, Ordering::Relaxed);
        self.bytes.fetch_add(new.bytes, Ordering::Relaxed);
        core.took(new);
    }

    /// A message is on its way to whoever consumes, or is not delivered any more.
    pub(crate) fn left_shelf(&self, core: &Core) {
        let before = self.waiting.fetch_sub(1, Ordering::Relaxed);
        if before == batch(core) {
            core.room.notify_waiters();
        }
    }

    /// A delivered message is put back.
    pub(crate) fn back_on_shelf(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    /// A message is settled.
    pub(crate) fn freed(&self, core: &Core, freed: Freed) {
        self.held.fetch_sub(freed.messages, Ordering::Relaxed);
        self.bytes.fetch_sub(freed.bytes, Ordering::Relaxed);
        core.freed(freed);
    }

    /// How many messages the next pop may bring. Few wait here: each of them is out of sight of those who could take it.
    fn room(&self, core: &Core) -> i32 {
        let config = &core.config;
        let (all, all_bytes) = core.load();
        let held = self.held();
        let full = self.waiting.load(Ordering::Relaxed) >= batch(core)
            || held >= config.max_per_queue
            || all >= config.max_in_hand
            || self.bytes.load(Ordering::Relaxed) >= config.max_bytes_per_queue
            || all_bytes >= config.max_bytes_in_hand;
        if full {
            return 0;
        }
        let room = (config.max_per_queue - held).min(config.max_in_hand - all).min(batch(core));
        i32::try_from(room).unwrap_or(i32::MAX)
    }

    /// Waits until another pop fits; tells how many messages it may bring.
    pub(crate) async fn wait_for_room(&self, core: &Core) -> i32 {
        loop {
            let freed = core.room.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            match self.room(core) {
                0 => freed.await,
                room => return room,
            }
        }
    }
}

/// Brokers give 32 messages to a pop at most.
fn batch(core: &Core) -> usize {
    usize::try_from(core.config.pull_batch).unwrap_or(1).clamp(1, 32)
}
