//! A broker that dies again and again while producers send in transactions: each half message ends once, as its producer decided.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use orbitmq_producer::{Decision, Message, Producer, StoredMessage, TransactionProducer};
use orbitmq_tests::daemon::{Daemon, Place};
use orbitmq_tests::producers::ROUTE_REFRESH;
use orbitmq_tests::session::Session;
use orbitmq_tests::wait::until;
use parking_lot::Mutex;

const TESTD: &str = env!("CARGO_BIN_EXE_orbitmq-testd");
const TOPIC: &str = "Decided";
const QUEUES: i32 = 2;
const KILLS: usize = 6;
const SENDERS: usize = 8;
/// Half messages between two kills.
const ENOUGH: usize = 60;
const PATIENCE: Duration = Duration::from_secs(90);

/// What lasts beside the broker: which transactions are decided. A missing one is not.
#[derive(Default)]
struct Ledger {
    decided: Mutex<HashMap<String, Decision>>,
    begun: AtomicUsize,
    stop: std::sync::atomic::AtomicBool,
}

impl Ledger {
    /// Answers the broker: who is not decided when it asks is rolled back for good.
    fn decide(&self, message: &StoredMessage) -> Decision {
        let key = String::from_utf8(message.body.to_vec()).unwrap();
        *self.decided.lock().entry(key).or_insert(Decision::Rollback)
    }

    /// The local work: commits, rolls back, or leaves it open what the broker is told.
    fn work(&self, key: &str) -> Decision {
        let wish = if fastrand::u8(..3) == 0 { Decision::Rollback } else { Decision::Commit };
        let decision = *self.decided.lock().entry(key.to_owned()).or_insert(wish);
        self.begun.fetch_add(1, Ordering::Relaxed);
        if fastrand::u8(..4) == 0 { Decision::Unknown } else { decision }
    }
}

async fn producer(nameservers: &[Daemon], ledger: &Arc<Ledger>) -> TransactionProducer {
    let ledger = Arc::clone(ledger);
    let check = move |message: StoredMessage| {
        let decision = ledger.decide(&message);
        async move { decision }
    };
    let builder = Producer::builder().nameservers(nameservers.iter().map(Daemon::address)).group("DECIDERS");
    builder.route_refresh(ROUTE_REFRESH).build_transactional(check).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_half_message_ends_once_although_the_broker_dies() {
    let place = Place::new(TESTD);
    let nameservers = vec![place.nameserver("n1").start()];
    let setup = place.broker("a").nameservers(&nameservers).set("transaction_timeout", "1s");
    let mut broker = setup.set("transaction_check_interval", "1s").set("transaction_check_max", "1000").start();
    Session::new(broker.address()).create_topic(TOPIC, QUEUES).await.unwrap();
    let ledger = Arc::new(Ledger::default());
    let producer = producer(&nameservers, &ledger).await;
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let (producer, ledger) = (producer.clone(), Arc::clone(&ledger));
            tokio::spawn(async move {
                for number in 0.. {
                    if ledger.stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let key = format!("{sender}-{number}");
                    let work = |_| async { ledger.work(&key) };
                    // One that fails may be stored: the broker asks then, and hears that it is rolled back.
                    let _ = producer.send_in_transaction(Message::new(TOPIC, key.clone()).key(&key), work).await;
                }
            })
        })
        .collect();
    for round in 1..=KILLS {
        until("transactions go on", PATIENCE, async || {
            (ledger.begun.load(Ordering::Relaxed) >= round * ENOUGH).then_some(())
        })
        .await;
        broker.kill();
        broker.start();
    }
    ledger.stop.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.await.unwrap();
    }
    let wanted = || -> Vec<String> {
        let decided = ledger.decided.lock();
        let mut keys: Vec<_> =
            decided.iter().filter(|(_, decision)| **decision == Decision::Commit).map(|(key, _)| key.clone()).collect();
        keys.sort_unstable();
        keys
    };
    let stored = async || {
        let (session, mut found) = (Session::new(broker.address()), Vec::new());
        for queue in 0..QUEUES {
            for message in session.read_queue(TOPIC, queue, 0).await.unwrap() {
                found.push(String::from_utf8(message.body.to_vec()).unwrap());
            }
        }
        found.sort_unstable();
        found
    };
    until("all that is committed is there", PATIENCE, async || {
        let (found, wanted) = (stored().await, wanted());
        assert!(found.iter().all(|key| wanted.binary_search(key).is_ok()), "a message that was rolled back");
        (found.len() >= wanted.len()).then_some(())
    })
    .await;
    assert_eq!(stored().await, wanted(), "each message once");
    println!(
        "{} transactions begun, {} committed, {KILLS} kills",
        ledger.begun.load(Ordering::Relaxed),
        wanted().len()
    );
    producer.close().await;
}
