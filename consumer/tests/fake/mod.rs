//! A cluster in this process: a name server, and brokers that keep queues in memory and can be told to misbehave.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use orbitmq_common::message::property::Properties;
use orbitmq_common::message::record::{NewRecord, seal};
use orbitmq_common::net::client::answer_hello;
use orbitmq_common::net::connection::{ConnectionOptions, Handler, Outcome};
use orbitmq_common::net::peer::Peer;
use orbitmq_common::net::server::{bind, serve};
use orbitmq_common::protocol::body::group::{ConsumerIds, LockRequest, LockResponse, MessageQueue};
use orbitmq_common::protocol::body::heartbeat::HeartbeatData;
use orbitmq_common::protocol::body::route::{BrokerData, QueueData, TopicRoute};
use orbitmq_common::protocol::body::stats::reset_offsets;
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::frame::{Encoding, Frame};
use orbitmq_common::protocol::header::group::{ConsumerGroupRequest, UnregisterClientRequest};
use orbitmq_common::protocol::header::nameserver::RouteRequest;
use orbitmq_common::protocol::header::offset::{OffsetResponse, QueryOffsetRequest, QueueRequest, UpdateOffsetRequest};
use orbitmq_common::protocol::header::pull::{PullRequest, PullResponse};
use orbitmq_common::protocol::header::send::{SendBackRequest, SendRequestV2};
use orbitmq_common::protocol::relaxed;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub struct Running {
    pub address: String,
    stop: CancellationToken,
    done: tokio::task::JoinHandle<()>,
}

impl Running {
    pub fn start<H: Handler>(handler: Arc<H>) -> Self {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let (address, stop) = (listener.local_addr().unwrap().to_string(), CancellationToken::new());
        let options = ConnectionOptions { drain: Duration::ZERO, ..ConnectionOptions::default() };
        let done = tokio::spawn(serve(listener, handler, options, 100, stop.clone()));
        Self { address, stop, done }
    }

    pub async fn stop(self) {
        self.stop.cancel();
        self.done.await.unwrap();
    }
}

#[derive(Default)]
pub struct NameServer {
    pub routes: Mutex<HashMap<String, TopicRoute>>,
}

impl Handler for NameServer {
    fn call(&self, _: &Arc<Peer>, frame: Frame) -> Outcome {
        if frame.code == request::HELLO {
            return Outcome::Answer(answer_hello(&frame));
        }
        let fields: RouteRequest<'_> = frame.fields().unwrap();
        Outcome::Answer(match self.routes.lock().get(fields.topic.as_ref()) {
            Some(route) => frame.answer(response::SUCCESS).with_json(route),
            None => frame.refuse(response::TOPIC_NOT_EXIST, "no such topic"),
        })
    }
}

/// A broker of a route: its name, its members' addresses by id, its queues.
type Routed<'a> = (&'a str, &'a [(i64, &'a str)], i32);

impl NameServer {
    /// Routes a topic to brokers.
    pub fn route(&self, topic: &str, brokers: &[Routed<'_>]) {
        let mut route = TopicRoute::default();
        for (name, addresses, queues) in brokers {
            route.broker_datas.push(BrokerData {
                broker_addrs: addresses.iter().map(|(id, address)| (*id, (*address).to_owned())).collect(),
                broker_name: (*name).to_owned(),
                cluster: "c".to_owned(),
                enable_acting_master: false,
                zone_name: None,
            });
            route.queue_datas.push(QueueData {
                broker_name: (*name).to_owned(),
                perm: 6,
                read_queue_nums: *queues,
                topic_sys_flag: 0,
                write_queue_nums: *queues,
            });
        }
        self.routes.lock().insert(topic.to_owned(), route);
    }
}

#[derive(Default)]
pub struct State {
    /// Records by topic and queue; the position is the offset.
    pub queues: HashMap<(String, i32), Vec<Vec<u8>>>,
    /// First offset that is still there, by topic and queue.
    pub first: HashMap<(String, i32), i64>,
    pub offsets: BTreeMap<(String, i32), i64>,
    /// Stored offsets in the order in which they came.
    pub commits: Vec<(i32, i64)>,
    pub members: BTreeSet<String>,
    pub beats: Vec<HeartbeatData>,
    pub send_backs: Vec<(i64, i32)>,
    /// Topic and properties of messages sent.
    pub sent: Vec<(String, String)>,
    pub locks: HashMap<(String, i32), String>,
    pub farewells: Vec<String>,
    pub pulls: usize,
    /// Codes with which the next requests of a kind are refused.
    pub refusals: HashMap<i32, Vec<i32>>,
    /// Answers nothing any more.
    pub silent: bool,
    /// What answers to pulls suggest.
    pub suggest: i64,
    peers: HashMap<String, Arc<Peer>>,
}

#[derive(Default)]
pub struct Broker {
    pub state: Mutex<State>,
    grown: Arc<Notify>,
}

impl Broker {
    /// Appends a message to a queue.
    pub fn put(&self, topic: &str, queue: i32, body: &str, tag: Option<&str>, origin: Option<&str>) {
        let mut state = self.state.lock();
        let host: SocketAddr = "127.0.0.1:10911".parse().unwrap();
        let mut properties = Properties::new();
        for (name, value) in [("TAGS", tag), ("RETRY_TOPIC", origin)] {
            if let Some(value) = value {
                properties.push(name, value).unwrap();
            }
        }
        let mut record = Vec::new();
        let new = NewRecord {
            topic,
            queue_id: queue.unsigned_abs(),
            flag: 0,
            sys_flag: 0,
            born_timestamp: 1,
            born_host: host,
            store_host: host,
            reconsume_times: 0,
            prepared_offset: 0,
            body: body.as_bytes(),
            properties: properties.as_str().as_bytes(),
        };
        new.encode_into(&mut record).unwrap();
        let records = state.queues.entry((topic.to_owned(), queue)).or_default();
        let offset = u64::try_from(records.len()).unwrap();
        seal(&mut record, offset, 1000 + offset, 1).unwrap();
        records.push(record);
        drop(state);
        self.grown.notify_waiters();
    }

