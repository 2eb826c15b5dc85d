//! Sends to a cluster that is already running, OrbitMQ's or Apache RocketMQ's: `ORBITMQ_NAMESERVER=host:port`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::time::Duration;

use orbitmq_producer::{Message, Producer};

async fn producer() -> Producer {
    let server = std::env::var("ORBITMQ_NAMESERVER").expect("ORBITMQ_NAMESERVER=host:port");
    Producer::builder().nameservers([server]).group("live_producers").build().await.unwrap()
}

fn topic(name: &str) -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("{name}_{}", since.as_millis())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a running cluster"]
async fn every_way_of_sending() {
    let producer = producer().await;
    let topic = topic("live_ways");
    let receipt = producer.send(Message::new(&topic, "one").key("k").tag("T")).await.unwrap();
    assert_eq!(receipt.message_id.len(), 32);

    let mut pending = Vec::new();
    for n in 0..1000 {
        pending.push(producer.start(Message::new(&topic, format!("started {n}"))).await.unwrap());
    }
    for one in pending {
        one.await.unwrap();
    }

    let mut queues = std::collections::HashSet::new();
    for _ in 0..10 {
        let receipt = producer.send(Message::new(&topic, "ordered").sharding_key("order-7")).await.unwrap();
        queues.insert(receipt.queue_id);
    }
    assert_eq!(queues.len(), 1);

    let batch = (0..100).map(|n| Message::new(&topic, format!("batch {n}"))).collect();
    let receipts = producer.send_batch(batch).await.unwrap();
    assert_eq!(receipts.len(), 100);
    assert_eq!(receipts[99].queue_offset, receipts[0].queue_offset + 99);
    assert_ne!(receipts[0].offset_message_id, receipts[99].offset_message_id);

    let (done, outcome) = tokio::sync::oneshot::channel();
    producer.send_with_callback(Message::new(&topic, "callback"), |result| done.send(result).unwrap()).await.unwrap();
    outcome.await.unwrap().unwrap();
    producer.send_oneway(Message::new(&topic, "oneway")).await.unwrap();
    producer.send(Message::new(&topic, "later").delay_level(1)).await.unwrap();
    let refused = producer.send(Message::new("SCHEDULE_TOPIC_XXXX", "no")).await.unwrap_err();
    assert!(!refused.is_retryable());
    tokio::time::timeout(Duration::from_secs(5), producer.close()).await.unwrap();
    assert!(producer.send(Message::new(&topic, "closed")).await.is_err());
}
