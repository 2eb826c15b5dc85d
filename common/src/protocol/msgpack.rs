//! OrbitMQ's MessagePack header (serialize type 2): a positional array, then the fields as a second one.
//!
//! Header: `[code, language, version, opaque, flag, remark | nil]`, fields: `[first, second, …]` in the order in which the
//! typed header declares them. Fields are only ever appended to a header type, so both sides may be of different ages.

use std::io::Cursor;

use bytes::{BufMut, Bytes, BytesMut};
use serde::de::{Deserialize, DeserializeSeed, Error as _, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserializer, Serialize};

use crate::protocol::codec::DecodeError;
use crate::protocol::fields::FieldError;
use crate::protocol::frame::{Encoding, Frame};

type Fixed<T> = (i32, u8, i32, i32, i32, Option<T>);

/// Reads a header; the frame's body is still empty.
pub(crate) fn decode(header: Bytes) -> Result<Frame, DecodeError> {
    let mut reader = rmp_serde::Deserializer::new(Cursor::new(header.as_ref()));
    let (code, language, version, opaque, flag, remark) = Fixed::<String>::deserialize(&mut reader)
        .map_err(|error| DecodeError::header("the MessagePack header does not parse", &error))?;
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

/// Lets a header type read an array that is longer than it: what a newer sender appended is skipped. Errors name the field.
struct Lenient<D>(D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Lenient<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_seq(Whole { visitor, names: &[] })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_seq(Whole { visitor, names })
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

struct Whole<V> {
    visitor: V,
    names: &'static [&'static str],
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Whole<V> {
    type Value = V::Value;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of fields")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<V::Value, A::Error> {
        let mut named = Named { seq: &mut seq, names: self.names.iter(), missing: None };
        let value = self.visitor.visit_seq(&mut named);
        // A header asks on after an optional field that is not there, and gives up at the first that it needs.
        let value = value.map_err(|error| match named.missing {
            Some(name) => A::Error::custom(format_args!("field '{name}' is missing")),
            None => error,
        })?;
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(value)
    }
}

/// Elements in the order of a header's fields.
struct Named<'s, A> {
    seq: &'s mut A,
    names: std::slice::Iter<'static, &'static str>,
    /// The last field asked for that was not there.
    missing: Option<&'static str>,
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for &mut Named<'_, A> {
    type Error = A::Error;
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, A::Error> {
        let name = self.names.next().copied().unwrap_or_default();
        let element = self.seq.next_element_seed(seed);
        let element = element.map_err(|error| A::Error::custom(format_args!("field '{name}': {error}")))?;
        self.missing = element.is_none().then_some(name);
        Ok(element)
    }
}
