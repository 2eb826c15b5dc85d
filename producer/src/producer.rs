//! The producer: what users hold, and what its sends share.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use orbitmq_common::clock::now_ms;
use orbitmq_common::message::id::UniqueIds;
use orbitmq_common::message::message::Message;
use orbitmq_common::message::record::SHORT_MAX;
use orbitmq_common::message::{compress, property, sysflag};
use orbitmq_common::name;
use orbitmq_common::net::client::Client;
use orbitmq_common::net::connection::Handler;
use orbitmq_common::route::courier::Courier;
use orbitmq_common::route::finder::RouteFinder;
use orbitmq_common::route::identity;
use orbitmq_common::route::links::Links;
use orbitmq_common::route::table::Queue;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::avoid::Avoided;
use crate::batch;
use crate::choose::{Choice, Choose};
use crate::config::{Config, ProducerBuilder};
use crate::error::{BatchError, BuildError, RecallError, SendError};
use crate::heartbeat;
use crate::notices::Notices;
use crate::questions::Questions;
use crate::recall;
use crate::receipt::{Pending, SendReceipt};
use crate::send::{Parcel, Room, Sending};

/// Room that brokers need in the properties for what they add.
const PROPERTIES_RESERVE: usize = 512;
/// How long closing waits for answers that are still due.
const CLOSE_WITHIN: Duration = Duration::from_secs(15);

/// What all sends share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub config: Config,
    pub links: Arc<Links>,
    pub finder: RouteFinder,
    pub avoided: Avoided,
    pub client_id: String,
    pub stopped: CancellationToken,
    pub notices: Arc<Notices>,
    pub courier: Option<Arc<Courier>>,
    ids: UniqueIds,
    messages: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    closing: CancellationToken,
}

impl Shared {
    pub(crate) fn next_id(&self) -> String {
        self.ids.next_id()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.stopped.cancel();
        self.finder.stop();
        self.links.close();
    }
}

/// Sends messages. Cheap to clone; all clones share connections, routes and limits.
#[derive(Debug, Clone)]
pub struct Producer {
    shared: Arc<Shared>,
}

impl Producer {
    /// Starts collecting settings.
    #[must_use]
    pub fn builder() -> ProducerBuilder {
        ProducerBuilder::default()
    }

    pub(crate) async fn start_with(config: Config, questions: Option<Questions>) -> Result<Self, BuildError> {
        name::check_group(&config.group)?;
        let notices = Arc::new(Notices::new(questions));
        let client = Client::with_handler(config.client.clone(), Arc::clone(&notices) as Arc<dyn Handler>);
        let links = Arc::new(Links::new(Arc::new(client)));
        let finder = RouteFinder::new(Arc::clone(&links), config.nameservers.clone(), config.finder.clone())?;
        let own = identity::own_address(&config.nameservers).await;
        let traces_to =
            |topic: &String| Arc::new(Courier::new(topic, &config.group, Arc::clone(&links), finder.clone()));
        let courier = config.trace.as_ref().map(traces_to);
        let shared = Arc::new(Shared {
            links,
            finder,
            avoided: Avoided::default(),
            client_id: identity::client_id(own),
            stopped: CancellationToken::new(),
            notices,
            courier,
            ids: UniqueIds::new(own),
            messages: Arc::new(Semaphore::new(config.max_in_flight.min(permits(usize::MAX)))),
            bytes: Arc::new(Semaphore::new(permits(config.max_bytes_in_flight))),
            closing: CancellationToken::new(),
            config,
        });
        let (stopped, changes) = (shared.stopped.clone(), shared.finder.changes());
        tokio::spawn(heartbeat::run(Arc::downgrade(&shared), stopped, changes));
        if let Some(courier) = shared.courier.clone() {
            let stopped = shared.stopped.clone();
            tokio::spawn(async move {
                tokio::select! { () = stopped.cancelled() => {}, () = courier.run() => {} }
            });
        }
        Ok(Self { shared })
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The id under which brokers know this producer.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.shared.client_id
    }

    /// The queues that a message of this topic may go to now, sorted by broker and number.
    ///
    /// # Errors
    /// The topic's route cannot be had.
    pub async fn queues(&self, topic: &str) -> Result<Vec<Queue>, SendError> {
        let shared = &self.shared;
        let found = shared.finder.find_or_default(topic, shared.config.default_topic_queues);
        let route = tokio::time::timeout(shared.config.send_timeout, found).await;
        let late = |_| SendError::Route(shared.finder.silent(topic, shared.config.send_timeout));
        Ok(route.map_err(late)??.writable.clone())
    }

