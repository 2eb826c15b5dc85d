//! Our consumer with an SQL92 condition, and two members of a group that want different things, against a broker.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::time::Duration;

use orbitmq_consumer::{BuildError, Consumer, ConsumerBuilder, StartFrom};
use orbitmq_producer::{Message, Producer};
use orbitmq_tests::daemon::{Daemon, Place};
use orbitmq_tests::producers::ROUTE_REFRESH;
use orbitmq_tests::session::Session;
use orbitmq_tests::wait::until;

const TESTD: &str = env!("CARGO_BIN_EXE_orbitmq-testd");
const TOPIC: &str = "Filtered";
const PATIENCE: Duration = Duration::from_secs(60);

fn builder(nameservers: &[Daemon], group: &str) -> ConsumerBuilder {
    let builder = Consumer::builder().nameservers(nameservers.iter().map(Daemon::address)).group(group);
    builder.start_from(StartFrom::First).route_refresh(ROUTE_REFRESH).rebalance_every(Duration::from_secs(1))
}

async fn start(place: &Place) -> (Vec<Daemon>, Daemon) {
    let nameservers = vec![place.nameserver("n").start()];
    let broker = place.broker("a").nameservers(&nameservers).start();
    Session::new(broker.address()).create_topic(TOPIC, 4).await.unwrap();
    (nameservers, broker)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_gets_what_fulfils_its_condition_and_nothing_else() {
    let place = Place::new(TESTD);
    let (nameservers, _broker) = start(&place).await;
    let servers = nameservers.iter().map(Daemon::address);
    let producer = Producer::builder().nameservers(servers).group("P").build().await.unwrap();
    for number in 0..200_i64 {
        let mut message = Message::new(TOPIC, number.to_string()).property("number", number.to_string());
        if number % 2 == 0 {
            message = message.tag("even");
        }
        producer.send(message).await.unwrap();
    }
    let condition = "TAGS = 'even' AND (number BETWEEN 50 AND 99 OR number = 7 OR number > 150.5)";
    let consumer = builder(&nameservers, "G").subscribe_sql(TOPIC, condition).build().await.unwrap();
    let wanted: Vec<i64> = (0..200).filter(|n| n % 2 == 0 && ((50..100).contains(n) || *n > 150)).collect();
    let mut seen = Vec::new();
    while seen.len() < wanted.len() {
        let delivery = tokio::time::timeout(PATIENCE, consumer.next()).await.expect("more deliveries").unwrap();
        seen.push(std::str::from_utf8(delivery.body()).unwrap().parse::<i64>().unwrap());
        delivery.ack();
    }
    // The last of all, behind which nothing wanted can hide.
    for queue in 0..8 {
        let last = Message::new(TOPIC, (1000 + queue).to_string()).tag("even").property("number", "1000");
        producer.send(last).await.unwrap();
    }
    while seen.len() < wanted.len() + 8 {
        let delivery = tokio::time::timeout(PATIENCE, consumer.next()).await.expect("the last ones").unwrap();
        seen.push(std::str::from_utf8(delivery.body()).unwrap().parse::<i64>().unwrap());
        delivery.ack();
    }
    seen.sort_unstable();
    assert_eq!(seen, wanted.into_iter().chain(1000..1008).collect::<Vec<_>>());
    consumer.close().await;

    let error = builder(&nameservers, "G").subscribe_sql(TOPIC, "number >").build().await.unwrap_err();
    assert!(matches!(&error, BuildError::Condition { cause, .. } if cause.at == 9), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_want_different_things_are_named_once() {
    let place = Place::new(TESTD);
    let (nameservers, broker) = start(&place).await;
    let first =
        builder(&nameservers, "G").subscribe(TOPIC, "a").heartbeat(Duration::from_millis(200)).build().await.unwrap();
    let second = builder(&nameservers, "G")
        .subscribe_sql(TOPIC, "n > 1")
        .heartbeat(Duration::from_millis(200))
        .build()
        .await
        .unwrap();
    let told = || broker.log().matches("of one group want different things").count();
    until("the conflict is told", PATIENCE, async || (told() > 0).then_some(())).await;
    let log = broker.log();
    assert!(log.contains("topic 'Filtered'") && log.contains("tags a") && log.contains("SQL92 n > 1"), "{log}");
    assert_eq!(told(), 1);
    second.close().await;
    until("it is over", PATIENCE, async || broker.log().contains("want the same again").then_some(())).await;
    first.close().await;
}
