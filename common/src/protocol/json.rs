//! RocketMQ's JSON header (serialize type 0): one object whose `extFields` hold the request's own fields as text.

use std::borrow::Cow;
use std::marker::PhantomData;

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::value::CowStrDeserializer;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::protocol::codec::DecodeError;
use crate::protocol::fields::{self, FieldError, ScalarSeed, Sink, Value};
use crate::protocol::frame::{Encoding, Frame};

/// RocketMQ's language names; a position is the code on the wire.
const LANGUAGES: [&str; 14] = [
    "JAVA", "CPP", "DOTNET", "PYTHON", "DELPHI", "ERLANG", "RUBY", "OTHER", "HTTP", "GO", "PHP", "OMS", "RUST",
    "NODE_JS",
];
const OTHER: u8 = 7;

/// The name of a language code; unknown codes are `OTHER`.
#[must_use]
pub fn language_name(code: u8) -> &'static str {
    LANGUAGES.get(usize::from(code)).copied().unwrap_or("OTHER")
}

/// The code of a language's name; unknown names are `OTHER`.
#[must_use]
pub fn language_code(name: &str) -> u8 {
    LANGUAGES.iter().position(|known| *known == name).and_then(|at| u8::try_from(at).ok()).unwrap_or(OTHER)
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    code: i32,
    #[serde(borrow, default)]
    language: Option<Cow<'a, str>>,
    #[serde(default)]
    version: i32,
    #[serde(default)]
    opaque: i32,
    #[serde(default)]
    flag: i32,
    #[serde(borrow, default)]
    remark: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    ext_fields: Option<&'a RawValue>,
}

/// Reads a header; the frame's body is still empty.
pub(crate) fn decode(header: Bytes) -> Result<Frame, DecodeError> {
    let head: Head<'_> = serde_json::from_slice(&header)
        .map_err(|error| DecodeError::header("the JSON header does not parse", &error))?;
    let mut frame = Frame::request(head.code, Encoding::Json);
    frame.language = head.language.as_deref().map_or(OTHER, language_code);
    frame.version = head.version;
    frame.opaque = head.opaque;
    frame.flag = head.flag;
    frame.remark = head.remark.map(Cow::into_owned);
    frame.raw_fields = head.ext_fields.map_or_else(Bytes::new, |raw| header.slice_ref(raw.get().as_bytes()));
    Ok(frame)
}

/// Writes the header of `frame`, its members in alphabetical order as RocketMQ's clients do.
pub(crate) fn encode(frame: &Frame, out: &mut BytesMut) {
    let mut number = itoa::Buffer::new();
    out.put_slice(b"{\"code\":");
    out.put_slice(number.format(frame.code).as_bytes());
    if !frame.raw_fields.is_empty() {
        out.put_slice(b",\"extFields\":");
        out.put_slice(&frame.raw_fields);
    }
    out.put_slice(b",\"flag\":");
    out.put_slice(number.format(frame.flag).as_bytes());
    out.put_slice(b",\"language\":\"");
    out.put_slice(language_name(frame.language).as_bytes());
    out.put_slice(b"\",\"opaque\":");
    out.put_slice(number.format(frame.opaque).as_bytes());
    if let Some(remark) = &frame.remark {
        out.put_slice(b",\"remark\":");
        put_text(&mut out.writer(), remark);
    }
    out.put_slice(b",\"serializeTypeCurrentRPC\":\"JSON\",\"version\":");
    out.put_slice(number.format(frame.version).as_bytes());
    out.put_u8(b'}');
}

fn put_text(out: &mut impl std::io::Write, text: &str) {
    if let Err(error) = serde_json::to_writer(out, text) {
        tracing::error!(%error, "text could not be written as JSON");
    }
}

/// Decodes the field object into a typed header that borrows from it. Values may be text, numbers or truth values.
pub(crate) fn decode_fields<'a, T: Deserialize<'a>>(raw: &'a [u8]) -> Result<T, FieldError> {
    let raw = if raw.is_empty() || raw == b"null" { b"{}" } else { raw };
    let mut reader = serde_json::Deserializer::from_slice(raw);
    T::deserialize(Object(&mut reader)).map_err(|error| {
        let text = error.to_string();
        let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(cause, _)| cause);
        match text.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
            Some(field) => FieldError::new(format_args!("field '{field}' is missing")),
            None => FieldError::new(text),
        }
    })
}

/// Writes the fields of a typed header as an object of texts.
pub(crate) fn encode_fields<T: Serialize>(header: &T, out: &mut Vec<u8>) {
    out.push(b'{');
    fields::write_fields(header, &mut Writer { out, first: true });
    out.push(b'}');
}

struct Writer<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
}

impl Sink for Writer<'_> {
    fn put(&mut self, key: &str, value: &str) {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        put_text(self.out, key);
        self.out.push(b':');
        put_text(self.out, value);
    }
}

/// An object whose values are converted to the types that its reader asks for.
struct Object<D>(D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Object<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(Members(visitor))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

struct Members<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for Members<V> {
    type Value = V::Value;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object of fields")
    }
    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(Coerced { map, key: Cow::Borrowed("") })
    }
}

struct Coerced<'de, A> {
    map: A,
    key: Cow<'de, str>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Coerced<'de, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let Some(key) = self.map.next_key::<Key<'de>>()? else { return Ok(None) };
        self.key = key.0;
        let key = CowStrDeserializer::<A::Error>::new(Cow::Borrowed(self.key.as_ref()));
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        let scalar = self.map.next_value_seed(ScalarSeed)?;
        seed.deserialize(Value { key: &self.key, scalar, error: PhantomData })
    }
}

#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);
