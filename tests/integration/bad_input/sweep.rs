//! Every request code with every sort of nonsense in every encoding gets an answer.

use std::collections::BTreeMap;

use bytes::Bytes;
use fastrand::Rng;
use orbitmq_common::protocol::code;
use orbitmq_common::protocol::frame::{Encoding, Frame};
use serde::Serialize;

use crate::servers::{GROUP, Servers, TOPIC};
use crate::wire::Wire;

/// Requests in hand at a time.
const PIPELINE: usize = 64;

/// All request codes there may be, and some there are not.
fn codes() -> Vec<i32> {
    let named =
        [1500, 2001, 2002, 3001, 5000, 9999, 60_002, 200_050, 200_051, 200_052, 200_053, 200_054, 200_055, 200_151];
    (-1..=1010).chain(named).chain([i32::MAX, i32::MIN]).collect()
}

/// Names of fields of all requests.
const NAMES: [&str; 60] = [
    "a",
    "b",
    "c",
    "d",
    "e",
    "f",
    "g",
    "h",
    "i",
    "j",
    "k",
    "l",
    "m",
    "n",
    "topic",
    "consumerGroup",
    "producerGroup",
    "group",
    "groupName",
    "queueId",
    "queueOffset",
    "maxMsgNums",
    "sysFlag",
    "commitOffset",
    "suspendTimeoutMillis",
    "subscription",
    "subVersion",
    "expressionType",
    "defaultTopic",
    "defaultTopicQueueNums",
    "bornTimestamp",
    "flag",
    "properties",
    "batch",
    "timestamp",
    "boundaryType",
    "offset",
    "delayLevel",
    "key",
    "maxNum",
    "beginTimestamp",
    "endTimestamp",
    "clientID",
    "clientId",
    "msgId",
    "readQueueNums",
    "writeQueueNums",
    "perm",
    "topicFilterType",
    "order",
    "attributes",
    "namespace",
    "value",
    "brokerName",
    "brokerAddr",
    "clusterName",
    "brokerId",
    "haServerAddr",
    "compressed",
    "bodyCrc32",
];

/// Numbers that stay harmless where they are taken seriously.
const NUMBERS: [&str; 12] = [
    "0",
    "-1",
    "1",
    "7",
    "2147483647",
    "-2147483648",
    "9223372036854775807",
    "-9223372036854775808",
    "4294967296",
    "0x10",
    "1e3",
    "NaN",
];

const TEXTS: [&str; 14] = [
    TOPIC,
    GROUP,
    "",
    " ",
    "a b",
    "../../etc/passwd",
    "*",
    "a || b",
    "SQL92",
    "%RETRY%readers",
    "true",
    "é漢😀",
    "\u{1}\u{2}",
    "KEYS\u{1}k\u{2}DELAY\u{1}99\u{2}",
];

fn is_number(name: &str) -> bool {
    const NUMERIC: [&str; 24] = [
        "d",
        "e",
        "f",
        "g",
        "h",
        "j",
        "l",
        "queueId",
        "queueOffset",
        "maxMsgNums",
        "sysFlag",
        "commitOffset",
        "subVersion",
        "defaultTopicQueueNums",
        "bornTimestamp",
        "flag",
        "timestamp",
        "offset",
        "delayLevel",
        "maxNum",
        "beginTimestamp",
        "endTimestamp",
        "perm",
        "brokerId",
    ];
    NUMERIC.contains(&name)
}