    /// Sends a message and waits until a broker has stored it. Messages with one sharding key go to one queue, others to
    /// queues in turn.
    ///
    /// # Errors
    /// See [`SendError`].
    #[tracing::instrument(level = "debug", skip_all, fields(topic = message.topic))]
    pub async fn send(&self, message: Message) -> Result<SendReceipt, SendError> {
        let choice = choice_of(&message);
        only(self.sending(&message, choice).await?.run(None).await?)
    }

    /// Sends a message to one queue.
    ///
    /// # Errors
    /// See [`SendError`].
    #[tracing::instrument(level = "debug", skip_all, fields(topic = message.topic))]
    pub async fn send_to(&self, message: Message, queue: &Queue) -> Result<SendReceipt, SendError> {
        only(self.sending(&message, Choice::Fixed(queue.clone())).await?.run(None).await?)
    }

    /// Sends a message to the queue that a rule of the caller's chooses.
    ///
    /// # Errors
    /// See [`SendError`].
    #[tracing::instrument(level = "debug", skip_all, fields(topic = message.topic))]
    pub async fn send_by(&self, message: Message, choose: Arc<dyn Choose>) -> Result<SendReceipt, SendError> {
        let choice = Choice::Custom(choose, Arc::new(message.clone()));
        only(self.sending(&message, choice).await?.run(None).await?)
    }

    /// Starts a send and hands it out to be awaited later. Waits only for room among the sends in hand and for a connection;
    /// messages started one after the other for one queue reach it in that order, unless one has to be tried again.
    ///
    /// # Errors
    /// The send could not be started; see [`SendError`].
    pub async fn start(&self, message: Message) -> Result<Pending, SendError> {
        let (done, result) = oneshot::channel();
        self.launch(message, move |outcome| drop(done.send(outcome))).await?;
        Ok(Pending { result })
    }

    /// Starts a send and has `done` called with its outcome.
    ///
    /// # Errors
    /// The send could not be started, and `done` is not called; see [`SendError`].
    pub async fn send_with_callback(
        &self,
        message: Message,
        done: impl FnOnce(Result<SendReceipt, SendError>) + Send + 'static,
    ) -> Result<(), SendError> {
        self.launch(message, done).await
    }

    async fn launch(
        &self,
        message: Message,
        done: impl FnOnce(Result<SendReceipt, SendError>) + Send + 'static,
    ) -> Result<(), SendError> {
        let mut sending = self.sending(&message, choice_of(&message)).await?;
        let first = sending.begin().await?;
        tokio::spawn(async move { done(sending.run(Some(first)).await.and_then(only)) });
        Ok(())
    }

    /// Sends a message without waiting for an answer: it may be lost without a word.
    ///
    /// # Errors
    /// No broker could be reached at all; see [`SendError`].
    pub async fn send_oneway(&self, message: Message) -> Result<(), SendError> {
        self.sending(&message, choice_of(&message)).await?.tell().await
    }

    /// Sends messages of one topic in as few requests as their sizes allow, each request to one queue. Receipts come in the
    /// order of the messages.
    ///
    /// # Errors
    /// See [`BatchError`]: it holds the receipts of what was sent before.
    #[tracing::instrument(level = "debug", skip_all, fields(messages = messages.len()))]
    pub async fn send_batch(&self, messages: Vec<Message>) -> Result<Vec<SendReceipt>, BatchError> {
        let total = messages.len();
        let mut sent = Vec::with_capacity(total);
        let parts = match batch::split(&messages, &self.shared.config, || self.shared.ids.next_id()) {
            Ok(parts) => parts,
            Err(cause) => return Err(BatchError { sent, total, cause }),
        };
        for part in parts {
            let began = Instant::now();
            let outcome = match self.room(part.body.len(), began).await {
                Ok(room) => Sending::new(Arc::clone(&self.shared), part, Choice::Turn, began, room).run(None).await,
                Err(cause) => Err(cause),
            };
            match outcome {
                Ok(receipts) => sent.extend(receipts),
                Err(cause) => return Err(BatchError { sent, total, cause }),
            }
        }
        Ok(sent)
    }

    /// Takes a message back that is not due yet: once this returns it is never delivered. Returns its id. Asking again does no
    /// harm.
    ///
    /// # Errors
    /// See [`RecallError`].
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn recall(&self, handle: &str) -> Result<String, RecallError> {
        recall::run(&self.shared, handle).await
    }

