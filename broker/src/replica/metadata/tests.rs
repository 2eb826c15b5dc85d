//! Checks of a slave's metadata: two whole brokers in this process.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use orbitmq_common::net::client::{Client, ClientOptions, Link};
use orbitmq_common::protocol::body::group::GroupConfig;
use orbitmq_common::protocol::body::topic::TopicConfig;
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::frame::{Encoding, Frame};
use orbitmq_common::protocol::header::offset::UpdateOffsetRequest;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

mod history;
mod switch;
mod told;

use super::*;
use crate::config::Config;
use crate::config::replication::RoleSetting;
use crate::meta::offsets::encode_key;
use crate::node::Node;
use crate::store::options::IndexSize;

const PATIENCE: Duration = Duration::from_secs(20);
/// What the issue grants.
const SECOND: Duration = Duration::from_secs(1);

async fn start(dir: &Path, id: i64, listen: Option<SocketAddr>) -> Node {
    let mut config = Config::local(dir, Vec::new());
    config.id = id;
    if id > 0 {
        config.role = RoleSetting::Slave;
    }
    config.listen = listen.unwrap_or(config.listen);
    config.store.segment_size = 16 << 20;
    config.store.index = Some(IndexSize { slots: 1000, entries: 4000 });
    Node::start(config).await.unwrap()
}

/// A broker that follows another one.
struct Slave {
    node: Node,
    stop: CancellationToken,
    follower: JoinHandle<()>,
}

impl Slave {
    async fn start(dir: &Path, master: SocketAddr) -> Self {
        let node = start(dir, 1, None).await;
        let stop = CancellationToken::new();
        let follower = tokio::spawn(follow(node.broker(), master.to_string(), stop.clone()));
        Self { node, stop, follower }
    }

    fn broker(&self) -> Arc<Broker> {
        self.node.broker()
    }

