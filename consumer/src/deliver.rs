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
use crate::direct::Verdict;
use crate::error::RetryError;
use crate::pop::popped;
use crate::send_back;
use crate::shelf::Taken;
use crate::source::Source;
use crate::trace::Traced;

/// A message to deal with: [`Delivery::ack`] it, or give it back with [`Delivery::retry_later`]. One that is dropped is
/// delivered again by this consumer after a while, or by another after a restart. Further fields are those of
/// [`StoredMessage`].
#[derive(Debug)]
#[must_use = "a delivery that is dropped without ack() is delivered again"]
pub struct Delivery {
    core: Arc<Core>,
    source: Source,
    message: Arc<StoredMessage>,
    began: Instant,
    traced: Option<Traced>,
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
    pub(crate) fn new(core: Arc<Core>, (source, message): Taken) -> Self {
        let traced = Traced::begin(&core, &source, &message);
        Self { core, source, message, began: Instant::now(), traced, settled: false, reason: None }
    }

    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    /// The topic of the queue it came through: its own, or that of the group's returned messages.
    pub(crate) fn queue_topic(&self) -> &str {
        self.source.whence().topic
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
        self.source.whence().broker
    }

    /// How often it was given back before.
    #[must_use]
    pub fn attempts_before(&self) -> i32 {
        self.message.reconsume_times
    }

    /// The message is dealt with.
    pub fn ack(mut self) {
        self.settle(true, true);
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
    /// No broker took it; it will be delivered again, a popped one when its invisible time is over.
    pub async fn retry_later(self) -> Result<(), RetryError> {
        self.retry_at_level(0).await
    }

    /// Like [`Delivery::retry_later`], after the delay of a level from 1 (a second) to 18 (two hours); 0: the broker chooses.
    ///
    /// # Errors
    /// As for [`Delivery::retry_later`].
    pub async fn retry_at_level(mut self, level: u8) -> Result<(), RetryError> {
        if self.core.is_broadcasting() {
            self.deliver_again(self.core.config.redeliver_after);
            return Ok(());
        }
        let spent = self.core.config.max_deliveries.is_some_and(|max| self.message.reconsume_times >= max);
        if self.source.is_in_order() && !spent {
            self.deliver_again(self.core.config.suspend_queue);
            return Ok(());
        }
        let level = if self.source.is_in_order() { -1 } else { i32::from(level.min(18)) };
        match &self.source {
            Source::Popped(_, _, popped) if level >= 0 && !spent => {
                let delay = delay_of(level, self.message.reconsume_times);
                popped::change(&self.core, popped, delay, false).await.map_err(|cause| self.not_back(&cause))?;
                self.settle(false, false);
                Ok(())
            }
            _ => self.give_back(if spent { -1 } else { level }).await,
        }
    }

    /// Gives the message to the group's dead letters at once.
    ///
    /// # Errors
    /// As for [`Delivery::retry_later`].
    pub async fn reject(self) -> Result<(), RetryError> {
        self.give_back(-1).await
    }

    async fn give_back(mut self, level: i32) -> Result<(), RetryError> {
        if let Source::Direct(direct) = &mut self.source {
            direct.tell(Verdict::Later(self.reason.take()));
        } else {
            let whence = self.source.whence();
            send_back::send_back(&self.core, whence, &self.message, level, self.reason.as_deref()).await?;
        }
        self.settle(false, true);
        Ok(())
    }

    fn not_back(&self, cause: &impl Display) -> RetryError {
        RetryError { message_id: self.message_id(), cause: cause.to_string() }
    }

    /// Counts as given back once more, and is delivered again here.
    fn deliver_again(&mut self, after: Duration) {
        let mut message = Arc::clone(&self.message);
        let again = Arc::make_mut(&mut message);
        again.reconsume_times = again.reconsume_times.saturating_add(1);
        self.put_back(message, after);
    }

    /// `ok`: as the application wanted it. `acknowledge`: a popped message's broker is still to be told that it is done.
    fn settle(&mut self, ok: bool, acknowledge: bool) {
        self.note(ok);
        self.source.done(&self.core, &self.message, acknowledge);
    }

    fn put_back(&mut self, message: Arc<StoredMessage>, after: Duration) {
        self.note(false);
        self.source.put_back(&self.core, message, after);
    }

    fn note(&mut self, ok: bool) {
        self.settled = true;
        if let Some(traced) = self.traced.take() {
            traced.end(&self.core, &self.message, self.began.elapsed(), ok);
        }
        if let Some(figures) = self.source.figures() {
            figures.settled(ok, self.began.elapsed());
        }
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

/// Delays of the levels 1 to 18, seconds: what brokers have unless they are told otherwise.
const DELAYS: [u64; 18] = [1, 5, 10, 30, 60, 120, 180, 240, 300, 360, 420, 480, 540, 600, 1200, 1800, 3600, 7200];
/// Level of the first return when the consumer leaves the choice to the library.
const FIRST_LEVEL: i32 = 3;

/// How long a popped message stays away that was given back so often before; level 0: longer each time.
fn delay_of(level: i32, given_back: i32) -> Duration {
    let level = if level > 0 { level } else { FIRST_LEVEL.saturating_add(given_back) };
    let at = usize::try_from(level - 1).unwrap_or(0).min(DELAYS.len() - 1);
    Duration::from_secs(DELAYS.get(at).copied().unwrap_or(1))
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
