//! One send: tries brokers until one has stored the message, the deadline passes, or a broker refuses for good.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use orbitmq_common::message::sysflag;
use orbitmq_common::net::client::Link;
use orbitmq_common::net::peer::{Answer, CallError};
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::send::{MAYBE_STORED, SendRequestV2, SendResponse};
use orbitmq_common::route::error::RouteError;
use orbitmq_common::route::table::{Queue, Route};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

use crate::choose::Choice;
use crate::error::{FailedTry, SendError};
use crate::mastership::is_about_mastership;
use crate::producer::Shared;
use crate::receipt::{SendReceipt, Unconfirmed};
use crate::trace;
use crate::tries::Tries;

/// What goes over the wire: a message, or several as one batch.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub topic: String,
    pub body: Bytes,
    pub properties: String,
    pub sys_flag: u32,
    pub flag: i32,
    pub born: i64,
    pub batch: bool,
    /// The messages' own ids; one, unless it is a batch.
    pub ids: Vec<String>,
}

/// Keeps the place of a send among those in hand.
#[derive(Debug)]
pub(crate) struct Room {
    pub _message: OwnedSemaphorePermit,
    pub _bytes: OwnedSemaphorePermit,
}

/// Pauses before the next try: 10 ms at first, doubled up to this.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// A broker silent for so long may have been replaced: the route is looked at while the answer is awaited.
const SILENT: Duration = Duration::from_millis(300);
pub(crate) struct Sending {
    pub shared: Arc<Shared>,
    pub parcel: Parcel,
    pub choice: Choice,
    pub began: Instant,
    pub deadline: Instant,
    tries: Tries,
    pauses: u32,
    /// Changes of routes, from the first failed try on.
    changes: Option<watch::Receiver<u64>>,
    _room: Room,
}

/// A request that is on its way.
pub(crate) struct InHand {
    answer: Answer,
    link: Link,
    queue: Queue,
    /// The route that led to this broker.
    route: Arc<Route>,
    sent: Instant,
}

impl Sending {
    pub(crate) fn new(shared: Arc<Shared>, parcel: Parcel, choice: Choice, began: Instant, room: Room) -> Self {
        let deadline = began + shared.config.send_timeout;
        Self { shared, parcel, choice, began, deadline, tries: Tries::default(), pauses: 0, changes: None, _room: room }
    }

    /// Sends, and tries again until it is decided.
    pub(crate) async fn run(mut self, first: Option<InHand>) -> Result<Vec<SendReceipt>, SendError> {
        let mut next = first;
        loop {
            let in_hand = match next.take() {
                Some(in_hand) => in_hand,
                None => self.begin().await?,
            };
            let queue = in_hand.queue.clone();
            match self.conclude(in_hand).await {
                Ok(None) => self.stay_if_half(queue),
                Ok(Some(receipts)) => {
                    trace::note(&self, &receipts, true);
                    return Ok(receipts);
                }
                Err(error) => {
                    if let SendError::Unconfirmed { receipts, .. } = &error {
                        trace::note(&self, receipts, false);
                    }
                    return Err(error);
                }
            }
        }
    }

    /// A half message that its broker may have is tried nowhere else: a second broker would ask about its own, and both would deliver.
    fn stay_if_half(&mut self, queue: Queue) {
        if self.tries.maybe_stored && sysflag::transaction(self.parcel.sys_flag) == sysflag::TRANSACTION_PREPARED {
            self.choice = Choice::Fixed(queue);
        }
    }

    /// Gets a request on its way to some broker.
    pub(crate) async fn begin(&mut self) -> Result<InHand, SendError> {
        let (queue, link, route) = self.reach_broker().await?;
        let left = self.left()?;
        let answer = link.start(self.frame(&link, &queue), self.shared.config.try_timeout.min(left));
        Ok(InHand { answer, link, queue, route, sent: Instant::now() })
    }

    /// Sends without wanting an answer.
    pub(crate) async fn tell(mut self) -> Result<(), SendError> {
        loop {
            let (queue, link, _) = self.reach_broker().await?;
            match link.oneway(self.frame(&link, &queue)) {
                Ok(()) => return Ok(()),
                Err(error) => self.lost(&queue.broker, &error).await?,
            }
        }
    }

    /// An open connection to the master of a queue that the choice allows.
    async fn reach_broker(&mut self) -> Result<(Queue, Link, Arc<Route>), SendError> {
        loop {
            let route = self.route().await?;
            let Some(queue) = self.choice.pick(&route, &self.shared.avoided, self.tries.last_broker()) else {
                self.shared.finder.stale(&self.parcel.topic);
                if let Err(error) = self.pause().await {
                    return Err(self.no_queue(&route, error));
                }
                continue;
            };
            let Some(address) = route.master(&queue.broker) else {
                self.shared.finder.stale(&self.parcel.topic);
                self.pause().await?;
                continue;
            };
            let left = self.left()?;
            match self.shared.links.get(address, self.shared.config.client.connect_timeout.min(left)).await {
                Ok(link) => return Ok((queue, link, route)),
                Err(error) => self.lost(&queue.broker, &error).await?,
            }
        }
    }

