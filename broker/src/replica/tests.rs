//! Brokers of one name in this process: what is copied, what is acknowledged, what is taken back.

mod pop;

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use orbitmq_common::message::entry;
use orbitmq_common::net::client::{Client, ClientOptions, Link};
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::frame::{Encoding, Frame};
use orbitmq_common::protocol::header::admin::TopicRequest;
use orbitmq_common::protocol::header::replica::{PromoteRequest, PromoteResponse};
use orbitmq_common::protocol::header::send::{SendRequestV2, SendResponse};

use crate::config::Config;
use crate::config::replication::{Acknowledge, RoleSetting};
use crate::node::Node;
use crate::replica::role::MasterAddress;
use crate::store::checkpoint;
use crate::store::io::Io;
use crate::store::options::IndexSize;
use crate::store::read::{ReadLimit, ReadStatus};

const DEADLINE: Duration = Duration::from_secs(20);

fn config(dir: &Path, acknowledge: Acknowledge) -> Config {
    let mut config = Config::local(dir, Vec::new());
    config.acknowledge = acknowledge;
    config.store.replicated = acknowledge == Acknowledge::Replica;
    config.store.segment_size = 1 << 20;
    config.store.index = Some(IndexSize { slots: 1000, entries: 4000 });
    config.in_sync_timeout = Duration::from_millis(300);
    config.acknowledge_timeout = Duration::from_millis(900);
    config
}

