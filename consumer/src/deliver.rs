//! A message in the hands of the application.

use std::fmt::Display;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use orbitmq_common::message::message::StoredMessage;
use orbitmq_common::name::RETRY_PREFIX;
use tokio::time::Instant;

use crate::core::Core;
use crate::error::RetryError;
use crate::queue::{Assigned, Order};
use crate::send_back;

/// A message to deal with: [`Delivery::ack`] it, or give it back with [`Delivery::retry_later`]. One that is dropped is
/// delivered again by this consumer after a while, or by another after a restart. Further fields are those of
/// [`StoredMessage`].
#[derive(Debug)]
#[must_use = "a delivery that is dropped without ack() is delivered again"]
pub struct Delivery {
    core: Arc<Core>,
    queue: Arc<Assigned>,
    message: Arc<StoredMessage>,
    settled: bool,
    reason: Option<String>,
}

impl Deref for Delivery {
    type Target = StoredMessage;

    fn deref(&self) -> &StoredMessage {
        &self.message
    }
}

impl Delivery {
    pub(crate) fn new(core: Arc<Core>, queue: Arc<Assigned>, message: Arc<StoredMessage>) -> Self {
        Self { core, queue, message, settled: false, reason: None }
    }

    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    /// The topic of the queue it came through: its own, or that of the group's returned messages.
    pub(crate) fn queue_topic(&self) -> &str {
        &self.queue.topic
    }

    /// The whole message, to be kept beyond the delivery.
    #[must_use]
    pub fn message(&self) -> &Arc<StoredMessage> {
        &self.message
    }

    /// The body as its sender had it.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.message.body
    }

    /// The topic it was sent to, also when it comes again by way of the retry topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.message.topic
    }

    /// The first key.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.message.keys().next()
    }

    /// Name of the broker that holds it.
    #[must_use]
    pub fn broker(&self) -> &str {
        &self.queue.queue.broker
    }

    /// How often it was given back before.
    #[must_use]
    pub fn attempts_before(&self) -> i32 {
        self.message.reconsume_times
    }

    /// The message is dealt with.
    pub fn ack(mut self) {
        self.settle();
    }

    /// Says why the message is going to be given back. The reason stays with it, in the property
    /// [`RETURN_REASON`](orbitmq_common::message::property::RETURN_REASON): a dead letter has the last one, cut to 512 bytes.
    /// Brokers of RocketMQ's do not keep it.
    pub fn because(mut self, reason: impl Display) -> Self {
        self.reason = Some(reason.to_string());
        self
    }

    /// Gives the message back to its broker, which delivers it to the group again: after 10 s the first time, then later and
    /// later, and at last to the dead letters. An ordered queue instead waits a second and delivers it again here; so does a
    /// broadcasting group, without end.
    ///
    /// # Errors
    /// No broker took it; it will be delivered again here.
    pub async fn retry_later(self) -> Result<(), RetryError> {
        self.retry_at_level(0).await
    }

    /// Like [`Delivery::retry_later`], after the delay of a level from 1 (a second) to 18 (two hours); 0: the broker chooses.
    ///
    /// # Errors
    /// No broker took it; it will be delivered again here.
    pub async fn retry_at_level(mut self, level: u8) -> Result<(), RetryError> {
        if self.core.is_broadcasting() {
            self.deliver_again(self.core.config.redeliver_after);
            return Ok(());
        }
        if self.queue.order == Order::OneByOne {
            let spent = self.core.config.max_deliveries.is_some_and(|max| self.message.reconsume_times >= max);
            if !spent {
                self.deliver_again(self.core.config.suspend_queue);
                return Ok(());
            }
            return self.give_back(-1).await;
        }
        self.give_back(i32::from(level.min(18))).await
    }

    /// Gives the message to the group's dead letters at once.
    ///
    /// # Errors
    /// No broker took it; it will be delivered again here.
    pub async fn reject(self) -> Result<(), RetryError> {
        self.give_back(-1).await
    }

    async fn give_back(mut self, level: i32) -> Result<(), RetryError> {
        send_back::send_back(&self.core, &self.queue, &self.message, level, self.reason.as_deref()).await?;
        self.settle();
        Ok(())
    }

    /// Counts as given back once more, and is delivered again here.
    fn deliver_again(&mut self, after: Duration) {
        let mut message = Arc::clone(&self.message);
        let again = Arc::make_mut(&mut message);
        again.reconsume_times = again.reconsume_times.saturating_add(1);
        self.put_back(message, after);
    }

    fn settle(&mut self) {
        self.settled = true;
        self.core.freed(self.queue.done(&self.message));
        if self.queue.order == Order::OneByOne {
            self.core.shelf.offer(&self.queue);
        }
        self.core.settled.notify_waiters();
    }

    fn put_back(&mut self, message: Arc<StoredMessage>, after: Duration) {
        self.settled = true;
        self.queue.put_back(message, Instant::now() + after);
        self.core.returned.notify_one();
        self.core.settled.notify_waiters();
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if !self.settled {
            let message = Arc::clone(&self.message);
            self.put_back(message, self.core.config.redeliver_after);
        }
    }
}

/// Whether a topic holds what a group gave back.
pub(crate) fn is_retry(topic: &str) -> bool {
    topic.starts_with(RETRY_PREFIX)
}

/// Puts what comes back on the shelf again when it is due.
pub(crate) async fn redeliver(core: Arc<Core>) {
    loop {
        let again = core.returned.notified();
        tokio::pin!(again);
        again.as_mut().enable();
        let mut next: Option<Instant> = None;
        for queue in core.held_queues() {
            if let Some(due) = queue.return_due() {
                next = Some(next.map_or(due, |next| next.min(due)));
            }
            core.shelf.offer(&queue);
        }
        match next {
            Some(due) => tokio::select! { () = again => {}, () = tokio::time::sleep_until(due) => {} },
            None => again.await,
        }
    }
}
