//! Sends that are refused for what they are, or for what their topic is.

use std::time::Duration;

use orbitmq_common::protocol::code::request;
use orbitmq_common::protocol::header::admin::TopicRequest;
use orbitmq_common::protocol::header::send::SendRequestV2;

use crate::daemons::{Broker, DEADLINE, sending};
use crate::table::names;

#[tokio::test]
async fn topics_that_are_not_there() {
    let broker = Broker::start(|_| {}).await;
    let nameless = SendRequestV2 { default_topic: "".into(), ..sending("payments") };
    names(&broker.send(&nameless, b"x").await, 17, &["never created", "no template is named"]);
    broker.stop().await;

    let broker = Broker::start(|config| config.auto_create_topics = false).await;
    let never = broker.send(&sending("payments"), b"x").await;
    names(&never, 17, &["never created", "sending creates no topics"]);
    broker.create_topic("Orders", 1, 6).await;
    let meant = broker.send(&sending("orders"), b"x").await;
    names(&meant, 17, &["never created", "another topic is meant", "sending creates no topics"]);
    assert!(meant.remark.unwrap().contains("'Orders'"));
    broker.does(request::DELETE_TOPIC_IN_BROKER, &TopicRequest { topic: "Orders".into() }).await;
    names(&broker.send(&sending("Orders"), b"x").await, 17, &["deleted", "sending creates no topics"]);
    names(&broker.pull("Orders", "g", 0).await, 17, &["deleted"]);
    names(&broker.pull("payments", "g", 0).await, 17, &["never created"]);
    broker.stop().await;
}

#[tokio::test]
async fn topics_that_are_closed_and_queues_that_are_not_there() {
    let broker = Broker::start(|config| config.transactions.reject = true).await;
    broker.create_topic("shut", 1, 4).await;
    let shut = broker.send(&sending("shut"), b"x").await;
    names(&shut, 16, &["the topic is closed to writers"]);
    let remark = shut.remark.unwrap();
    assert!(
        remark.contains("perm 4: open to readers alone") && remark.contains("'orbitmq topic create shut"),
        "{remark}"
    );
    names(&broker.send(&sending("SCHEDULE_TOPIC_XXXX"), b"x").await, 16, &["the topic is the system's"]);
    let half = SendRequestV2 { properties: Some("TRAN_MSG\u{1}true\u{2}".into()), ..sending("T") };
    names(&broker.send(&half, b"x").await, 16, &["no transactions"]);
    let queue = broker.send(&SendRequestV2 { queue_id: 9, ..sending("T") }, b"x").await;
    names(&queue, 29, &["no such queue"]);
    assert!(queue.remark.unwrap().contains("no queue 9 to write here, only 0 to 0"));
    broker.stop().await;
}

#[tokio::test]
async fn messages_that_cannot_be() {
    let broker = Broker::start(|config| config.max_message_size = 100).await;
    names(&broker.send(&sending("T"), b"").await, 13, &["no body"]);
    let large = broker.send(&sending("T"), &[1; 101]).await;
    names(&large, 13, &["the body is too large"]);
    assert!(large.remark.unwrap().contains("101 bytes; this broker takes 100"));
    let long = format!("k\u{1}{}\u{2}", "v".repeat(32_767));
    let long = SendRequestV2 { properties: Some(long.into()), ..sending("T") };
    names(&broker.send(&long, b"x").await, 13, &["the properties are too long"]);
    let batch = SendRequestV2 { batch: Some(true), ..sending("T") };
    names(&broker.send(&batch, b"nonsense").await, 13, &["the batch does not parse"]);
    broker.stop().await;
}

#[tokio::test]
async fn too_many_open_transactions() {
    let broker = Broker::start(|config| {
        config.transactions.max_open = 1;
        config.transactions.timeout = Duration::from_secs(3600);
    })
    .await;
    let half = SendRequestV2 { properties: Some("TRAN_MSG\u{1}true\u{2}PGROUP\u{1}p\u{2}".into()), ..sending("T") };
    let mut answer = broker.send(&half, b"x").await;
    let end = std::time::Instant::now() + DEADLINE;
    while answer.code == 0 {
        assert!(std::time::Instant::now() < end, "half messages without end");
        answer = broker.send(&half, b"x").await;
    }
    names(&answer, 2, &["too many half messages"]);
    broker.stop().await;
}