/// A slave of a master that runs.
fn slave_of(master: &Node, dir: &Path, id: i64) -> Config {
    let mut config = config(dir, Acknowledge::Replica);
    config.role = RoleSetting::Slave;
    config.id = id;
    config.master = Some(MasterAddress { client: master.bound().to_string(), ha: master.ha_bound().to_string() });
    config
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let end = tokio::time::Instant::now() + DEADLINE;
    while !holds().await {
        assert!(tokio::time::Instant::now() < end, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn copies(node: &Node, wanted: usize) {
    until("copies in sync", async || node.broker().in_sync.copies() == wanted).await;
}

struct Sender {
    link: Link,
    /// Its end would be the end of the link.
    _client: Client,
}

impl Sender {
    async fn to(address: SocketAddr) -> Self {
        let client = Client::new(ClientOptions { encoding: Some(Encoding::MessagePack), ..ClientOptions::default() });
        let link = client.link(&address.to_string()).await.unwrap();
        Self { link, _client: client }
    }

    async fn send(&self, body: &str) -> Frame {
        self.send_with(body, "").await
    }

    async fn send_with(&self, body: &str, properties: &str) -> Frame {
        let fields = SendRequestV2 {
            producer_group: "P".into(),
            topic: "T".into(),
            default_topic: "TBW102".into(),
            default_topic_queue_nums: 1,
            properties: Some(properties.into()),
            ..SendRequestV2::default()
        };
        let frame = self.link.request(request::SEND_MESSAGE_V2).with_fields(&fields).with_body(body.to_owned());
        self.link.call(frame, DEADLINE).await.unwrap()
    }

    async fn send_all(&self, from: usize, to: usize) {
        for number in from..to {
            let answer = self.send(&format!("message {number}")).await;
            assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
        }
    }
}

/// Bodies of queue 0 of the topic, as a broker's store holds them.
fn bodies(node: &Node) -> Vec<String> {
    let broker = node.broker();
    let (mut found, mut offset) = (Vec::new(), 0);
    loop {
        let limit = ReadLimit { max_messages: 1000, max_bytes: 1 << 20 };
        let read = broker.store.read("T", 0, offset, limit, &mut |_, _| true);
        if read.status != ReadStatus::Found {
            return found;
        }
        offset = read.next_offset;
        let records = read.chunks.iter().flat_map(|chunk| entry::records(chunk));
        found.extend(records.map(|record| String::from_utf8_lossy(record.unwrap().body).into_owned()));
    }
}

fn log(node: &Node) -> Vec<u8> {
    let broker = node.broker();
    let (mut bytes, mut at, end) = (Vec::new(), broker.store.min_physical(), broker.store.local());
    while let Some(piece) = broker.store.log_bytes(at, end, u64::MAX) {
        at += piece.len() as u64;
        bytes.extend_from_slice(&piece);
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledged_message_is_on_the_slave_and_the_logs_are_equal() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let master = Node::start(config(a.path(), Acknowledge::Replica)).await.unwrap();
    let sender = Sender::to(master.bound()).await;
    let refused = sender.send("too early").await;
    assert_eq!(refused.code, response::SERVICE_NOT_AVAILABLE);
    assert!(refused.remark.unwrap().contains("1 of 2 copies"));

    let slave = Node::start(slave_of(&master, b.path(), 1)).await.unwrap();
    copies(&master, 2).await;
    for number in 0..50 {
        let answer = sender.send(&format!("message {number}")).await;
        assert_eq!(answer.code, response::SUCCESS);
        assert!(slave.broker().store.local() >= master.broker().store.confirmed());
    }
    until("the slave shows it", async || bodies(&slave).len() == 50).await;
    assert_eq!(bodies(&slave), bodies(&master));
    assert_eq!(log(&slave), log(&master));

    let to_slave = Sender::to(slave.bound()).await.send("to the wrong one").await;
    assert_eq!(to_slave.code, response::SERVICE_NOT_AVAILABLE);
    assert!(to_slave.remark.unwrap().contains(&master.bound().to_string()));
    slave.stop().await;
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_slave_gets_the_whole_log_over_many_segments_and_goes_on_after_a_restart() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let master = Node::start(config(a.path(), Acknowledge::Flush)).await.unwrap();
    let sender = Sender::to(master.bound()).await;
    let body = "x".repeat(60_000);
    for number in 0..60 {
        let answer = sender.send(&format!("{number} {body}")).await;
        assert_eq!(answer.code, response::SUCCESS);
    }
    let slave = Node::start(slave_of(&master, b.path(), 1)).await.unwrap();
    until("the slave has all", async || bodies(&slave).len() == 60).await;
    slave.stop().await;
    for number in 60..100 {
        sender.send(&format!("{number} {body}")).await;
    }
    let slave = Node::start(slave_of(&master, b.path(), 1)).await.unwrap();
    until("the slave has all", async || bodies(&slave).len() == 100).await;
    assert_eq!(bodies(&slave), bodies(&master));
    assert_eq!(log(&slave), log(&master));
    slave.stop().await;
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slave_that_goes_away_leaves_the_set_and_senders_hear_why() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let master = Node::start(config(a.path(), Acknowledge::Replica)).await.unwrap();
    let slave = Node::start(slave_of(&master, b.path(), 1)).await.unwrap();
    copies(&master, 2).await;
    let sender = Sender::to(master.bound()).await;
    sender.send_all(0, 10).await;
    slave.stop().await;
    // It counts until it is judged; whoever waits for it hears that the set became too small, or that time ran out.
    let waiting = sender.send("stored here alone").await;
    let short = [response::SLAVE_NOT_AVAILABLE, response::FLUSH_SLAVE_TIMEOUT];
    assert!(short.contains(&waiting.code), "{} {:?}", waiting.code, waiting.remark);
    let fields: SendResponse<'_> = waiting.fields().unwrap();
    assert_eq!(fields.queue_offset, 10, "clients read where it was stored");
    copies(&master, 1).await;
    let refused = sender.send("refused").await;
    assert_eq!(refused.code, response::SERVICE_NOT_AVAILABLE);
    assert!(refused.remark.unwrap().contains("1 of 2 copies"));
    let unasked = sender.send_with("nobody waits", "WAIT\u{1}false\u{2}").await;
    assert_eq!(unasked.code, response::SERVICE_NOT_AVAILABLE, "too few copies is no question of waiting");

    let slave = Node::start(slave_of(&master, b.path(), 1)).await.unwrap();
    copies(&master, 2).await;
    sender.send_all(11, 20).await;
    until("the slave has all", async || bodies(&slave) == bodies(&master)).await;
    assert_eq!(bodies(&slave).len(), 20);
    slave.stop().await;
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_asynchronous_master_does_not_wait_for_anybody() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let master = Node::start(config(a.path(), Acknowledge::Flush)).await.unwrap();
    let slave = Node::start(slave_of(&master, b.path(), 1)).await.unwrap();
    let sender = Sender::to(master.bound()).await;
    sender.send_all(0, 10).await;
    until("the slave has all", async || bodies(&slave).len() == 10).await;
    slave.stop().await;
    sender.send_all(10, 20).await;
    until("all are there", async || bodies(&master).len() == 20).await;
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slave_takes_back_what_its_master_has_lost() {
    let (a, b, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let master = Node::start(config(a.path(), Acknowledge::Flush)).await.unwrap();
    let sender = Sender::to(master.bound()).await;
    sender.send_all(0, 10).await;
    master.stop().await;
    copy_tree(a.path(), copy.path());

    let master = Node::start(config(a.path(), Acknowledge::Flush)).await.unwrap();
    let slave = Node::start(slave_of(&master, b.path(), 1)).await.unwrap();
    let sender = Sender::to(master.bound()).await;
    sender.send_all(10, 30).await;
    until("the slave has all", async || bodies(&slave).len() == 30).await;
    slave.stop().await;
    master.stop().await;

    // The master comes back from an older copy of its directory, and other messages follow.
    let master = Node::start(config(copy.path(), Acknowledge::Flush)).await.unwrap();
    let sender = Sender::to(master.bound()).await;
    sender.send_all(100, 105).await;
    let slave = Node::start(slave_of(&master, b.path(), 1)).await.unwrap();
    until("the slave has what the master has", async || {
        bodies(&slave).len() == 15 && bodies(&slave) == bodies(&master)
    })
    .await;
    assert_eq!(log(&slave), log(&master));
    slave.stop().await;
    master.stop().await;
}

fn copy_tree(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slave_of_another_group_or_with_the_masters_number_is_refused() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let master = Node::start(config(a.path(), Acknowledge::Flush)).await.unwrap();
    let mut other = slave_of(&master, b.path(), 1);
    other.name = "broker-b".to_owned();
    let slave = Node::start(other).await.unwrap();
    Sender::to(master.bound()).await.send_all(0, 5).await;
    until("nothing is copied", async || !slave.broker().role.is_master_alive()).await;
    assert_eq!(slave.broker().store.end(), 0);
    slave.stop().await;
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_deleted_is_gone_at_the_slave_and_what_came_after_is_not() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let master = Node::start(config(a.path(), Acknowledge::Flush)).await.unwrap();
    let slave = Node::start(slave_of(&master, b.path(), 1)).await.unwrap();
    let sender = Sender::to(master.bound()).await;
    sender.send_all(0, 20).await;
    until("the slave has all", async || bodies(&slave).len() == 20).await;
    let delete = TopicRequest { topic: "T".into() };
    let frame = sender.link.request(request::DELETE_TOPIC_IN_BROKER).with_fields(&delete);
    assert_eq!(sender.link.call(frame, DEADLINE).await.unwrap().code, response::SUCCESS);
    sender.send_all(100, 103).await;
    until("old ones are gone, new ones are there", async || bodies(&slave).len() == 3).await;
    assert_eq!(bodies(&slave), bodies(&master));
    // So it is after a cut that took the store's own notes with it.
    slave.stop().await;
    for note in checkpoint::FILES {
        std::fs::remove_file(b.path().join(note)).unwrap();
    }
    let slave = Node::start(slave_of(&master, b.path(), 1)).await.unwrap();
    assert_eq!(bodies(&slave).len(), 3);
    // A slave that comes later learns of it too.
    slave.stop().await;
    let c = tempfile::tempdir().unwrap();
    let slave = Node::start(slave_of(&master, c.path(), 2)).await.unwrap();
    until("the new slave has all", async || bodies(&slave) == bodies(&master)).await;
    slave.stop().await;
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slave_that_is_made_master_goes_on_where_the_log_ends() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let master = Node::start(config(a.path(), Acknowledge::Flush)).await.unwrap();
    let slave = Node::start(slave_of(&master, b.path(), 1)).await.unwrap();
    let sender = Sender::to(master.bound()).await;
    sender.send_all(0, 20).await;
    let end = i64::try_from(master.broker().store.local()).unwrap();
    let to_slave = Sender::to(slave.bound()).await;
    let promote = |log_end: i64| to_slave.link.request(request::PROMOTE).with_fields(&PromoteRequest { log_end });
    let early = to_slave.link.call(promote(end + 1_000), DEADLINE).await.unwrap();
    assert_eq!(early.code, response::SERVICE_NOT_AVAILABLE, "it does not have that much");
    until("the slave has all", async || slave.broker().store.local() == master.broker().store.local()).await;
    master.stop().await;
    let promoted = to_slave.link.call(promote(end), DEADLINE).await.unwrap();
    assert_eq!(promoted.code, response::SUCCESS, "{:?}", promoted.remark);
    assert_eq!(promoted.fields::<PromoteResponse>().unwrap().log_end, end);
    let again = to_slave.link.call(promote(end), DEADLINE).await.unwrap();
    assert_eq!(again.code, response::CONTROLLER_MASTER_STILL_EXIST);
    // It wants slaves to confirm, as it is set to.
    assert!(to_slave.send("alone").await.remark.unwrap().contains("1 of 2 copies"));
    let mut other = slave_of(&slave, a.path(), 3);
    other.acknowledge = Acknowledge::Flush;
    let old = Node::start(other).await.unwrap();
    copies(&slave, 2).await;
    to_slave.send_all(20, 30).await;
    until("the old master has all", async || bodies(&old).len() == 30).await;
    assert_eq!(log(&old), log(&slave));
    old.stop().await;
    slave.stop().await;
}

/// A disk whose flushes of the log fail from some moment on.
#[derive(Debug, Default)]
struct FailingFlush(AtomicBool);

impl Io for FailingFlush {
    fn sync_data(&self, file: &File, path: &Path) -> std::io::Result<()> {
        let is_log = path.parent().is_some_and(|parent| parent.ends_with("commitlog"));
        if is_log && self.0.load(Ordering::Relaxed) {
            return Err(std::io::ErrorKind::Other.into());
        }
        file.sync_data()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slave_whose_flush_has_failed_vouches_for_nothing_more_however_often_it_comes_back() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let master = Config { min_in_sync: 1, ..config(a.path(), Acknowledge::Replica) };
    let master = Node::start(master).await.unwrap();
    let disk = Arc::new(FailingFlush::default());
    let mut failing = slave_of(&master, b.path(), 1);
    failing.store.io = Arc::clone(&disk) as Arc<dyn Io>;
    let slave = Node::start(failing).await.unwrap();
    copies(&master, 2).await;
    let sender = Sender::to(master.bound()).await;
    sender.send_all(0, 10).await;
    disk.0.store(true, Ordering::Relaxed);
    sender.send_all(10, 12).await;
    copies(&master, 1).await;
    // Long enough for several attempts of the slave to come back.
    let end = tokio::time::Instant::now() + Duration::from_secs(1);
    while tokio::time::Instant::now() < end {
        sender.send_all(12, 13).await;
        let durable = slave.broker().store.local();
        assert!(master.broker().in_sync.shown().iter().all(|slave| slave.acked <= durable));
        assert_eq!(master.broker().in_sync.copies(), 1);
    }
    assert!(slave.broker().store.poisoned().is_some());
    slave.stop().await;
    master.stop().await;
}
