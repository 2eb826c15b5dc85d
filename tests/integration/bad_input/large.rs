//! Requests that are long rather than wrong: their work grows with their length, and they leave little behind.

use orbitmq_common::message::batch::{BatchEntry, encode};
use orbitmq_common::protocol::code::request as kind;
use orbitmq_common::protocol::frame::{Encoding, Frame};
use serde_json::json;

use crate::servers::{GROUP, Servers, TOPIC, send};
use crate::wire::Wire;

/// Entries of a long list: a square of it would take minutes.
const MANY: usize = 60_000;

fn json_body(code: i32, body: &serde_json::Value) -> Frame {
    Frame::request(code, Encoding::Json).with_body(body.to_string())
}

#[test]
fn a_heartbeat_of_many_topics_is_answered() {
    let servers = Servers::start();
    let mut wire = Wire::connect(servers.broker);
    let topics: Vec<_> = (0..MANY).map(|number| json!({"topic": format!("t{number}"), "subString": "*"})).collect();
    let group = json!({"groupName": GROUP, "subscriptionDataSet": topics});
    let body = json!({"clientID": "c", "consumerDataSet": [group]});
    for _ in 0..2 {
        assert_eq!(wire.ask(json_body(kind::HEART_BEAT, &body)).code, 0);
    }
    servers.serve_still();
}

#[test]
fn locks_on_many_queues_are_answered_and_freed() {
    let servers = Servers::start();
    let mut wire = Wire::connect(servers.broker);
    let queues: Vec<_> =
        (0..MANY).map(|number| json!({"brokerName": "b", "queueId": number, "topic": "BenchmarkTest"})).collect();
    let body = json!({"clientId": "c", "consumerGroup": GROUP, "mqSet": queues});
    let locked = wire.ask(json_body(kind::LOCK_BATCH_MQ, &body));
    assert_eq!(locked.code, 0, "{:?}", locked.remark);
    assert_eq!(wire.ask(json_body(kind::UNLOCK_BATCH_MQ, &body)).code, 0);
    servers.serve_still();
}

#[test]
fn queues_that_are_not_there_are_not_locked() {
    let servers = Servers::start();
    let mut wire = Wire::connect(servers.broker);
    for (topic, queue) in [("absent", 0), (TOPIC, 4), (TOPIC, -1)] {
        let queues = json!([{"brokerName": "b", "queueId": queue, "topic": topic}]);
        let body = json!({"clientId": "c", "consumerGroup": GROUP, "mqSet": queues});
        let answer = wire.ask(json_body(kind::LOCK_BATCH_MQ, &body));
        assert_eq!(&answer.body[..], br#"{"lockOKMQSet":[]}"#, "{topic} {queue}");
    }
}

#[test]
fn a_heartbeat_of_many_groups_is_answered() {
    let servers = Servers::start();
    let mut wire = Wire::connect(servers.broker);
    let groups: Vec<_> = (0..2_000).map(|number| json!({"groupName": format!("g{number}")})).collect();
    let body = json!({"clientID": "c", "consumerDataSet": groups, "producerDataSet": groups});
    assert_eq!(wire.ask(json_body(kind::HEART_BEAT, &body)).code, 0);
    servers.serve_still();
}

#[test]
fn the_longest_batch_of_the_shortest_messages_is_answered() {
    let servers = Servers::start();
    let mut wire = Wire::connect(servers.broker);
    let entry = BatchEntry { flag: 0, body: b"x", properties: "" };
    let body = encode(std::iter::repeat_n(entry, MANY)).unwrap();
    for encoding in [Encoding::Json, Encoding::Binary, Encoding::MessagePack] {
        let request = Frame { code: kind::SEND_BATCH_MESSAGE, ..send(encoding, TOPIC, &body) };
        let answer = wire.ask(request);
        assert!(matches!(answer.code, 0 | 2), "{:?}", answer.remark);
    }
    servers.serve_still();
}

#[test]
fn a_message_of_many_keys_is_stored() {
    let servers = Servers::start();
    let mut wire = Wire::connect(servers.broker);
    let keys: String = (0..5_000).map(|number| format!("k{number} ")).collect();
    let header = orbitmq_common::protocol::header::send::SendRequestV2 {
        producer_group: "g".into(),
        topic: TOPIC.into(),
        default_topic: "TBW102".into(),
        properties: Some(format!("KEYS\u{1}{keys}\u{2}").into()),
        ..Default::default()
    };
    let request = Frame::request(kind::SEND_MESSAGE_V2, Encoding::MessagePack).with_fields(&header).with_body("x");
    for _ in 0..20 {
        let answer = wire.ask(request.clone());
        assert_eq!(answer.code, 0, "{:?}", answer.remark);
    }
    servers.serve_still();
}
