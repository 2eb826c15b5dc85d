//! Checks of a whole broker in this process.

use std::time::Duration;

use orbitmq_common::net::client::{Client, ClientOptions, Link};
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::frame::{Encoding, Frame};
use orbitmq_common::protocol::header::offset::{OffsetResponse, QueryOffsetRequest, QueueRequest, UpdateOffsetRequest};
use orbitmq_common::protocol::header::pull::{PullRequest, PullResponse};
use orbitmq_common::protocol::header::send::{SendRequestV2, SendResponse};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

mod pop;

use super::*;
use crate::config::replication::RoleSetting;
use crate::store::options::IndexSize;

mod filters;

const DEADLINE: Duration = Duration::from_secs(20);

async fn start(dir: &std::path::Path) -> Node {
    let mut config = Config::local(dir, Vec::new());
    config.store.segment_size = 16 << 20;
    config.store.index = Some(IndexSize { slots: 1000, entries: 4000 });
    config.monitor = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    Node::start(config).await.unwrap()
}

async fn link(node: &Node, encoding: Encoding) -> (Client, Link) {
    let client = Client::new(ClientOptions { encoding: Some(encoding), ..ClientOptions::default() });
    let link = client.link(&node.bound().to_string()).await.unwrap();
    (client, link)
}

fn send(link: &Link, topic: &str, body: &str, properties: &str) -> Frame {
    let fields = SendRequestV2 {
        producer_group: "P".into(),
        topic: topic.into(),
        default_topic: "TBW102".into(),
        default_topic_queue_nums: 1,
        properties: Some(properties.into()),
        ..SendRequestV2::default()
    };
    link.request(request::SEND_MESSAGE_V2).with_fields(&fields).with_body(body.to_owned())
}

fn pull(link: &Link, topic: &str, offset: i64, hold: i64) -> Frame {
    let fields = PullRequest {
        consumer_group: "G".into(),
        topic: topic.into(),
        queue_offset: offset,
        max_msg_nums: 32,
        sys_flag: if hold > 0 { 6 } else { 4 },
        suspend_timeout_millis: hold,
        subscription: Some("*".into()),
        ..PullRequest::default()
    };
    link.request(request::PULL_MESSAGE).with_fields(&fields)
}

#[tokio::test]
async fn a_message_goes_in_and_comes_out_in_every_encoding_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let node = start(dir.path()).await;
        for (n, encoding) in [Encoding::Json, Encoding::Binary, Encoding::MessagePack].into_iter().enumerate() {
            let (_client, link) = link(&node, encoding).await;
            let sent = link.call(send(&link, "T", "hello", "TAGS\u{1}a\u{2}"), DEADLINE).await.unwrap();
            assert_eq!((sent.code, sent.encoding), (response::SUCCESS, encoding), "{:?}", sent.remark);
            let sent: SendResponse<'_> = sent.fields().unwrap();
            let offset = round * 3 + i64::try_from(n).unwrap();
            assert_eq!(sent.queue_offset, offset);
            let max = link
                .call(
                    link.request(request::GET_MAX_OFFSET)
                        .with_fields(&QueueRequest { topic: "T".into(), ..QueueRequest::default() }),
                    DEADLINE,
                )
                .await
                .unwrap();
            assert_eq!(max.fields::<OffsetResponse>().unwrap().offset, offset + 1);
            let pulled = link.call(pull(&link, "T", 0, 0), DEADLINE).await.unwrap();
            assert_eq!(pulled.code, response::SUCCESS, "{:?}", pulled.remark);
            let found = orbitmq_common::message::entry::records(&pulled.body)
                .filter(|record| record.as_ref().unwrap().body == b"hello")
                .count();
            assert_eq!(i64::try_from(found).unwrap(), offset + 1);
        }
        node.stop().await;
    }
}

#[tokio::test]
async fn a_held_pull_is_answered_by_a_message_and_by_a_stop() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path()).await;
    let (_client, link) = link(&node, Encoding::MessagePack).await;
    link.call(send(&link, "T", "first", ""), DEADLINE).await.unwrap();
    let held = link.start(pull(&link, "T", 1, 15_000), DEADLINE);
    link.call(send(&link, "T", "second", ""), DEADLINE).await.unwrap();
    assert_eq!(held.await.unwrap().code, response::SUCCESS);
    let held = link.start(pull(&link, "T", 2, 15_000), DEADLINE);
    link.call(
        link.request(request::HELLO).with_fields(&orbitmq_common::protocol::header::nameserver::Hello::default()),
        DEADLINE,
    )
    .await
    .unwrap();
    node.stop().await;
    let answer = held.await.unwrap();
    assert_eq!(answer.code, response::PULL_NOT_FOUND);
    assert_eq!(answer.fields::<PullResponse>().unwrap().max_offset, 2);
}