    /// Tells all members that the group changed.
    pub fn notify_members(&self) {
        let state = self.state.lock();
        for peer in state.peers.values() {
            let fields = ConsumerGroupRequest { consumer_group: "g".into() };
            let notice = Frame::request(request::NOTIFY_CONSUMER_IDS_CHANGED, Encoding::Json).with_fields(&fields);
            drop(peer.tell(notice.oneway()));
        }
    }

    /// Sends all members to an offset, as brokers do whose clients reset offsets.
    pub fn push_reset(&self, topic: &str, queue_id: i32, offset: i64) {
        let queue = MessageQueue { broker_name: "b".to_owned(), queue_id, topic: topic.to_owned() };
        for peer in self.state.lock().peers.values() {
            let notice = Frame::request(request::RESET_CONSUMER_CLIENT_OFFSET, Encoding::Json);
            let notice = notice.with_body(reset_offsets(&vec![(queue.clone(), offset)]));
            drop(peer.tell(notice.oneway()));
        }
    }

    fn pull(&self, frame: &Frame) -> (bool, Frame) {
        let mut state = self.state.lock();
        state.pulls += 1;
        let fields: PullRequest<'_> = frame.fields().unwrap();
        let key = (fields.topic.as_ref().to_owned(), fields.queue_id);
        let records = state.queues.get(&key).map_or(&[][..], Vec::as_slice);
        let first = state.first.get(&key).copied().unwrap_or(0);
        let end = i64::try_from(records.len()).unwrap();
        let place = |next| PullResponse {
            suggest_which_broker_id: state.suggest,
            next_begin_offset: next,
            min_offset: first,
            max_offset: end,
            ..PullResponse::default()
        };
        let from = fields.queue_offset;
        if from < first || from > end {
            let next = if from < first { first } else { end };
            return (true, frame.answer(response::PULL_OFFSET_MOVED).with_fields(&place(next)));
        }
        if from == end {
            return (false, frame.answer(response::PULL_NOT_FOUND).with_fields(&place(end)));
        }
        let next = end.min(from + i64::from(fields.max_msg_nums));
        let range = usize::try_from(from).unwrap()..usize::try_from(next).unwrap();
        (true, frame.answer(response::SUCCESS).with_fields(&place(next)).with_body(records[range].concat()))
    }

    fn offset(frame: &Frame, offset: Option<i64>) -> Frame {
        match offset {
            Some(offset) => frame.answer(response::SUCCESS).with_fields(&OffsetResponse { offset }),
            None => frame.refuse(response::QUERY_NOT_FOUND, "no offset"),
        }
    }