    async fn route(&mut self) -> Result<Arc<Route>, SendError> {
        if let Some(route) = self.shared.finder.table().get(&self.parcel.topic) {
            return Ok(route);
        }
        loop {
            let queues = self.shared.config.default_topic_queues;
            let found = self.shared.finder.find_or_default(&self.parcel.topic, queues);
            match tokio::time::timeout_at(self.deadline, found).await {
                Ok(Ok(route)) => return Ok(route),
                Ok(Err(error @ RouteError::Unreachable { .. })) => {
                    self.pause().await.map_err(|_| SendError::Route(error))?;
                }
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => return Err(self.shared.finder.silent(&self.parcel.topic, self.began.elapsed()).into()),
            }
        }
    }

    /// The error of a send that found no queue until its deadline.
    fn no_queue(&self, route: &Route, error: SendError) -> SendError {
        let SendError::Failed { tries, .. } = &error else { return error };
        let why = match route.writable.len() {
            _ if !tries.is_empty() => return error,
            0 => route.why_closed(),
            queues => format!("the queue that was chosen is not among the {queues} that do now"),
        };
        SendError::NoQueue { topic: self.parcel.topic.clone(), why }
    }

    fn frame(&self, link: &Link, queue: &Queue) -> Frame {
        let parcel = &self.parcel;
        let fields = SendRequestV2 {
            producer_group: self.shared.config.group.as_str().into(),
            topic: parcel.topic.as_str().into(),
            default_topic: orbitmq_common::name::DEFAULT_TOPIC.into(),
            default_topic_queue_nums: self.shared.config.default_topic_queues,
            queue_id: queue.id,
            sys_flag: parcel.sys_flag.cast_signed(),
            born_timestamp: parcel.born,
            flag: parcel.flag,
            properties: Some(parcel.properties.as_str().into()),
            reconsume_times: Some(0),
            unit_mode: Some(false),
            max_reconsume_times: None,
            batch: Some(parcel.batch),
            broker_name: Some(queue.broker.as_ref().into()),
        };
        let code = if parcel.batch { request::SEND_BATCH_MESSAGE } else { request::SEND_MESSAGE_V2 };
        link.request(code).with_fields(&fields).with_body(parcel.body.clone())
    }

    /// Waits for the answer; `None`: try again.
    async fn conclude(&mut self, in_hand: InHand) -> Result<Option<Vec<SendReceipt>>, SendError> {
        let InHand { answer, link, queue, route, sent } = in_hand;
        let answer = tokio::select! {
            biased;
            answer = answer => answer,
            () = self.superseded(&route, &queue.broker) => {
                return self.left_behind(&queue.broker, &link).await.map(|()| None);
            }
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return self.lost(&queue.broker, &error).await.map(|()| None),
        };
        let unconfirmed = Unconfirmed::of(answer.code);
        if answer.code != response::SUCCESS && unconfirmed.is_none() {
            return self.refused(&queue, &link, answer).await.map(|()| None);
        }
        self.shared.avoided.answered(&queue.broker, sent.elapsed());
        if self.shared.finder.table().get(&self.parcel.topic).is_some_and(|route| route.provisional) {
            // This send created the topic.
            self.shared.finder.stale(&self.parcel.topic);
        }
        let receipts = self.receipts(&answer, &queue, &link)?;
        match unconfirmed {
            None => Ok(Some(receipts)),
            Some(why) => Err(SendError::Unconfirmed { why, receipts, remark: answer.remark.unwrap_or_default() }),
        }
    }

    /// Resolves when a broker that does not answer is no longer where its name's master is.
    async fn superseded(&self, route: &Route, broker: &str) {
        tokio::time::sleep(SILENT).await;
        let finder = &self.shared.finder;
        let mut changes = finder.changes();
        loop {
            let now = finder.table().get(&self.parcel.topic);
            let master = now.as_ref().and_then(|now| now.master(broker));
            if master.is_some() && master != route.master(broker) {
                return;
            }
            finder.stale(&self.parcel.topic);
            tokio::select! {
                _ = changes.changed() => {}
                () = tokio::time::sleep(LONGEST_PAUSE) => {}
            }
        }
    }

    /// A broker did not answer until another one took its place.
    async fn left_behind(&mut self, broker: &Arc<str>, link: &Link) -> Result<(), SendError> {
        tracing::debug!(%broker, "send got no answer, and its broker has a new master; trying again there");
        self.tries.maybe_stored = true;
        let address = link.peer().remote().to_string();
        let cause = format!("no answer from {address} before another master took over");
        self.tries.note(broker, FailedTry { address, cause, ..FailedTry::default() }, true);
        self.before_next_try(false).await
    }

