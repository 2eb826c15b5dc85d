//! Sends in transactions: a message is delivered if and only if what it tells of has happened.
//!
//! ```text
//! half message ──> broker: stored, nobody sees it
//! local work   ──> decision ──> broker: delivers the message, or drops it
//!                  no decision came: the broker asks any producer of the group ──> check ──> decision
//! ```

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use orbitmq_common::message::id;
use orbitmq_common::message::message::{Message, StoredMessage};
use orbitmq_common::message::property::{self, Properties};
use orbitmq_common::message::sysflag;
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::header::transaction::EndTransactionRequest;
use tokio::time::Instant;

use crate::config::{Config, ProducerBuilder};
use crate::error::{BuildError, SendError};
use crate::producer::{Producer, Shared, choice_of, only};
use crate::questions::{self, Questions};
use crate::receipt::SendReceipt;
use crate::send::Sending;

/// Pause between two tries to tell the broker a decision.
const PAUSE: Duration = Duration::from_millis(200);

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The message is delivered.
    Commit,
    /// The message is dropped.
    Rollback,
    /// Not known yet: the broker asks later.
    Unknown,
}

/// Tells how a transaction has ended, whenever a broker asks.
///
/// Any producer of the group is asked, also another process than the one that sent the message, and one that was started since. So the
/// answer has to come from what lasts: look whether the work that the message tells of is stored. A transaction that may still be
/// going on is [`Decision::Unknown`]; or make sure that it can no longer succeed, and say [`Decision::Rollback`].
pub trait CheckBack: Send + Sync {
    /// How the transaction of this message has ended.
    fn check(&self, message: StoredMessage) -> Pin<Box<dyn Future<Output = Decision> + Send + '_>>;
}

impl<F, D> CheckBack for F
where
    F: Fn(StoredMessage) -> D + Send + Sync,
    D: Future<Output = Decision> + Send + 'static,
{
    fn check(&self, message: StoredMessage) -> Pin<Box<dyn Future<Output = Decision> + Send + '_>> {
        Box::pin(self(message))
    }
}

/// The broker does not know yet how a transaction has ended. It asks the producers of the group.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the broker does not know the end of this transaction yet and will ask for it: {cause}")]
pub struct NotTold {
    /// What the last try met with.
    pub cause: String,
}

/// What a send in a transaction brings back.
#[derive(Debug, Clone)]
pub struct TransactionReceipt {
    /// Where the half message is. Its offset is that among half messages, not that of the message consumers see.
    pub half: SendReceipt,
    /// How the transaction has ended.
    pub decision: Decision,
    /// Whether the broker has confirmed that: a committed message is as safe as any other then.
    pub told: Result<(), NotTold>,
}

/// Sends messages in transactions. Cheap to clone.
#[derive(Debug, Clone)]
pub struct TransactionProducer {
    producer: Producer,
}

impl ProducerBuilder {
    /// Builds a producer that sends in transactions; `check` answers the brokers' questions about those whose end they were not told.
    ///
    /// # Errors
    /// As for [`ProducerBuilder::build`].
    pub async fn build_transactional(self, check: impl CheckBack + 'static) -> Result<TransactionProducer, BuildError> {
        TransactionProducer::start(self.config, Arc::new(check)).await
    }
}

impl TransactionProducer {
    async fn start(config: Config, check: Arc<dyn CheckBack>) -> Result<Self, BuildError> {
        let questions = Questions::new(config.group.clone(), config.max_message_size, check);
        Ok(Self { producer: Producer::start_with(config, Some(questions)).await? })
    }

    /// The same producer, to send without transactions.
    #[must_use]
    pub fn producer(&self) -> &Producer {
        &self.producer
    }

    /// Makes itself known to the brokers of a topic, so that they can ask it about transactions of an earlier process. A send in a
    /// transaction does the same.
    ///
    /// # Errors
    /// The topic's route cannot be had.
    pub async fn be_known(&self, topic: &str) -> Result<(), SendError> {
        self.producer.queues(topic).await.map(drop)
    }

    /// Stores a message where nobody sees it, does the local work, and tells the broker its decision. The work begins when the broker
    /// has stored the message. If this future is dropped meanwhile, or the process dies, the broker asks.
    ///
    /// # Errors
    /// The half message is not stored, or not safely, and the work was not begun; see [`SendError`]. A half message that may be
    /// stored all the same is rolled back, or asked about.
    #[tracing::instrument(level = "debug", skip_all, fields(topic = message.topic))]
    pub async fn send_in_transaction<W, D>(&self, message: Message, work: W) -> Result<TransactionReceipt, SendError>
    where
        W: FnOnce(SendReceipt) -> D,
        D: Future<Output = Decision>,
    {
        let half = match self.send_half(&message).await {
            Ok(half) => half,
            Err(error) => {
                if let SendError::Unconfirmed { receipts, .. } = &error {
                    for half in receipts {
                        // It is logged; the broker asks.
                        let _ = self.tell_or_warn(half, Decision::Rollback).await;
                    }
                }
                return Err(error);
            }
        };
        let decision = work(half.clone()).await;
        let told = self.tell_or_warn(&half, decision).await;
        Ok(TransactionReceipt { half, decision, told })
    }

