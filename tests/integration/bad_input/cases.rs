//! Requests with one thing wrong: the code that clients know, and a remark that names the cause.

use std::io::Write;

use bytes::BufMut;
use orbitmq_common::message::batch::{BatchEntry, encode};
use orbitmq_common::protocol::code::{request as kind, response};
use orbitmq_common::protocol::frame::{Encoding, Frame};
use orbitmq_common::protocol::header::admin::CreateTopicRequest;
use orbitmq_common::protocol::header::nameserver::{PutKvRequest, RegisterBrokerRequest, RouteRequest};
use orbitmq_common::protocol::header::offset::{
    QueryOffsetRequest, QueueRequest, SearchOffsetRequest, UpdateOffsetRequest,
};
use orbitmq_common::protocol::header::pull::{PullRequest, PullResponse};
use orbitmq_common::protocol::header::query::{QueryRequest, ViewRequest};
use orbitmq_common::protocol::header::send::{SendBackRequest, SendRequestV2};
use serde::Serialize;

use crate::servers::{GROUP, Servers, TOPIC, pull_at, send};
use crate::wire::Wire;

const ENCODINGS: [Encoding; 3] = [Encoding::Json, Encoding::Binary, Encoding::MessagePack];

/// Names that no topic and no group may have, with the character that is to be named.
const ILLEGAL: [(&str, char); 10] = [
    ("a b", ' '),
    ("a/b", '/'),
    ("../up", '.'),
    ("a\u{1}b", '\u{1}'),
    ("a\nb", '\n'),
    ("a\\b", '\\'),
    ("tür", 'ü'),
    ("話題", '話'),
    ("a😀", '😀'),
    ("a@b", '@'),
];

fn refused(wire: &mut Wire, what: &str, request: Frame, code: i32, named: &str) {
    let answer = wire.ask(request);
    let remark = answer.remark.as_deref().unwrap_or_default();
    assert_eq!(answer.code, code, "{what}: {remark}");
    assert!(remark.contains(named), "{what}: '{remark}' does not name '{named}'");
    assert!(remark.len() > 10, "{what}: '{remark}'");
}

fn of(code: i32, encoding: Encoding, fields: &impl Serialize) -> Frame {
    Frame::request(code, encoding).with_fields(fields)
}

#[test]
fn illegal_names_of_topics_are_refused_with_their_character() {
    let servers = Servers::start();
    let mut wire = Wire::connect(servers.broker);
    for encoding in ENCODINGS {
        for (name, character) in ILLEGAL {
            refused(
                &mut wire,
                "send",
                send(encoding, name, b"x"),
                response::INVALID_PARAMETER,
                &format!("'{character}'"),
            );
            let create = CreateTopicRequest {
                topic: name.into(),
                default_topic: "TBW102".into(),
                read_queue_nums: 4,
                write_queue_nums: 4,
                perm: 6,
                ..CreateTopicRequest::default()
            };
            let create = of(kind::UPDATE_AND_CREATE_TOPIC, encoding, &create);
            refused(&mut wire, "create", create, response::INVALID_PARAMETER, &format!("'{character}'"));
        }
        for name in ["", " "] {
            refused(&mut wire, "send", send(encoding, name, b"x"), response::INVALID_PARAMETER, "no name");
        }
        let long = "t".repeat(128);
        refused(&mut wire, "send", send(encoding, &long, b"x"), response::INVALID_PARAMETER, "128");
        let long = "t".repeat(1 << 20);
        refused(&mut wire, "send", send(encoding, &long, b"x"), response::INVALID_PARAMETER, "1048576");
    }
    servers.serve_still();
}

#[test]
fn illegal_names_of_groups_are_refused_with_their_character() {
    let servers = Servers::start();
    let mut wire = Wire::connect(servers.broker);
    for (name, character) in ILLEGAL {
        let named = format!("'{character}'");
        let heartbeat = |key: &str, group: serde_json::Value| {
            let body = serde_json::json!({"clientID": "c", key: [group]}).to_string();
            Frame::request(kind::HEART_BEAT, Encoding::Json).with_body(body)
        };
        let consumer = heartbeat("consumerDataSet", serde_json::json!({"groupName": name}));
        refused(&mut wire, "consumer", consumer, response::INVALID_PARAMETER, &named);
        let producer = heartbeat("producerDataSet", serde_json::json!({"groupName": name}));
        refused(&mut wire, "producer", producer, response::INVALID_PARAMETER, &named);
        let commit = UpdateOffsetRequest { consumer_group: name.into(), topic: TOPIC.into(), ..Default::default() };
        let commit = of(kind::UPDATE_CONSUMER_OFFSET, Encoding::Json, &commit);
        refused(&mut wire, "commit", commit, response::INVALID_PARAMETER, &named);
        let body = serde_json::json!({"groupName": name}).to_string();
        let create = Frame::request(kind::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, Encoding::Json).with_body(body);
        refused(&mut wire, "create", create, response::INVALID_PARAMETER, &named);
    }
    servers.serve_still();
}

