//! `orbitmq doctor`, run against clusters that are well and against such as have one thing wrong.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[allow(dead_code, reason = "each test uses its part")]
mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use orbitmq_broker::config::Config as BrokerConfig;
use orbitmq_broker::node::Node as Broker;
use orbitmq_common::net::client::{Client, ClientOptions};
use orbitmq_common::net::connection::{Handler, Outcome};
use orbitmq_common::net::peer::Peer;
use orbitmq_common::protocol::body::register::RegisterBody;
use orbitmq_common::protocol::body::route::perm;
use orbitmq_common::protocol::body::topic::TopicConfig;
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::nameserver::RegisterBrokerRequest;
use orbitmq_consumer::{Consumer, StartFrom};
use orbitmq_nameserver::config::Config as NameServerConfig;
use orbitmq_nameserver::node::Node as NameServer;
use serde_json::{Value, json};
use support::{Cluster, Ended, orbitmq};

const DEADLINE: Duration = Duration::from_secs(60);

/// The states of the findings of one step.
fn states(diagnosis: &Value, step: &str) -> Vec<String> {
    let findings = diagnosis["findings"].as_array().unwrap().iter();
    let of = findings.filter(|found| found["step"] == step);
    of.map(|found| found["state"].as_str().unwrap().to_owned()).collect()
}

