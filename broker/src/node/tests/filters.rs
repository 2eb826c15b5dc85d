//! Conditions on properties, and members of a group that want different things.

use orbitmq_common::message::entry::records;
use orbitmq_common::protocol::body::group::ConsumerConnection;
use orbitmq_common::protocol::body::heartbeat::{CheckClientRequest, ConsumerData, HeartbeatData, SubscriptionData};
use orbitmq_common::protocol::header::group::{ConsumerGroupRequest, UnregisterClientRequest};

use super::*;
use crate::config::filtering::{Filtering, OnConflict};

async fn start_with(dir: &std::path::Path, filtering: Filtering) -> Node {
    let mut config = Config::local(dir, Vec::new());
    config.store.segment_size = 16 << 20;
    config.store.index = Some(IndexSize { slots: 1000, entries: 4000 });
    config.filtering = filtering;
    Node::start(config).await.unwrap()
}

fn wants(topic: &str, kind: &str, expression: &str) -> SubscriptionData {
    SubscriptionData {
        topic: topic.to_owned(),
        expression_type: kind.to_owned(),
        sub_string: expression.to_owned(),
        sub_version: 1,
        ..SubscriptionData::default()
    }
}

fn beat(link: &Link, client: &str, groups: &[(&str, SubscriptionData)]) -> Frame {
    let group = |(group, sub): &(&str, SubscriptionData)| ConsumerData {
        group_name: (*group).to_owned(),
        subscription_data_set: vec![sub.clone()],
        ..ConsumerData::default()
    };
    let data = HeartbeatData {
        client_id: client.to_owned(),
        consumer_data_set: groups.iter().map(group).collect(),
        ..HeartbeatData::default()
    };
    link.request(request::HEART_BEAT).with_json(&data)
}

/// A pull by condition; without one: by the group's subscription.
fn pull_by(link: &Link, condition: Option<&str>, offset: i64, hold: i64) -> Frame {
    let fields = PullRequest {
        consumer_group: "G".into(),
        topic: "T".into(),
        queue_offset: offset,
        max_msg_nums: 32,
        sys_flag: i32::from(hold > 0) * 2 + i32::from(condition.is_some()) * 4,
        suspend_timeout_millis: hold,
        subscription: condition.map(Into::into),
        sub_version: 1,
        expression_type: Some("SQL92".into()),
        ..PullRequest::default()
    };
    link.request(request::PULL_MESSAGE).with_fields(&fields)
}

fn bodies(answer: &Frame) -> Vec<String> {
    assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
    records(&answer.body).map(|record| String::from_utf8(record.unwrap().body.to_vec()).unwrap()).collect()
}

async fn call(link: &Link, frame: Frame) -> Frame {
    link.call(frame, DEADLINE).await.unwrap()
}

