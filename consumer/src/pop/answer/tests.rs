//! Checks of receipts: those that messages carry, and those made of an answer's header.

use std::net::SocketAddr;

use orbitmq_common::message::property::Properties;
use orbitmq_common::message::record::{NewRecord, seal};
use orbitmq_common::protocol::frame::Encoding;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::figures::TopicFigures;

fn record(topic: &str, queue: u32, offset: u64, receipt: Option<&str>) -> Vec<u8> {
    let host: SocketAddr = "127.0.0.1:10911".parse().unwrap();
    let mut properties = Properties::new();
    if let Some(receipt) = receipt {
        properties.push(property::POP_CK, receipt).unwrap();
    }
    let new = NewRecord {
        topic,
        queue_id: queue,
        flag: 0,
        sys_flag: 0,
        born_timestamp: 1,
        born_host: host,
        store_host: host,
        reconsume_times: 0,
        prepared_offset: 0,
        body: b"x",
        properties: properties.as_str().as_bytes(),
    };
    let mut out = Vec::new();
    new.encode_into(&mut out).unwrap();
    seal(&mut out, offset, 1_000 + offset, 1).unwrap();
    out
}

fn lane() -> Lane {
    Lane::new("T".into(), "b".into(), -1, CancellationToken::new(), Arc::new(TopicFigures::new()))
}

fn answer(header: &PopResponse<'_>, records: &[Vec<u8>]) -> Frame {
    Frame::request(0, Encoding::Json).with_fields(header).with_body(records.concat())
}

#[tokio::test]
async fn a_message_brings_its_receipt_or_the_header_says_it() {
    let header = PopResponse {
        pop_time: 7_000,
        invisible_time: 60_000,
        revive_qid: 3,
        start_offset_info: Some("0 1 40;0 2 5".into()),
        msg_offset_info: Some("0 1 40,42;0 2 5".into()),
        ..PopResponse::default()
    };
    let retry = "8 6000 30000 4 1 b 0 9";
    let records = [record("T", 1, 42, None), record("T", 0, 9, Some(retry)), record("T", 2, 5, None)];
    let brought = read(&lane(), &answer(&header, &records), 1 << 20, false).unwrap();
    assert!(brought.broken.is_none() && brought.unreadable.is_empty());
    let mut receipts = Vec::new();
    for popped in &brought.messages {
        receipts.push((popped.real_topic("g"), popped.receipt(&*popped.ticket.lock().await)));
    }
    let wanted = [("T", "40 7000 60000 3 0 b 1 42"), ("%RETRY%g_T", retry), ("T", "5 7000 60000 3 0 b 2 5")];
    assert_eq!(receipts, wanted.map(|(topic, receipt)| (topic.to_owned(), receipt.to_owned())));
    assert!(!Arc::ptr_eq(&brought.messages[0].until, &brought.messages[2].until));
}

#[tokio::test]
async fn in_order_messages_of_a_queue_share_their_time_and_know_how_often_they_came() {
    let header = PopResponse {
        pop_time: 7_000,
        invisible_time: 60_000,
        revive_qid: 999,
        start_offset_info: Some("0 1 40;0 2 5".into()),
        order_count_info: Some("0 qo1%40 2;0 1 1;0 2 0".into()),
        ..PopResponse::default()
    };
    let records = [record("T", 1, 40, None), record("T", 1, 41, None), record("T", 2, 5, None)];
    let brought = read(&lane(), &answer(&header, &records), 1 << 20, true).unwrap();
    let counts: Vec<i32> = brought.messages.iter().map(|popped| popped.message().reconsume_times).collect();
    assert_eq!(counts, [2, 1, 0]);
    assert!(Arc::ptr_eq(&brought.messages[0].until, &brought.messages[1].until));
    assert!(!Arc::ptr_eq(&brought.messages[0].until, &brought.messages[2].until));
}

#[tokio::test]
async fn nonsense_is_no_receipt() {
    let header = PopResponse { start_offset_info: Some("0 1;x y z;;0 1 a".into()), ..PopResponse::default() };
    let brought = read(&lane(), &answer(&header, &[record("T", 1, 0, None)]), 1 << 20, false).unwrap();
    assert!(brought.messages.is_empty());
    assert!(brought.broken.unwrap().contains("no receipt"));
    let brought = read(&lane(), &answer(&header, &[record("T", 1, 0, Some("1 2 3"))]), 1 << 20, false).unwrap();
    assert!(brought.messages.is_empty() && brought.broken.is_some());
    let cut = record("T", 1, 0, None)[..40].to_vec();
    assert!(read(&lane(), &answer(&header, &[cut]), 1 << 20, false).unwrap().broken.is_some());
}
