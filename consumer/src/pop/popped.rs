//! A popped message with its receipt, and changing for how long nobody else sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use orbitmq_common::message::message::StoredMessage;
use orbitmq_common::message::receipt::{Origin, Receipt};
use orbitmq_common::net::client::Link;
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::header::pop::{InvisibleRequest, InvisibleResponse};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::core::Core;

/// When somebody else may get a message. Messages popped in order from one queue share it.
pub(crate) type Until = Arc<Mutex<Instant>>;

/// The part of a receipt that changes with the invisible time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Ticket {
    pub start: i64,
    pub pop_time: i64,
    pub invisible: i64,
    pub revive_queue: i32,
}

/// Where a message lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub origin: Origin,
    pub queue: i32,
    pub offset: i64,
}

/// A message that this consumer has for a time.
#[derive(Debug)]
pub(crate) struct Popped {
    message: Mutex<Arc<StoredMessage>>,
    /// The topic that was asked for.
    pub asked: Arc<str>,
    pub broker: Arc<str>,
    /// Where it lies: the kind of topic, the queue, the offset.
    pub origin: Origin,
    pub queue: i32,
    pub offset: i64,
    /// Held while the invisible time is being changed: whoever acknowledges meanwhile would show a receipt that is over.
    pub ticket: tokio::sync::Mutex<Ticket>,
    pub until: Until,
    settled: AtomicBool,
}

/// A popped message is not kept for longer, or not given back.
#[derive(Debug)]
pub(crate) enum ChangeError {
    /// Its time was over: the group has it again.
    Over,
    /// No broker has confirmed the change.
    Failed(String),
}

impl Popped {
    pub(crate) fn new(
        message: StoredMessage,
        asked: Arc<str>,
        broker: Arc<str>,
        place: Place,
        (ticket, until): (Ticket, Until),
    ) -> Self {
        Self {
            message: Mutex::new(Arc::new(message)),
            asked,
            broker,
            origin: place.origin,
            queue: place.queue,
            offset: place.offset,
            ticket: tokio::sync::Mutex::new(ticket),
            until,
            settled: AtomicBool::new(false),
        }
    }

    pub(crate) fn message(&self) -> Arc<StoredMessage> {
        Arc::clone(&self.message.lock())
    }

    /// It is delivered again here, and counts one more return.
    pub(crate) fn replace_message(&self, message: Arc<StoredMessage>) {
        *self.message.lock() = message;
    }

    /// The receipt in the form that travels.
    pub(crate) fn receipt(&self, ticket: &Ticket) -> String {
        let Ticket { start, pop_time, invisible, revive_queue } = *ticket;
        let (origin, broker) = (self.origin, self.broker.as_ref());
        Receipt { start, pop_time, invisible, revive_queue, origin, broker, queue: self.queue, offset: self.offset }
            .to_string()
    }

    /// The topic that it lies in.
    pub(crate) fn real_topic(&self, group: &str) -> String {
        let origin = (self.origin as u8).to_string();
        Origin::real_topic(&origin, &self.asked, group).unwrap_or((&*self.asked).into()).into_owned()
    }

    /// Whether its time is over, as far as is known here.
    pub(crate) fn is_over(&self) -> bool {
        *self.until.lock() <= Instant::now()
    }

    /// It is not kept for longer from now on.
    pub(crate) fn settle(&self) {
        self.settled.store(true, Ordering::Release);
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Acquire)
    }
}

/// The master that knows the receipts of a broker's messages.
pub(crate) fn master_of(core: &Core, asked: &str, broker: &str) -> Result<String, String> {
    let route = core.finder.table().get(asked);
    let master = route.as_ref().and_then(|route| route.master(broker)).map(str::to_owned);
    master.ok_or_else(|| format!("broker {broker} has no master now"))
}

/// Gives a message this invisible time from now on; zero: somebody may have it at once. `renew`: leaves one alone that is
/// settled meanwhile.
pub(crate) async fn change(core: &Core, popped: &Popped, invisible: Duration, renew: bool) -> Result<(), ChangeError> {
    let mut ticket = popped.ticket.lock().await;
    if renew && popped.is_settled() {
        return Ok(());
    }
    let (receipt, topic) = (popped.receipt(&ticket), popped.real_topic(&core.config.group));
    let fields = InvisibleRequest {
        consumer_group: core.config.group.as_str().into(),
        topic: topic.as_str().into(),
        queue_id: popped.queue,
        extra_info: receipt.as_str().into(),
        offset: popped.offset,
        invisible_time: i64::try_from(invisible.as_millis()).unwrap_or(i64::MAX),
    };
    let address = master_of(core, &popped.asked, &popped.broker).map_err(ChangeError::Failed)?;
    let question = |link: &Link| link.request(request::CHANGE_MESSAGE_INVISIBLETIME).with_fields(&fields);
    let answer = core.ask(&address, question, core.config.call_timeout).await;
    let answer = answer.map_err(|error| ChangeError::Failed(error.to_string()))?;
    match answer.code {
        response::SUCCESS => {
            let told: InvisibleResponse = answer.fields().map_err(|error| ChangeError::Failed(error.to_string()))?;
            *ticket = Ticket {
                start: popped.offset,
                pop_time: told.pop_time,
                invisible: told.invisible_time,
                revive_queue: told.revive_qid,
            };
            *popped.until.lock() = Instant::now() + invisible;
            Ok(())
        }
        response::NO_MESSAGE => {
            *popped.until.lock() = Instant::now();
            Err(ChangeError::Over)
        }
        code => Err(ChangeError::Failed(format!("code {code}: {}", answer.remark.unwrap_or_default()))),
    }
}

impl std::fmt::Display for ChangeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Over => f.write_str("its invisible time was over, and the group has it again"),
            Self::Failed(cause) => f.write_str(cause),
        }
    }
}
