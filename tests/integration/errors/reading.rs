//! Reads that lead nowhere: closed topics, wrong offsets, keys and ids that nobody has.

use std::time::Duration;

use orbitmq_common::protocol::code::request;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::admin::{ResetOffsetRequest, TopicRequest};
use orbitmq_common::protocol::header::examine::ForbiddenRequest;
use orbitmq_common::protocol::header::offset::{QueryOffsetRequest, UpdateOffsetRequest};
use orbitmq_common::protocol::header::pull::PullRequest;
use orbitmq_common::protocol::header::query::{QueryRequest, ViewRequest};
use serde_json::json;

use crate::daemons::{Broker, pulling, until};
use crate::table::names;

#[tokio::test]
async fn readers_that_are_kept_out() {
    let broker = Broker::start(|_| {}).await;
    broker.create_topic("T", 1, 6).await;
    broker.create_topic("shut", 1, 2).await;
    names(&broker.pull("shut", "g", 0).await, 16, &["the topic is closed to readers"]);
    broker.create_group(json!({"groupName": "stopped", "consumeEnable": false})).await;
    names(&broker.pull("T", "stopped", 0).await, 16, &["the group is stopped"]);
    let forbidden = ForbiddenRequest { group: "g".into(), topic: "T".into(), readable: Some(false) };
    broker.does(request::UPDATE_AND_GET_GROUP_FORBIDDEN, &forbidden).await;
    names(&broker.pull("T", "g", 0).await, 16, &["the group may not read the topic"]);
    let queue = PullRequest { queue_id: 5, ..pulling("T", "other", 0) };
    names(&broker.ask(request::PULL_MESSAGE, &queue).await, 29, &["no such queue"]);
    broker.takes(request::UPDATE_BROKER_CONFIG, "brokerPermission=2").await;
    names(&broker.pull("T", "g", 0).await, 16, &["the broker is closed to readers"]);
    broker.takes(request::UPDATE_BROKER_CONFIG, "brokerPermission=6").await;

    let filter = PullRequest {
        subscription: Some("a = ".into()),
        expression_type: Some("SQL92".into()),
        ..pulling("T", "f", 0)
    };
    names(&broker.ask(request::PULL_MESSAGE, &filter).await, 23, &["the filter does not parse"]);
    broker.stop().await;
}

#[tokio::test]
async fn offsets_that_lead_nowhere() {
    let broker = Broker::start(|config| {
        config.store.retention.max_bytes = Some(1 << 20);
        config.store.retention.check_every = Duration::from_millis(20);
    })
    .await;
    broker.create_topic("T", 1, 6).await;
    broker.stores("T", b"first").await;
    let id = broker.pull("T", "g", 0).await;
    assert_eq!(id.code, 0);
    let other_store = broker.pull("T", "g", 900).await;
    names(&other_store, 21, &["the offset is another store's"]);
    let remark = other_store.remark.unwrap();
    assert!(
        remark.starts_with("OFFSET_OVERFLOW_BADLY: offset 900 of queue 0 of 'T' was asked for, the queue ends at 1"),
        "{remark}"
    );
    names(&broker.pull("T", "g", -7).await, 21, &["the offset is none"]);
    broker.create_topic("empty", 1, 6).await;
    assert_eq!(broker.pull("empty", "g", 0).await.code, 19);
    let emptied = broker.pull("empty", "g", 5).await;
    names(&emptied, 21, &["the offset is another store's"]);
    let remark = emptied.remark.unwrap();
    assert!(remark.starts_with("NO_MESSAGE_IN_QUEUE: offset 5 of queue 0 of 'empty' was asked for"), "{remark}");
    let reset = ResetOffsetRequest {
        topic: "T".into(),
        group: "g".into(),
        timestamp: -1,
        is_force: Some(true),
        ..ResetOffsetRequest::default()
    };
    broker.does(request::INVOKE_BROKER_TO_RESET_OFFSET, &reset).await;
    names(&broker.pull("T", "g", 0).await, 21, &["an administrator has reset it"]);

    let key = |topic: &'static str, key: &'static str, end| QueryRequest {
        topic: topic.into(),
        key: key.into(),
        max_num: 8,
        begin_timestamp: 0,
        end_timestamp: end,
        ..QueryRequest::default()
    };
    names(&broker.ask(request::QUERY_MESSAGE, &key("none", "k", i64::MAX)).await, 22, &["there is no such topic"]);
    names(&broker.ask(request::QUERY_MESSAGE, &key("T", "wrong", i64::MAX)).await, 22, &["no message has the key"]);
    names(&broker.ask(request::QUERY_MESSAGE, &key("T", "k", 1)).await, 22, &["the time is deleted"]);

    // Two segments and more: the first one goes.
    until("the first message is deleted", async || {
        broker.stores("T", &[7; 200_000]).await;
        broker.node.broker().store.min_offset("T", 0) > 0
    })
    .await;
    let deleted = broker.pull("T", "g", 0).await;
    names(&deleted, 21, &["the offset is deleted"]);
    let remark = deleted.remark.unwrap();
    assert!(
        remark.starts_with("OFFSET_TOO_SMALL: offset 0 of queue 0 of 'T' was asked for, the first one kept is"),
        "{remark}"
    );
    assert!(remark.contains("1048576 bytes of them at most"), "{remark}");
    let view = |offset| ViewRequest { topic: None, offset };
    names(&broker.ask(request::VIEW_MESSAGE_BY_ID, &view(0)).await, 1, &["the message is deleted"]);
    names(&broker.ask(request::VIEW_MESSAGE_BY_ID, &view(1 << 40)).await, 1, &["the id is another broker's"]);

    broker.does(request::DELETE_TOPIC_IN_BROKER, &TopicRequest { topic: "T".into() }).await;
    broker.create_topic("T", 1, 6).await;
    broker.stores("T", b"anew").await;
    names(&broker.pull("T", "g", 900).await, 21, &["the topic was created anew"]);
    broker.stop().await;
}

#[tokio::test]
async fn groups_without_an_offset() {
    let broker = Broker::start(|_| {}).await;
    broker.create_topic("T", 2, 6).await;
    broker.create_topic("U", 1, 6).await;
    let offset = async |topic: &str, group: &str, queue_id| -> Frame {
        let fields = QueryOffsetRequest {
            consumer_group: group.to_owned().into(),
            topic: topic.to_owned().into(),
            queue_id,
            set_zero_if_not_found: Some(false),
        };
        broker.ask(request::QUERY_CONSUMER_OFFSET, &fields).await
    };
    names(&offset("nowhere", "g", 0).await, 22, &["there is no such topic"]);
    broker.create_group(json!({"groupName": "g"})).await;
    names(&offset("T", "g", 0).await, 22, &["the group never stored an offset"]);
    let commit = UpdateOffsetRequest { consumer_group: "g".into(), topic: "T".into(), queue_id: 0, commit_offset: 0 };
    broker.does(request::UPDATE_CONSUMER_OFFSET, &commit).await;
    names(&offset("T", "g", 1).await, 22, &["the queue is new to the group"]);
    names(&offset("U", "g", 0).await, 22, &["the group never read the topic"]);
    broker.stop().await;
}
