//! A name server and brokers for one test, and what its consumers saw.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use orbitmq_consumer::{Consumer, ConsumerBuilder, Delivery, StartFrom};
use orbitmq_producer::{Message, Producer};
use orbitmq_tests::daemon::{Daemon, Place};
use orbitmq_tests::session::Session;
use orbitmq_tests::wait::time_until;
use parking_lot::Mutex;

pub const TOPIC: &str = "Consumed";
pub const GROUP: &str = "consumers";
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Cluster {
    pub nameservers: Vec<Daemon>,
    pub brokers: Vec<Daemon>,
    _place: Place,
}

impl Cluster {
    /// Brokers `a`, `b`, …, each with so many queues of [`TOPIC`].
    pub async fn start(brokers: usize, queues: i32) -> Self {
        let place = Place::new(env!("CARGO_BIN_EXE_orbitmq-testd"));
        let nameservers = vec![place.nameserver("n1").start()];
        let broker = |name: &&str| place.broker(name).nameservers(&nameservers).start();
        let brokers: Vec<Daemon> = ["a", "b", "c"].iter().take(brokers).map(broker).collect();
        let cluster = Self { nameservers, brokers, _place: place };
        cluster.create_topic(TOPIC, queues).await;
        cluster
    }

    pub async fn create_topic(&self, topic: &str, queues: i32) {
        for broker in &self.brokers {
            Session::new(broker.address()).create_topic(topic, queues).await.unwrap();
        }
        let (routes, all) = (Session::new(self.nameservers[0].address()), self.brokers.len());
        let is_routed = async || routes.route(topic).await.unwrap().unwrap_or_default().broker_datas.len() == all;
        time_until("all brokers are routed", PATIENCE, is_routed).await;
    }

    /// A raw client of a broker.
    pub fn session(&self, broker: usize) -> Session {
        Session::new(self.brokers[broker].address())
    }

    pub async fn producer(&self) -> Producer {
        let builder = Producer::builder().nameservers([self.nameservers[0].address()]).group("senders");
        builder.build().await.unwrap()
    }

    /// Sends messages with these numbers to the queues in turn.
    pub async fn send(&self, numbers: std::ops::Range<usize>) {
        let producer = self.producer().await;
        let queues = producer.queues(TOPIC).await.unwrap();
        for number in numbers {
            let message = Message::new(TOPIC, number.to_string()).key(format!("k{number}")).tag("t");
            producer.send_to(message, &queues[number % queues.len()]).await.unwrap();
        }
        producer.close().await;
    }

    /// A consumer that begins at the first message.
    pub fn consumer(&self) -> ConsumerBuilder {
        Consumer::builder()
            .nameservers([self.nameservers[0].address()])
            .group(GROUP)
            .subscribe(TOPIC, "*")
            .start_from(StartFrom::First)
    }
}

pub fn number(delivery: &Delivery) -> usize {
    String::from_utf8_lossy(delivery.body()).parse().unwrap()
}

/// How often each number was acknowledged, over all consumers that are listened to.
#[derive(Clone, Default)]
pub struct Book {
    seen: Arc<Mutex<BTreeMap<usize, usize>>>,
}

impl Book {
    /// Acknowledges all that a consumer gets.
    pub fn listen(&self, consumer: &Consumer) {
        let (book, consumer) = (self.clone(), consumer.clone());
        tokio::spawn(async move {
            while let Some(delivery) = consumer.next().await {
                book.note(number(&delivery));
                delivery.ack();
            }
        });
    }

    pub fn note(&self, number: usize) {
        *self.seen.lock().entry(number).or_default() += 1;
    }

    pub fn len(&self) -> usize {
        self.seen.lock().len()
    }

    pub async fn until(&self, count: usize) {
        let is_full = async || self.len() >= count;
        let started = Instant::now();
        while !is_full().await {
            assert!(started.elapsed() < PATIENCE, "{} of {count}: {:?}", self.len(), self.seen.lock());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Each number once.
    pub fn each_once(&self, numbers: std::ops::Range<usize>) {
        let seen = self.seen.lock();
        let wanted: BTreeMap<usize, usize> = numbers.map(|number| (number, 1)).collect();
        assert_eq!(*seen, wanted);
    }
}

pub async fn next(consumer: &Consumer) -> Delivery {
    tokio::time::timeout(PATIENCE, consumer.next())
        .await
        .expect("no delivery within time")
        .expect("the consumer is open")
}

/// Nothing comes for so long.
pub async fn silent(consumer: &Consumer, time: Duration) {
    if let Some(delivery) = consumer.poll(1, time).await.pop() {
        panic!("{:?} came, attempt {}", delivery.body(), delivery.attempts_before());
    }
}
