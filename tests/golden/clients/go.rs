//! The client in Go: its frames and how it reads ours.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::Deserialize;

use crate::wire::{Came, Inbox, Raw, Wire};

/// `internal/remote/codec.go` `RemotingCommand`: codes and versions are shorts; a value among the fields that is no text fails the
/// whole header.
#[derive(Debug, Deserialize)]
struct Header {
    code: i16,
    language: String,
    version: i16,
    opaque: i32,
    flag: i32,
    remark: Option<String>,
    #[serde(rename = "extFields")]
    fields: Option<BTreeMap<String, String>>,
}

/// An answer, or a request of the broker's.
#[derive(Debug)]
pub struct Told {
    pub code: i16,
    pub version: i16,
    pub opaque: i32,
    pub remark: String,
    fields: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Told {
    /// `cmd.ExtFields[name]`: nothing where it is missing.
    pub fn text(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// `strconv.ParseInt` of it.
    pub fn number(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or_else(|_| panic!("{name} in {:?}", self.fields))
    }

    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.remark);
        self
    }
}

pub struct Go {
    wire: Wire,
    opaque: i32,
    inbox: Inbox<Told>,
}

/// `RemotingCommand` as jsoniter writes it: remark and fields are always there, `<`, `>` and `&` are escaped.
fn header(code: i16, opaque: i32, flag: i32, fields: &[(&str, &str)]) -> String {
    let fields: BTreeMap<_, _> = fields.iter().copied().collect();
    let fields = escaped(&serde_json::to_string(&fields).unwrap());
    format!(
        r#"{{"code":{code},"language":"GO","version":317,"opaque":{opaque},"flag":{flag},"remark":"","extFields":{fields}}}"#
    )
}

/// How Go writes characters that mean something in HTML.
pub fn escaped(json: &str) -> String {
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

#[test]
fn a_frame_is_what_go_writes() {
    assert_eq!(
        header(14, 7, 0, &[("topic", "T"), ("queueId", "3"), ("consumerGroup", "G"), ("bname", "b&c")]),
        r#"{"code":14,"language":"GO","version":317,"opaque":7,"flag":0,"remark":"","extFields":{"bname":"b\u0026c","consumerGroup":"G","queueId":"3","topic":"T"}}"#
    );
    assert!(header(34, 1, 0, &[]).ends_with(r#""remark":"","extFields":{}}"#));
    assert!(header(10, 1, 0, &[("properties", "a\u{1}b\u{2}")]).contains(r#""a\u0001b\u0002""#));
}

impl Go {
    pub fn connect(address: SocketAddr) -> Self {
        Self { wire: Wire::connect(address), opaque: 0, inbox: Inbox::default() }
    }

    /// Sends a request. `internal/remote/remote_client.go` `InvokeOneWay`: also one that wants no answer has no bit that says so.
    pub fn send(&mut self, code: i16, fields: &[(&str, &str)], body: &[u8]) -> i32 {
        self.opaque += 1;
        self.wire.send(&header(code, self.opaque, 0, fields), body);
        self.opaque
    }

    /// Sends a request and reads its answer.
    pub fn ask(&mut self, code: i16, fields: &[(&str, &str)], body: &[u8]) -> Told {
        let opaque = self.send(code, fields, body);
        self.answer(opaque)
    }

    /// The answer to a request; those to others are dropped, as by a client that has forgotten them.
    pub fn answer(&mut self, opaque: i32) -> Told {
        self.inbox.answer(|| receive(&mut self.wire), |told| told.opaque == opaque)
    }

    /// The next request of this kind from the broker. Answers that nobody waits for are dropped.
    pub fn pushed(&mut self, code: i16) -> Told {
        self.inbox.request(|| receive(&mut self.wire), |told| told.code == code)
    }

    /// Answers the broker: `internal/remote/remote_client.go` `processCMD`.
    pub fn reply(&mut self, to: &Told, code: i16, body: &[u8]) {
        self.wire.send(&header(code, to.opaque, 1, &[]), body);
    }
}

fn receive(wire: &mut Wire) -> Came<Told> {
    let Raw { header_length, header, body } = wire.receive();
    assert_eq!(header_length >> 24, 0, "answered in another encoding");
    let text = std::str::from_utf8(&header).unwrap();
    let read: Header = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"));
    assert!(!read.language.is_empty());
    let (fields, remark) = (read.fields.unwrap_or_default(), read.remark.unwrap_or_default());
    Came::flagged(read.flag, Told { code: read.code, version: read.version, opaque: read.opaque, remark, fields, body })
}

/// A route as `internal/route.go` `decode` reads it.
#[derive(Debug)]
pub struct Route {
    pub queues: Vec<QueueData>,
    /// Name, cluster and addresses by number.
    pub brokers: Vec<(String, String, BTreeMap<i64, String>)>,
}

#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct QueueData {
    pub broker_name: String,
    pub read_queue_nums: i32,
    pub write_queue_nums: i32,
    pub perm: i32,
}

impl Route {
    /// The addresses are cut out of the text: at commas, then at the first colon. A number that does not parse is 0.
    pub fn read(body: &[u8]) -> Self {
        let text = std::str::from_utf8(body).unwrap();
        let mut value: serde_json::Value = serde_json::from_str(text).unwrap();
        let queues = serde_json::from_value(value["queueDatas"].take()).unwrap();
        let (mut brokers, mut rest) = (Vec::new(), text);
        for broker in value["brokerDatas"].as_array().unwrap() {
            let start = rest.find("\"brokerAddrs\":{").unwrap() + "\"brokerAddrs\":{".len();
            let (addresses, behind) = rest[start..].split_once('}').unwrap();
            rest = behind;
            let cut = |pair: &str| {
                let (id, address) = pair.split_once(':')?;
                Some((id.replace('"', "").parse().unwrap_or(0), address.replace('"', "")))
            };
            let addresses = addresses.split(',').filter_map(cut).collect();
            let name = |key: &str| broker[key].as_str().unwrap().to_owned();
            brokers.push((name("brokerName"), name("cluster"), addresses));
        }
        Self { queues, brokers }
    }
}
