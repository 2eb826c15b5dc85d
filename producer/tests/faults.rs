//! What a producer does when brokers and name servers fail.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod failover;
mod fake;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fake::{Broker, NameServer, Reply, Running};
use orbitmq_common::route::error::RouteError;
use orbitmq_producer::{Cause, Decision, Message, Producer, ProducerBuilder, SendError};

const TOPIC: &str = "t";

struct Cluster {
    names: Arc<NameServer>,
    name_server: Running,
    brokers: Vec<(Arc<Broker>, Running)>,
}

/// A name server and brokers `b0`, `b1`, … with two queues each.
fn cluster(brokers: Vec<Arc<Broker>>) -> Cluster {
    let names = Arc::new(NameServer::default());
    let name_server = Running::start(Arc::<NameServer>::clone(&names));
    let running = |broker: Arc<Broker>| (Arc::clone(&broker), Running::start(broker));
    let cluster = Cluster { names, name_server, brokers: brokers.into_iter().map(running).collect() };
    let list: Vec<(String, String)> = cluster
        .brokers
        .iter()
        .enumerate()
        .map(|(n, (_, running))| (format!("b{n}"), running.address.clone()))
        .collect();
    let list: Vec<(&str, &str)> = list.iter().map(|(name, address)| (name.as_str(), address.as_str())).collect();
    cluster.names.route(TOPIC, &list, 2);
    cluster
}

impl Cluster {
    fn builder(&self) -> ProducerBuilder {
        Producer::builder()
            .nameservers([&self.name_server.address])
            .group("g")
            .send_timeout(Duration::from_secs(5))
            .try_timeout(Duration::from_millis(300))
    }
}

fn message(text: &str) -> Message {
    Message::new(TOPIC, text.to_owned())
}

#[tokio::test]
async fn refusals_that_another_broker_may_not_share_are_taken_to_it() {
    for code in [17, 14, 1, 2, 16, 204, 205, 1500] {
        let cluster = cluster(vec![Broker::new(move |_| Reply::Code(code)), Broker::new(|_| Reply::Store)]);
        let producer = cluster.builder().build().await.unwrap();
        for _ in 0..4 {
            let receipt = producer.send(message("m")).await.unwrap();
            assert_eq!(receipt.broker, "b1", "code {code}");
        }
    }
}

#[tokio::test]
async fn final_refusals_are_told_at_once() {
    for code in [13, 29, 3, 26] {
        let cluster = cluster(vec![Broker::new(move |_| Reply::Code(code))]);
        let producer = cluster.builder().build().await.unwrap();
        let error = producer.send(message("m")).await.unwrap_err();
        assert!(matches!(&error, SendError::Refused { code: told, .. } if *told == code), "{error}");
        let said = format!("broker b0 at {} refused the message with code {code} (", cluster.brokers[0].1.address);
        assert!(!error.is_retryable() && error.to_string().contains("scripted"));
        assert!(error.to_string().starts_with(&said), "{error}");
        assert_eq!(cluster.brokers[0].0.sends(), 1);
    }
}

