//! The client in C++: its frames and how it reads ours.

use std::net::SocketAddr;

use serde_json::{Map, Value, json};

use crate::wire::{Came, Inbox, Raw, Wire};

/// An answer, or a request of the broker's.
#[derive(Debug)]
pub struct Told {
    pub code: i32,
    pub opaque: i32,
    pub remark: String,
    /// Nothing where there is no `extFields`: `RemotingCommand::SetExtHeader` makes no header then, which most callers do not expect.
    fields: Option<Map<String, Value>>,
    pub body: Vec<u8>,
}

impl Told {
    /// `src/protocol/CommandHeader.cpp`, every `Decode`: only a text counts.
    pub fn text(&self, name: &str) -> &str {
        let fields = self.fields.as_ref().expect("the header is used without a look whether it is there");
        fields.get(name).and_then(Value::as_str).unwrap_or_else(|| panic!("{name} in {fields:?}"))
    }

    pub fn number(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap()
    }

    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{}", self.remark);
        self
    }

    /// A body of `Json::Reader`'s.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

pub struct Cpp {
    wire: Wire,
    opaque: i32,
    inbox: Inbox<Told>,
}

/// `src/protocol/RemotingCommand.cpp` `Encode`: `Json::FastWriter` sorts the names and ends with a line. Numbers of a header stay
/// numbers where its `Encode` does not turn them into texts; the three of `ClientRPCHook` are on every request.
fn header(code: i32, opaque: i32, flag: i32, fields: &Value) -> String {
    let mut fields = fields.as_object().cloned().unwrap_or_default();
    for (name, value) in [("AccessKey", ""), ("OnsChannel", "ALIYUN"), ("Signature", "+wCUzRFqmkGPX0bRAnvmEQ==")] {
        fields.insert(name.to_owned(), value.into());
    }
    let frame = json!({
        "code": code, "extFields": fields, "flag": flag, "language": "CPP", "opaque": opaque, "remark": "", "version": 333
    });
    format!("{frame}\n")
}

#[test]
fn a_frame_is_what_cpp_writes() {
    assert_eq!(
        header(14, 7, 0, &json!({ "topic": "T", "queueId": 3, "consumerGroup": "G" })),
        "{\"code\":14,\"extFields\":{\"AccessKey\":\"\",\"OnsChannel\":\"ALIYUN\",\"Signature\":\"+wCUzRFqmkGPX0bRAnvmEQ==\",\
         \"consumerGroup\":\"G\",\"queueId\":3,\"topic\":\"T\"},\"flag\":0,\"language\":\"CPP\",\"opaque\":7,\"remark\":\"\",\
         \"version\":333}\n"
    );
}

impl Cpp {
    pub fn connect(address: SocketAddr) -> Self {
        Self { wire: Wire::connect(address), opaque: -1, inbox: Inbox::default() }
    }

    /// Sends a request. `src/transport/TcpRemotingClient.cpp` `invokeOneway` marks one that wants no answer after it was written: the
    /// mark is never on the wire.
    pub fn send(&mut self, code: i32, fields: &Value, body: &[u8]) -> i32 {
        self.opaque += 1;
        self.wire.send(&header(code, self.opaque, 0, fields), body);
        self.opaque
    }

    /// Sends a request and reads its answer.
    pub fn ask(&mut self, code: i32, fields: &Value, body: &[u8]) -> Told {
        let opaque = self.send(code, fields, body);
        self.answer(opaque)
    }

    /// The answer to a request; those to others are dropped: `ProcessData` finds nobody who waits for them.
    pub fn answer(&mut self, opaque: i32) -> Told {
        self.inbox.answer(|| receive(&mut self.wire), |told| told.opaque == opaque)
    }

    /// The next request of this kind from the broker. Answers that nobody waits for are dropped.
    pub fn pushed(&mut self, code: i32) -> Told {
        self.inbox.request(|| receive(&mut self.wire), |told| told.code == code)
    }

    /// Answers the broker: `processRequestCommand`.
    pub fn reply(&mut self, to: &Told, code: i32, body: &[u8]) {
        self.wire.send(&header(code, to.opaque, 1, &json!({})), body);
    }
}

/// `RemotingCommand::Decode`: the length of the header is taken whole, so that its highest byte has to be 0; numbers have to
/// fit an int.
fn receive(wire: &mut Wire) -> Came<Told> {
    let Raw { header_length, header, body } = wire.receive();
    assert_eq!(header_length as usize, header.len(), "its highest byte is not masked");
    let read: Value = serde_json::from_slice(&header).unwrap();
    let int = |name: &str| i32::try_from(read[name].as_i64().unwrap()).unwrap();
    int("version");
    assert!(read["language"].is_string() && (read["remark"].is_null() || read["remark"].is_string()), "{read}");
    let fields = read.get("extFields").map(|fields| fields.as_object().unwrap().clone());
    let remark = read["remark"].as_str().unwrap_or_default().to_owned();
    Came::flagged(int("flag"), Told { code: int("code"), opaque: int("opaque"), remark, fields, body })
}
