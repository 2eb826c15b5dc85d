//! Sends a dead letter again: where to, as what, and whether it is there already.

use std::collections::HashMap;
use std::sync::Arc;

use orbitmq_common::message::property::{self, Properties, PropertyError};
use orbitmq_common::message::{dead, entry, sysflag};
use orbitmq_common::name;
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::header::query::QueryRequest;
use orbitmq_common::protocol::header::send::{MAYBE_STORED, SendRequestV2};
use orbitmq_common::route::table::{Queue, Route};
use orbitmq_producer::choose::by_hash;

use crate::dead::letter::Letter;
use crate::failure::{Failure, Server};
use crate::session::{Question, Session};

/// What clients and brokers have written for one delivery; a message that is sent anew has none of it.
const SPENT: [&str; 26] = [
    property::UNIQ_KEY,
    property::RETRY_TOPIC,
    property::ORIGIN_MESSAGE_ID,
    property::RECONSUME_TIME,
    property::MAX_RECONSUME_TIMES,
    property::DLQ_ORIGIN_TOPIC,
    property::DLQ_ORIGIN_MESSAGE_ID,
    property::REAL_TOPIC,
    property::REAL_QUEUE_ID,
    property::DELAY,
    property::WAIT,
    property::TRANSACTION_PREPARED,
    property::TRANSACTION_CHECK_TIMES,
    property::PRODUCER_GROUP,
    property::MSG_REGION,
    property::TRACE_ON,
    property::CLUSTER,
    property::MIN_OFFSET,
    property::MAX_OFFSET,
    property::CONSUME_START_TIME,
    property::CRC32,
    property::POP_CK,
    property::POP_CK_OFFSET,
    property::FIRST_POP_TIME,
    property::TIMER_OUT_MS,
    property::REPLAY_OF,
];

/// Where a dead letter goes.
#[derive(Debug, Clone)]
pub struct Destination {
    /// The topic.
    pub topic: String,
    /// The queue.
    pub queue: Queue,
    route: Arc<Route>,
}

/// Sends dead letters of one group.
#[derive(Debug)]
pub struct Courier<'s> {
    session: &'s Session,
    to: Option<&'s str>,
    routes: HashMap<String, Arc<Route>>,
}

impl<'s> Courier<'s> {
    /// A courier to one topic; `None`: to where each letter came from.
    pub fn new(session: &'s Session, to: Option<&'s str>) -> Self {
        Self { session, to, routes: HashMap::new() }
    }

    /// Asks name servers anew from now on.
    pub fn forget_routes(&mut self) {
        self.routes.clear();
    }

    /// Where a letter goes: to the queue it came from while that takes messages, else to that of its sharding key or its id.
    ///
    /// # Errors
    /// It does not tell where it came from, or there is no such topic, or nothing of it takes messages.
    pub async fn destination(&mut self, letter: &Letter) -> Result<Destination, Failure> {
        let id = letter.message.message_id();
        let topic = self.to.or_else(|| letter.origin_topic()).ok_or_else(|| {
            Failure::other(format!("dead letter {id} does not tell which topic it came from: name one with --to"))
        })?;
        let route = match self.routes.get(topic) {
            Some(route) => Arc::clone(route),
            None => {
                let answer = self.session.route(topic).await?;
                let route = Arc::new(Route::new(topic, &answer));
                self.routes.insert(topic.to_owned(), Arc::clone(&route));
                route
            }
        };
        let origin = letter.origin().filter(|_| self.to.is_none());
        let came_from = origin.and_then(|origin| {
            let is_it = |queue: &&Queue| {
                queue.broker.as_ref() == origin.broker && u32::try_from(queue.id).ok() == Some(origin.queue)
            };
            route.writable.iter().find(is_it)
        });
        let key = letter.message.property(property::SHARDING_KEY).unwrap_or(&id);
        let queue = came_from.or_else(|| by_hash(&route.writable, key)).cloned().ok_or_else(|| {
            Failure::other(format!(
                "topic '{topic}' takes no messages: its brokers have no master, or it is closed to writers; see 'orbitmq doctor {topic}'"
            ))
        })?;
        Ok(Destination { topic: topic.to_owned(), queue, route })
    }