/// Asks again and again until the doctor's answer is as expected.
async fn until(nameserver: &str, words: &[&str], expected: impl Fn(&Ended) -> bool) -> Ended {
    let asking = async {
        loop {
            let ended = orbitmq(nameserver, words).await;
            if expected(&ended) {
                return ended;
            }
        }
    };
    tokio::time::timeout(DEADLINE, asking).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_topic_is_called_healthy() {
    let cluster = Cluster::start().await;
    cluster.run("topic create orders --queues 4").await.ok();
    cluster.run("send orders one").await.ok();
    let nobody = cluster.run("doctor orders -o json").await.json();
    assert_eq!((&nobody["healthy"], states(&nobody, "group")), (&json!(true), vec!["notice".to_owned()]), "{nobody}");

    let consumer = Consumer::builder().nameservers([cluster.nameserver()]).group("stock").subscribe("orders", "*");
    let consumer = consumer.start_from(StartFrom::First).build().await.unwrap();
    tokio::time::timeout(DEADLINE, consumer.next()).await.unwrap().unwrap().ack();
    let well = |ended: &Ended| ended.out.contains("1 members connected, 0 messages behind");
    let well = until(&cluster.nameserver(), &["doctor", "orders", "--group", "stock"], well).await;
    let shown = well.ok();
    for part in ["name server", "answers; 1 brokers registered", "4 queues, open to readers and writers", "stock"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(!shown.contains("TROUBLE") && !shown.contains("does not tell"), "{shown}");

    let stranger = cluster.run("doctor orders --group nobody").await.failed(1);
    assert!(stranger.contains("group nobody: no broker knows it"), "{stranger}");
    // Connected, but not to this topic.
    cluster.run("topic create other --queues 1").await.ok();
    let other = cluster.run("doctor other --group stock").await.failed(1);
    assert!(other.contains("none subscribes to 'other'"), "{other}");

    cluster.run("send orders bad").await.ok();
    let bad = tokio::time::timeout(DEADLINE, consumer.next()).await.unwrap().unwrap();
    bad.because("no such bicycle").reject().await.unwrap();
    let letters = |ended: &Ended| ended.out.contains("1 dead letters, which nobody gets any more");
    let dead = until(&cluster.nameserver(), &["doctor", "orders", "--group", "stock"], letters).await.ok();
    assert!(dead.contains("'orbitmq dead replay stock'"), "{dead}");
    consumer.close().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_that_nobody_reads_are_found_by_asking_the_members() {
    let cluster = Cluster::start().await;
    cluster.run("topic create orders --queues 2").await.ok();
    for _ in 0..2 {
        cluster.run("send orders one").await.ok();
    }
    // The stored offsets, so that the group has figures.
    cluster.run("tail orders --group stock --from first -c 2 --for 60s").await.ok();
    cluster.run("group reset stock --topic orders --to first").await.ok();
    let broker = cluster.broker();
    for (words, holds) in [("is held by no member", "{}"), ("does not tell which queues it holds", "nonsense")] {
        let client = Client::with_handler(ClientOptions::default(), Arc::new(Idle(holds)));
        let link = client.link(&broker).await.unwrap();
        let body = json!({"clientID": "idle", "consumerDataSet": [{
            "groupName": "stock", "consumeType": "CONSUME_PASSIVELY", "messageModel": "CLUSTERING",
            "consumeFromWhere": "CONSUME_FROM_FIRST_OFFSET", "unitMode": false,
            "subscriptionDataSet": [{"topic": "orders", "subString": "*", "subVersion": 1, "expressionType": "TAG"}],
        }]});
        let beat = link.call(link.request(request::HEART_BEAT).with_json(&body), DEADLINE).await.unwrap();
        assert_eq!(beat.code, response::SUCCESS, "{beat:?}");
        let found = cluster.run("doctor orders --group stock").await;
        assert!(found.out.contains(words), "{words}: {found:?}");
        client.close();
    }
    cluster.stop().await;
}

/// A consumer that is connected and does nothing; what it tells of its queues.
struct Idle(&'static str);

impl Handler for Idle {
    fn call(&self, _: &Arc<Peer>, frame: Frame) -> Outcome {
        Outcome::Answer(frame.answer(response::SUCCESS).with_body(self.0))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_are_missing_or_closed_are_told_apart() {
    let cluster = Cluster::start().await;
    let missing = cluster.run("doctor nowhere").await.failed(1);
    assert!(missing.contains("'orbitmq topic create nowhere'") && missing.contains("broker-a"), "{missing}");
    let why = format!("Name servers say: {}: it was never created", cluster.nameserver());
    assert!(missing.contains(&why), "{missing}");
    let near = cluster.run("topic create Nowhere --queues 1").await;
    near.ok();
    let near = until(&cluster.nameserver(), &["doctor", "nowhere"], |ended| ended.err.contains("did you mean")).await;
    assert!(near.failed(1).contains("did you mean 'Nowhere'?"));

    for (perm, words) in [("r", "closed to writers"), ("w", "closed to readers")] {
        cluster.run(&format!("topic create shut --queues 2 --perm {perm}")).await.ok();
        let nameserver = cluster.nameserver();
        let shut = until(&nameserver, &["doctor", "shut"], |ended| ended.err.contains(words)).await.failed(1);
        assert!(shut.contains("'orbitmq topic create shut --queues 2 --perm rw --broker broker-a'"), "{shut}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_behind_and_gone_is_found() {
    let cluster = Cluster::start().await;
    cluster.run("topic create orders --queues 1").await.ok();
    cluster.run("send orders one").await.ok();
    cluster.run("tail orders --group stock --from first -c 1 --for 60s").await.ok();
    cluster.run("doctor orders").await.ok();
    for _ in 0..3 {
        cluster.run("send orders more").await.ok();
    }
    let behind = cluster.run("doctor orders").await.failed(1);
    let expected = "group stock: is 3 messages behind and no member is connected: start its consumers";
    assert!(behind.contains(expected), "{behind}");
    cluster.run("group create stock --stopped").await.ok();
    let stopped = cluster.run("doctor orders -o json").await;
    assert!(stopped.out.contains("may not consume at broker-a"), "{stopped:?}");
    assert!(stopped.failed(1).contains("and 1 more, see above"));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn name_servers_that_are_down_or_disagree_are_found() {
    let cluster = Cluster::start().await;
    cluster.run("topic create orders --queues 4").await.ok();
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let other = NameServer::start(NameServerConfig { listen, ..NameServerConfig::default() }).await.unwrap();
    let both = format!("{};{}", cluster.nameserver(), other.addr);
    let apart = orbitmq(&both, &["doctor", "orders"]).await.failed(1);
    let expected = format!("name server {}: tells no route of the topic, but {}", other.addr, cluster.nameserver());
    assert!(apart.contains(&expected) && apart.contains("'nameserver' setting"), "{apart}");
    other.shutdown().await;
    let down = orbitmq(&both, &["doctor", "orders"]).await;
    assert!(down.out.contains("4 queues, open to readers and writers"), "the rest is looked at: {down:?}");
    assert!(down.failed(1).contains("start it, or take it out of the list of name servers"));
    let (none, nameserver) = (cluster.nameserver(), cluster.nameserver());
    cluster.stop().await;
    let down = orbitmq(&none, &["doctor", "orders"]).await.failed(1);
    assert!(down.contains(&format!("name server {nameserver}: does not answer")), "{down}");
}

/// A broker that is gone without a word when the runtime it has for itself is.
fn mortal(config: BrokerConfig) -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (started, is_started) = std::sync::mpsc::channel();
    runtime.spawn(async move {
        let broker = Broker::start(config).await.unwrap();
        started.send(()).unwrap();
        std::future::pending::<()>().await;
        drop(broker);
    });
    is_started.recv().unwrap();
    runtime
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_are_gone_or_elsewhere_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let nameserver = NameServer::start(NameServerConfig { listen, ..NameServerConfig::default() }).await.unwrap();
    let address = nameserver.addr.to_string();
    let mut config = BrokerConfig::local(dir.path(), vec![address.clone()]);
    config.store.segment_size = 8 << 20;
    config.store.reserve_ahead = 1 << 20;
    config.store.reserve_step = 1 << 20;
    let runtime = tokio::task::spawn_blocking(move || mortal(config)).await.unwrap();
    until(&address, &["topic", "create", "orders", "--queues", "2"], |ended| ended.code == Some(0)).await;
    orbitmq(&address, &["doctor", "orders"]).await.ok();
    runtime.shutdown_background();
    let gone = until(&address, &["doctor", "orders"], |ended| ended.code == Some(1)).await;
    let gone = until(&address, &["doctor", "orders"], |ended| ended.err.contains("no broker is registered"))
        .await
        .failed(gone.code.unwrap());
    assert!(gone.contains("start one that names them in its 'nameserver' setting"), "{gone}");

    // Registered under an address where nobody listens, as behind a firewall.
    let client = Client::new(ClientOptions::default());
    let link = client.link(&address).await.unwrap();
    let header = RegisterBrokerRequest {
        broker_name: "broker-x".into(),
        broker_addr: "127.0.0.1:1".into(),
        cluster_name: "DefaultCluster".into(),
        ha_server_addr: "127.0.0.1:2".into(),
        ..RegisterBrokerRequest::default()
    };
    let mut body = RegisterBody::default();
    let table = &mut body.topic_config_serialize_wrapper.topic_config_table;
    for topic in ["orders", "others"] {
        table.insert(topic.to_owned(), TopicConfig::new(topic, 2, perm::READ | perm::WRITE));
    }
    let registered = link.request(request::REGISTER_BROKER).with_fields(&header).with_json(&body);
    let registered = link.call(registered, DEADLINE).await.unwrap();
    assert_eq!(registered.code, response::SUCCESS, "{registered:?}");
    let unreachable = orbitmq(&address, &["doctor", "orders"]).await.failed(1);
    let expected = "broker broker-x/0 at 127.0.0.1:1: does not serve the address that clients are told: cannot connect";
    assert!(unreachable.contains(expected) && unreachable.contains("'advertise'"), "{unreachable}");
    nameserver.shutdown().await;
}