    /// Waits for sends in hand, as [`Producer::close`] does, and leaves.
    pub async fn close(&self) {
        self.producer.close().await;
    }

    async fn send_half(&self, message: &Message) -> Result<SendReceipt, SendError> {
        if message.delay_level > 0 {
            let cause = "in a transaction it cannot have a delay: brokers of RocketMQ's lose its topic then";
            return Err(SendError::Message(cause.to_owned()));
        }
        let (began, shared) = (Instant::now(), self.producer.shared());
        let mut parcel = self.producer.pack(message)?;
        let mut properties = Properties::parse(&parcel.properties);
        let refuse = |error: property::PropertyError| SendError::Message(error.to_string());
        properties.set(property::TRANSACTION_PREPARED, "true").map_err(refuse)?;
        properties.set(property::PRODUCER_GROUP, &shared.config.group).map_err(refuse)?;
        parcel.properties = properties.into_text();
        parcel.sys_flag = sysflag::with_transaction(parcel.sys_flag, sysflag::TRANSACTION_PREPARED);
        let room = self.producer.room(parcel.body.len() + parcel.properties.len(), began).await?;
        only(Sending::new(Arc::clone(shared), parcel, choice_of(message), began, room).run(None).await?)
    }

    async fn tell_or_warn(&self, half: &SendReceipt, decision: Decision) -> Result<(), NotTold> {
        if decision == Decision::Unknown {
            return Err(NotTold { cause: "the decision is not known yet".to_owned() });
        }
        let told = tell(self.producer.shared(), half, decision).await.map_err(|cause| NotTold { cause });
        if let Err(error) = &told {
            tracing::warn!(message = half.message_id, ?decision, %error);
        }
        told
    }
}

/// Tells the broker until it has confirmed, or time is over.
async fn tell(shared: &Shared, half: &SendReceipt, decision: Decision) -> Result<(), String> {
    let deadline = Instant::now() + shared.config.send_timeout;
    let (_, physical) = id::parse_offset_id(&half.offset_message_id).map_err(|error| error.to_string())?;
    let fields = questions::end(half, i64::try_from(physical).unwrap_or(-1), &shared.config.group, decision);
    loop {
        let cause = match try_to_tell(shared, half, &fields).await {
            Told::Done => return Ok(()),
            Told::Never(cause) => return Err(cause),
            Told::NotYet(cause) => cause,
        };
        if Instant::now() + PAUSE >= deadline {
            return Err(cause);
        }
        shared.finder.stale(&half.topic);
        tokio::time::sleep(PAUSE).await;
    }
}

enum Told {
    Done,
    /// Another try makes sense.
    NotYet(String),
    Never(String),
}

async fn try_to_tell(shared: &Shared, half: &SendReceipt, fields: &EndTransactionRequest<'_>) -> Told {
    let route = shared.finder.table().get(&half.topic);
    let Some(address) = route.as_ref().and_then(|route| route.master(&half.broker)) else {
        return Told::NotYet(format!("broker {} has no master now", half.broker));
    };
    let link = match shared.links.get(address, shared.config.client.connect_timeout).await {
        Ok(link) => link,
        Err(error) => return Told::NotYet(error.to_string()),
    };
    let frame = link.request(request::END_TRANSACTION).with_fields(fields);
    match link.call(frame, shared.config.try_timeout).await {
        Ok(answer) => match answer.code {
            response::SUCCESS => Told::Done,
            response::SYSTEM_BUSY
            | response::SERVICE_NOT_AVAILABLE
            | response::SLAVE_NOT_AVAILABLE
            | response::FLUSH_DISK_TIMEOUT
            | response::FLUSH_SLAVE_TIMEOUT
            | response::GO_AWAY => Told::NotYet(answer.remark.unwrap_or_default()),
            code => Told::Never(format!("code {code}: {}", answer.remark.unwrap_or_default())),
        },
        // A broker of ours ends a half message once, however often it is told; RocketMQ's delivers the message again.
        Err(error) if link.speaks_message_pack() || error.never_sent() => Told::NotYet(error.to_string()),
        Err(error) => Told::Never(error.to_string()),
    }
}