    fn receipts(&self, answer: &Frame, queue: &Queue, link: &Link) -> Result<Vec<SendReceipt>, SendError> {
        let stored: SendResponse<'_> = answer.fields().map_err(|error| SendError::Refused {
            broker: queue.broker.as_ref().to_owned(),
            address: link.peer().remote().to_string(),
            code: answer.code,
            remark: format!("the message is stored, but the answer does not parse: {error}"),
        })?;
        let mut places = stored.msg_id.split(',');
        let receipts = self.parcel.ids.iter().zip(0_i64..).map(|(id, index)| SendReceipt {
            message_id: id.clone(),
            offset_message_id: places.next().unwrap_or_default().to_owned(),
            topic: self.parcel.topic.clone(),
            broker: queue.broker.as_ref().to_owned(),
            queue_id: stored.queue_id,
            queue_offset: stored.queue_offset.saturating_add(index),
            recall_handle: stored.recall_handle.as_deref().map(str::to_owned),
        });
        Ok(receipts.collect())
    }

    /// A broker answered with a refusal: an error when it is for good, else a pause.
    async fn refused(&mut self, queue: &Queue, link: &Link, answer: Frame) -> Result<(), SendError> {
        let remark = answer.remark.unwrap_or_default();
        let code = answer.code;
        let address = link.peer().remote().to_string();
        let maybe_stored = remark.contains(MAYBE_STORED);
        self.tries.maybe_stored |= maybe_stored;
        let (again, counts) = match code {
            _ if maybe_stored => (true, true),
            response::SYSTEM_BUSY | response::SERVICE_NOT_AVAILABLE | response::GO_AWAY => (true, false),
            response::NO_PERMISSION if is_about_mastership(&remark) => (true, false),
            response::SYSTEM_ERROR | response::NO_PERMISSION | response::TOPIC_NOT_EXIST | 204 | 205 => (true, true),
            _ => (false, true),
        };
        if !again {
            return Err(SendError::Refused { broker: queue.broker.as_ref().to_owned(), address, code, remark });
        }
        tracing::debug!(broker = %queue.broker, code, remark, "send refused, trying again");
        match code {
            response::GO_AWAY => link.peer().close(),
            // A busy broker is alive and says so; it is given less, not avoided.
            response::SYSTEM_BUSY => {}
            _ => {
                self.shared.avoided.failed(&queue.broker);
                self.shared.finder.stale(&self.parcel.topic);
            }
        }
        let one = FailedTry { address, code: Some(code), cause: remark, ..FailedTry::default() };
        self.tries.note(&queue.broker, one, counts);
        self.before_next_try(code == response::SYSTEM_BUSY).await
    }

    /// No answer came from a broker.
    async fn lost(&mut self, broker: &Arc<str>, error: &CallError) -> Result<(), SendError> {
        tracing::debug!(%broker, %error, "send got no answer, trying again");
        if !matches!(error, CallError::Overloaded { .. }) {
            self.shared.avoided.failed(broker);
            self.shared.finder.stale(&self.parcel.topic);
        }
        self.tries.maybe_stored |= !error.never_sent();
        let one = FailedTry {
            address: error.address().to_owned(),
            cause: error.to_string(),
            unreachable: matches!(error, CallError::Connect { .. }),
            ..FailedTry::default()
        };
        self.tries.note(broker, one, !error.never_sent());
        self.before_next_try(matches!(error, CallError::Overloaded { .. })).await
    }

    /// Another broker is tried at once, the same one after a pause.
    async fn before_next_try(&mut self, busy: bool) -> Result<(), SendError> {
        if self.tries.counted() > self.shared.config.retries {
            return Err(self.give_up());
        }
        if !busy && self.has_alternative() {
            return Ok(());
        }
        self.pause().await
    }

    fn has_alternative(&self) -> bool {
        matches!(self.choice, Choice::Turn)
            && self.shared.finder.table().get(&self.parcel.topic).is_some_and(|route| {
                let mut brokers = route.writable.iter().map(|queue| &queue.broker);
                brokers.any(|broker| {
                    Some(broker.as_ref()) != self.tries.last_broker() && !self.shared.avoided.contains(broker)
                })
            })
    }

    /// Waits a moment, or until a route changes.
    async fn pause(&mut self) -> Result<(), SendError> {
        let longest = FIRST_PAUSE.saturating_mul(1 << self.pauses.min(10)).min(LONGEST_PAUSE);
        self.pauses = self.pauses.saturating_add(1);
        let pause = longest.mul_f64(0.5 + fastrand::f64() / 2.0);
        if self.left()? <= pause {
            return Err(self.give_up());
        }
        let changes = self.changes.get_or_insert_with(|| self.shared.finder.changes());
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = changes.changed() => self.pauses = 0,
            () = self.shared.stopped.cancelled() => return Err(SendError::Closed),
        }
        Ok(())
    }

    fn left(&mut self) -> Result<Duration, SendError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(self.give_up()) } else { Ok(left) }
    }

    fn give_up(&mut self) -> SendError {
        std::mem::take(&mut self.tries).into_error(self.began.elapsed())
    }
}