#[tokio::test]
async fn a_reader_gets_what_fulfils_its_condition() {
    let dir = tempfile::tempdir().unwrap();
    let node = start_with(dir.path(), Filtering::default()).await;
    let (_client, link) = link(&node, Encoding::Json).await;
    let messages = [
        ("0", "TAGS\u{1}a\u{2}n\u{1}7\u{2}"),
        ("1", "n\u{1}12\u{2}s\u{1}it's\u{2}"),
        ("2", ""),
        ("3", "n\u{1}seven\u{2}"),
        ("4", "n\u{1}8\u{2}"),
    ];
    for (body, properties) in messages {
        let sent = call(&link, send(&link, "T", body, properties)).await;
        assert_eq!(sent.code, response::SUCCESS, "{:?}", sent.remark);
    }
    // What is acknowledged is readable a moment later; a pull that finds something does not wait for it.
    let broker = node.broker();
    broker.store.built(broker.store.confirmed()).await;
    let found = async |condition: &str| bodies(&call(&link, pull_by(&link, Some(condition), 0, 0)).await);
    assert_eq!(found("n BETWEEN 7 AND 8").await, ["0", "4"]);
    assert_eq!(found("TAGS = 'a' OR s CONTAINS ''''").await, ["0", "1"]);
    assert_eq!(found("n IS NULL").await, ["2"]);
    assert_eq!(broker.filters.failures(), 1, "'seven' is no number");

    let nothing = call(&link, pull_by(&link, Some("missing = 'x'"), 1, 0)).await;
    assert_eq!(nothing.code, response::PULL_RETRY_IMMEDIATELY);
    assert_eq!(nothing.fields::<PullResponse>().unwrap().next_begin_offset, 5);
    let wrong = call(&link, pull_by(&link, Some("n > AND"), 0, 0)).await;
    assert_eq!(wrong.code, response::SUBSCRIPTION_PARSE_FAILED);
    assert!(wrong.remark.unwrap().starts_with("SQL92 filter, at character 5: expected a property"));

    // The group's subscription, and a pull that waits for what fulfils it.
    call(&link, beat(&link, "c", &[("G", wants("T", "SQL92", "n > 100"))])).await;
    let held = link.start(pull_by(&link, None, 0, 15_000), DEADLINE);
    call(&link, send(&link, "T", "5", "n\u{1}99\u{2}")).await;
    call(&link, send(&link, "T", "6", "n\u{1}101\u{2}")).await;
    assert_eq!(bodies(&held.await.unwrap()), ["6"]);
    node.stop().await;
}

#[tokio::test]
async fn conditions_are_checked_before_the_start_and_may_be_switched_off() {
    let dir = tempfile::tempdir().unwrap();
    let node = start_with(dir.path(), Filtering { sql: false, ..Filtering::default() }).await;
    let (_client, own) = link(&node, Encoding::Json).await;
    let check = |link: &Link, kind: &str, expression: &str| {
        let body = CheckClientRequest { subscription_data: Some(wants("T", kind, expression)), ..Default::default() };
        link.request(request::CHECK_CLIENT_CONFIG).with_json(&body)
    };
    call(&own, send(&own, "T", "0", "")).await;
    for refused in [check(&own, "SQL92", "n > 1"), pull_by(&own, Some("n > 1"), 0, 0)] {
        let answer = call(&own, refused).await;
        assert_eq!(answer.code, response::SYSTEM_ERROR);
        assert!(answer.remark.unwrap().contains("property_filter"));
    }
    assert_eq!(call(&own, check(&own, "TAG", "a")).await.code, response::SUCCESS);
    node.stop().await;
    let node = start_with(dir.path(), Filtering::default()).await;
    let (_client, own) = link(&node, Encoding::Json).await;
    assert_eq!(call(&own, check(&own, "SQL92", "n > 1")).await.code, response::SUCCESS);
    let answer = call(&own, check(&own, "SQL92", "n LIKE 'x'")).await;
    assert_eq!(answer.code, response::SUBSCRIPTION_PARSE_FAILED);
    assert!(answer.remark.unwrap().contains("at character 3"));
    node.stop().await;
}

#[tokio::test]
async fn a_conflict_in_a_group_is_shown_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let node = start_with(dir.path(), Filtering::default()).await;
    let (_one, first) = link(&node, Encoding::Json).await;
    let (_two, second) = link(&node, Encoding::Json).await;
    let shown = async || {
        let fields = ConsumerGroupRequest { consumer_group: "G".into() };
        let request = first.request(request::GET_CONSUMER_CONNECTION_LIST).with_fields(&fields);
        let answer = call(&first, request).await;
        serde_json::from_slice::<ConsumerConnection>(&answer.body).unwrap().subscription_conflict
    };
    for _ in 0..3 {
        assert_eq!(call(&first, beat(&first, "x", &[("G", wants("T", "TAG", "a"))])).await.code, response::SUCCESS);
        assert_eq!(call(&second, beat(&second, "y", &[("G", wants("T", "TAG", "b"))])).await.code, response::SUCCESS);
    }
    let conflict = shown().await.unwrap();
    assert!(conflict.contains("'x' and 'y'") && conflict.contains("topic 'T': tags a against tags b"), "{conflict}");
    let (times, now) = node.broker().members.conflicts();
    assert_eq!((times, now.len()), (1, 1));
    let runtime = call(&first, first.request(request::GET_BROKER_RUNTIME_INFO)).await;
    assert!(String::from_utf8_lossy(&runtime.body).contains("group 'G': clients 'x' and 'y'"));
    let fields =
        UnregisterClientRequest { client_id: "y".into(), producer_group: None, consumer_group: Some("G".into()) };
    call(&second, second.request(request::UNREGISTER_CLIENT).with_fields(&fields)).await;
    assert_eq!(shown().await, None);
    assert_eq!(node.broker().members.conflicts(), (1, Vec::new()));
    node.stop().await;
}

