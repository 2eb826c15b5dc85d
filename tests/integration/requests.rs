//! Requests and replies over a queue, with our libraries and our daemons.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::time::Duration;

use bytes::Bytes;
use orbitmq_consumer::{Consumer, StartFrom};
use orbitmq_producer::{Message, Producer, RequestError, SendError};
use orbitmq_tests::daemon::{Daemon, Place};
use orbitmq_tests::session::Session;
use orbitmq_tests::wait::time_until;
use tokio::task::JoinHandle;

const TESTD: &str = env!("CARGO_BIN_EXE_orbitmq-testd");
const TOPIC: &str = "Questions";
const PATIENCE: Duration = Duration::from_secs(60);
const WITHIN: Duration = Duration::from_secs(20);

struct Cluster {
    nameservers: Vec<Daemon>,
    brokers: Vec<Daemon>,
}

impl Cluster {
    async fn start(place: &Place) -> Self {
        let nameservers = vec![place.nameserver("n1").start()];
        let broker = |name: &&str| place.broker(name).nameservers(&nameservers).start();
        let brokers: Vec<Daemon> = ["a", "b"].iter().map(broker).collect();
        for broker in &brokers {
            Session::new(broker.address()).create_topic(TOPIC, 2).await.unwrap();
        }
        let routes = Session::new(nameservers[0].address());
        let is_routed = async || routes.route(TOPIC).await.unwrap().unwrap_or_default().broker_datas.len() == 2;
        time_until("both brokers are routed", PATIENCE, is_routed).await;
        Self { nameservers, brokers }
    }

    async fn producer(&self) -> Producer {
        let builder = Producer::builder().nameservers([self.nameservers[0].address()]).group("askers");
        builder.build().await.unwrap()
    }

    async fn consumer(&self) -> Consumer {
        let builder = Consumer::builder().nameservers([self.nameservers[0].address()]).group("repliers");
        builder.subscribe(TOPIC, "*").start_from(StartFrom::First).build().await.unwrap()
    }
}

/// Replies with the length of the body, and says so in a property.
fn reply_to_all(consumer: Consumer) -> JoinHandle<()> {
    tokio::spawn(async move {
        while let Some(delivery) = consumer.next().await {
            let length = delivery.body().len().to_string();
            let body = if delivery.body() == "say nothing" { Bytes::new() } else { delivery.body().clone() };
            // A reply may come too late for whoever asked.
            drop(delivery.reply_with(body, &[("length", &length)]).await);
            delivery.ack();
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_get_their_own_replies() {
    let place = Place::new(TESTD);
    let mut cluster = Cluster::start(&place).await;
    let replier = reply_to_all(cluster.consumer().await);
    let asker = cluster.producer().await;

    let many = (0..200).map(|number| {
        let asker = asker.clone();
        // Some are large enough to be compressed on the way back.
        let body = format!("{number}:{}", "x".repeat(number % 7 * 2_000));
        tokio::spawn(async move {
            let reply = asker.request(Message::new(TOPIC, body.clone()), WITHIN).await.unwrap();
            assert_eq!(reply.body, body);
            assert_eq!(reply.property("length"), Some(body.len().to_string().as_str()));
        })
    });
    for asked in many.collect::<Vec<_>>() {
        asked.await.unwrap();
    }

    // The official Go client's replies have no body.
    let reply = asker.request(Message::new(TOPIC, "say nothing"), WITHIN).await.unwrap();
    assert_eq!((reply.body.as_ref(), reply.property("length")), (&b""[..], Some("11")));

    // Whoever asks is known to a broker again soon after that has come back.
    cluster.brokers[0].kill();
    cluster.brokers[0].start();
    let all = async || {
        for _ in 0..4 {
            if asker.request(Message::new(TOPIC, "again"), Duration::from_secs(2)).await.is_err() {
                return false;
            }
        }
        true
    };
    time_until("all brokers bring replies again", PATIENCE, all).await;
    replier.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_or_replies_in_vain_hears_of_it() {
    let place = Place::new(TESTD);
    let cluster = Cluster::start(&place).await;
    let (asker, replier) = (cluster.producer().await, cluster.consumer().await);

    let error = asker.request(Message::new(TOPIC, "nobody replies"), Duration::from_millis(300)).await.unwrap_err();
    assert!(matches!(error, RequestError::Timeout { .. }), "{error}");
    let delivery = replier.next().await.unwrap();
    assert!(delivery.wants_reply());
    let error = delivery.reply("too late").await.unwrap_err();
    assert!(error.cause.contains("nobody waits here"), "{error}");
    delivery.ack();

    asker.send(Message::new(TOPIC, "told, not asked")).await.unwrap();
    let delivery = replier.next().await.unwrap();
    assert!(!delivery.wants_reply());
    let error = delivery.reply("to whom?").await.unwrap_err();
    assert!(error.cause.contains("does not wait"), "{error}");
    delivery.ack();

    let asking = asker.clone();
    let asked = tokio::spawn(async move { asking.request(Message::new(TOPIC, "and gone"), WITHIN).await });
    let delivery = replier.next().await.unwrap();
    asker.close().await;
    let is_gone =
        async || delivery.reply("where are you?").await.is_err_and(|error| error.cause.contains("not connected"));
    time_until("the broker knows that the asker is gone", PATIENCE, is_gone).await;
    delivery.ack();
    let error = asked.await.unwrap().unwrap_err();
    assert!(matches!(error, RequestError::Send(SendError::Closed)), "{error}");
}