#[test]
fn pulls_for_groups_of_illegal_names_create_none() {
    let servers = Servers::start();
    let mut wire = Wire::connect(servers.broker);
    for (name, character) in ILLEGAL {
        let mut header: PullRequest<'_> = PullRequest { topic: TOPIC.into(), max_msg_nums: 1, ..Default::default() };
        header.consumer_group = name.into();
        let pull = of(kind::PULL_MESSAGE, Encoding::Json, &header);
        refused(&mut wire, "pull", pull, response::INVALID_PARAMETER, &format!("'{character}'"));
    }
}

#[test]
fn bodies_and_properties_beyond_their_limits_are_refused() {
    let servers = Servers::start();
    let mut wire = Wire::connect(servers.broker);
    for encoding in ENCODINGS {
        let most = 4 << 20;
        let whole = wire.ask(send(encoding, TOPIC, &vec![1; most]));
        assert!(matches!(whole.code, 0 | 2), "{:?}", whole.remark);
        refused(&mut wire, "body", send(encoding, TOPIC, &vec![1; most + 1]), response::MESSAGE_ILLEGAL, "4194305");
        refused(&mut wire, "body", send(encoding, TOPIC, &vec![1; 11 << 20]), response::MESSAGE_ILLEGAL, "11534336");
        refused(&mut wire, "no body", send(encoding, TOPIC, b""), response::MESSAGE_ILLEGAL, "no body");
        let header = SendRequestV2 {
            producer_group: "g".into(),
            topic: TOPIC.into(),
            default_topic: "TBW102".into(),
            properties: Some(format!("k\u{1}{}\u{2}", "v".repeat(32_767)).into()),
            ..SendRequestV2::default()
        };
        let send = of(kind::SEND_MESSAGE_V2, encoding, &header).with_body("x");
        refused(&mut wire, "properties", send, response::MESSAGE_ILLEGAL, "32767");
    }
    servers.serve_still();
}

/// Properties that fit, but not beside what the broker adds to them.
#[test]
fn properties_that_just_fit_are_stored_or_refused() {
    let servers = Servers::start();
    let mut wire = Wire::connect(servers.broker);
    for length in 32_500..32_770 {
        let header = SendRequestV2 {
            producer_group: "g".into(),
            topic: TOPIC.into(),
            default_topic: "TBW102".into(),
            properties: Some(format!("k\u{1}{}\u{2}", "v".repeat(length - 3)).into()),
            ..SendRequestV2::default()
        };
        let answer = wire.ask(of(kind::SEND_MESSAGE_V2, Encoding::MessagePack, &header).with_body("x"));
        let told = answer.remark.as_deref().is_some_and(|remark| remark.contains("propert"));
        assert!(
            answer.code == 0 || (answer.code == response::MESSAGE_ILLEGAL && told),
            "{length}: {:?}",
            answer.remark
        );
    }
    servers.serve_still();
}

fn batch(body: Vec<u8>) -> Frame {
    let frame = send(Encoding::Json, TOPIC, &body);
    Frame { code: kind::SEND_BATCH_MESSAGE, ..frame }
}

