//! Consumption in order by pulling: a queue's lock goes to the next member at once.

use std::time::{Duration, Instant};

use orbitmq_consumer::{Consumer, ConsumerBuilder};
use orbitmq_tests::wait::until;

use crate::cluster::{Book, Cluster, PATIENCE, TOPIC, next, number};

fn orderly(cluster: &Cluster) -> ConsumerBuilder {
    cluster.consumer().ordered().suspend_queue(Duration::from_millis(50))
}

fn held(consumer: &Consumer) -> usize {
    consumer.queues().iter().filter(|queue| queue.topic == TOPIC && queue.position.is_some()).count()
}

/// Two members that have half of the queues each, with their locks.
async fn pair(cluster: &Cluster) -> (Consumer, Consumer) {
    let one = orderly(cluster).build().await.unwrap();
    until("one has all queues", PATIENCE, async || (held(&one) == 4).then_some(())).await;
    let two = orderly(cluster).build().await.unwrap();
    until("they share", PATIENCE, async || (held(&one) == 2 && held(&two) == 2).then_some(())).await;
    (one, two)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_go_over_at_once_when_a_member_closes() {
    let cluster = Cluster::start(1, 4).await;
    let (one, two) = pair(&cluster).await;
    let book = Book::default();
    book.listen(&two);
    one.close().await;
    let left = Instant::now();
    cluster.send(0..4).await;
    book.until(4).await;
    // Not after the minute that a lock lasts, nor at the next of the checks that happen each five seconds.
    assert!(left.elapsed() < Duration::from_secs(3), "the first messages took {:?}", left.elapsed());
    two.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_go_over_at_once_when_a_members_connection_ends() {
    let cluster = Cluster::start(1, 4).await;
    let (one, two) = pair(&cluster).await;
    let book = Book::default();
    book.listen(&two);
    // Its connections end without a farewell, as those of a killed process.
    drop(one);
    let left = Instant::now();
    cluster.send(0..4).await;
    book.until(4).await;
    assert!(left.elapsed() < Duration::from_secs(3), "the first messages took {:?}", left.elapsed());
    two.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_changes_hands_between_two_messages() {
    let cluster = Cluster::start(1, 1).await;
    cluster.send(0..40).await;
    let one = orderly(&cluster).build().await.unwrap();
    for expected in 0..10 {
        let delivery = next(&one).await;
        assert_eq!(number(&delivery), expected);
        if expected == 5 && delivery.attempts_before() == 0 {
            delivery.retry_later().await.unwrap();
            let again = next(&one).await;
            assert_eq!((number(&again), again.attempts_before()), (5, 1));
            again.ack();
        } else {
            delivery.ack();
        }
    }
    one.close().await;
    let two = orderly(&cluster).build().await.unwrap();
    for expected in 10..40 {
        let delivery = next(&two).await;
        assert_eq!(number(&delivery), expected);
        delivery.ack();
    }
    two.close().await;
}