    /// Takes no more messages, waits for the answers still due (at most 15 s), and tells the brokers good-bye.
    pub async fn close(&self) {
        let shared = &self.shared;
        shared.closing.cancel();
        let all = permits(shared.config.max_in_flight);
        let done = shared.messages.acquire_many(u32::try_from(all).unwrap_or(u32::MAX));
        if tokio::time::timeout(CLOSE_WITHIN, done).await.is_err() {
            tracing::warn!("closing although some sends still wait for their answers");
        }
        if let Some(courier) = &shared.courier
            && tokio::time::timeout(CLOSE_WITHIN, courier.flush()).await.is_err()
        {
            tracing::warn!("closing although some traces were not sent");
        }
        heartbeat::unregister(shared).await;
        shared.stopped.cancel();
        shared.finder.stop();
        shared.links.close();
    }

    async fn sending(&self, message: &Message, choice: Choice) -> Result<Sending, SendError> {
        let began = Instant::now();
        let parcel = self.pack(message)?;
        let room = self.room(parcel.body.len() + parcel.properties.len(), began).await?;
        Ok(Sending::new(Arc::clone(&self.shared), parcel, choice, began, room))
    }

    pub(crate) fn pack(&self, message: &Message) -> Result<Parcel, SendError> {
        let config = &self.shared.config;
        check_topic(&message.topic)?;
        let id = self.shared.ids.next_id();
        let properties = properties_of(message, &id)?;
        let (body, sys_flag) = packed_body(&message.body, config.compress_over)?;
        let size = body.len() + properties.len();
        if size > config.max_message_size {
            return Err(SendError::TooLarge { size, limit: config.max_message_size });
        }
        Ok(Parcel {
            topic: message.topic.clone(),
            body,
            properties,
            sys_flag,
            flag: message.flag,
            born: now_ms(),
            batch: false,
            ids: vec![id],
        })
    }

    /// Waits for a place among the sends in hand.
    pub(crate) async fn room(&self, size: usize, began: Instant) -> Result<Room, SendError> {
        let shared = &self.shared;
        let bytes = u32::try_from(size.clamp(1, permits(shared.config.max_bytes_in_flight))).unwrap_or(u32::MAX);
        if shared.closing.is_cancelled() {
            return Err(SendError::Closed);
        }
        let message = Arc::clone(&shared.messages).try_acquire_owned();
        if let (Ok(message), Ok(bytes)) = (message, Arc::clone(&shared.bytes).try_acquire_many_owned(bytes)) {
            return Ok(Room { _message: message, _bytes: bytes });
        }
        let both = async {
            let message = Arc::clone(&shared.messages).acquire_owned().await.map_err(|_| SendError::Closed)?;
            let bytes = Arc::clone(&shared.bytes).acquire_many_owned(bytes).await.map_err(|_| SendError::Closed)?;
            Ok(Room { _message: message, _bytes: bytes })
        };
        let limit = shared.config.send_timeout;
        tokio::select! {
            biased;
            () = shared.closing.cancelled() => Err(SendError::Closed),
            room = tokio::time::timeout_at(began + limit, both) => room.map_err(|_| SendError::NoRoom(limit))?,
        }
    }
}

fn permits(wanted: usize) -> usize {
    wanted.min(Semaphore::MAX_PERMITS).min(1 << 31)
}

pub(crate) fn choice_of(message: &Message) -> Choice {
    message.sharding_key.clone().map_or(Choice::Turn, Choice::Key)
}

pub(crate) fn only(receipts: Vec<SendReceipt>) -> Result<SendReceipt, SendError> {
    receipts.into_iter().next().ok_or(SendError::Closed)
}

pub(crate) fn check_topic(topic: &str) -> Result<(), SendError> {
    name::check_topic(topic)?;
    if name::is_closed_to_senders(topic) {
        return Err(SendError::Message(format!("topic '{topic}' belongs to the brokers: send to a topic of your own")));
    }
    Ok(())
}

/// The properties as they travel, with the message's id.
pub(crate) fn properties_of(message: &Message, id: &str) -> Result<String, SendError> {
    let mut properties = message.encode_properties()?;
    properties.push(property::UNIQ_KEY, id).map_err(|error| SendError::Message(error.to_string()))?;
    let text = properties.into_text();
    let limit = SHORT_MAX - PROPERTIES_RESERVE;
    if text.len() > limit {
        let size = text.len();
        return Err(SendError::Message(format!("its properties take {size} bytes, {limit} are allowed: use the body")));
    }
    Ok(text)
}

fn packed_body(body: &Bytes, compress_over: Option<usize>) -> Result<(Bytes, u32), SendError> {
    if compress_over.is_none_or(|limit| body.len() <= limit) {
        return Ok((body.clone(), 0));
    }
    let packed = compress::compress_zlib(body).map_err(|error| SendError::Message(error.to_string()))?;
    Ok((packed, sysflag::COMPRESSED | sysflag::COMPRESSION_ZLIB))
}
