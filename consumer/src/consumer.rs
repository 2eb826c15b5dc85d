//! The consumer: what users hold, how it starts, and how it ends.

use std::fmt::Display;
use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use futures_util::FutureExt;
use orbitmq_common::filter::condition::Condition;
use orbitmq_common::message::message::StoredMessage;
use orbitmq_common::name;
use orbitmq_common::net::client::Client;
use orbitmq_common::route::error::RouteError;
use orbitmq_common::route::finder::RouteFinder;
use orbitmq_common::route::identity;
use orbitmq_common::route::links::Links;
use tokio::sync::Semaphore;

use crate::broadcast::LocalOffsets;
use crate::config::{Config, ConsumerBuilder};
use crate::core::Core;
use crate::deliver::{self, Delivery};
use crate::error::BuildError;
use crate::modes::{Fetch, Mode, Part, Subscription};
use crate::notices::Notices;
use crate::pop::{hand, keep};
use crate::troubles::Trouble;
use crate::{commit, heartbeat, locks, rebalance};

/// Ends the background work when the last handle is gone.
#[derive(Debug)]
struct Handle {
    core: Arc<Core>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.core.closing.cancel();
        self.core.stopped.cancel();
        drop(self.core.shelf.close());
        self.core.finder.stop();
        self.core.links.close();
    }
}

/// Takes messages for a group. Cheap to clone; clones share the messages among them.
#[derive(Debug, Clone)]
pub struct Consumer {
    handle: Arc<Handle>,
}

impl Consumer {
    /// Starts collecting settings.
    #[must_use]
    pub fn builder() -> ConsumerBuilder {
        ConsumerBuilder::default()
    }

    pub(crate) async fn start_with(config: Config) -> Result<Self, BuildError> {
        name::check_group(&config.group)?;
        let subscriptions = subscriptions(&config)?;
        let local = match &config.mode {
            Mode::Broadcasting(directory) => Some(
                LocalOffsets::open(directory.as_deref(), &config.group)
                    .map_err(|(path, cause)| BuildError::Offsets { path, cause })?,
            ),
            Mode::Clustering | Mode::Ordered => None,
        };
        let notices = Arc::new(Notices::default());
        let client = Client::with_handler(config.client.clone(), Arc::<Notices>::clone(&notices));
        let links = Arc::new(Links::new(Arc::new(client)));
        let finder = RouteFinder::new(Arc::clone(&links), config.nameservers.clone(), config.finder.clone())?;
        let own = identity::own_address(&config.nameservers).await;
        let client_id = match &config.instance {
            Some(instance) => format!("{own}@{instance}"),
            None => identity::client_id(own),
        };
        let rebalance = Arc::clone(&notices.rebalance);
        let core = Arc::new(Core::new(config, subscriptions, client_id, links, finder, local, rebalance));
        drop(notices.core.set(Arc::downgrade(&core)));
        let consumer = Self { handle: Arc::new(Handle { core }) };
        consumer.find_topics().await?;
        consumer.begin();
        Ok(consumer)
    }