#[tokio::test]
async fn a_dead_and_a_silent_broker_are_gone_around_and_then_avoided() {
    let cluster =
        cluster(vec![Broker::new(|_| Reply::Silence), Broker::new(|_| Reply::Store), Broker::new(|_| Reply::Store)]);
    let producer = cluster.builder().build().await.unwrap();
    let mut brokers = cluster.brokers.into_iter();
    let (silent, good, dead) = (brokers.next().unwrap(), brokers.next().unwrap(), brokers.next().unwrap());
    dead.1.stop().await;
    let began = Instant::now();
    for _ in 0..30 {
        producer.send(message("m")).await.unwrap();
    }
    assert_eq!(good.0.stored.lock().len(), 30);
    assert!(silent.0.sends() < 6, "the silent broker was asked {} times", silent.0.sends());
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn silence_everywhere_ends_at_the_limits_and_says_that_messages_may_be_stored() {
    let cluster = cluster(vec![Broker::new(|_| Reply::Silence)]);
    let producer = cluster.builder().retries(1).build().await.unwrap();
    let error = producer.send(message("m")).await.unwrap_err();
    assert!(error.maybe_stored() && error.is_retryable());
    assert_eq!(error.cause(), Some(Cause::Silent));
    assert!(error.to_string().contains("b0: no answer from"), "{error}");
    assert_eq!(cluster.brokers[0].0.sends(), 2);

    let producer = cluster.builder().retries(1000).send_timeout(Duration::from_millis(700)).build().await.unwrap();
    let began = Instant::now();
    assert!(producer.send(message("m")).await.unwrap_err().maybe_stored());
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_half_message_that_may_be_stored_is_tried_nowhere_else() {
    // Each broker leaves its first request without an answer.
    let first_lost = || Broker::new(|nth| if nth == 0 { Reply::Silence } else { Reply::Store });
    let cluster = cluster(vec![first_lost(), first_lost()]);
    let producer = cluster.builder().build_transactional(|_| async { Decision::Unknown }).await.unwrap();
    let receipt = producer.send_in_transaction(message("m"), |_| async { Decision::Unknown }).await.unwrap();
    let asked: Vec<usize> = cluster.brokers.iter().map(|(broker, _)| broker.sends()).collect();
    assert!(asked.contains(&2) && asked.contains(&0), "{asked:?}");
    assert_eq!(cluster.brokers[usize::from(receipt.half.broker == "b1")].0.sends(), 2);

    // One that surely has nothing is left for another.
    let cluster = self::cluster(vec![Broker::new(|_| Reply::Code(14)), Broker::new(|_| Reply::Store)]);
    let producer = cluster.builder().build_transactional(|_| async { Decision::Unknown }).await.unwrap();
    for _ in 0..4 {
        let receipt = producer.send_in_transaction(message("m"), |_| async { Decision::Unknown }).await.unwrap();
        assert_eq!(receipt.half.broker, "b1");
    }
}

#[tokio::test]
async fn a_busy_broker_is_asked_again_until_it_is_not() {
    let cluster = cluster(vec![Broker::new(|nth| if nth < 6 { Reply::Code(2) } else { Reply::Store })]);
    let producer = cluster.builder().retries(0).build().await.unwrap();
    producer.send(message("m")).await.unwrap();
    assert_eq!(cluster.brokers[0].0.sends(), 7);

    let always = self::cluster(vec![Broker::new(|_| Reply::Code(2))]);
    let producer = always.builder().send_timeout(Duration::from_millis(500)).build().await.unwrap();
    let error = producer.send(message("m")).await.unwrap_err();
    let said = format!("b0 at {}: code 2 (SYSTEM_BUSY) 'scripted 2'", always.brokers[0].1.address);
    assert!(!error.maybe_stored() && error.to_string().contains(&said), "{error}");
    assert_eq!(error.cause(), Some(Cause::Busy));
    assert!(error.to_string().contains("send more slowly"), "{error}");
}

#[tokio::test]
async fn a_broker_that_comes_back_is_waited_for() {
    let cluster = cluster(vec![Broker::new(|_| Reply::Store)]);
    let producer = cluster.builder().build().await.unwrap();
    producer.send(message("before")).await.unwrap();
    let (broker, running) = cluster.brokers.into_iter().next().unwrap();
    running.stop().await;
    let sending = tokio::spawn({
        let producer = producer.clone();
        async move { producer.send(message("between")).await }
    });
    // It comes back under another address, which the name server tells when asked again.
    let again = Running::start(Arc::<Broker>::clone(&broker));
    cluster.names.route(TOPIC, &[("b0", &again.address)], 2);
    sending.await.unwrap().unwrap();
    assert_eq!(broker.stored.lock().len(), 2);
}

#[tokio::test]
async fn sends_go_on_without_any_name_server() {
    let cluster = cluster(vec![Broker::new(|_| Reply::Store)]);
    let producer = cluster.builder().route_refresh(Duration::from_millis(20)).build().await.unwrap();
    producer.send(message("before")).await.unwrap();
    cluster.name_server.stop().await;
    for _ in 0..20 {
        producer.send(message("after")).await.unwrap();
    }
}

#[tokio::test]
async fn unknown_topics_and_unreachable_name_servers_are_told_with_names() {
    let cluster = cluster(vec![]);
    let producer = cluster.builder().build().await.unwrap();
    let error = producer.send(Message::new("other", "m")).await.unwrap_err();
    assert!(matches!(&error, SendError::Route(RouteError::NotFound { .. })));
    assert!(error.to_string().contains(&cluster.name_server.address) && error.to_string().contains("no such topic"));

    let nowhere =
        Producer::builder().nameservers(["127.0.0.1:1", "127.0.0.1:2"]).send_timeout(Duration::from_millis(300));
    let error = nowhere.build().await.unwrap().send(message("m")).await.unwrap_err().to_string();
    assert!(error.contains("127.0.0.1:1") && error.contains("127.0.0.1:2"), "{error}");
    assert!(
        error.starts_with("no name server answers about topic 't'") && error.contains("nothing listens there"),
        "{error}"
    );
    assert!(Producer::builder().build().await.is_err());
    assert!(Producer::builder().nameservers(["h:1"]).group("no blanks").build().await.is_err());
}

#[tokio::test]
async fn messages_that_cannot_be_sent_never_leave() {
    let cluster = cluster(vec![Broker::new(|_| Reply::Store)]);
    let producer = cluster.builder().max_message_size(1000).build().await.unwrap();
    let bad = [
        Message::new("a b", "m"),
        Message::new("SCHEDULE_TOPIC_XXXX", "m"),
        Message::new(TOPIC, vec![0; 1000]),
        message("m").property("UNIQ_KEY", "mine"),
        message("m").key("with blank"),
        message("m").property("p", "x".repeat(40_000)),
    ];
    for message in bad {
        assert!(!producer.send(message).await.unwrap_err().is_retryable());
    }
    assert_eq!(cluster.brokers[0].0.sends(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_hand_is_bounded_and_given_up_sends_leave_room() {
    let cluster = cluster(vec![Broker::new(|_| Reply::After(Duration::from_millis(20)))]);
    let producer = cluster.builder().max_in_flight(8).build().await.unwrap();
    let mut pending = Vec::new();
    for n in 0..64 {
        pending.push(producer.start(message(&n.to_string())).await.unwrap());
    }
    for one in pending {
        one.await.unwrap();
    }
    assert!(cluster.brokers[0].0.most_in_hand.load(Ordering::SeqCst) <= 8);
    for _ in 0..100 {
        drop(tokio::time::timeout(Duration::from_millis(1), producer.send(message("given up"))).await);
    }
    for _ in 0..16 {
        producer.send(message("after")).await.unwrap();
    }
    let narrow = cluster.builder().max_bytes_in_flight(10).build().await.unwrap();
    narrow.send(message(&"larger than all room".repeat(10))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn started_sends_of_one_key_arrive_in_order_and_closing_waits_for_them() {
    let cluster = cluster(vec![Broker::new(|_| Reply::Store)]);
    let producer = cluster.builder().build().await.unwrap();
    for n in 0..500 {
        drop(producer.start(message(&n.to_string()).sharding_key("k")).await.unwrap());
    }
    producer.close().await;
    let broker = &cluster.brokers[0].0;
    let stored: Vec<usize> =
        broker.stored.lock().iter().map(|(_, body)| String::from_utf8_lossy(body).parse().unwrap()).collect();
    assert_eq!(stored, (0..500).collect::<Vec<_>>());
    assert_eq!(broker.farewells.load(Ordering::SeqCst), 1);
    assert!(matches!(producer.send(message("late")).await, Err(SendError::Closed)));
}

#[tokio::test]
async fn a_batch_that_breaks_off_tells_what_was_sent() {
    let cluster = cluster(vec![Broker::new(|nth| if nth < 2 { Reply::Store } else { Reply::Code(13) })]);
    let producer = cluster.builder().max_message_size(1000).build().await.unwrap();
    let error = producer.send_batch(vec![Message::new(TOPIC, vec![1; 600]); 4]).await.unwrap_err();
    assert_eq!((error.sent.len(), error.total), (2, 4));
    assert!(error.to_string().contains("2 of 4"));
    assert!(producer.send_batch(Vec::new()).await.unwrap().is_empty());
}

/// Each cause is named, and none for another.
#[tokio::test]
async fn sends_that_fail_name_what_is_the_matter() {
    let short = Duration::from_millis(400);
    let cluster = cluster(vec![Broker::new(|_| Reply::Refuse(14, "the disk is full: free space"))]);
    let failed = |topic: &'static str| {
        let builder = cluster.builder().send_timeout(short).retries(2);
        async move { builder.build().await.unwrap().send(Message::new(topic, "m")).await.unwrap_err() }
    };
    let serving = failed(TOPIC).await;
    assert_eq!(serving.cause(), Some(Cause::NotServing), "{serving}");
    assert!(serving.to_string().contains("the disk is full: free space"), "{serving}");

    cluster.names.route("dead", &[("b9", "127.0.0.1:1")], 1);
    let dead = failed("dead").await;
    assert_eq!(dead.cause(), Some(Cause::Unreachable), "{dead}");
    for part in ["b9: cannot connect to 127.0.0.1:1", "nothing listens there", "brokerIP1"] {
        assert!(dead.to_string().contains(part), "{part}: {dead}");
    }
    cluster.names.route("lost", &[("b9", "no.such.host.invalid:1")], 1);
    let lost = failed("lost").await;
    assert!(lost.to_string().contains("the host name is not found"), "{lost}");

    cluster.names.route_members("masterless", &[("b9", &[(1, "127.0.0.1:1")])], 1);
    let masterless = failed("masterless").await;
    assert!(matches!(masterless, SendError::NoQueue { .. }), "{masterless}");
    assert!(masterless.to_string().contains("broker 'b9' has no master (members 1)"), "{masterless}");
    cluster.names.route("shut", &[("b9", "127.0.0.1:1")], 1);
    cluster.names.routes.lock().get_mut("shut").unwrap().queue_datas[0].perm = 4;
    let shut = failed("shut").await.to_string();
    assert!(shut.contains("broker 'b9' at 127.0.0.1:1 is closed to writers"), "{shut}");
    cluster.names.routes.lock().insert("bare".to_owned(), Default::default());
    let bare = failed("bare").await.to_string();
    assert!(bare.contains("name servers tell of no broker that holds it"), "{bare}");

    let unknown = failed("unknown").await.to_string();
    let said =
        format!("topic 'unknown' has no route: name server {} says 'no such topic'", cluster.name_server.address);
    assert!(unknown.starts_with(&said) && unknown.contains("no topics on the first send"), "{unknown}");
    let half =
        Producer::builder().nameservers([cluster.name_server.address.as_str(), "127.0.0.1:1"]).build().await.unwrap();
    let half = half.send(Message::new("unknown", "m")).await.unwrap_err().to_string();
    assert!(half.contains("name server 127.0.0.1:1 cannot be asked: cannot connect"), "{half}");
    assert!(half.contains("perhaps those that cannot be asked know it"), "{half}");
}

/// Names of topics are no news of masters.
#[tokio::test]
async fn a_closed_topic_named_like_a_master_is_refused_at_once() {
    let remark = "topic 'master-data' is not writable at this broker; an administrator has closed it, please ask";
    let cluster = cluster(vec![Broker::new(move |_| Reply::Refuse(16, remark))]);
    let producer = cluster.builder().retries(0).build().await.unwrap();
    let error = producer.send(message("m")).await.unwrap_err();
    assert_eq!((error.cause(), cluster.brokers[0].0.sends()), (Some(Cause::Refused), 1), "{error}");
}
