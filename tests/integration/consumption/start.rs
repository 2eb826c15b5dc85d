//! Where a new group begins: at the first message, after the last, at a time; pulling and popping.

use std::time::{Duration, SystemTime};

use orbitmq_consumer::{Fetch, StartFrom};
use orbitmq_tests::session::Outgoing;

use crate::cluster::{Book, Cluster, TOPIC, next, number, silent};

/// Time passes for the broker, whose clock the store time is of.
async fn a_moment_later() -> SystemTime {
    tokio::time::sleep(Duration::from_millis(20)).await;
    let now = SystemTime::now();
    tokio::time::sleep(Duration::from_millis(20)).await;
    now
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_groups_begin_where_they_want() {
    let cluster = Cluster::start(1, 2).await;
    cluster.send(0..20).await;
    let between = a_moment_later().await;
    cluster.send(20..40).await;
    for fetch in [Fetch::Pull, Fetch::Pop] {
        let group = |name: &str| cluster.consumer().group(format!("{name}-{fetch:?}")).fetch(fetch);
        for (name, start, first) in [
            ("first", StartFrom::First, 0),
            // A young topic, which begins at 0 and is all at hand: 'last' is its first message, as RocketMQ's clients expect.
            ("last", StartFrom::Last, 0),
            ("time", StartFrom::Time(between), 20),
            ("future", StartFrom::Time(SystemTime::now() + Duration::from_secs(3600)), 40),
        ] {
            let consumer = group(name).start_from(start).build().await.unwrap();
            let book = Book::default();
            for _ in first..40 {
                let delivery = next(&consumer).await;
                book.note(number(&delivery));
                delivery.ack();
            }
            silent(&consumer, Duration::from_millis(200)).await;
            book.each_once(first..40);
            consumer.close().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stored_offset_goes_before_where_the_group_wants_to_start() {
    let cluster = Cluster::start(1, 1).await;
    let session = cluster.session(0);
    for n in 0..5 {
        let message = Outgoing { body: n.to_string().into(), properties: String::new() };
        session.send(TOPIC, 0, &[message]).await.unwrap();
    }
    session.commit("known", TOPIC, 0, 3).await.unwrap();
    let consumer = cluster.consumer().group("known").start_from(StartFrom::First).build().await.unwrap();
    for expected in [3, 4] {
        let delivery = next(&consumer).await;
        assert_eq!(number(&delivery), expected);
        delivery.ack();
    }
    consumer.close().await;
}