    /// Asks for the topics' routes once. Topics that are not there yet are no error, silent name servers are.
    async fn find_topics(&self) -> Result<(), BuildError> {
        let core = &self.handle.core;
        for subscription in &core.subscriptions {
            match core.finder.find(&subscription.topic).await {
                Ok(_) => {}
                Err(error @ RouteError::NotFound { .. }) => {
                    tracing::debug!(topic = %subscription.topic, %error, "the topic is waited for");
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn begin(&self) {
        let core = &self.handle.core;
        self.spawn(heartbeat::run(Arc::clone(core)));
        self.spawn(rebalance::run(Arc::clone(core)));
        self.spawn(commit::run(Arc::clone(core)));
        self.spawn(deliver::redeliver(Arc::clone(core)));
        if core.is_ordered() {
            self.spawn(locks::run(Arc::clone(core)));
        }
        if core.courier.is_some() {
            let core = Arc::clone(core);
            self.spawn_until_stopped(async move {
                if let Some(courier) = &core.courier {
                    courier.run().await;
                }
            });
        }
        if core.config.fetch != Fetch::Pull {
            self.spawn_until_stopped(keep::run(Arc::clone(core)));
        }
    }

    /// Background work ends when closing begins; what closing needs it does itself.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let closing = self.handle.core.closing.clone();
        self.handle.core.tasks.spawn(async move {
            tokio::select! { () = closing.cancelled() => {}, () = work => {} }
        });
    }

    /// What is needed while deliveries are still in hand.
    fn spawn_until_stopped(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stopped = self.handle.core.stopped.clone();
        tokio::spawn(async move {
            tokio::select! { () = stopped.cancelled() => {}, () = work => {} }
        });
    }

    /// The id under which brokers know this consumer.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.handle.core.client_id
    }

    /// The queues that this consumer holds now: topic, broker, number, and the offset up to which all is done. Of what is popped
    /// the number is -1 where all queues of a broker are meant, and there is no offset.
    #[must_use]
    pub fn queues(&self) -> Vec<HeldQueue> {
        let held = self.handle.core.held_queues();
        let of = |queue: &Arc<crate::queue::Assigned>| HeldQueue {
            topic: queue.topic.as_ref().to_owned(),
            broker: queue.queue.broker.as_ref().to_owned(),
            id: queue.queue.id,
            position: queue.position(),
        };
        let popped = self.handle.core.held_lanes();
        let of_lane = |lane: &Arc<crate::pop::lane::Lane>| HeldQueue {
            topic: lane.topic.as_ref().to_owned(),
            broker: lane.broker.as_ref().to_owned(),
            id: lane.queue,
            position: None,
        };
        held.iter().map(of).chain(popped.iter().map(of_lane)).collect()
    }

    /// Popped messages that were here for longer than nobody else could have them, so that the group was given them again: their
    /// broker could not be told in time that they were in hand, or done.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.handle.core.desks.lost()
    }

    /// What keeps this consumer from its messages now; empty when nothing does.
    #[must_use]
    pub fn troubles(&self) -> Vec<Trouble> {
        self.handle.core.troubles.all()
    }

    /// The next delivery; `None` once the consumer is closed.
    pub async fn next(&self) -> Option<Delivery> {
        poll_fn(|cx| self.poll_delivery(cx)).await
    }

    fn poll_delivery(&self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        let core = &self.handle.core;
        core.shelf.poll_take(core, cx).map(|taken| taken.map(|taken| Delivery::new(Arc::clone(core), taken)))
    }

    /// Up to `max` deliveries: what is there at once, else what comes first within `timeout`, else none.
    pub async fn poll(&self, max: usize, timeout: Duration) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        if max == 0 {
            return deliveries;
        }
        if let Ok(Some(first)) = tokio::time::timeout(timeout, self.next()).await {
            deliveries.push(first);
        }
        while !deliveries.is_empty() && deliveries.len() < max {
            let core = &self.handle.core;
            let Some(taken) = core.shelf.take_now(core) else { break };
            deliveries.push(Delivery::new(Arc::clone(core), taken));
        }
        deliveries
    }

    /// Hands every message to `handler`, several at once as [`ConsumerBuilder::concurrency`] says, until the consumer is
    /// closed. `Ok` acknowledges a message; an error or a panic gives it back for later, with
    /// the error as the reason.
    pub async fn run<H, F, E>(&self, handler: H)
    where
        H: Fn(Arc<StoredMessage>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Display + Send + 'static,
    {
        let core = &self.handle.core;
        let slots = Arc::new(Semaphore::new(core.config.concurrency.min(Semaphore::MAX_PERMITS)));
        let handler = Arc::new(handler);
        loop {
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
            let Some(delivery) = self.next().await else { break };
            let handler = Arc::clone(&handler);
            tokio::spawn(async move {
                handle(delivery, handler.as_ref()).await;
                drop(slot);
            });
        }
        let all = u32::try_from(core.config.concurrency).unwrap_or(u32::MAX);
        drop(slots.acquire_many(all).await);
    }

    /// Stops fetching and delivering, waits for deliveries in hand (at most [`ConsumerBuilder::close_within`]), stores
    /// offsets, gives locks back and tells the brokers good-bye. All clones end.
    pub async fn close(&self) {
        let core = &self.handle.core;
        core.closing.cancel();
        // Others may have at once what was popped and not delivered.
        for hand in core.shelf.close() {
            hand::offer(core, &hand);
        }
        core.tasks.close();
        let within = core.config.close_within;
        let queues = core.held_queues();
        if tokio::time::timeout(within, all_settled(core)).await.is_err() {
            let pulled: usize = queues.iter().map(|queue| queue.in_hand()).sum();
            let left = pulled + core.in_hand.all().len();
            tracing::warn!(left, "closing although some deliveries are not settled; they will be delivered again");
        }
        let farewell = async {
            core.tasks.wait().await;
            commit::commit(core, &queues).await;
            if core.is_ordered() {
                locks::unlock(core, &queues).await;
            }
            if let Some(courier) = &core.courier {
                courier.flush().await;
            }
            heartbeat::unregister(core).await;
        };
        if tokio::time::timeout(within, farewell).await.is_err() {
            tracing::warn!("closing although some brokers did not take the last offsets");
        }
        core.stopped.cancel();
        core.finder.stop();
        core.links.close();
    }
}

impl Stream for Consumer {
    type Item = Delivery;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        self.poll_delivery(cx)
    }
}

