//! A cluster in this process: a name server and brokers that answer as a test tells them to.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use orbitmq_common::net::client::answer_hello;
use orbitmq_common::net::connection::{ConnectionOptions, Handler, Outcome};
use orbitmq_common::net::peer::Peer;
use orbitmq_common::net::server::{bind, serve};
use orbitmq_common::protocol::body::route::{BrokerData, QueueData, TopicRoute};
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::nameserver::RouteRequest;
use orbitmq_common::protocol::header::send::{SendRequestV2, SendResponse};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// How a broker answers one send.
#[derive(Debug, Clone, Copy)]
pub enum Reply {
    Store,
    Code(i32),
    Refuse(i32, &'static str),
    /// Stores, and answers with a code that says what it cannot vouch for.
    StoreBut(i32),
    Silence,
    /// Stores, and answers after a while.
    After(Duration),
}

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
    pub asked: AtomicUsize,
}

impl Handler for NameServer {
    fn call(&self, _: &Arc<Peer>, frame: Frame) -> Outcome {
        if frame.code == request::HELLO {
            return Outcome::Answer(answer_hello(&frame));
        }
        self.asked.fetch_add(1, Ordering::SeqCst);
        let fields: RouteRequest<'_> = frame.fields().unwrap();
        Outcome::Answer(match self.routes.lock().get(fields.topic.as_ref()) {
            Some(route) => frame.answer(response::SUCCESS).with_json(route),
            None => frame.refuse(response::TOPIC_NOT_EXIST, "no such topic"),
        })
    }
}

/// A broker group of a route: its name, its members' addresses by id.
type Routed<'a> = (&'a str, &'a [(i64, &'a str)]);

impl NameServer {
    /// Routes a topic to brokers, each with so many queues.
    pub fn route(&self, topic: &str, brokers: &[(&str, &str)], queues: i32) {
        let members: Vec<[(i64, &str); 1]> = brokers.iter().map(|(_, address)| [(0, *address)]).collect();
        let brokers: Vec<Routed<'_>> =
            brokers.iter().zip(&members).map(|((name, _), members)| (*name, &members[..])).collect();
        self.route_members(topic, &brokers, queues);
    }

    /// Routes a topic to broker groups, each with so many queues.
    pub fn route_members(&self, topic: &str, brokers: &[Routed<'_>], queues: i32) {
        let mut route = TopicRoute::default();
        for (name, members) in brokers {
            route.broker_datas.push(BrokerData {
                broker_addrs: members.iter().map(|(id, address)| (*id, (*address).to_owned())).collect(),
                broker_name: (*name).to_owned(),
                cluster: "c".to_owned(),
                enable_acting_master: false,
                zone_name: None,
            });
            route.queue_datas.push(QueueData {
                broker_name: (*name).to_owned(),
                perm: 6,
                read_queue_nums: queues,
                topic_sys_flag: 0,
                write_queue_nums: queues,
            });
        }
        self.routes.lock().insert(topic.to_owned(), route);
    }
}

type Script = Box<dyn FnMut(usize) -> Reply + Send>;

/// A broker that writes down what it stores.
pub struct Broker {
    pub stored: Mutex<Vec<(i32, Bytes)>>,
    pub sends: AtomicUsize,
    pub most_in_hand: AtomicUsize,
    pub farewells: AtomicUsize,
    pub beats: AtomicUsize,
    in_hand: Arc<AtomicUsize>,
    next: AtomicI64,
    script: Mutex<Script>,
}

impl Broker {
    /// Answers the n-th send as `script` says.
    pub fn new(script: impl FnMut(usize) -> Reply + Send + 'static) -> Arc<Self> {
        Arc::new(Self {
            stored: Mutex::default(),
            sends: AtomicUsize::new(0),
            most_in_hand: AtomicUsize::new(0),
            farewells: AtomicUsize::new(0),
            beats: AtomicUsize::new(0),
            in_hand: Arc::default(),
            next: AtomicI64::new(0),
            script: Mutex::new(Box::new(script)),
        })
    }

    pub fn sends(&self) -> usize {
        self.sends.load(Ordering::SeqCst)
    }

    fn store(&self, frame: &Frame) -> Frame {
        let fields: SendRequestV2<'_> = frame.fields().unwrap();
        self.stored.lock().push((fields.queue_id, frame.body.clone()));
        frame.answer(response::SUCCESS).with_fields(&SendResponse {
            msg_id: "0".repeat(32).into(),
            queue_id: fields.queue_id,
            queue_offset: self.next.fetch_add(1, Ordering::SeqCst),
            ..SendResponse::default()
        })
    }
}

impl Handler for Broker {
    fn call(&self, _: &Arc<Peer>, frame: Frame) -> Outcome {
        match frame.code {
            request::HELLO => return Outcome::Answer(answer_hello(&frame)),
            request::SEND_MESSAGE_V2 | request::SEND_BATCH_MESSAGE => {}
            request::UNREGISTER_CLIENT => {
                self.farewells.fetch_add(1, Ordering::SeqCst);
                return Outcome::Answer(frame.answer(response::SUCCESS));
            }
            code => {
                self.beats.fetch_add(usize::from(code == request::HEART_BEAT), Ordering::SeqCst);
                return Outcome::Answer(frame.answer(response::SUCCESS));
            }
        }
        let nth = self.sends.fetch_add(1, Ordering::SeqCst);
        let reply = (self.script.lock())(nth);
        match reply {
            Reply::Store => Outcome::Answer(self.store(&frame)),
            Reply::Code(code) => Outcome::Answer(frame.refuse(code, format!("scripted {code}"))),
            Reply::Refuse(code, remark) => Outcome::Answer(frame.refuse(code, remark)),
            Reply::StoreBut(code) => Outcome::Answer(Frame { code, ..self.store(&frame) }),
            Reply::Silence => Outcome::Nothing,
            Reply::After(pause) => {
                let now = self.in_hand.fetch_add(1, Ordering::SeqCst) + 1;
                self.most_in_hand.fetch_max(now, Ordering::SeqCst);
                let (answer, in_hand) = (self.store(&frame), Arc::clone(&self.in_hand));
                Outcome::later(async move {
                    tokio::time::sleep(pause).await;
                    in_hand.fetch_sub(1, Ordering::SeqCst);
                    answer
                })
            }
        }
    }
}
