//! Traces that our libraries write where RocketMQ's tools look for them.

use std::time::Duration;

use orbitmq_common::message::property;
use orbitmq_common::name::TRACE_TOPIC;
use orbitmq_producer::{Message, Producer};
use orbitmq_tests::wait::until;

use crate::cluster::{Cluster, GROUP, PATIENCE, TOPIC, next};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_leaves_its_traces() {
    let cluster = Cluster::start(1, 1).await;
    let producer = Producer::builder()
        .nameservers([cluster.nameservers[0].address()])
        .group("traced")
        .trace()
        .build()
        .await
        .unwrap();
    let consumer = cluster.consumer().trace().build().await.unwrap();
    let receipt = producer.send(Message::new(TOPIC, "0").key("order-1").tag("t")).await.unwrap();
    let delivery = next(&consumer).await;
    delivery.retry_at_level(1).await.unwrap();
    next(&consumer).await.ack();
    producer.close().await;
    consumer.close().await;

    let session = cluster.session(0);
    let by_id = async |id: &str| {
        let queues = session.topic(TRACE_TOPIC).await.map_or(0, |topic| topic.read_queue_nums);
        let mut entries = Vec::new();
        for queue in 0..queues {
            for stored in session.read_queue(TRACE_TOPIC, queue, 0).await.unwrap() {
                let keys = property::get(&stored.properties, property::KEYS).unwrap_or_default().to_owned();
                assert!(keys.split(' ').any(|key| key == id) && keys.contains("order-1"), "{keys}");
                let text = String::from_utf8(stored.body.to_vec()).unwrap();
                entries.extend(text.split_terminator('\u{2}').map(str::to_owned));
            }
        }
        entries
    };
    let all = async || {
        let entries = by_id(&receipt.message_id).await;
        (entries.len() >= 5).then_some(entries)
    };
    let entries = until("all traces", PATIENCE, all).await;
    let kinds = |kind: &str| -> Vec<Vec<&str>> {
        let fields = entries.iter().map(|entry| entry.split('\u{1}').collect::<Vec<_>>());
        fields.filter(|fields| fields[0] == kind).collect()
    };
    let sent = kinds("Pub");
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0][3..8], ["traced", TOPIC, receipt.message_id.as_str(), "t", "order-1"]);
    assert_eq!(
        (sent[0][8], sent[0][12], sent[0][13]),
        (cluster.brokers[0].address(), receipt.offset_message_id.as_str(), "true")
    );
    let (began, ended) = (kinds("SubBefore"), kinds("SubAfter"));
    assert_eq!((began.len(), ended.len()), (2, 2), "{entries:?}");
    let mut retries: Vec<&str> = began.iter().map(|fields| fields[6]).collect();
    retries.sort_unstable();
    assert_eq!(retries, ["0", "1"]);
    let failed: Vec<_> = ended.iter().filter(|fields| fields[4] == "false").collect();
    assert!(failed.len() == 1 && ended.iter().all(|fields| fields[8] == GROUP), "{ended:?}");
    assert!(began.iter().all(|one| ended.iter().any(|other| other[1] == one[4])), "{entries:?}");
    assert!(Duration::from_millis(ended[0][3].parse().unwrap()) < PATIENCE);
}
