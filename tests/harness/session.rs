//! A raw client of one daemon: typed headers over `orbitmq_common::net::client`, no retries, no routes.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use orbitmq_common::message::batch::{self, BatchEntry};
use orbitmq_common::message::entry;
use orbitmq_common::message::record::RecordView;
use orbitmq_common::message::sysflag::pull;
use orbitmq_common::message::{id, property};
use orbitmq_common::name;
use orbitmq_common::net::client::{Client, ClientOptions, Link};
use orbitmq_common::net::peer::{Answer, CallError};
use orbitmq_common::protocol::body::kv::KvTable;
use orbitmq_common::protocol::body::route::{ClusterInfo, TopicRoute};
use orbitmq_common::protocol::body::topic::TopicConfig;
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::frame::{Encoding, Frame};
use orbitmq_common::protocol::header::admin::{CreateTopicRequest, TopicRequest};
use orbitmq_common::protocol::header::nameserver::RouteRequest;
use orbitmq_common::protocol::header::offset::{OffsetResponse, QueryOffsetRequest, QueueRequest, UpdateOffsetRequest};
use orbitmq_common::protocol::header::pull::{PullRequest, PullResponse};
use orbitmq_common::protocol::header::query::QueryRequest;
use orbitmq_common::protocol::header::send::{SendRequestV2, SendResponse};

/// Group in whose name a session reads.
const READER: &str = "HARNESS_READER";
/// Longest time for one answer, unless told otherwise.
const DEADLINE: Duration = Duration::from_secs(30);

/// Why a request was not done.
#[derive(Debug)]
pub enum Failure {
    /// The daemon said no: certainly not done, unless the code says otherwise.
    Refused {
        /// The code.
        code: i32,
        /// Cause and cure.
        remark: String,
    },
    /// No answer: done or not.
    Lost(CallError),
}

/// One message on its way out.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Body.
    pub body: Bytes,
    /// Properties text.
    pub properties: String,
}

impl Outgoing {
    fn entry(&self) -> BatchEntry<'_> {
        BatchEntry { flag: 0, body: &self.body, properties: &self.properties }
    }
}

/// What a send was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The queue.
    pub queue: i32,
    /// Offset of the first message.
    pub offset: i64,
    /// Place in the log of each message.
    pub physical: Vec<u64>,
}

/// A message read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Offset in its queue.
    pub offset: i64,
    /// Place in the log.
    pub physical: u64,
    /// Body.
    pub body: Bytes,
    /// Properties text.
    pub properties: String,
}

/// A connection to one daemon, made when needed and made anew when it ends.
pub struct Session {
    client: Client,
    address: String,
    deadline: Duration,
}

impl Session {
    /// Speaks the encoding that the daemon likes best.
    #[must_use]
    pub fn new(address: &str) -> Self {
        Self::speaking(address, None)
    }

    /// Speaks one encoding.
    #[must_use]
    pub fn speaking(address: &str, encoding: Option<Encoding>) -> Self {
        let options = ClientOptions { encoding, ..ClientOptions::default() };
        Self { client: Client::new(options), address: address.to_owned(), deadline: DEADLINE }
    }

    /// Waits at most so long for a connection, and for each answer.
    #[must_use]
    pub fn within(self, deadline: Duration) -> Self {
        let options = ClientOptions { connect_timeout: deadline, ..ClientOptions::default() };
        Self { client: Client::new(options), deadline, ..self }
    }

    /// The connection.
    ///
    /// # Errors
    /// None can be made.
    pub async fn link(&self) -> Result<Link, Failure> {
        self.client.forget_failures(&self.address);
        self.client.link(&self.address).await.map_err(Failure::Lost)
    }