/// A queue that a consumer holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldQueue {
    /// The topic.
    pub topic: String,
    /// Name of the broker.
    pub broker: String,
    /// Number of the queue.
    pub id: i32,
    /// The offset before which everything is done; `None`: not begun.
    pub position: Option<i64>,
}

async fn handle<H, F, E>(delivery: Delivery, handler: &H)
where
    H: Fn(Arc<StoredMessage>) -> F,
    F: Future<Output = Result<(), E>>,
    E: Display,
{
    let message = Arc::clone(delivery.message());
    let outcome = AssertUnwindSafe(async { handler(message).await }).catch_unwind().await;
    let cause = match outcome {
        Ok(Ok(())) => return delivery.ack(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the handler panicked".to_owned(),
    };
    tracing::warn!(id = delivery.message_id(), topic = delivery.topic(), cause, "a message is given back for later");
    if let Err(error) = delivery.because(cause).retry_later().await {
        tracing::warn!(%error, "giving a message back failed");
    }
}

async fn all_settled(core: &Core) {
    loop {
        let settled = core.settled.notified();
        tokio::pin!(settled);
        settled.as_mut().enable();
        if core.in_hand.is_empty() && core.held_queues().iter().all(|queue| queue.in_hand() == 0) {
            return;
        }
        settled.await;
    }
}

fn subscriptions(config: &Config) -> Result<Vec<Subscription>, BuildError> {
    let mut subscriptions: Vec<Subscription> = Vec::new();
    for (topic, kind, expression) in &config.subscriptions {
        name::check_topic(topic)?;
        let tags = if *kind == "TAG" {
            tags(topic, expression)?
        } else {
            Condition::parse(expression).map_err(|cause| BuildError::Condition { topic: topic.clone(), cause })?;
            Vec::new()
        };
        let expression = if expression.trim().is_empty() { "*".to_owned() } else { expression.clone() };
        let part = part(config, topic, kind)?;
        let subscription =
            Subscription { topic: topic.as_str().into(), kind, expression, tags, part, given_back_of: None };
        subscriptions.retain(|known| known.topic != subscription.topic);
        subscriptions.push(subscription);
    }
    if subscriptions.is_empty() {
        return Err(BuildError::NoTopic);
    }
    if !matches!(config.mode, Mode::Broadcasting(_)) {
        let everything = |topic: String, given_back_of| {
            let (topic, expression) = (topic.into(), "*".to_owned());
            Subscription { topic, kind: "TAG", expression, tags: Vec::new(), part: None, given_back_of }
        };
        let group = &config.group;
        if config.fetch == Fetch::ByGroup {
            let popped = subscriptions.iter().map(|one| Arc::clone(&one.topic));
            let given_back = popped.map(|of| everything(name::pop_retry_topic(group, &of), Some(of)));
            subscriptions.extend(given_back.collect::<Vec<_>>());
        }
        subscriptions.push(everything(name::retry_topic(group), None));
    }
    Ok(subscriptions)
}

/// What this member alone takes of a topic.
fn part(config: &Config, topic: &str, kind: &str) -> Result<Option<Part>, BuildError> {
    let Some(expression) = &config.part else { return Ok(None) };
    if !matches!(config.mode, Mode::Broadcasting(_)) || kind != "TAG" {
        return Err(BuildError::Part);
    }
    Ok(Some(Part { expression: expression.clone(), tags: tags(topic, expression)? }))
}

/// The tags of `TagA || TagB`; none for `*`.
fn tags(topic: &str, expression: &str) -> Result<Vec<String>, BuildError> {
    let expression = expression.trim();
    if expression.is_empty() || expression == "*" {
        return Ok(Vec::new());
    }
    let tags: Vec<String> =
        expression.split("||").map(str::trim).filter(|tag| !tag.is_empty()).map(str::to_owned).collect();
    if tags.is_empty() || tags.iter().any(|tag| tag == "*") {
        return Err(BuildError::Filter { topic: topic.to_owned(), expression: expression.to_owned() });
    }
    Ok(tags)
}

#[cfg(test)]
mod tests;