    async fn stop(self) {
        self.stop.cancel();
        self.follower.await.unwrap();
        self.node.stop().await;
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    began.elapsed()
}

/// Rows of everything that follows. Topics of the system are each broker's own.
fn rows(broker: &Broker) -> Vec<(&'static str, Vec<u8>, Vec<u8>)> {
    let trees = Tree::ALL.into_iter().filter(|tree| tree.replicates());
    let rows = trees
        .flat_map(|tree| broker.db.load(tree).unwrap().into_iter().map(move |(key, value)| (tree.name(), key, value)));
    let mut rows: Vec<_> = rows.collect();
    rows.sort_unstable();
    rows
}

async fn until_equal(master: &Broker, slave: &Broker) {
    master.db.stored(master.db.newest()).await.unwrap();
    let began = Instant::now();
    loop {
        let (here, there) = (rows(master), rows(slave));
        if here == there && master.offsets.snapshot() == slave.offsets.snapshot() {
            break;
        }
        if began.elapsed() > PATIENCE {
            let missing: Vec<_> = here.iter().filter(|row| there.binary_search(row).is_err()).take(5).collect();
            let surplus: Vec<_> = there.iter().filter(|row| here.binary_search(row).is_err()).take(5).collect();
            assert!(here == there, "missing {missing:?}, too much {surplus:?}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(master.offsets.snapshot(), slave.offsets.snapshot());
    assert_eq!(master.delay.snapshot(), slave.delay.snapshot());
    assert_eq!(master.topics.snapshot().topic_config_table, slave.topics.snapshot().topic_config_table);
    assert_eq!(master.groups.snapshot().subscription_group_table, slave.groups.snapshot().subscription_group_table);
}

fn topic(name: &str, queues: i32) -> TopicConfig {
    TopicConfig::new(name, queues, 6)
}

async fn link(node: &Node) -> (Client, Link) {
    let client = Client::new(ClientOptions::default());
    let link = client.link(&node.bound().to_string()).await.unwrap();
    (client, link)
}

fn commit(link: &Link, topic: &str, queue: i32, offset: i64) -> Frame {
    let fields =
        UpdateOffsetRequest { consumer_group: "G".into(), topic: topic.into(), queue_id: queue, commit_offset: offset };
    link.request(request::UPDATE_CONSUMER_OFFSET).with_fields(&fields)
}

async fn call(link: &Link, frame: Frame) -> Frame {
    let answer = link.call(frame, PATIENCE).await.unwrap();
    assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
    answer
}

fn dirs() -> (TempDir, TempDir) {
    (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap())
}

#[test]
fn every_tree_that_replicates_has_its_working_copy() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let node = start(dir.path(), 0, None).await;
        let trees: Vec<_> = kept(&node.broker()).into_iter().map(Kept::tree).collect();
        assert!(Tree::ALL.into_iter().all(|tree| tree.replicates() == trees.contains(&tree)), "{trees:?}");
        node.stop().await;
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_and_deletions_follow_within_a_second() {
    let (here, there) = dirs();
    let master = start(here.path(), 0, None).await;
    let slave = Slave::start(there.path(), master.bound()).await;
    let (from, to) = (&master.broker(), &slave.broker());
    until_equal(from, to).await;

    let version = to.topics.version();
    from.topics.put(topic("T", 8));
    let took =
        until("the topic is there", || to.topics.get("T").is_some_and(|config| config.read_queue_nums == 8)).await;
    assert!(took < SECOND, "{took:?}");
    assert_ne!(version, to.topics.version(), "name servers are told of the topic");
    from.groups.put(GroupConfig { retry_max_times: 3, ..GroupConfig::new("G") });
    let took = until("the group is there", || to.groups.get("G").is_some_and(|group| group.retry_max_times == 3)).await;
    assert!(took < SECOND, "{took:?}");
    from.offsets.commit("T", "G", 3, 77);
    from.delay.set(2, 9);
    let took = until("offsets are there", || to.offsets.get("T", "G", 3) == Some(77) && to.delay.get(2) == 9).await;
    assert!(took < SECOND, "{took:?}");
    from.offsets.reset("T", "G", 3, 5);
    let took = until("the reset is there", || to.offsets.get("T", "G", 3) == Some(5)).await;
    assert!(took < SECOND, "{took:?}");
    until("the group is sent there by the slave, too", || to.offsets.commit("T", "G", 3, 78).is_none()).await;
    assert_eq!(from.offsets.take_reset("T", "G", 3), Some(5));
    until_equal(from, to).await;
    assert_eq!(to.offsets.take_reset("T", "G", 3), None);

    from.topics.remove("T");
    from.offsets.remove_topic("T");
    from.groups.remove("G");
    let gone = || to.topics.get("T").is_none() && to.groups.get("G").is_none() && to.offsets.get("T", "G", 3).is_none();
    let took = until("all is gone", gone).await;
    assert!(took < SECOND, "{took:?}");
    until_equal(from, to).await;
    slave.stop().await;
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slave_that_was_away_too_long_or_whose_master_began_anew_gets_everything() {
    let (here, there) = dirs();
    let master = start(here.path(), 0, None).await;
    let slave = Slave::start(there.path(), master.bound()).await;
    master.broker().topics.put(topic("old", 4));
    master.broker().offsets.commit("old", "G", 0, 7);
    until_equal(&master.broker(), &slave.broker()).await;
    slave.stop().await;

    // More than the feed keeps, and more than a page.
    let group = "a-group-with-a-long-name-".repeat(4);
    for n in 0..40_000 {
        master.broker().offsets.commit(&format!("topic-{}", n % 100), &group, n / 100, i64::from(n));
    }
    master.broker().topics.remove("old");
    master.broker().offsets.remove_topic("old");
    let slave = Slave::start(there.path(), master.bound()).await;
    until_equal(&master.broker(), &slave.broker()).await;
    assert_eq!(slave.broker().topics.get("old"), None);

    // The slave stays, the master comes again on its port.
    let address = master.bound();
    master.stop().await;
    let master = start(here.path(), 0, Some(address)).await;
    master.broker().offsets.remove_topic("topic-1");
    master.broker().offsets.commit("topic-2", "G", 0, 1);
    until_equal(&master.broker(), &slave.broker()).await;
    slave.stop().await;
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_slave_was_told_while_the_master_was_away_reaches_the_master() {
    let (here, there) = dirs();
    let master = start(here.path(), 0, None).await;
    let slave = Slave::start(there.path(), master.bound()).await;
    master.broker().topics.put(topic("T", 8));
    master.broker().topics.put(topic("gone", 8));
    master.broker().groups.put(GroupConfig::new("G"));
    for queue in 0..4 {
        master.broker().offsets.commit("T", "G", queue, 50);
    }
    master.broker().offsets.commit("gone", "G", 0, 50);
    until_equal(&master.broker(), &slave.broker()).await;
    let address = master.bound();
    master.stop().await;

    let (_client, over) = link(&slave.node).await;
    for queue in 0..4 {
        call(&over, commit(&over, "T", queue, 100)).await;
    }
    call(&over, commit(&over, "T", 7, 9)).await;
    call(&over, commit(&over, "gone", 0, 60)).await;
    // The slave is killed and comes again: what it has answered is still to be told.
    slave.stop().await;
    let slave = Slave::start(there.path(), address).await;

    // The master comes again; before the slave notices, things have moved on there.
    let held = start(here.path(), 0, None).await;
    held.broker().offsets.commit("T", "G", 1, 120);
    held.broker().offsets.reset("T", "G", 2, 10);
    held.broker().offsets.commit("T", "G", 3, 60);
    held.broker().topics.remove("gone");
    held.broker().offsets.remove_topic("gone");
    held.stop().await;
    let seen = slave.broker();
    let watching = CancellationToken::new();
    let watch = tokio::spawn({
        let watching = watching.clone();
        async move {
            while !watching.is_cancelled() {
                assert_eq!(seen.offsets.get("T", "G", 0), Some(100), "an answered commit went back");
                assert_eq!(seen.offsets.get("T", "G", 3), Some(100), "an answered commit went back");
                tokio::task::yield_now().await;
            }
        }
    });
    let master = start(here.path(), 0, Some(address)).await;
    let offsets = &master.broker().offsets;
    until("all was told", || {
        (0..8).map(|queue| offsets.get("T", "G", queue)).eq([
            Some(100),
            Some(120),
            Some(10),
            Some(100),
            None,
            None,
            None,
            Some(9),
        ])
    })
    .await;
    until_equal(&master.broker(), &slave.broker()).await;
    watching.cancel();
    watch.await.unwrap();
    assert_eq!(slave.broker().offsets.get("gone", "G", 0), None);
    until("nothing is left to tell", || slave.broker().offsets.untold().is_empty()).await;
    until("nothing is noted any more", || slave.broker().db.load(Tree::Taken).unwrap().is_empty()).await;

    // A client that commits at the slave although the master is there loses nothing either.
    let (_client, over) = link(&slave.node).await;
    call(&over, commit(&over, "T", 5, 33)).await;
    until("it is told at once", || offsets.get("T", "G", 5) == Some(33)).await;
    until_equal(&master.broker(), &slave.broker()).await;
    slave.stop().await;
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_is_replicated_once_the_slave_has_stored_it() {
    let (here, there) = dirs();
    let master = start(here.path(), 0, None).await;
    master.broker().topics.put(topic("T", 8));
    let slave = Slave::start(there.path(), master.bound()).await;
    until_equal(&master.broker(), &slave.broker()).await;
    let db = &master.broker().db;
    for offset in 0..50 {
        let number = master.broker().offsets.commit("T", "G", 0, offset).unwrap();
        db.stored(number).await.unwrap();
        tokio::time::timeout(SECOND, db.followers().replicated(number, &[1])).await.unwrap();
        let stored = slave.broker().db.load(Tree::Offsets).unwrap();
        let found = stored.into_iter().find(|(key, _)| *key == encode_key("T", "G", 0)).unwrap();
        assert_eq!(found.1, offset.to_be_bytes());
    }
    slave.stop().await;
    let number = master.broker().offsets.commit("T", "G", 0, 99).unwrap();
    assert!(settle::settled_at(&master.broker(), number, Vec::new()).await.is_ok());
    let refused = settle::settled_at(&master.broker(), number, vec![1]).await.unwrap_err();
    assert!(refused.to_string().contains("not yet at the in-sync slaves [1]"), "{refused}");
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slave_is_not_followed() {
    let (here, there) = dirs();
    let master = start(here.path(), 0, None).await;
    let slave = Slave::start(there.path(), master.bound()).await;
    until_equal(&master.broker(), &slave.broker()).await;
    let (_client, link) = link(&slave.node).await;
    let question = metadata::encode(&Follow { member: 2, ..Follow::default() });
    let frame = link.request(request::FOLLOW_METADATA).with_body(question);
    let answer = link.call(frame, PATIENCE).await.unwrap();
    assert_eq!(answer.code, response::SERVICE_NOT_AVAILABLE);
    assert!(answer.remark.unwrap().contains("slave itself"));
    slave.stop().await;
    master.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_of_a_broker_of_rocketmqs_are_copied() {
    let (here, there) = dirs();
    // Our own master answers the same requests; only the slave takes it for RocketMQ's.
    let master = start(here.path(), 0, None).await;
    let slave = start(there.path(), 1, None).await;
    slave.broker().offsets.follow();
    let client = Client::new(ClientOptions { encoding: Some(Encoding::Json), ..ClientOptions::default() });
    let link = client.link(&master.bound().to_string()).await.unwrap();
    let mut copied = Copied::default();
    master.broker().topics.put(topic("T", 8));
    master.broker().groups.put(GroupConfig::new("G"));
    master.broker().offsets.commit("T", "G", 3, 77);
    master.broker().delay.set(3, 4);
    slave.broker().topics.put(topic("other", 1));
    copied.copy(&slave.broker(), &link).await.unwrap();
    until_equal(&master.broker(), &slave.broker()).await;
    assert_eq!(slave.broker().topics.get("other"), None);
    let version = slave.broker().topics.version();
    master.broker().groups.remove("G");
    master.broker().offsets.remove_topic("T");
    slave.broker().offsets.commit("T", "H", 2, 5);
    handover::tell(&slave.broker(), &link).await.unwrap();
    copied.copy(&slave.broker(), &link).await.unwrap();
    until_equal(&master.broker(), &slave.broker()).await;
    assert_eq!(master.broker().offsets.get("T", "H", 2), Some(5));
    assert_eq!(version, slave.broker().topics.version(), "equal topics are left alone");
    slave.stop().await;
    master.stop().await;
}
