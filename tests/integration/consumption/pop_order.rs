//! Consumers that pop in order: one message of a queue at a time, whoever has the queue.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use orbitmq_consumer::{Consumer, Fetch};
use orbitmq_tests::wait::until;
use parking_lot::Mutex;

use crate::cluster::{Cluster, PATIENCE, TOPIC, next, number, silent};

const QUEUES: usize = 4;

#[derive(Default)]
struct Seen {
    /// Last number done, by queue.
    last: BTreeMap<usize, usize>,
    done: usize,
    given_back: usize,
    wrong: Vec<String>,
}

/// Numbers are sent to queues in turn, so those of one queue differ by a multiple of the queues.
fn listen(consumer: &Consumer, seen: &Arc<Mutex<Seen>>) {
    let (consumer, seen) = (consumer.clone(), Arc::clone(seen));
    tokio::spawn(async move {
        while let Some(delivery) = consumer.next().await {
            let number = number(&delivery);
            if number % 37 == 5 && delivery.attempts_before() == 0 {
                seen.lock().given_back += 1;
                delivery.retry_later().await.unwrap();
                continue;
            }
            let mut all = seen.lock();
            let expected = all.last.get(&(number % QUEUES)).map_or(number % QUEUES, |last| last + QUEUES);
            if number != expected {
                all.wrong.push(format!("{number} instead of {expected}"));
            }
            all.last.insert(number % QUEUES, number);
            all.done += 1;
            drop(all);
            delivery.ack();
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_share_queues_in_order() {
    let cluster = Cluster::start(2, 2).await;
    let popper = || cluster.consumer().ordered().fetch(Fetch::Pop).suspend_queue(Duration::from_millis(50));
    // What a broker has sent to a member that just leaves comes again only after that.
    let popper = || popper().invisible_time(Duration::from_secs(10));
    let seen = Arc::new(Mutex::new(Seen::default()));
    let (one, two) = (popper().build().await.unwrap(), popper().build().await.unwrap());
    listen(&one, &seen);
    listen(&two, &seen);
    cluster.send(0..300).await;
    let until = |count: usize| {
        let seen = Arc::clone(&seen);
        async move {
            let all = async {
                while seen.lock().done < count {
                    tokio::time::sleep(Duration::from_millis(10)).await
                }
            };
            let waited = tokio::time::timeout(PATIENCE, all).await;
            let seen = seen.lock();
            assert!(waited.is_ok() && seen.wrong.is_empty(), "{} done, {:?}", seen.done, seen.wrong);
        }
    };
    until(300).await;
    // A member that leaves hands over what it has.
    cluster.send(300..600).await;
    one.close().await;
    until(600).await;
    two.close().await;
    let seen = seen.lock();
    assert!(seen.done == 600 && seen.wrong.is_empty() && seen.given_back > 0, "{} done, {:?}", seen.done, seen.wrong);
}

async fn goes_over_in_order(invisible: Duration, held: Duration) {
    let cluster = Cluster::start(1, 1).await;
    let popper = || cluster.consumer().ordered().fetch(Fetch::Pop).invisible_time(invisible);
    cluster.send(0..3).await;
    let all = async || (cluster.session(0).read_queue(TOPIC, 0, 0).await.unwrap().len() == 3).then_some(());
    until("all can be read, so that one pop takes them", PATIENCE, all).await;
    let one = popper().build().await.unwrap();
    let first = next(&one).await;
    let two = popper().build().await.unwrap();
    silent(&two, held).await;
    assert_eq!(number(&first), 0);
    first.ack();
    let second = next(&one).await;
    assert_eq!(number(&second), 1);
    second.ack();
    one.close().await;
    let third = next(&two).await;
    assert_eq!(number(&third), 2);
    third.ack();
    two.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_is_closed_to_others_until_its_batch_is_done() {
    goes_over_in_order(Duration::from_secs(60), Duration::from_secs(3)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_kept_for_longer_than_it_is_invisible() {
    // Long enough for a machine that stands still for a second or two.
    goes_over_in_order(Duration::from_secs(5), Duration::from_secs(8)).await;
}