    /// Sends a request that `fill` completes and waits for the answer.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn call(&self, code: i32, fill: impl FnOnce(Frame) -> Frame) -> Result<Frame, Failure> {
        let link = self.link().await?;
        let answer = link.call(fill(link.request(code)), self.deadline).await.map_err(Failure::Lost)?;
        accepted(answer)
    }

    /// Sends messages to one queue, more than one as a batch; the answer is awaited by [`receipt`].
    ///
    /// # Errors
    /// No connection.
    pub async fn start_send(&self, topic: &str, queue: i32, messages: &[Outgoing]) -> Result<Answer, Failure> {
        let link = self.link().await?;
        Ok(link.start(send_frame(&link, topic, queue, messages), self.deadline))
    }

    /// Sends messages to one queue and waits for the answer.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn send(&self, topic: &str, queue: i32, messages: &[Outgoing]) -> Result<Receipt, Failure> {
        receipt(self.start_send(topic, queue, messages).await?.await)
    }

    /// Sends a request and does not wait for anything.
    ///
    /// # Errors
    /// No connection.
    pub async fn send_oneway(&self, topic: &str, queue: i32, message: Outgoing) -> Result<(), Failure> {
        let link = self.link().await?;
        link.oneway(send_frame(&link, topic, queue, &[message])).map_err(Failure::Lost)
    }

    /// Messages of a queue from an offset on; none at its end.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn pull(&self, topic: &str, queue: i32, offset: i64) -> Result<Vec<Stored>, Failure> {
        let header = PullRequest {
            consumer_group: READER.into(),
            topic: topic.into(),
            queue_id: queue,
            queue_offset: offset,
            max_msg_nums: 1024,
            sys_flag: pull::SUBSCRIPTION.cast_signed(),
            subscription: Some("*".into()),
            ..PullRequest::default()
        };
        let link = self.link().await?;
        let frame = link.request(request::PULL_MESSAGE).with_fields(&header);
        let answer = link.call(frame, self.deadline).await.map_err(Failure::Lost)?;
        match answer.code {
            response::SUCCESS => Ok(stored(&answer.body)),
            response::PULL_NOT_FOUND => Ok(Vec::new()),
            response::PULL_OFFSET_MOVED => {
                let fields: PullResponse = answer.fields().unwrap_or_default();
                let remark = format!("{:?}; {fields:?}", answer.remark);
                Err(Failure::Refused { code: answer.code, remark })
            }
            _ => accepted(answer).map(|_| Vec::new()),
        }
    }

    /// Everything in a queue from an offset on.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn read_queue(&self, topic: &str, queue: i32, from: i64) -> Result<Vec<Stored>, Failure> {
        let (mut all, mut offset) = (Vec::new(), from);
        loop {
            let some = self.pull(topic, queue, offset).await?;
            let Some(last) = some.last() else { return Ok(all) };
            offset = last.offset + 1;
            all.extend(some);
        }
    }

    /// Offset after a queue's last message.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn max_offset(&self, topic: &str, queue: i32) -> Result<i64, Failure> {
        let header = QueueRequest { topic: topic.into(), queue_id: queue, committed: None };
        let answer = self.call(request::GET_MAX_OFFSET, |frame| frame.with_fields(&header)).await?;
        Ok(answer.fields::<OffsetResponse>().unwrap().offset)
    }

    /// Stores a group's offset and waits until it is stored.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn commit(&self, group: &str, topic: &str, queue: i32, offset: i64) -> Result<(), Failure> {
        let header = UpdateOffsetRequest {
            consumer_group: group.into(),
            topic: topic.into(),
            queue_id: queue,
            commit_offset: offset,
        };
        self.call(request::UPDATE_CONSUMER_OFFSET, |frame| frame.with_fields(&header)).await.map(drop)
    }

    /// A group's stored offset, if it has one.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn committed(&self, group: &str, topic: &str, queue: i32) -> Result<Option<i64>, Failure> {
        let header = QueryOffsetRequest {
            consumer_group: group.into(),
            topic: topic.into(),
            queue_id: queue,
            set_zero_if_not_found: Some(false),
        };
        match self.call(request::QUERY_CONSUMER_OFFSET, |frame| frame.with_fields(&header)).await {
            Ok(answer) => Ok(Some(answer.fields::<OffsetResponse>().unwrap().offset)),
            Err(Failure::Refused { code: response::QUERY_NOT_FOUND, .. }) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn create_topic(&self, topic: &str, queues: i32) -> Result<(), Failure> {
        self.create_topic_with(topic, queues, "").await
    }

    /// Creates a topic with attributes: `+key=value,…`.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn create_topic_with(&self, topic: &str, queues: i32, attributes: &str) -> Result<(), Failure> {
        let header = CreateTopicRequest {
            topic: topic.into(),
            default_topic: name::DEFAULT_TOPIC.into(),
            read_queue_nums: queues,
            write_queue_nums: queues,
            perm: 6,
            attributes: Some(attributes.into()),
            topic_filter_type: Some("SINGLE_TAG".into()),
            ..CreateTopicRequest::default()
        };
        self.call(request::UPDATE_AND_CREATE_TOPIC, |frame| frame.with_fields(&header)).await.map(drop)
    }

    /// A topic's settings.
    ///
    /// # Errors
    /// See [`Failure`]; code 17 for an unknown topic.
    pub async fn topic(&self, topic: &str) -> Result<TopicConfig, Failure> {
        let header = TopicRequest { topic: topic.into() };
        let answer = self.call(request::GET_TOPIC_CONFIG, |frame| frame.with_fields(&header)).await?;
        Ok(serde_json::from_slice(&answer.body).unwrap())
    }

    /// Messages of a topic with a unique key.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn query_unique(&self, topic: &str, key: &str) -> Result<Vec<Stored>, Failure> {
        let header = QueryRequest {
            topic: topic.into(),
            key: key.into(),
            max_num: 32,
            begin_timestamp: 0,
            end_timestamp: i64::MAX,
            unique: Some(true),
        };
        match self.call(request::QUERY_MESSAGE, |frame| frame.with_fields(&header)).await {
            Ok(answer) => Ok(stored(&answer.body)),
            Err(Failure::Refused { code: response::QUERY_NOT_FOUND, .. }) => Ok(Vec::new()),
            Err(failure) => Err(failure),
        }
    }

    /// A broker's runtime figures (28).
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn figures(&self) -> Result<BTreeMap<String, String>, Failure> {
        let answer = self.call(request::GET_BROKER_RUNTIME_INFO, |frame| frame).await?;
        Ok(serde_json::from_slice::<KvTable>(&answer.body).unwrap().table)
    }

    /// The brokers that a name server knows.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn cluster(&self) -> Result<ClusterInfo, Failure> {
        let answer = self.call(request::GET_BROKER_CLUSTER_INFO, |frame| frame).await?;
        Ok(serde_json::from_slice(&answer.body).unwrap())
    }

    /// A name server's route of a topic, if it knows one.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn route(&self, topic: &str) -> Result<Option<TopicRoute>, Failure> {
        let header = RouteRequest { topic: topic.into(), accept_standard_json_only: Some(true) };
        match self.call(request::GET_ROUTEINFO_BY_TOPIC, |frame| frame.with_fields(&header)).await {
            Ok(answer) => Ok(Some(serde_json::from_slice(&answer.body).unwrap())),
            Err(Failure::Refused { code: response::TOPIC_NOT_EXIST, .. }) => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}