#[tokio::test]
async fn a_slave_never_says_where_a_reader_goes_on_and_sends_it_to_the_master_when_it_is_near() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path()).await;
    let (_client, own) = link(&node, Encoding::Json).await;
    for n in 0..3 {
        own.call(send(&own, "T", &n.to_string(), ""), DEADLINE).await.unwrap();
    }
    node.stop().await;

    for (far, master_alive, suggested, back) in [(u64::MAX, true, 0, 0), (0, true, 1, 0), (u64::MAX, false, 1, 1)] {
        let mut config = Config::local(dir.path(), Vec::new());
        (config.role, config.id, config.slave_read_after) = (RoleSetting::Slave, 1, far);
        let node = Node::start(config).await.unwrap();
        node.broker().role.set_master_alive(master_alive);
        let (_client, link) = link(&node, Encoding::Json).await;
        let found = link.call(pull(&link, "T", 0, 0), DEADLINE).await.unwrap();
        assert_eq!(found.code, response::SUCCESS);
        assert_eq!(found.fields::<PullResponse>().unwrap().suggest_which_broker_id, suggested);
        // With and without the right to hold the request: the slave may be behind.
        for hold in [0, if master_alive { 15_000 } else { 300 }] {
            let beyond = link.call(pull(&link, "T", 50, hold), Duration::from_secs(10)).await.unwrap();
            assert_eq!(beyond.code, response::PULL_RETRY_IMMEDIATELY, "{:?}", beyond.remark);
            let place: PullResponse = beyond.fields().unwrap();
            assert_eq!((place.next_begin_offset, place.max_offset, place.suggest_which_broker_id), (50, 3, back));
        }
        node.stop().await;
    }

    let mut config = Config::local(dir.path(), Vec::new());
    config.slave_read_after = 0;
    let node = Node::start(config).await.unwrap();
    let (_client, link) = link(&node, Encoding::Json).await;
    let beyond = link.call(pull(&link, "T", 50, 0), DEADLINE).await.unwrap();
    assert_eq!(beyond.code, response::PULL_OFFSET_MOVED, "a master knows");
    let found = link.call(pull(&link, "T", 0, 0), DEADLINE).await.unwrap();
    assert_eq!(found.fields::<PullResponse>().unwrap().suggest_which_broker_id, 0, "there is no slave to read from");
    node.stop().await;
}

#[tokio::test]
async fn an_answered_commit_survives_a_broker_that_is_never_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let node = start(dir.path()).await;
    let (_first, before) = link(&node, Encoding::Json).await;
    before.call(send(&before, "T", "x", ""), DEADLINE).await.unwrap();
    let fields = UpdateOffsetRequest { consumer_group: "G".into(), topic: "T".into(), queue_id: 0, commit_offset: 1 };
    let answer =
        before.call(before.request(request::UPDATE_CONSUMER_OFFSET).with_fields(&fields), DEADLINE).await.unwrap();
    assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
    // What the system has now is what the next process finds after this one is killed.
    let made = std::process::Command::new("cp")
        .args(["-r", "--sparse=always"])
        .arg(dir.path().join("."))
        .arg(copy.path())
        .status()
        .unwrap();
    assert!(made.success());
    let after = start(copy.path()).await;
    let (_client, link) = link(&after, Encoding::Json).await;
    let fields = QueryOffsetRequest {
        consumer_group: "G".into(),
        topic: "T".into(),
        queue_id: 0,
        set_zero_if_not_found: Some(false),
    };
    let answer = link.call(link.request(request::QUERY_CONSUMER_OFFSET).with_fields(&fields), DEADLINE).await.unwrap();
    assert_eq!(answer.fields::<OffsetResponse>().unwrap().offset, 1);
    after.stop().await;
    node.stop().await;
}

#[tokio::test]
async fn health_and_figures_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path()).await;
    let monitor = node.monitor().unwrap();
    for (path, status, holds) in [
        ("/livez", 200, "alive"),
        ("/readyz", 200, "ready"),
        ("/metrics", 200, "orbitmq_log_fenced 0"),
        ("/x", 404, ""),
    ] {
        let mut stream = tokio::net::TcpStream::connect(monitor).await.unwrap();
        stream
            .write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
            .await
            .unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with(&format!("HTTP/1.1 {status}")) && text.contains(holds), "{path}: {text}");
    }
    node.stop().await;
}

#[tokio::test]
async fn a_second_broker_on_the_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path()).await;
    let refused = Node::start(Config::local(dir.path(), Vec::new())).await;
    let text = refused.err().unwrap().to_string();
    assert!(text.contains("another broker"), "{text}");
    node.stop().await;
}
