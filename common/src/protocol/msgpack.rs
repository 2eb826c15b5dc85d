//! OrbitMQ's MessagePack header (serialize type 2): a positional array, then the fields as a second one.
//!
//! Header: `[code, language, version, opaque, flag, remark | nil]`, fields: `[first, second, …]` in the order in which the
//! typed header declares them. Fields are only ever appended to a header type, so both sides may be of different ages.

use std::io::Cursor;

use bytes::{BufMut, Bytes, BytesMut};
use serde::de::{Deserialize, DeserializeSeed, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserializer, Serialize};

use crate::protocol::codec::DecodeError;
use crate::protocol::fields::FieldError;
use crate::protocol::frame::{Encoding, Frame};

type Fixed<T> = (i32, u8, i32, i32, i32, Option<T>);

/// Reads a header; the frame's body is still empty.
pub(crate) fn decode(header: Bytes) -> Result<Frame, DecodeError> {
    let mut reader = rmp_serde::Deserializer::new(Cursor::new(header.as_ref()));
    let (code, language, version, opaque, flag, remark) = Fixed::<String>::deserialize(&mut reader)
        .map_err(|error| DecodeError::Header(format!("the MessagePack header does not parse: {error}")))?;
    let fields = usize::try_from(reader.position()).unwrap_or(usize::MAX).min(header.len());
    let mut frame = Frame::request(code, Encoding::MessagePack);
    frame.language = language;
    frame.version = version;
    frame.opaque = opaque;
    frame.flag = flag;
    frame.remark = remark;
    frame.raw_fields = header.slice(fields..);
    Ok(frame)
}

/// Writes the header of `frame`.
pub(crate) fn encode(frame: &Frame, out: &mut BytesMut) {
    let fixed: Fixed<&str> =
        (frame.code, frame.language, frame.version, frame.opaque, frame.flag, frame.remark.as_deref());
    if let Err(error) = rmp_serde::encode::write(&mut out.writer(), &fixed) {
        tracing::error!(%error, "a header of ours has no MessagePack form");
    }
    out.put_slice(&frame.raw_fields);
}

/// Decodes the field array into a typed header that borrows from it.
pub(crate) fn decode_fields<'a, T: Deserialize<'a>>(raw: &'a [u8]) -> Result<T, FieldError> {
    let raw = if raw.is_empty() { &[0x90] } else { raw };
    let mut reader = rmp_serde::Deserializer::from_read_ref(raw);
    T::deserialize(Lenient(&mut reader)).map_err(FieldError::new)
}

/// Writes the fields of a typed header.
pub(crate) fn encode_fields<T: Serialize>(header: &T, out: &mut Vec<u8>) {
    if let Err(error) = rmp_serde::encode::write(&mut Cursor::new(out), header) {
        tracing::error!(%error, "a header of ours has no MessagePack form");
    }
}

/// Lets a header type read an array that is longer than it: what a newer sender appended is skipped.
struct Lenient<D>(D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Lenient<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_seq(Whole(visitor))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

struct Whole<V>(V);

impl<'de, V: Visitor<'de>> Visitor<'de> for Whole<V> {
    type Value = V::Value;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.expecting(f)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<V::Value, A::Error> {
        let value = self.0.visit_seq(ByRef(&mut seq))?;
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(value)
    }
}

struct ByRef<'s, A>(&'s mut A);

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for ByRef<'_, A> {
    type Error = A::Error;
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, A::Error> {
        self.0.next_element_seed(seed)
    }
}
