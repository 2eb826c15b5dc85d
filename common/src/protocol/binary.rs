//! RocketMQ's binary header (serialize type 1): fixed numbers, then length-prefixed names and values.
//!
//! Layout, big endian: code i16, language u8, version i16, opaque i32, flag i32, remark length i32 + text, fields length
//! i32 + { name length i16, name, value length i32, value }*.

use std::borrow::Cow;
use std::marker::PhantomData;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::value::{BorrowedStrDeserializer, MapAccessDeserializer};
use serde::de::{Deserialize, DeserializeSeed, MapAccess};

use crate::protocol::codec::DecodeError;
use crate::protocol::fields::{self, FieldError, Scalar, Sink, Value};
use crate::protocol::frame::{Encoding, Frame};

/// Reads a header; the frame's body is still empty.
pub(crate) fn decode(mut header: Bytes) -> Result<Frame, DecodeError> {
    let short = || DecodeError::Header("the binary header is cut short".to_owned());
    if header.len() < 21 {
        return Err(short());
    }
    let mut frame = Frame::request(0, Encoding::Binary);
    frame.code = i32::from(header.get_i16());
    frame.language = header.get_u8();
    frame.version = i32::from(header.get_i16());
    frame.opaque = header.get_i32();
    frame.flag = header.get_i32();
    let remark = take(&mut header).ok_or_else(short)?;
    if !remark.is_empty() {
        frame.remark = Some(String::from_utf8_lossy(&remark).into_owned());
    }
    frame.raw_fields = take(&mut header).ok_or_else(short)?;
    Ok(frame)
}

/// A piece with an i32 length before it; `None` when the length lies.
fn take(from: &mut Bytes) -> Option<Bytes> {
    let length = usize::try_from(from.try_get_i32().ok()?).ok()?;
    (length <= from.len()).then(|| from.split_to(length))
}

/// Writes the header of `frame`.
pub(crate) fn encode(frame: &Frame, out: &mut BytesMut) {
    // RocketMQ's form holds 16 bits here; kinds beyond that are never sent in this encoding.
    out.put_i16(frame.code as i16);
    out.put_u8(frame.language);
    out.put_i16(frame.version as i16);
    out.put_i32(frame.opaque);
    out.put_i32(frame.flag);
    let remark = frame.remark.as_deref().unwrap_or_default();
    out.put_i32(remark.len() as i32);
    out.put_slice(remark.as_bytes());
    out.put_i32(frame.raw_fields.len() as i32);
    out.put_slice(&frame.raw_fields);
}

/// Decodes the field list into a typed header that borrows from it.
pub(crate) fn decode_fields<'a, T: Deserialize<'a>>(raw: &'a [u8]) -> Result<T, FieldError> {
    T::deserialize(MapAccessDeserializer::new(Entries { rest: raw, current: None }))
}

/// Writes the fields of a typed header.
pub(crate) fn encode_fields<T: Serialize>(header: &T, out: &mut Vec<u8>) {
    fields::write_fields(header, &mut Writer { out });
}

struct Writer<'o> {
    out: &'o mut Vec<u8>,
}

impl Sink for Writer<'_> {
    fn put(&mut self, key: &str, value: &str) {
        self.out.put_i16(key.len() as i16);
        self.out.put_slice(key.as_bytes());
        self.out.put_i32(value.len() as i32);
        self.out.put_slice(value.as_bytes());
    }
}

struct Entries<'a> {
    rest: &'a [u8],
    current: Option<(&'a str, &'a str)>,
}

impl<'a> Entries<'a> {
    fn text(&mut self, length: usize) -> Result<&'a str, FieldError> {
        let (head, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or_else(|| FieldError::new("the field list is cut short: a length reaches beyond its end"))?;
        self.rest = rest;
        std::str::from_utf8(head).map_err(|_| FieldError::new("a field is not UTF-8 text"))
    }

    fn pair(&mut self) -> Result<Option<(&'a str, &'a str)>, FieldError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let cut = |_| FieldError::new("the field list is cut short: no room for a length");
        let lying = |_| FieldError::new("the field list holds a negative length");
        let key = usize::try_from(self.rest.try_get_i16().map_err(cut)?).map_err(lying)?;
        let key = self.text(key)?;
        let value = usize::try_from(self.rest.try_get_i32().map_err(cut)?).map_err(lying)?;
        Ok(Some((key, self.text(value)?)))
    }
}

impl<'a> MapAccess<'a> for Entries<'a> {
    type Error = FieldError;

    fn next_key_seed<K: DeserializeSeed<'a>>(&mut self, seed: K) -> Result<Option<K::Value>, FieldError> {
        self.current = self.pair()?;
        self.current.map(|(key, _)| seed.deserialize(BorrowedStrDeserializer::new(key))).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'a>>(&mut self, seed: V) -> Result<V::Value, FieldError> {
        let (key, text) = self.current.take().unwrap_or_default();
        seed.deserialize(Value { key, scalar: Scalar::Text(Cow::Borrowed(text)), error: PhantomData })
    }
}
