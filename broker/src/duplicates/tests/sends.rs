//! Sends to a whole broker: what is answered, what is stored, and what is known after a restart or a change of masters.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use orbitmq_common::message::batch::{self, BatchEntry};
use orbitmq_common::message::id::parse_offset_id;
use orbitmq_common::message::recall::RecallHandle;
use orbitmq_common::name;
use orbitmq_common::net::client::{Client, ClientOptions, Link};
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::frame::{Encoding, Frame};
use orbitmq_common::protocol::header::admin::{CreateTopicRequest, TopicRequest};
use orbitmq_common::protocol::header::replica::PromoteRequest;
use orbitmq_common::protocol::header::send::{SendRequestV2, SendResponse};
use serde::Serialize;

use crate::config::Config;
use crate::config::replication::{Acknowledge, RoleSetting};
use crate::node::Node;
use crate::replica::role::MasterAddress;
use crate::store::options::IndexSize;

const DEADLINE: Duration = Duration::from_secs(20);
const WINDOW: &str = "+orbitmq.dedup.window=10m";

fn config(dir: &Path) -> Config {
    let mut config = Config::local(dir, Vec::new());
    config.store.segment_size = 1 << 20;
    config.store.index = Some(IndexSize { slots: 1000, entries: 4000 });
    config.monitor = Some(std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
    config
}

struct Sender {
    link: Link,
    _client: Client,
}

/// Where an answer says that a message is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    /// Offsets in the log.
    id: String,
    queue: i32,
    offset: i64,
    /// Whether it says that the message is an old one.
    again: bool,
}

impl Sender {
    async fn to(node: &Node) -> Self {
        let client = Client::new(ClientOptions { encoding: Some(Encoding::Json), ..ClientOptions::default() });
        let link = client.link(&node.bound().to_string()).await.unwrap();
        Self { link, _client: client }
    }

    async fn ask<T: Serialize>(&self, code: i32, fields: &T, body: impl Into<bytes::Bytes>) -> Frame {
        self.link.call(self.link.request(code).with_fields(fields).with_body(body.into()), DEADLINE).await.unwrap()
    }

    async fn create(&self, topic: &str, attributes: &str) -> Frame {
        let fields = CreateTopicRequest {
            topic: topic.into(),
            default_topic: name::DEFAULT_TOPIC.into(),
            read_queue_nums: 4,
            write_queue_nums: 4,
            perm: 6,
            attributes: Some(attributes.into()),
            ..CreateTopicRequest::default()
        };
        self.ask(request::UPDATE_AND_CREATE_TOPIC, &fields, "").await
    }

    async fn send_frame(&self, topic: &str, queue: i32, properties: &str) -> Frame {
        let fields = SendRequestV2 { properties: Some(properties.into()), ..header(topic, queue) };
        self.ask(request::SEND_MESSAGE_V2, &fields, "body").await
    }

    async fn send(&self, topic: &str, queue: i32, properties: &str) -> Place {
        place(&self.send_frame(topic, queue, properties).await)
    }

    async fn batch(&self, topic: &str, queue: i32, keys: &[&str]) -> Place {
        let properties: Vec<String> = keys.iter().map(|name| key(name)).collect();
        let entries = properties.iter().map(|properties| BatchEntry { flag: 0, body: b"body", properties });
        let fields = SendRequestV2 { batch: Some(true), ..header(topic, queue) };
        place(&self.ask(request::SEND_BATCH_MESSAGE, &fields, batch::encode(entries).unwrap()).await)
    }
}

fn header(topic: &str, queue: i32) -> SendRequestV2<'_> {
    SendRequestV2 {
        producer_group: "P".into(),
        topic: topic.into(),
        default_topic: "TBW102".into(),
        default_topic_queue_nums: 4,
        queue_id: queue,
        ..SendRequestV2::default()
    }
}

fn place(answer: &Frame) -> Place {
    assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
    let fields: SendResponse<'_> = answer.fields().unwrap();
    let again = answer.remark.as_deref().is_some_and(|remark| remark.contains("same unique key"));
    // The address in the ids changes with each start here.
    let id: Vec<String> = fields.msg_id.split(',').map(|id| parse_offset_id(id).unwrap().1.to_string()).collect();
    Place { id: id.join(","), queue: fields.queue_id, offset: fields.queue_offset, again }
}

fn key(name: &str) -> String {
    format!("UNIQ_KEY\u{1}{name}\u{2}")
}

