//! One frame: a request or an answer, its fields still undecoded.

use bytes::Bytes;
use serde::Serialize;
use serde::de::Deserialize;

use crate::protocol::fields::FieldError;
use crate::protocol::{binary, json, msgpack};

/// The language code that OrbitMQ states for itself (`RUST`).
pub const LANGUAGE: u8 = 12;
/// The protocol version that OrbitMQ states: the ordinal of RocketMQ 5.3.3, which clients need for SQL filters.
pub const VERSION: i32 = 479;

const MAX_REMARK: usize = 2 * 1024;
const RESPONSE: i32 = 1;
const ONEWAY: i32 = 2;

/// How a header is written; the number is the frame's serialize type and must stay stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Encoding {
    /// JSON text, which every RocketMQ client reads.
    #[default]
    Json = 0,
    /// RocketMQ's own binary form.
    Binary = 1,
    /// MessagePack as a positional array, spoken among OrbitMQ's own parts.
    MessagePack = 2,
}

impl Encoding {
    /// The encoding of a frame's serialize type.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Json),
            1 => Some(Self::Binary),
            2 => Some(Self::MessagePack),
            _ => None,
        }
    }
}

/// A request or an answer. `fields` holds the header's own fields as they came, decoded on demand by [`Frame::fields`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Request kind, or result of an answer; see [`crate::protocol::code`].
    pub code: i32,
    /// Code of the sender's language.
    pub language: u8,
    /// The sender's protocol version.
    pub version: i32,
    /// Matches an answer to its request within one direction of a connection.
    pub opaque: i32,
    /// Bit 0: answer; bit 1: nobody waits for an answer.
    pub flag: i32,
    /// Human text, on answers: the cause and the cure.
    pub remark: Option<String>,
    /// How the header is written.
    pub encoding: Encoding,
    /// The raw fields in `encoding`; empty: none were given.
    pub raw_fields: Bytes,
    /// What follows the header.
    pub body: Bytes,
    /// Further pieces of an outgoing body, sent after `body` without being copied together.
    pub more: Vec<Bytes>,
}

impl Frame {
    /// A request of kind `code` without fields.
    #[must_use]
    pub fn request(code: i32, encoding: Encoding) -> Self {
        Self {
            code,
            language: LANGUAGE,
            version: VERSION,
            opaque: 0,
            flag: 0,
            remark: None,
            encoding,
            raw_fields: Bytes::new(),
            body: Bytes::new(),
            more: Vec::new(),
        }
    }

    /// An answer to this request, in the encoding it came in.
    #[must_use]
    pub fn answer(&self, code: i32) -> Self {
        Self { opaque: self.opaque, flag: RESPONSE, ..Self::request(code, self.encoding) }
    }

    /// An answer that names cause and cure.
    #[must_use]
    pub fn refuse(&self, code: i32, remark: impl Into<String>) -> Self {
        self.answer(code).with_remark(remark)
    }

    /// Replaces the fields.
    #[must_use]
    pub fn with_fields<T: Serialize>(mut self, fields: &T) -> Self {
        let mut out = Vec::with_capacity(192);
        match self.encoding {
            Encoding::Json => json::encode_fields(fields, &mut out),
            Encoding::Binary => binary::encode_fields(fields, &mut out),
            Encoding::MessagePack => msgpack::encode_fields(fields, &mut out),
        }
        self.raw_fields = out.into();
        self
    }

    /// Replaces the body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Replaces the body by the compact JSON text of `value`.
    #[must_use]
    pub fn with_json<T: Serialize>(self, value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(text) => self.with_body(text),
            Err(error) => {
                tracing::error!(%error, "a body of ours has no JSON form");
                self
            }
        }
    }

    /// Replaces the remark. What is beyond 2 KiB is cut off: a remark often shows what was sent, and must fit the header.
    #[must_use]
    pub fn with_remark(mut self, remark: impl Into<String>) -> Self {
        let mut remark = remark.into();
        remark.truncate(remark.floor_char_boundary(MAX_REMARK));
        self.remark = Some(remark);
        self
    }

    /// Decodes the fields into a typed header that borrows from this frame.
    ///
    /// # Errors
    /// A field that is missing, or not of its type: the error names it.
    pub fn fields<'a, T: Deserialize<'a>>(&'a self) -> Result<T, FieldError> {
        match self.encoding {
            Encoding::Json => json::decode_fields(&self.raw_fields),
            Encoding::Binary => binary::decode_fields(&self.raw_fields),
            Encoding::MessagePack => msgpack::decode_fields(&self.raw_fields),
        }
    }

    /// Whether this answers a request.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        self.flag & RESPONSE != 0
    }

    /// Whether the sender wants no answer.
    #[must_use]
    pub fn is_oneway(&self) -> bool {
        self.flag & ONEWAY != 0
    }

    /// Marks the request as one that wants no answer.
    #[must_use]
    pub fn oneway(mut self) -> Self {
        self.flag |= ONEWAY;
        self
    }

    /// Length of the whole body in bytes.
    #[must_use]
    pub fn body_len(&self) -> usize {
        self.body.len() + self.more.iter().map(Bytes::len).sum::<usize>()
    }
}
