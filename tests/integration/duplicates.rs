//! Senders that send everything until it is acknowledged, and often once more, to a broker that dies again and again: each message
//! is stored once, and each answer names its place.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use orbitmq_common::protocol::code::response;
use orbitmq_tests::daemon::Place;
use orbitmq_tests::session::{Failure, Outgoing, Session, properties};
use orbitmq_tests::wait::until;
use parking_lot::Mutex;

const TESTD: &str = env!("CARGO_BIN_EXE_orbitmq-testd");
const TOPIC: &str = "Once";
const QUEUES: i32 = 4;
const KILLS: usize = 5;
const SENDERS: usize = 6;
/// Messages between two kills.
const ENOUGH: usize = 150;
const PATIENCE: Duration = Duration::from_secs(90);
/// So that a lost answer does not take long.
const DEADLINE: Duration = Duration::from_secs(2);

/// What was acknowledged, with its place in the log.
#[derive(Default)]
struct Ledger {
    places: Mutex<HashMap<String, u64>>,
    acknowledged: AtomicUsize,
    again: AtomicUsize,
    stop: AtomicBool,
}

impl Ledger {
    fn note(&self, key: &str, physical: u64) {
        let before = self.places.lock().insert(key.to_owned(), physical);
        assert!(before.is_none_or(|before| before == physical), "{key} is at {before:?} and at {physical}");
        if before.is_none() {
            self.acknowledged.fetch_add(1, Ordering::Relaxed);
        } else {
            self.again.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn outgoing(key: &str) -> Outgoing {
    Outgoing { body: key.to_owned().into(), properties: properties(key, 0) }
}

/// Sends messages to one queue or another until they are acknowledged.
async fn send(session: &Session, ledger: &Ledger, keys: &[String]) {
    let messages: Vec<Outgoing> = keys.iter().map(|key| outgoing(key)).collect();
    let begun = std::time::Instant::now();
    loop {
        match session.send(TOPIC, fastrand::i32(..QUEUES), &messages).await {
            Ok(receipt) => {
                assert_eq!(receipt.physical.len(), keys.len());
                return keys.iter().zip(receipt.physical).for_each(|(key, physical)| ledger.note(key, physical));
            }
            Err(Failure::Lost(_) | Failure::Refused { code: response::SERVICE_NOT_AVAILABLE, .. }) => {}
            Err(refused) => panic!("{refused:?}"),
        }
        assert!(begun.elapsed() < PATIENCE, "{keys:?} are not acknowledged");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_message_is_stored_once_although_the_broker_dies() {
    let place = Place::new(TESTD);
    let mut broker = place.broker("a").start();
    let session = Session::new(broker.address());
    session.create_topic_with(TOPIC, QUEUES, "+orbitmq.dedup.window=1h").await.unwrap();
    let ledger = Arc::new(Ledger::default());
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let (session, ledger) = (Session::new(broker.address()).within(DEADLINE), Arc::clone(&ledger));
            tokio::spawn(async move {
                for number in 0.. {
                    if ledger.stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let count = if fastrand::u8(..4) == 0 { 4 } else { 1 };
                    let keys: Vec<String> = (0..count).map(|part| format!("{sender}-{number}-{part}")).collect();
                    send(&session, &ledger, &keys).await;
                    // An application that is not sure sends it again, perhaps in other company.
                    if fastrand::u8(..3) == 0 {
                        let old = format!("{sender}-{}-0", fastrand::u32(..=number));
                        send(&session, &ledger, &[keys[0].clone(), old]).await;
                    }
                }
            })
        })
        .collect();
    for round in 1..=KILLS {
        until("messages are acknowledged", PATIENCE, async || {
            (ledger.acknowledged.load(Ordering::Relaxed) >= round * ENOUGH).then_some(())
        })
        .await;
        broker.kill();
        broker.start();
    }
    ledger.stop.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.await.unwrap();
    }
    let (session, mut found) = (Session::new(broker.address()), HashMap::new());
    for queue in 0..QUEUES {
        for message in session.read_queue(TOPIC, queue, 0).await.unwrap() {
            let key = String::from_utf8(message.body.to_vec()).unwrap();
            let before = found.insert(key, message.physical);
            assert_eq!(before, None, "stored twice, at {before:?} and at {}", message.physical);
        }
    }
    assert_eq!(found, *ledger.places.lock(), "what was acknowledged, where it was said to be");
    let again = ledger.again.load(Ordering::Relaxed);
    assert!(again > 0, "some were sent again");
    println!("{} messages, {again} answered again, {KILLS} kills", found.len());
}