#[test]
fn batches_that_lie_about_their_lengths_store_nothing() {
    let servers = Servers::start();
    let mut wire = Wire::connect(servers.broker);
    let entry = |body: &'static [u8]| BatchEntry { flag: 0, body, properties: "a\u{1}b\u{2}" };
    let sound = encode([entry(b"one"), entry(b"two")]).unwrap().to_vec();
    let end = wire.ask(pull_at(i64::MAX)).fields::<PullResponse>().unwrap().max_offset;
    // Every length of the second message, wrong in every way.
    let second = sound.len() / 2;
    for (at, width) in [(0, 4), (16, 4), (second, 4), (second + 16, 4), (sound.len() - 6, 2)] {
        for wrong in [0_u32, 1, 0x7fff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff] {
            let mut body = sound.clone();
            let wrong = wrong.to_be_bytes();
            body[at..at + width].copy_from_slice(&wrong[4 - width..]);
            refused(&mut wire, &format!("{wrong:?} at {at}"), batch(body), response::MESSAGE_ILLEGAL, "batch");
        }
    }
    for length in 1..sound.len() {
        if length != second {
            refused(
                &mut wire,
                &format!("cut at {length}"),
                batch(sound[..length].to_vec()),
                response::MESSAGE_ILLEGAL,
                "batch",
            );
        }
    }
    let mut trailing = sound.clone();
    trailing.put_u8(0);
    refused(&mut wire, "a byte too many", batch(trailing), response::MESSAGE_ILLEGAL, "batch");
    let now = wire.ask(pull_at(i64::MAX)).fields::<PullResponse>().unwrap().max_offset;
    assert_eq!(now, end, "nothing of a refused batch is stored");
    assert_eq!(wire.ask(batch(sound)).code, 0);
    servers.serve_still();
}

#[test]
fn queues_that_are_not_there_are_refused() {
    let servers = Servers::start();
    let mut wire = Wire::connect(servers.broker);
    for queue_id in [4, 5, 1_000_000, i32::MAX] {
        let header = SendRequestV2 {
            producer_group: "g".into(),
            topic: TOPIC.into(),
            default_topic: "TBW102".into(),
            queue_id,
            ..SendRequestV2::default()
        };
        let send = of(kind::SEND_MESSAGE_V2, Encoding::Json, &header).with_body("x");
        refused(&mut wire, "send", send, response::INVALID_PARAMETER, &queue_id.to_string());
    }
    for queue_id in [-1, 4, i32::MAX, i32::MIN] {
        let header = PullRequest { consumer_group: GROUP.into(), topic: TOPIC.into(), queue_id, ..Default::default() };
        let pull = of(kind::PULL_MESSAGE, Encoding::Json, &header);
        refused(&mut wire, "pull", pull, response::INVALID_PARAMETER, &queue_id.to_string());
        let header =
            UpdateOffsetRequest { consumer_group: GROUP.into(), topic: TOPIC.into(), queue_id, commit_offset: 0 };
        let commit = of(kind::UPDATE_CONSUMER_OFFSET, Encoding::Json, &header);
        refused(&mut wire, "commit", commit, response::INVALID_PARAMETER, &queue_id.to_string());
        for code in [kind::GET_MAX_OFFSET, kind::GET_MIN_OFFSET, kind::GET_EARLIEST_MSG_STORETIME] {
            answered(
                &mut wire,
                of(code, Encoding::Json, &QueueRequest { topic: TOPIC.into(), queue_id, committed: None }),
            );
        }
        let header = QueryOffsetRequest {
            consumer_group: "new".into(),
            topic: TOPIC.into(),
            queue_id,
            set_zero_if_not_found: None,
        };
        answered(&mut wire, of(kind::QUERY_CONSUMER_OFFSET, Encoding::Json, &header));
    }
    servers.serve_still();
}

/// Any code will do, as long as an error says why.
fn answered(wire: &mut Wire, request: Frame) -> Frame {
    let answer = wire.ask(request);
    assert!(answer.code == 0 || answer.remark.as_deref().is_some_and(|remark| remark.len() > 10), "{answer:?}");
    answer
}

