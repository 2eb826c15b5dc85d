//! Brokers and a name server in this process, and a disk that fails as a test wants.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use orbitmq_broker::config::Config;
use orbitmq_broker::node::Node;
use orbitmq_broker::store::io::Io;
use orbitmq_broker::store::options::IndexSize;
use orbitmq_common::net::client::{Client, ClientOptions, Link};
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::frame::{Encoding, Frame};
use orbitmq_common::protocol::header::admin::CreateTopicRequest;
use orbitmq_common::protocol::header::pull::PullRequest;
use orbitmq_common::protocol::header::send::SendRequestV2;
use serde::Serialize;
use serde_json::{Value, json};

pub const DEADLINE: Duration = Duration::from_secs(30);

/// The disk of one broker.
#[derive(Debug, Default)]
pub struct Disk {
    pub is_full: AtomicBool,
    pub is_broken: AtomicBool,
    pub stands_still: AtomicBool,
}

impl Io for Disk {
    fn sync_data(&self, file: &File, path: &Path) -> io::Result<()> {
        let is_log = path.components().any(|part| part.as_os_str() == "commitlog");
        while is_log && self.stands_still.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(2));
        }
        if is_log && self.is_broken.load(Ordering::SeqCst) {
            return Err(io::Error::other("scripted damage"));
        }
        file.sync_data()
    }

    fn usage(&self, _: &Path) -> io::Result<(u64, u64)> {
        let free = if self.is_full.load(Ordering::SeqCst) { 0 } else { 1 << 40 };
        Ok((free, 1 << 40))
    }
}

/// A broker that runs, and a connection to it.
pub struct Broker {
    pub node: Node,
    pub link: Link,
    pub disk: Arc<Disk>,
    _client: Client,
    _dir: tempfile::TempDir,
}

/// A connection to a server.
pub async fn connect(address: &str) -> (Client, Link) {
    let client = Client::new(ClientOptions { encoding: Some(Encoding::Json), ..ClientOptions::default() });
    let link = client.link(address).await.unwrap();
    (client, link)
}

/// Asks a server.
pub async fn ask(link: &Link, code: i32, fields: &impl Serialize) -> Frame {
    link.call(link.request(code).with_fields(fields), DEADLINE).await.unwrap()
}

/// Waits until something holds.
pub async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !holds().await {
        assert!(Instant::now() < end, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

impl Broker {
    /// Starts one whose settings are changed first.
    pub async fn start(change: impl FnOnce(&mut Config)) -> Self {
        let (dir, disk) = (tempfile::tempdir().unwrap(), Arc::new(Disk::default()));
        let mut config = Config::local(dir.path(), Vec::new());
        config.store.segment_size = 1 << 20;
        config.store.reserve_ahead = 64 << 10;
        config.store.reserve_step = 64 << 10;
        config.store.index = Some(IndexSize { slots: 1000, entries: 4000 });
        config.store.io = Arc::<Disk>::clone(&disk);
        change(&mut config);
        let node = Node::start(config).await.unwrap();
        let (client, link) = connect(&node.bound().to_string()).await;
        Self { node, link, disk, _client: client, _dir: dir }
    }

    pub async fn ask(&self, code: i32, fields: &impl Serialize) -> Frame {
        ask(&self.link, code, fields).await
    }

    /// Asks for what must succeed.
    pub async fn does(&self, code: i32, fields: &impl Serialize) -> Frame {
        let answer = self.ask(code, fields).await;
        assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
        answer
    }

    /// Sends a JSON or other body that must be taken.
    pub async fn takes(&self, code: i32, body: impl Into<bytes::Bytes>) {
        let answer = self.link.call(self.link.request(code).with_body(body), DEADLINE).await.unwrap();
        assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
    }

    pub async fn create_topic(&self, topic: &str, queues: i32, perm: i32) {
        let fields = CreateTopicRequest {
            topic: topic.into(),
            default_topic: "TBW102".into(),
            read_queue_nums: queues,
            write_queue_nums: queues,
            perm,
            ..CreateTopicRequest::default()
        };
        self.does(request::UPDATE_AND_CREATE_TOPIC, &fields).await;
    }

    pub async fn create_group(&self, config: Value) {
        self.takes(request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, config.to_string()).await;
    }

    /// A heartbeat on this broker's connection; the answer.
    pub async fn beat(&self, link: &Link, group: &str, topic: &str, expression: &str, model: &str) -> Frame {
        let body = json!({"clientID": format!("client-{expression}"), "consumerDataSet": [{
            "groupName": group, "consumeType": "CONSUME_PASSIVELY", "messageModel": model,
            "consumeFromWhere": "CONSUME_FROM_FIRST_OFFSET", "unitMode": false,
            "subscriptionDataSet": [{"topic": topic, "subString": expression, "subVersion": 5, "expressionType": "TAG"}],
        }]});
        link.call(link.request(request::HEART_BEAT).with_json(&body), DEADLINE).await.unwrap()
    }

    pub fn message(&self, topic: &str, body: &[u8]) -> Frame {
        self.send_of(&sending(topic), body)
    }

    pub fn send_of(&self, fields: &SendRequestV2<'_>, body: &[u8]) -> Frame {
        self.link.request(request::SEND_MESSAGE_V2).with_fields(fields).with_body(body.to_vec())
    }

    pub async fn send(&self, fields: &SendRequestV2<'_>, body: &[u8]) -> Frame {
        self.link.call(self.send_of(fields, body), DEADLINE).await.unwrap()
    }

    /// Stores a message.
    pub async fn stores(&self, topic: &str, body: &[u8]) {
        let answer = self.link.call(self.message(topic, body), DEADLINE).await.unwrap();
        assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
    }

    pub async fn pull(&self, topic: &str, group: &str, offset: i64) -> Frame {
        self.ask(request::PULL_MESSAGE, &pulling(topic, group, offset)).await
    }

    pub async fn stop(self) {
        self.node.stop().await;
    }
}

/// A send to queue 0.
pub fn sending(topic: &str) -> SendRequestV2<'_> {
    SendRequestV2 {
        producer_group: "writers".into(),
        topic: topic.into(),
        default_topic: "TBW102".into(),
        default_topic_queue_nums: 1,
        properties: Some("KEYS\u{1}k\u{2}".into()),
        ..SendRequestV2::default()
    }
}

/// A pull of queue 0 by any tag, answered at once.
pub fn pulling<'a>(topic: &'a str, group: &'a str, offset: i64) -> PullRequest<'a> {
    PullRequest {
        consumer_group: group.into(),
        topic: topic.into(),
        queue_offset: offset,
        max_msg_nums: 1,
        sys_flag: 4,
        subscription: Some("*".into()),
        ..PullRequest::default()
    }
}