#[tokio::test]
async fn a_member_that_wants_something_else_may_be_refused() {
    let dir = tempfile::tempdir().unwrap();
    let node = start_with(dir.path(), Filtering { on_conflict: OnConflict::Refuse, ..Filtering::default() }).await;
    let (_one, first) = link(&node, Encoding::Json).await;
    let (_two, second) = link(&node, Encoding::Json).await;
    let beats =
        |link: &Link, tags: &str| beat(link, tags, &[("G", wants("T", "TAG", tags)), ("H", wants("T", "TAG", "*"))]);
    assert_eq!(call(&first, beats(&first, "a")).await.code, response::SUCCESS);
    call(&second, beats(&second, "b")).await;
    let refused = call(&second, beats(&second, "b")).await;
    assert_eq!(refused.code, response::NO_PERMISSION);
    let remark = refused.remark.unwrap();
    assert!(remark.contains("group 'G': clients 'a' and 'b'") && remark.contains("tags a against tags b"), "{remark}");
    let members = &node.broker().members;
    assert_eq!(members.consumer_ids("G"), ["a"]);
    assert_eq!(members.consumer_ids("H"), ["a", "b"], "the client's other groups are not touched");
    let (times, now) = members.conflicts();
    assert_eq!((times, now.len()), (1, 1), "told once");
    let agreed = beat(&second, "b", &[("G", wants("T", "TAG", "a"))]);
    assert_eq!(call(&second, agreed).await.code, response::SUCCESS);
    assert_eq!(members.conflicts(), (1, Vec::new()));
    node.stop().await;
}

#[tokio::test]
async fn a_reader_by_tags_need_not_wait_for_its_next_heartbeat() {
    let dir = tempfile::tempdir().unwrap();
    let node = start_with(dir.path(), Filtering::default()).await;
    let (_client, own) = link(&node, Encoding::Json).await;
    for (body, tag) in [("0", "a"), ("1", "b")] {
        call(&own, send(&own, "T", body, &format!("TAGS\u{1}{tag}\u{2}"))).await;
    }
    node.broker().store.built(node.broker().store.confirmed()).await;
    let pull = |group: &str, kind: &str, sub_version: i64| {
        let fields = PullRequest {
            consumer_group: group.into(),
            topic: "T".into(),
            max_msg_nums: 32,
            sub_version,
            expression_type: Some(kind.into()),
            ..PullRequest::default()
        };
        own.request(request::PULL_MESSAGE).with_fields(&fields)
    };
    let groups = [("G", wants("T", "TAG", "b")), ("S", wants("T", "SQL92", "TAGS = 'b'"))];
    call(&own, beat(&own, "c", &groups)).await;
    assert_eq!(bodies(&call(&own, pull("G", "TAG", 1)).await), ["1"]);
    // Which tags the newer subscription names is not known here: all of them may be among them.
    assert_eq!(bodies(&call(&own, pull("G", "TAG", 2)).await), ["0", "1"]);
    // Readers do not evaluate conditions, neither those that are known nor those that are to come.
    for (group, kind) in [("G", "SQL92"), ("S", "SQL92"), ("S", "TAG")] {
        let answer = call(&own, pull(group, kind, 2)).await;
        assert_eq!(answer.code, response::SUBSCRIPTION_NOT_LATEST, "{group} {kind}");
    }
    node.stop().await;
}