#[test]
fn offsets_out_of_range_say_where_to_go_on() {
    let servers = Servers::start();
    let mut wire = Wire::connect(servers.broker);
    let end = wire.ask(pull_at(i64::MAX)).fields::<PullResponse>().unwrap().max_offset;
    assert!(end > 0);
    for (offset, next) in [(-1, 0), (i64::MIN, 0), (end + 1, end), (i64::MAX, end), (end, end)] {
        let answer = wire.ask(pull_at(offset));
        let expected = if offset == end { response::PULL_NOT_FOUND } else { response::PULL_OFFSET_MOVED };
        assert_eq!(answer.code, expected, "{offset}: {:?}", answer.remark);
        assert!(answer.remark.is_some());
        let fields: PullResponse = answer.fields().unwrap();
        assert_eq!((fields.next_begin_offset, fields.min_offset, fields.max_offset), (next, 0, end), "{offset}");
    }
    let header =
        UpdateOffsetRequest { consumer_group: GROUP.into(), topic: TOPIC.into(), queue_id: 0, commit_offset: -1 };
    let commit = of(kind::UPDATE_CONSUMER_OFFSET, Encoding::Json, &header);
    refused(&mut wire, "commit", commit, response::INVALID_PARAMETER, "-1");
    for offset in [-1, i64::MIN, i64::MAX, 1, 1 << 40] {
        let view = of(kind::VIEW_MESSAGE_BY_ID, Encoding::Json, &ViewRequest { topic: None, offset });
        let answer = wire.ask(view);
        assert!(answer.code != 0 && answer.remark.is_some_and(|remark| remark.len() > 10), "{offset}");
        let back = SendBackRequest { offset, group: GROUP.into(), delay_level: i32::MAX, ..Default::default() };
        let answer = wire.ask(of(kind::CONSUMER_SEND_MSG_BACK, Encoding::Json, &back));
        assert!(answer.code != 0 && answer.remark.is_some_and(|remark| remark.len() > 10), "{offset}");
    }
    for timestamp in [i64::MIN, -1, 0, i64::MAX] {
        for boundary in ["lower", "UPPER", "sideways"] {
            let header = SearchOffsetRequest {
                topic: TOPIC.into(),
                queue_id: 0,
                timestamp,
                boundary_type: Some(boundary.into()),
            };
            answered(&mut wire, of(kind::SEARCH_OFFSET_BY_TIMESTAMP, Encoding::Json, &header));
        }
        let header = QueryRequest {
            topic: TOPIC.into(),
            key: "k".into(),
            max_num: i32::MIN,
            begin_timestamp: timestamp,
            end_timestamp: timestamp.wrapping_neg(),
            unique: None,
        };
        answered(&mut wire, of(kind::QUERY_MESSAGE, Encoding::Json, &header));
    }
    servers.serve_still();
}

#[test]
fn topics_with_impossible_settings_are_refused() {
    let servers = Servers::start();
    let mut wire = Wire::connect(servers.broker);
    for (read, write, perm, named) in
        [(-1, 4, 6, "readQueueNums"), (4, i32::MAX, 6, "writeQueueNums"), (4, 4, -1, "perm"), (4, 4, 99, "perm")]
    {
        let header = CreateTopicRequest {
            topic: "settings".into(),
            default_topic: "TBW102".into(),
            read_queue_nums: read,
            write_queue_nums: write,
            perm,
            ..CreateTopicRequest::default()
        };
        let create = of(kind::UPDATE_AND_CREATE_TOPIC, Encoding::Json, &header);
        refused(&mut wire, "create", create, response::INVALID_PARAMETER, named);
    }
}

#[test]
fn fields_that_are_missing_or_ill_typed_are_named() {
    let servers = Servers::start();
    let mut wire = Wire::connect(servers.broker);
    for encoding in ENCODINGS {
        refused(&mut wire, "send", Frame::request(kind::SEND_MESSAGE_V2, encoding), response::INVALID_PARAMETER, "'a'");
        refused(
            &mut wire,
            "send",
            Frame::request(kind::SEND_MESSAGE, encoding),
            response::INVALID_PARAMETER,
            "'producerGroup'",
        );
        refused(
            &mut wire,
            "pull",
            Frame::request(kind::PULL_MESSAGE, encoding),
            response::INVALID_PARAMETER,
            "'consumerGroup'",
        );
        refused(
            &mut wire,
            "view",
            Frame::request(kind::VIEW_MESSAGE_BY_ID, encoding),
            response::INVALID_PARAMETER,
            "'offset'",
        );
    }
    let mut frame = Frame::request(kind::GET_MAX_OFFSET, Encoding::Json);
    frame.raw_fields = br#"{"topic":"sound","queueId":"first"}"#.as_slice().into();
    refused(&mut wire, "queue", frame, response::INVALID_PARAMETER, "'queueId'");
    for (code, body, named) in [
        (kind::HEART_BEAT, "", "body"),
        (kind::HEART_BEAT, "{\"clientID\":7}", "string"),
        (kind::LOCK_BATCH_MQ, "[", "body"),
        (kind::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP, "{\"retryMaxTimes\":\"often\"}", "often"),
    ] {
        refused(
            &mut wire,
            body,
            Frame::request(code, Encoding::Json).with_body(body),
            response::INVALID_PARAMETER,
            named,
        );
    }
}

