//! Messages in answers, read as both clients do: `primitive/message.go` `DecodeMessage`, `src/message/MQDecoder.cpp` `decode`.
//!
//! Neither looks at the magic code; both read the length of the topic from one byte and that of the properties as a signed short,
//! know no compression but zlib, and leave out a property that is not exactly a name and a value. Go reads addresses of both
//! kinds, by bits 4 and 5 of the flags; C++ reads four bytes whatever the flags say.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::Ipv4Addr;

/// A message as a client shows it.
#[derive(Debug)]
pub struct Message {
    pub topic: String,
    pub body: Vec<u8>,
    pub properties: BTreeMap<String, String>,
    pub queue: i32,
    pub offset: i64,
    pub physical: i64,
    pub times: i32,
    /// The id by address and place: upper-case hexadecimal digits.
    pub id: String,
    pub born_host: String,
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        taken
    }

    fn int(&mut self) -> i32 {
        i32::from_be_bytes(self.take(4).try_into().unwrap())
    }

    fn long(&mut self) -> i64 {
        i64::from_be_bytes(self.take(8).try_into().unwrap())
    }

    /// An IPv4 address, as it is in ids too.
    fn host(&mut self) -> (String, [u8; 8]) {
        let bytes: [u8; 8] = self.take(8).try_into().unwrap();
        let address = Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]);
        let port = i32::from_be_bytes(bytes[4..].try_into().unwrap());
        (format!("{address}:{port}"), bytes)
    }
}

/// Reads a body to its end.
pub fn decode(body: &[u8]) -> Vec<Message> {
    let (mut bytes, mut messages) = (Bytes(body), Vec::new());
    while !bytes.0.is_empty() {
        messages.push(one(&mut bytes));
    }
    messages
}

fn one(bytes: &mut Bytes<'_>) -> Message {
    let whole = bytes.0.len();
    let size = usize::try_from(bytes.int()).unwrap();
    let magic = bytes.int();
    assert_eq!(magic, -626_843_481, "only this form has one byte for the length of the topic");
    let (_crc, queue, _flag) = (bytes.int(), bytes.int(), bytes.int());
    let (offset, physical, flags, _born) = (bytes.long(), bytes.long(), bytes.int(), bytes.long());
    assert_eq!(flags & 0x30, 0, "C++ reads addresses of four bytes only");
    assert!(matches!(flags >> 8 & 7, 0 | 3), "another compression than zlib");
    let (born_host, _) = bytes.host();
    let _stored = bytes.long();
    let (_, address) = bytes.host();
    let (times, _prepared) = (bytes.int(), bytes.long());
    let length = usize::try_from(bytes.int()).unwrap();
    let mut body = bytes.take(length).to_vec();
    if flags & 1 != 0 {
        let mut inflated = Vec::new();
        flate2::read::ZlibDecoder::new(body.as_slice()).read_to_end(&mut inflated).unwrap();
        body = inflated;
    }
    let length = i8::from_be_bytes([bytes.take(1)[0]]);
    let topic = String::from_utf8(bytes.take(usize::try_from(length).unwrap()).to_vec()).unwrap();
    let length = i16::from_be_bytes(bytes.take(2).try_into().unwrap());
    let text = std::str::from_utf8(bytes.take(usize::try_from(length).unwrap())).unwrap();
    assert_eq!(whole - bytes.0.len(), size, "Go goes on where it has stopped reading, not where the size says");
    let id = [&address[..], &physical.to_be_bytes()].concat().iter().map(|byte| format!("{byte:02X}")).collect();
    Message { topic, body, properties: pairs(text), queue, offset, physical, times, id, born_host }
}

fn pairs(text: &str) -> BTreeMap<String, String> {
    let pair = |item: &str| {
        let parts: Vec<_> = item.split('\u{1}').collect();
        <[&str; 2]>::try_from(parts).ok().map(|[name, value]| (name.to_owned(), value.to_owned()))
    };
    text.split('\u{2}').filter_map(pair).collect()
}

/// Properties as both write them: every value is ended.
pub fn properties(pairs: &[(&str, &str)]) -> String {
    pairs.iter().map(|(name, value)| format!("{name}\u{1}{value}\u{2}")).collect()
}

/// Messages of a batch: `primitive/message.go` `Marshal`, `src/message/BatchMessage.cpp` `encode`.
pub fn batch(messages: &[(&str, &str)]) -> Vec<u8> {
    let mut all = Vec::new();
    for (body, properties) in messages {
        let size = u32::try_from(22 + body.len() + properties.len()).unwrap();
        for number in [size, 0, 0, 0, u32::try_from(body.len()).unwrap()] {
            all.extend_from_slice(&number.to_be_bytes());
        }
        all.extend_from_slice(body.as_bytes());
        all.extend_from_slice(&u16::try_from(properties.len()).unwrap().to_be_bytes());
        all.extend_from_slice(properties.as_bytes());
    }
    all
}

/// Place in the log that an id names: `primitive/message.go` `UnmarshalMsgID`, `src/message/MQDecoder.cpp` `decodeMessageId`. C++
/// knows ids of 32 digits only.
pub fn place(id: &str) -> i64 {
    assert_eq!(id.len(), 32, "{id}");
    i64::from_str_radix(&id[16..], 16).unwrap()
}