fn send_frame(link: &Link, topic: &str, queue: i32, messages: &[Outgoing]) -> Frame {
    let single = if let [one] = messages { Some(one) } else { None };
    let mut header = SendRequestV2 {
        producer_group: "HARNESS_SENDER".into(),
        topic: topic.into(),
        default_topic: name::DEFAULT_TOPIC.into(),
        default_topic_queue_nums: 4,
        queue_id: queue,
        born_timestamp: 1,
        batch: Some(single.is_none()),
        ..SendRequestV2::default()
    };
    match single {
        Some(one) => {
            header.properties = Some(one.properties.as_str().into());
            link.request(request::SEND_MESSAGE_V2).with_fields(&header).with_body(one.body.clone())
        }
        None => {
            let body = batch::encode(messages.iter().map(Outgoing::entry)).unwrap();
            link.request(request::SEND_BATCH_MESSAGE).with_fields(&header).with_body(body)
        }
    }
}

/// What the answer to a send says.
///
/// # Errors
/// See [`Failure`].
pub fn receipt(answer: Result<Frame, CallError>) -> Result<Receipt, Failure> {
    let answer = accepted(answer.map_err(Failure::Lost)?)?;
    let fields: SendResponse<'_> = answer.fields().unwrap();
    let physical = fields.msg_id.split(',').map(|one| id::parse_offset_id(one).unwrap().1).collect();
    Ok(Receipt { queue: fields.queue_id, offset: fields.queue_offset, physical })
}

fn accepted(answer: Frame) -> Result<Frame, Failure> {
    if answer.code == response::SUCCESS {
        return Ok(answer);
    }
    Err(Failure::Refused { code: answer.code, remark: answer.remark.unwrap_or_default() })
}

fn stored(bytes: &Bytes) -> Vec<Stored> {
    let one = |view: RecordView<'_>| {
        view.verify().unwrap();
        Stored {
            offset: view.queue_offset.cast_signed(),
            physical: view.physical_offset,
            body: Bytes::copy_from_slice(view.body),
            properties: view.properties.to_owned(),
        }
    };
    entry::records(bytes).map(|view| one(view.unwrap())).collect()
}

/// Properties text with a unique key, and a delay level if it is not 0.
#[must_use]
pub fn properties(unique_key: &str, delay: u32) -> String {
    let mut properties = property::Properties::new();
    properties.push(property::UNIQ_KEY, unique_key).unwrap();
    if delay > 0 {
        properties.push(property::DELAY, &delay.to_string()).unwrap();
    }
    properties.into_text()
}