    fn answer(&self, peer: &Arc<Peer>, frame: &Frame) -> Frame {
        let mut state = self.state.lock();
        let done = frame.answer(response::SUCCESS);
        match frame.code {
            request::HEART_BEAT => {
                let data: HeartbeatData = relaxed::parse(&frame.body).unwrap();
                state.members.insert(data.client_id.clone());
                state.peers.insert(data.client_id.clone(), Arc::clone(peer));
                state.beats.push(data);
                done
            }
            request::GET_CONSUMER_LIST_BY_GROUP => {
                done.with_json(&ConsumerIds { consumer_id_list: state.members.iter().cloned().collect() })
            }
            request::UNREGISTER_CLIENT => {
                let fields: UnregisterClientRequest<'_> = frame.fields().unwrap();
                state.members.remove(fields.client_id.as_ref());
                state.farewells.push(fields.client_id.into_owned());
                done
            }
            request::QUERY_CONSUMER_OFFSET => {
                let fields: QueryOffsetRequest<'_> = frame.fields().unwrap();
                Self::offset(frame, state.offsets.get(&(fields.topic.into_owned(), fields.queue_id)).copied())
            }
            request::UPDATE_CONSUMER_OFFSET => {
                let fields: UpdateOffsetRequest<'_> = frame.fields().unwrap();
                state.commits.push((fields.queue_id, fields.commit_offset));
                state.offsets.insert((fields.topic.into_owned(), fields.queue_id), fields.commit_offset);
                done
            }
            request::GET_MAX_OFFSET | request::GET_MIN_OFFSET => {
                let fields: QueueRequest<'_> = frame.fields().unwrap();
                let key = (fields.topic.into_owned(), fields.queue_id);
                let end = state.queues.get(&key).map_or(0, |records| i64::try_from(records.len()).unwrap());
                let first = state.first.get(&key).copied().unwrap_or(0);
                Self::offset(frame, Some(if frame.code == request::GET_MAX_OFFSET { end } else { first }))
            }
            request::SEARCH_OFFSET_BY_TIMESTAMP => Self::offset(frame, Some(3)),
            request::CONSUMER_SEND_MSG_BACK => {
                let fields: SendBackRequest<'_> = frame.fields().unwrap();
                state.send_backs.push((fields.offset, fields.delay_level));
                done
            }
            request::SEND_MESSAGE_V2 => {
                let fields: SendRequestV2<'_> = frame.fields().unwrap();
                let properties = fields.properties.unwrap_or_default().into_owned();
                state.sent.push((fields.topic.into_owned(), properties));
                done
            }
            request::LOCK_BATCH_MQ => {
                let body: LockRequest = relaxed::parse(&frame.body).unwrap();
                let mine = |queue: &orbitmq_common::protocol::body::group::MessageQueue| {
                    let owner = state.locks.entry((queue.topic.clone(), queue.queue_id));
                    *owner.or_insert_with(|| body.client_id.clone()) == body.client_id
                };
                let locked = body.mq_set.clone().into_iter();
                let mut mine = mine;
                done.with_json(&LockResponse { locked: locked.filter(|queue| mine(queue)).collect() })
            }
            request::UNLOCK_BATCH_MQ => {
                let body: LockRequest = relaxed::parse(&frame.body).unwrap();
                state.locks.retain(|_, owner| *owner != body.client_id);
                done
            }
            _ => frame.refuse(response::REQUEST_CODE_NOT_SUPPORTED, "not in this fake"),
        }
    }
}

/// A broker whose own `Arc` its held pulls keep.
pub struct Door(pub Arc<Broker>);

impl Handler for Door {
    fn call(&self, peer: &Arc<Peer>, frame: Frame) -> Outcome {
        if self.0.state.lock().silent {
            return Outcome::Nothing;
        }
        if frame.code == request::HELLO {
            return Outcome::Answer(answer_hello(&frame));
        }
        let refused = self.0.state.lock().refusals.get_mut(&frame.code).and_then(Vec::pop);
        if let Some(code) = refused {
            return Outcome::Answer(frame.refuse(code, "scripted"));
        }
        if frame.code != request::PULL_MESSAGE {
            return Outcome::Answer(self.0.answer(peer, &frame));
        }
        let broker = Arc::clone(&self.0);
        Outcome::later(async move {
            let fields: PullRequest<'_> = frame.fields().unwrap();
            let hold = Duration::from_millis(fields.suspend_timeout_millis.unsigned_abs());
            let until = tokio::time::Instant::now() + hold;
            loop {
                let grown = broker.grown.notified();
                tokio::pin!(grown);
                grown.as_mut().enable();
                let (ready, answer) = broker.pull(&frame);
                if ready || tokio::time::timeout_at(until, grown).await.is_err() {
                    return answer;
                }
            }
        })
    }

    fn closed(&self, peer: &Arc<Peer>) {
        let mut state = self.0.state.lock();
        let gone: Vec<String> =
            state.peers.iter().filter(|(_, known)| known.id() == peer.id()).map(|(id, _)| id.clone()).collect();
        for id in gone {
            state.peers.remove(&id);
            state.members.remove(&id);
        }
    }
}
