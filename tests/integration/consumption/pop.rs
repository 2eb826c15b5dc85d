//! Consumers that pop: shared queues, kept and given back messages, brokers that die.

use std::time::{Duration, Instant};

use orbitmq_consumer::{Consumer, ConsumerBuilder, Fetch};
use orbitmq_tests::wait::until;

use crate::cluster::{Book, Cluster, GROUP, PATIENCE, TOPIC, next, number, silent};

fn popper(cluster: &Cluster) -> ConsumerBuilder {
    cluster.consumer().fetch(Fetch::Pop)
}

/// Messages of the group's dead letters at a broker.
async fn dead(cluster: &Cluster) -> i64 {
    cluster.session(0).max_offset(&format!("%DLQ%{GROUP}"), 0).await.unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_members_than_queues_share_all_messages() {
    let cluster = Cluster::start(2, 1).await;
    cluster.send(0..200).await;
    let book = Book::default();
    let mut consumers: Vec<Consumer> = Vec::new();
    for _ in 0..4 {
        let consumer = popper(&cluster).build().await.unwrap();
        book.listen(&consumer);
        consumers.push(consumer);
    }
    cluster.send(200..400).await;
    book.until(400).await;
    let all_have = consumers.iter().all(|consumer| {
        let mut popped: Vec<_> = consumer.queues().into_iter().filter(|queue| queue.topic == TOPIC).collect();
        popped.sort_by(|one, other| one.broker.cmp(&other.broker));
        popped.iter().map(|queue| (queue.broker.as_str(), queue.id)).eq([("a", -1), ("b", -1)])
    });
    assert!(all_have, "every member pops from every broker");
    for consumer in &consumers {
        consumer.close().await;
        assert_eq!(consumer.lost(), 0);
    }
    // What was acknowledged stays away from members that come later.
    let late = popper(&cluster).build().await.unwrap();
    silent(&late, Duration::from_millis(500)).await;
    late.close().await;
    book.each_once(0..400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_in_hand_is_kept_from_others_for_as_long_as_it_takes() {
    let cluster = Cluster::start(1, 1).await;
    cluster.send(0..1).await;
    // Long enough for a machine that stands still for a second.
    let short = Duration::from_secs(4);
    let one = popper(&cluster).invisible_time(short).build().await.unwrap();
    let delivery = next(&one).await;
    let other = popper(&cluster).invisible_time(short).build().await.unwrap();
    // Longer than it is invisible.
    silent(&other, short * 2).await;
    delivery.ack();
    silent(&other, short + short / 4).await;
    assert_eq!((one.lost(), other.lost()), (0, 0));

    one.close().await;
    other.close().await;

    // What a member has in hand that goes without a word comes to the others after that time.
    let holder = popper(&cluster).invisible_time(short).build().await.unwrap();
    cluster.send(1..2).await;
    std::mem::forget(next(&holder).await);
    drop(holder);
    let heir = popper(&cluster).build().await.unwrap();
    let delivery = next(&heir).await;
    assert_eq!((number(&delivery), delivery.attempts_before(), delivery.topic()), (1, 1, TOPIC));
    delivery.ack();
    heir.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_given_back_comes_after_its_delay_and_what_is_rejected_not_at_all() {
    let cluster = Cluster::start(1, 2).await;
    let consumer =
        popper(&cluster).max_deliveries(2).redeliver_after(Duration::from_millis(100)).build().await.unwrap();
    cluster.send(0..1).await;
    let delivery = next(&consumer).await;
    let id = delivery.message_id();
    let began = Instant::now();
    delivery.retry_at_level(1).await.unwrap();
    let delivery = next(&consumer).await;
    assert!(began.elapsed() >= Duration::from_secs(1), "it came after {:?}", began.elapsed());
    assert_eq!((delivery.topic(), delivery.attempts_before(), delivery.message_id()), (TOPIC, 1, id.clone()));
    // Dropped without a word.
    drop(delivery);
    let delivery = next(&consumer).await;
    assert_eq!((delivery.attempts_before(), delivery.message_id()), (2, id));
    assert_eq!(dead(&cluster).await, 0);
    // That was once too often.
    delivery.because("it never works").retry_later().await.unwrap();
    until("the dead letter", PATIENCE, async || (dead(&cluster).await == 1).then_some(())).await;

    cluster.send(1..2).await;
    next(&consumer).await.reject().await.unwrap();
    until("another dead letter", PATIENCE, async || (dead(&cluster).await == 2).then_some(())).await;
    silent(&consumer, Duration::from_millis(500)).await;
    let letters = cluster.session(0).read_queue(&format!("%DLQ%{GROUP}"), 0, 0).await.unwrap();
    assert!(letters[0].properties.contains("it never works") && letters[0].properties.contains(TOPIC), "{letters:?}");
    assert!(!letters[0].properties.contains(&format!("%RETRY%{GROUP}")), "the topic it was sent to: {letters:?}");
    consumer.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_gives_back_at_once_what_was_not_delivered() {
    let cluster = Cluster::start(1, 1).await;
    cluster.send(0..60).await;
    let one = popper(&cluster).invisible_time(Duration::from_secs(600)).build().await.unwrap();
    let first = next(&one).await;
    let book = Book::default();
    book.note(number(&first));
    first.ack();
    one.close().await;
    let other = popper(&cluster).build().await.unwrap();
    book.listen(&other);
    book.until(60).await;
    other.close().await;
    book.each_once(0..60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_that_die_and_come_back_lose_nothing() {
    let mut cluster = Cluster::start(2, 2).await;
    let consumers = [
        popper(&cluster).build().await.unwrap(),
        popper(&cluster).invisible_time(Duration::from_secs(2)).build().await.unwrap(),
    ];
    let book = Book::default();
    consumers.iter().for_each(|consumer| book.listen(consumer));
    cluster.send(0..200).await;
    book.until(200).await;
    for round in 1..=2 {
        cluster.brokers[0].kill();
        // The other one goes on; its queues are 4..8 of the eight numbers modulo the queues there are.
        let producer = cluster.producer().await;
        let queues = producer.queues(TOPIC).await.unwrap();
        let living: Vec<_> = queues.iter().filter(|queue| queue.broker.as_ref() == "b").collect();
        let numbers = round * 200..round * 200 + 100;
        for number in numbers.clone() {
            let message = orbitmq_producer::Message::new(TOPIC, number.to_string());
            producer.send_to(message, living[number % living.len()]).await.unwrap();
        }
        book.until(round * 200 + 100).await;
        cluster.brokers[0].start();
        let address = cluster.brokers[0].address().to_owned();
        let routes = orbitmq_tests::session::Session::new(cluster.nameservers[0].address());
        let is_back = async || {
            let route = routes.route(TOPIC).await.unwrap().unwrap_or_default();
            route.broker_datas.iter().any(|data| data.broker_addrs.values().any(|one| *one == address)).then_some(())
        };
        until("the broker is routed again", PATIENCE, is_back).await;
        cluster.send(numbers.end..numbers.end + 100).await;
        book.until(round * 200 + 200).await;
    }
    for consumer in &consumers {
        consumer.close().await;
    }
}
