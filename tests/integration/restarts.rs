//! Brokers that die in turn under producers and consumers: no send fails, no message is missed, a clean stop repeats nothing.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use orbitmq_consumer::{Consumer, StartFrom};
use orbitmq_tests::daemon::{Daemon, Place};
use orbitmq_tests::producers::{Producers, ROUTE_REFRESH};
use orbitmq_tests::session::Session;
use orbitmq_tests::wait::until;
use parking_lot::Mutex;
use tokio::task::JoinHandle;

const TESTD: &str = env!("CARGO_BIN_EXE_orbitmq-testd");
const TOPIC: &str = "Restarted";
const GROUP: &str = "READERS";
const QUEUES: i32 = 4;
const ROUNDS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(60);

/// How often each body was delivered.
type Seen = Arc<Mutex<HashMap<String, usize>>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_die_in_turn_and_nothing_is_missed() {
    let place = Place::new(TESTD);
    let nameservers = vec![place.nameserver("n1").start()];
    let start = |name| place.broker(name).nameservers(&nameservers).start();
    let mut brokers: Vec<Daemon> = ["a", "b"].map(start).into();
    for broker in &brokers {
        Session::new(broker.address()).create_topic(TOPIC, QUEUES).await.unwrap();
    }
    let seen = Seen::default();
    let readers = [reader(&nameservers, &seen).await, reader(&nameservers, &seen).await];
    let load = Producers::start(&nameservers, TOPIC).await;
    for round in 0..ROUNDS {
        let broker = &mut brokers[round % 2];
        broker.kill();
        load.goes_on().await;
        broker.start();
        load.goes_on().await;
    }
    let sent = load.finish(&brokers, QUEUES).await;
    until("everything is consumed", PATIENCE, async || {
        let seen = seen.lock();
        sent.iter().all(|text| seen.contains_key(text)).then_some(())
    })
    .await;
    let repeated = seen.lock().values().filter(|times| **times > 1).count();
    println!("{} messages consumed, {repeated} of them more than once", sent.len());

    for (consumer, task) in readers {
        consumer.close().await;
        task.await.unwrap();
    }
    for broker in &brokers {
        let session = Session::new(broker.address());
        for queue in 0..QUEUES {
            let end = session.max_offset(TOPIC, queue).await.unwrap();
            let committed = session.committed(GROUP, TOPIC, queue).await.unwrap();
            assert_eq!(
                committed,
                Some(end),
                "broker {}, queue {queue}, after a clean stop of the group",
                broker.name()
            );
        }
    }
}

async fn reader(nameservers: &[Daemon], seen: &Seen) -> (Arc<Consumer>, JoinHandle<()>) {
    let consumer = Consumer::builder().nameservers(nameservers.iter().map(Daemon::address)).group(GROUP);
    let consumer = consumer.subscribe(TOPIC, "*").start_from(StartFrom::First).route_refresh(ROUTE_REFRESH);
    let consumer = Arc::new(consumer.rebalance_every(Duration::from_secs(1)).build().await.unwrap());
    let (reading, seen) = (Arc::clone(&consumer), Arc::clone(seen));
    let task = tokio::spawn(async move {
        while let Some(delivery) = reading.next().await {
            let text = String::from_utf8(delivery.body().to_vec()).unwrap();
            *seen.lock().entry(text).or_default() += 1;
            delivery.ack();
        }
    });
    (consumer, task)
}