fn again(first: &Place) -> Place {
    Place { again: true, ..first.clone() }
}

/// Messages of a topic by queue.
fn stored(node: &Node, topic: &str) -> BTreeMap<u32, i64> {
    let store = &node.broker().store;
    store.queues(topic).into_iter().map(|queue| (queue, store.max_offset(topic, queue))).collect()
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let end = tokio::time::Instant::now() + DEADLINE;
    while !holds().await {
        assert!(tokio::time::Instant::now() < end, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_again_is_answered_with_the_first_and_not_stored() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(config(dir.path())).await.unwrap();
    let sender = Sender::to(&node).await;
    assert_eq!(sender.create("once", WINDOW).await.code, response::SUCCESS);
    let first = sender.send("once", 1, &key("a")).await;
    assert!(!first.again);
    // In another queue as well: that is where clients try again.
    assert_eq!(sender.send("once", 3, &key("a")).await, again(&first));
    let waits = [
        format!("{}DELAY\u{1}18\u{2}", key("b")),
        format!("{}TIMER_DELAY_SEC\u{1}1000\u{2}", key("c")),
        format!("{}TRAN_MSG\u{1}true\u{2}PGROUP\u{1}P\u{2}", key("d")),
    ];
    let mut firsts = vec![(key("a"), first)];
    for properties in waits {
        let first = sender.send("once", 2, &properties).await;
        assert!(!first.again);
        assert_eq!(sender.send("once", 0, &properties).await, again(&first));
        firsts.push((properties, first));
    }
    // Of a batch what is new is stored, each once.
    let some = sender.batch("once", 0, &["e", "a", "f", "e"]).await;
    let ids: Vec<&str> = some.id.split(',').collect();
    assert_eq!((ids[1], ids[3], some.queue, some.offset, some.again), (firsts[0].1.id.as_str(), ids[0], 0, 0, true));
    let batch = sender.batch("once", 3, &["f", "e"]).await;
    assert_eq!((batch.id, batch.queue, batch.offset), (format!("{},{}", ids[2], ids[0]), 0, 1));
    let expected = BTreeMap::from([(0, 2), (1, 1)]);
    assert_eq!(stored(&node, "once"), expected);
    let figures = node.broker().duplicates.figures();
    assert_eq!((figures[0].dropped, figures[0].known), (8, 6));
    // Without keys, and with empty ones, each is its own.
    for properties in ["", "", "UNIQ_KEY\u{1}\u{2}", "UNIQ_KEY\u{1}\u{2}"] {
        assert!(!sender.send("once", 2, properties).await.again);
    }
    // Elsewhere all are stored.
    assert!(!sender.send("often", 0, &key("a")).await.again);
    assert!(!sender.send("often", 0, &key("a")).await.again);
    node.stop().await;

    let node = Node::start(config(dir.path())).await.unwrap();
    let sender = Sender::to(&node).await;
    for (properties, first) in &firsts {
        assert_eq!(sender.send("once", 0, properties).await, again(first), "{properties}");
    }
    assert_eq!(sender.batch("once", 3, &["f", "e"]).await.id, format!("{},{}", ids[2], ids[0]));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_for_a_time_can_be_taken_back_by_either_answer() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(config(dir.path())).await.unwrap();
    let sender = Sender::to(&node).await;
    sender.create("once", WINDOW).await;
    let properties = format!("{}TIMER_DELAY_SEC\u{1}1000\u{2}", key("c"));
    let handle = |answer: &Frame| {
        let fields: SendResponse<'_> = answer.fields().unwrap();
        RecallHandle::decode(&fields.recall_handle.unwrap()).unwrap()
    };
    let first = handle(&sender.send_frame("once", 0, &properties).await);
    // Its time counts from its arrival.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let second = handle(&sender.send_frame("once", 0, &properties).await);
    assert_eq!((first.due, first.key), (second.due, second.key));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_checked_and_hold_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(config(dir.path())).await.unwrap();
    let sender = Sender::to(&node).await;
    for (topic, wrong, told) in [
        ("T", "+orbitmq.dedup.window=soon", "from 1s to 7d"),
        ("T", "+orbitmq.dedup.count=5", "without orbitmq.dedup.window"),
        ("T", "+orbitmq.dedup=5", "not an attribute"),
        ("%RETRY%g", WINDOW, "retry topics"),
    ] {
        let refused = sender.create(topic, wrong).await;
        let remark = refused.remark.unwrap();
        assert!(refused.code == response::INVALID_PARAMETER && remark.contains(told), "{remark}");
    }
    // What lies in the log when a topic opts in is known.
    assert_eq!(sender.create("T", "").await.code, response::SUCCESS);
    assert!(!sender.send("T", 0, &key("a")).await.again);
    let newest = sender.send("T", 0, &key("a")).await;
    assert!(!newest.again);
    assert_eq!(sender.create("T", "+orbitmq.dedup.window=1m,+orbitmq.dedup.count=2").await.code, response::SUCCESS);
    assert_eq!(sender.send("T", 1, &key("a")).await, again(&newest));
    assert!(!sender.send("T", 0, &key("b")).await.again);
    assert!(!sender.send("T", 0, &key("c")).await.again);
    assert!(!sender.send("T", 0, &key("a")).await.again, "two are known, and two came since");
    // Other settings of the topic do not touch it, and a larger window reaches back.
    assert_eq!(sender.create("T", "+orbitmq.dedup.count=10").await.code, response::SUCCESS);
    assert!(sender.send("T", 0, &key("b")).await.again);
    assert_eq!(sender.create("T", "-orbitmq.dedup.window,-orbitmq.dedup.count").await.code, response::SUCCESS);
    assert!(!sender.send("T", 0, &key("b")).await.again);
    assert_eq!((node.broker().duplicates.dropped(), node.broker().duplicates.figures().len()), (2, 0));
    // A topic that is deleted and made again has nothing of the old one.
    sender.create("T", WINDOW).await;
    let deleted = sender.ask(request::DELETE_TOPIC_IN_BROKER, &TopicRequest { topic: "T".into() }, "").await;
    assert_eq!(deleted.code, response::SUCCESS);
    sender.create("T", WINDOW).await;
    let new = sender.send("T", 0, &key("b")).await;
    assert_eq!((new.again, new.offset), (false, 0));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_is_not_acknowledged_before_the_first_is_safe_and_a_new_master_knows_it() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let replicated = |dir: &Path| {
        let mut config = config(dir);
        config.acknowledge = Acknowledge::Replica;
        config.store.replicated = true;
        config.min_in_sync = 1;
        config.in_sync_timeout = Duration::from_secs(30);
        config.acknowledge_timeout = Duration::from_millis(300);
        config
    };
    let master = Node::start(replicated(a.path())).await.unwrap();
    let mut of_slave = replicated(b.path());
    (of_slave.role, of_slave.id) = (RoleSetting::Slave, 1);
    of_slave.master = Some(MasterAddress { client: master.bound().to_string(), ha: master.ha_bound().to_string() });
    let slave = Node::start(of_slave.clone()).await.unwrap();
    until("copies in sync", async || master.broker().in_sync.copies() == 2).await;
    let sender = Sender::to(&master).await;
    sender.create("once", WINDOW).await;
    let known = sender.send("once", 0, &key("a")).await;
    until("the slave has the topic", async || slave.broker().topics.get("once").is_some()).await;
    slave.stop().await;
    // The slave is gone and still counts: nothing is confirmed.
    for queue in 0..2 {
        let answer = sender.send_frame("once", queue, &key("b")).await;
        assert_eq!(answer.code, response::FLUSH_SLAVE_TIMEOUT, "{:?}", answer.remark);
    }
    let slave = Node::start(of_slave).await.unwrap();
    until("the slave is back", async || sender.send_frame("once", 2, &key("b")).await.code == response::SUCCESS).await;
    let in_doubt = sender.send("once", 2, &key("b")).await;
    assert_eq!((in_doubt.queue, in_doubt.offset, in_doubt.again), (0, 1, true));
    let end = i64::try_from(master.broker().store.local()).unwrap();
    master.stop().await;
    let sender = Sender::to(&slave).await;
    let promoted = sender.ask(request::PROMOTE, &PromoteRequest { log_end: end }, "").await;
    assert_eq!(promoted.code, response::SUCCESS, "{:?}", promoted.remark);
    for (name, first) in [("a", known), ("b", in_doubt)] {
        let second = sender.send("once", 3, &key(name)).await;
        assert_eq!((second.queue, second.offset, second.again), (first.queue, first.offset, true));
    }
    assert_eq!(stored(&slave, "once"), BTreeMap::from([(0, 2)]));
    slave.stop().await;
}