#[test]
fn remarks_stay_short_whatever_the_names() {
    let servers = Servers::start();
    // Control characters grow sixfold in JSON; a header must not outgrow the 24 bits of its length.
    let long = "\u{1}".repeat(2_600_000);
    for address in [servers.broker, servers.nameserver] {
        let mut wire = Wire::connect(address);
        for encoding in ENCODINGS {
            let fields = [
                of(
                    kind::GET_TOPIC_STATS_INFO,
                    encoding,
                    &RouteRequest { topic: long.as_str().into(), accept_standard_json_only: None },
                ),
                of(
                    kind::GET_ROUTEINFO_BY_TOPIC,
                    encoding,
                    &RouteRequest { topic: long.as_str().into(), accept_standard_json_only: None },
                ),
                of(
                    kind::GET_KV_CONFIG,
                    encoding,
                    &PutKvRequest { namespace: long.as_str().into(), key: "k".into(), value: "".into() },
                ),
                of(
                    kind::GET_CONSUMER_LIST_BY_GROUP,
                    encoding,
                    &RouteRequest { topic: long.as_str().into(), accept_standard_json_only: None },
                ),
                of(
                    kind::QUERY_MESSAGE,
                    encoding,
                    &QueryRequest { topic: "t".into(), key: long.as_str().into(), max_num: 1, ..Default::default() },
                ),
            ];
            for request in fields {
                let code = request.code;
                let answer = answered(&mut wire, request);
                let length = answer.remark.as_deref().map_or(0, str::len);
                assert!(answer.code != 0 && length < 5_000, "{code}: a remark of {length} bytes");
            }
        }
    }
    servers.serve_still();
}

fn registration(addr: &str) -> RegisterBrokerRequest<'_> {
    RegisterBrokerRequest {
        broker_name: "other".into(),
        broker_addr: addr.into(),
        cluster_name: "c".into(),
        ha_server_addr: "127.0.0.1:2".into(),
        ..RegisterBrokerRequest::default()
    }
}

#[test]
fn registrations_that_cannot_be_are_refused() {
    let servers = Servers::start();
    let mut wire = Wire::connect(servers.nameserver);
    for addr in ["", "nowhere", "host:", ":1", "host:99999", "a,b:1", "a b:1", "host:1\n"] {
        let register = of(kind::REGISTER_BROKER, Encoding::Json, &registration(addr));
        refused(&mut wire, addr, register, response::INVALID_PARAMETER, "brokerAddr");
    }
    let with = |change: fn(&mut RegisterBrokerRequest<'_>), body: Vec<u8>| {
        let mut header = registration("127.0.0.1:1");
        change(&mut header);
        of(kind::REGISTER_BROKER, Encoding::Json, &header).with_body(body)
    };
    refused(&mut wire, "id", with(|header| header.broker_id = -1, vec![]), response::INVALID_PARAMETER, "brokerId");
    refused(
        &mut wire,
        "name",
        with(|header| header.broker_name = " ".into(), vec![]),
        response::INVALID_PARAMETER,
        "brokerName",
    );
    let lease = with(|header| header.heartbeat_timeout_millis = Some(-1), vec![]);
    refused(&mut wire, "lease", lease, response::INVALID_PARAMETER, "heartbeatTimeoutMillis");
    let checksum = with(|header| header.body_crc32 = 7, b"{}".to_vec());
    refused(&mut wire, "checksum", checksum, response::SYSTEM_ERROR, "crc32");
    refused(&mut wire, "body", with(|_| {}, b"{nothing".to_vec()), response::INVALID_PARAMETER, "body");
    refused(
        &mut wire,
        "zlib",
        with(|header| header.compressed = true, b"{}".to_vec()),
        response::INVALID_PARAMETER,
        "inflate",
    );
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..65 {
        encoder.write_all(&vec![0; 1 << 20]).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    refused(&mut wire, "bomb", with(|header| header.compressed = true, bomb), response::INVALID_PARAMETER, "more than");
    servers.serve_still();
}

#[test]
fn requests_for_the_other_kind_of_server_are_told_so() {
    let servers = Servers::start();
    let mut broker = Wire::connect(servers.broker);
    let mut nameserver = Wire::connect(servers.nameserver);
    for encoding in ENCODINGS {
        let code = response::REQUEST_CODE_NOT_SUPPORTED;
        refused(&mut broker, "broker", Frame::request(kind::GET_ROUTEINFO_BY_TOPIC, encoding), code, "105");
        refused(&mut nameserver, "name server", Frame::request(kind::SEND_MESSAGE, encoding), code, "10");
    }
    let absent = RouteRequest { topic: "absent".into(), accept_standard_json_only: None };
    let route = of(kind::GET_ROUTEINFO_BY_TOPIC, Encoding::Json, &absent);
    refused(&mut nameserver, "route", route, response::TOPIC_NOT_EXIST, "absent");
}