    /// Whether a letter was sent to that topic before.
    ///
    /// # Errors
    /// A broker of the topic does not answer.
    pub async fn has_sent(&self, letter: &Letter, to: &Destination) -> Result<bool, Failure> {
        let (key, id) = (letter.message.offset_id(), letter.message.message_id());
        for broker in to.route.brokers() {
            let Some(address) = broker.reader(0) else { continue };
            let fields = QueryRequest {
                topic: to.topic.as_str().into(),
                key: key.as_str().into(),
                max_num: 32,
                begin_timestamp: 0,
                end_timestamp: i64::MAX,
                unique: Some(true),
            };
            let answer = match self.session.broker(address, &Question::new(request::QUERY_MESSAGE, &fields)).await {
                Ok(answer) => answer,
                Err(failure) if failure.code() == Some(response::QUERY_NOT_FOUND) => continue,
                Err(failure) => return Err(failure),
            };
            for view in entry::records(&answer.body) {
                let view = view.map_err(|error| Failure::answer(address, error))?;
                // A store that was emptied gives places in its log a second time.
                let is_it =
                    view.property(property::UNIQ_KEY) == Some(&key) && view.property(property::REPLAY_OF) == Some(&id);
                if is_it {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Sends a letter, in one try, and waits until it is stored.
    ///
    /// # Errors
    /// It was refused, or whether it is stored is not known.
    pub async fn send(&self, letter: &Letter, to: &Destination) -> Result<(), Failure> {
        let message = &letter.message;
        let properties = properties(letter, &to.topic).map_err(|error| Failure::other(error.to_string()))?;
        let address = to
            .route
            .master(&to.queue.broker)
            .ok_or_else(|| Failure::other(format!("broker '{}' has no master now: start it again", to.queue.broker)))?;
        let fields = SendRequestV2 {
            producer_group: "orbitmq-cli".into(),
            topic: to.topic.as_str().into(),
            default_topic: name::DEFAULT_TOPIC.into(),
            default_topic_queue_nums: 4,
            queue_id: to.queue.id,
            sys_flag: (message.sys_flag & (sysflag::COMPRESSED | sysflag::COMPRESSION_MASK)).cast_signed(),
            born_timestamp: message.born_timestamp,
            flag: message.flag,
            properties: Some(properties.as_str().into()),
            reconsume_times: Some(0),
            unit_mode: Some(false),
            batch: Some(false),
            ..SendRequestV2::default()
        };
        let kind = request::SEND_MESSAGE_V2;
        let question = Question { kind, fields: &fields, body: letter.stored_body.clone() };
        let id = message.message_id();
        let unknown = |cause: String| {
            Failure::other(format!(
                "whether dead letter {id} was stored safely is not known: {cause}; start the replay again: it looks before it sends"
            ))
        };
        let session = self.session;
        let answer = match session.exchange(Server::Broker, address, &question, session.timeout()).await {
            Ok(answer) => answer,
            Err(Failure::Call { cause, .. }) if !cause.never_sent() => return Err(unknown(cause.to_string())),
            Err(failure) => return Err(failure),
        };
        let remark = answer.remark.unwrap_or_default();
        match answer.code {
            response::SUCCESS => Ok(()),
            response::FLUSH_DISK_TIMEOUT | response::FLUSH_SLAVE_TIMEOUT | response::SLAVE_NOT_AVAILABLE => {
                Err(unknown(format!("{address}: {} {remark}", response::name(answer.code).unwrap_or_default())))
            }
            _ if remark.contains(MAYBE_STORED) => Err(unknown(format!("{address}: {remark}"))),
            code => Err(Failure::Refused { address: address.to_owned(), kind, code, remark }),
        }
    }
}

/// The properties with which a letter is sent to a topic.
fn properties(letter: &Letter, topic: &str) -> Result<String, PropertyError> {
    let message = &letter.message;
    let mut properties = Properties::parse(&message.properties);
    for name in SPENT {
        properties.remove(name);
    }
    dead::forget(&mut properties);
    properties.set(property::UNIQ_KEY, &message.offset_id())?;
    properties.set(property::REPLAY_OF, &message.message_id())?;
    // What comes out of a retry topic shows its consumers the topic it was sent to.
    if let Some(origin) = letter.origin_topic().filter(|_| topic.starts_with(name::RETRY_PREFIX)) {
        properties.set(property::RETRY_TOPIC, origin)?;
    }
    Ok(properties.into_text())
}