fn pick(dice: &mut Rng, name: &str, typed: bool) -> String {
    match name {
        // A pull that is held is an answer withheld.
        "suspendTimeoutMillis" => ["0", "-5", "soon"][dice.usize(0..3)].to_owned(),
        "readQueueNums" | "writeQueueNums" => ["-1", "4", "65537", "many"][dice.usize(0..4)].to_owned(),
        _ if is_number(name) == typed => NUMBERS[dice.usize(0..NUMBERS.len())].to_owned(),
        _ => TEXTS[dice.usize(0..TEXTS.len())].to_owned(),
    }
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Nonsense {
    /// No fields and no body.
    Nothing,
    /// Fields of all names, each with a value of its type.
    Typed,
    /// Fields of all names, texts for numbers and numbers for texts.
    IllTyped,
    /// A body of any bytes.
    Body,
    /// A body of JSON that is something else.
    Json,
}

fn fields(frame: Frame, dice: &mut Rng, typed: bool) -> Frame {
    let values: BTreeMap<&str, String> = NAMES.iter().map(|name| (*name, pick(dice, name, typed))).collect();
    match frame.encoding {
        Encoding::MessagePack => {
            let mixed: Vec<_> =
                values.values().take(dice.usize(0..20)).map(|text| as_value(text, dice.bool())).collect();
            frame.with_fields(&Array(mixed))
        }
        Encoding::Json => Frame { raw_fields: serde_json::to_vec(&values).unwrap().into(), ..frame },
        Encoding::Binary => {
            let mut raw = Vec::new();
            for (name, value) in values {
                raw.extend_from_slice(&(name.len() as u16).to_be_bytes());
                raw.extend_from_slice(name.as_bytes());
                raw.extend_from_slice(&(value.len() as u32).to_be_bytes());
                raw.extend_from_slice(value.as_bytes());
            }
            Frame { raw_fields: raw.into(), ..frame }
        }
    }
}

/// A header of any elements.
#[derive(Serialize)]
struct Array(Vec<serde_json::Value>);

fn as_value(text: &str, number: bool) -> serde_json::Value {
    text.parse::<i64>().ok().filter(|_| number).map_or_else(|| text.into(), Into::into)
}

fn request(code: i32, encoding: Encoding, nonsense: Nonsense, dice: &mut Rng) -> Frame {
    let frame = Frame::request(code, encoding);
    match nonsense {
        Nonsense::Nothing => frame,
        Nonsense::Typed => fields(frame, dice, true).with_body(vec![dice.u8(..); dice.usize(0..50)]),
        Nonsense::IllTyped => fields(frame, dice, false),
        Nonsense::Body => {
            let body: Bytes = (0..dice.usize(1..200)).map(|_| dice.u8(..)).collect();
            fields(frame, dice, true).with_body(body)
        }
        Nonsense::Json => {
            let bodies = [
                "{}",
                "[]",
                "null",
                "7",
                "{\"clientID\":\"x\",\"consumerDataSet\":[{\"groupName\":\"a b\"}]}",
                "{{",
                "[[[[[",
            ];
            fields(frame, dice, true).with_body(bodies[dice.usize(0..bodies.len())].as_bytes())
        }
    }
}

fn sweep(name: &str, address: std::net::SocketAddr, seed: u64) {
    let mut dice = Rng::with_seed(seed);
    for encoding in [Encoding::Json, Encoding::Binary, Encoding::MessagePack] {
        for nonsense in [Nonsense::Nothing, Nonsense::Typed, Nonsense::IllTyped, Nonsense::Body, Nonsense::Json] {
            let mut wire = Wire::connect(address);
            let codes = codes().into_iter().filter(|code| encoding != Encoding::Binary || i16::try_from(*code).is_ok());
            let requests: Vec<_> = codes.map(|code| request(code, encoding, nonsense, &mut dice)).collect();
            for some in requests.chunks(PIPELINE) {
                for (request, answer) in some.iter().zip(wire.ask_all(some)) {
                    let what = format!("{name}, seed {seed}, {encoding:?}, {nonsense:?}, code {}", request.code);
                    assert_eq!(answer.encoding, encoding, "{what}");
                    assert!(answer.is_answer() && !answer.is_oneway(), "{what}");
                    let remark = answer.remark.as_deref().unwrap_or_default();
                    assert!(answer.code == 0 || !remark.trim().is_empty(), "{what}: {} without a remark", answer.code);
                    assert!(remark.len() < 5_000, "{what}: a remark of {} bytes", remark.len());
                    assert!(!remark.contains("panicked"), "{what}: {remark}");
                    if (request.code > 1010 || request.code < 0) && code::request::name(request.code).is_none() {
                        assert_eq!(answer.code, 3, "{what}: {remark}");
                        assert!(remark.contains(&request.code.to_string()), "{what}: {remark}");
                    }
                }
            }
        }
    }
}

#[test]
fn every_code_with_any_nonsense_is_answered_by_the_broker() {
    let servers = Servers::start();
    for seed in 0..3 {
        sweep("broker", servers.broker, seed);
        servers.serve_still();
    }
}

#[test]
fn every_code_with_any_nonsense_is_answered_by_the_name_server() {
    let servers = Servers::start();
    for seed in 0..3 {
        sweep("name server", servers.nameserver, seed);
        servers.serve_still();
    }
}
