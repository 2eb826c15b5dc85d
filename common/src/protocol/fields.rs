//! Typed headers from and to lists of named text values, the form that JSON and RocketMQ's binary encoding share.

use std::borrow::Cow;
use std::fmt::Display;
use std::marker::PhantomData;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, Visitor};
use serde::ser::{self, Impossible, Serialize, SerializeStruct, Serializer};

/// A header's fields do not fit its request kind. The text names the field and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FieldError {
    message: String,
}

impl FieldError {
    pub(crate) fn new(message: impl Display) -> Self {
        Self { message: brief(&message.to_string(), 150).to_owned() }
    }
}

impl de::Error for FieldError {
    fn custom<T: Display>(message: T) -> Self {
        Self::new(message)
    }
    fn missing_field(field: &'static str) -> Self {
        Self::new(format_args!("field '{field}' is missing"))
    }
}

impl ser::Error for FieldError {
    fn custom<T: Display>(message: T) -> Self {
        Self::new(message)
    }
}

/// One value as the wire gave it.
pub(crate) enum Scalar<'de> {
    Text(Cow<'de, str>),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Bool(bool),
    Null,
    Nested,
}

impl<'de> Scalar<'de> {
    fn into_text(self) -> Option<Cow<'de, str>> {
        Some(match self {
            Self::Text(text) => text,
            Self::Signed(n) => n.to_string().into(),
            Self::Unsigned(n) => n.to_string().into(),
            Self::Float(n) => n.to_string().into(),
            Self::Bool(b) => if b { "true" } else { "false" }.into(),
            Self::Null => "".into(),
            Self::Nested => return None,
        })
    }
}

/// Reads whatever scalar stands there; nested values are skipped and remembered as such.
pub(crate) struct ScalarSeed;

impl<'de> DeserializeSeed<'de> for ScalarSeed {
    type Value = Scalar<'de>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Scalar<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ScalarSeed {
    type Value = Scalar<'de>;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("text, a number or a truth value")
    }
    fn visit_bool<E>(self, v: bool) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Bool(v))
    }
    fn visit_i64<E>(self, v: i64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Signed(v))
    }
    fn visit_u64<E>(self, v: u64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Unsigned(v))
    }
    fn visit_f64<E>(self, v: f64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Float(v))
    }
    fn visit_borrowed_str<E>(self, v: &'de str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Borrowed(v)))
    }
    fn visit_str<E>(self, v: &str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Owned(v.to_owned())))
    }
    fn visit_unit<E>(self) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Null)
    }
    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Scalar<'de>, A::Error> {
        while seq.next_element::<de::IgnoredAny>()?.is_some() {}
        Ok(Scalar::Nested)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar<'de>, A::Error> {
        while map.next_entry::<de::IgnoredAny, de::IgnoredAny>()?.is_some() {}
        Ok(Scalar::Nested)
    }
}

/// One named value, given to the typed header as whatever type it asks for.
pub(crate) struct Value<'k, 'de, E> {
    pub key: &'k str,
    pub scalar: Scalar<'de>,
    pub error: PhantomData<E>,
}

macro_rules! parsed {
    ($($method:ident => $visit:ident, $type:ty, $what:literal;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
            let key = self.key;
            match self.scalar {
                Scalar::Signed(n) if <$type>::try_from(n).is_ok() => visitor.visit_i64(n),
                Scalar::Unsigned(n) if <$type>::try_from(n).is_ok() => visitor.visit_u64(n),
                other => {
                    let text = other.into_text().ok_or_else(|| E::custom(format_args!("field '{key}' is not {}", $what)))?;
                    let number = text.trim().parse::<$type>().map_err(|_| E::custom(format_args!("field '{key}' is not {}: '{}'", $what, brief(&text, 40))))?;
                    visitor.$visit(number)
                }
            }
        }
    )*};
}

/// The start of a text, for errors: what a sender wrote must not fill logs and answers.
pub(crate) fn brief(text: &str, most: usize) -> &str {
    text.get(..text.floor_char_boundary(most)).unwrap_or(text)
}

/// An optional field whose absence means its type's default; an empty text counts as absent.
pub(crate) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl<'de, E: de::Error> Deserializer<'de> for Value<'_, 'de, E> {
    type Error = E;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        self.deserialize_str(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        let key = self.key;
        match self.scalar.into_text() {
            Some(Cow::Borrowed(text)) => visitor.visit_borrowed_str(text),
            Some(Cow::Owned(text)) => visitor.visit_string(text),
            None => Err(E::custom(format_args!("field '{key}' is not text"))),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        let key = self.key;
        match self.scalar.into_text().as_deref().map(str::trim) {
            Some(text) if text.eq_ignore_ascii_case("true") || text == "1" => visitor.visit_bool(true),
            Some(text) if text.eq_ignore_ascii_case("false") || text == "0" => visitor.visit_bool(false),
            _ => Err(E::custom(format_args!("field '{key}' is neither true nor false"))),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        match &self.scalar {
            Scalar::Null => visitor.visit_none(),
            Scalar::Text(text) if text.is_empty() => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, E> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, E> {
        let text = self.scalar.into_text().unwrap_or_default();
        visitor.visit_enum(text.as_ref().into_deserializer())
    }

    parsed! {
        deserialize_i8 => visit_i8, i8, "a whole number";
        deserialize_i16 => visit_i16, i16, "a whole number";
        deserialize_i32 => visit_i32, i32, "a 32-bit whole number";
        deserialize_i64 => visit_i64, i64, "a 64-bit whole number";
        deserialize_u8 => visit_u8, u8, "a small natural number";
        deserialize_u16 => visit_u16, u16, "a natural number";
        deserialize_u32 => visit_u32, u32, "a 32-bit natural number";
        deserialize_u64 => visit_u64, u64, "a 64-bit natural number";
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        f32 f64 i128 u128 char string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier
    }
}

/// Takes the named values of a header one after another.
pub(crate) trait Sink {
    fn put(&mut self, key: &str, value: &str);
}

/// Writes a flat struct into a [`Sink`], leaving out what is `None`.
pub(crate) fn write_fields<T: Serialize, S: Sink>(fields: &T, sink: &mut S) {
    if let Err(error) = fields.serialize(StructWriter { sink }) {
        // Only a header type that nests could end here; that is a defect of ours, not of input.
        tracing::error!(%error, "a header of ours has no text form");
    }
}

struct StructWriter<'s, S> {
    sink: &'s mut S,
}

struct ValueWriter<'s, S> {
    sink: &'s mut S,
    key: &'static str,
}

impl<S: Sink> SerializeStruct for StructWriter<'_, S> {
    type Ok = ();
    type Error = FieldError;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), FieldError> {
        value.serialize(ValueWriter { sink: self.sink, key })
    }
    fn end(self) -> Result<(), FieldError> {
        Ok(())
    }
}

macro_rules! unsupported {
    ($($method:ident($($arg:ty),*) -> $ok:ty;)*) => {$(
        fn $method(self, $(_: $arg),*) -> Result<$ok, FieldError> { Err(FieldError::new("headers are flat structs of scalars")) }
    )*};
}

macro_rules! unsupported_both {
    () => {
        fn serialize_newtype_variant<T: Serialize + ?Sized>(
            self,
            _: &'static str,
            _: u32,
            _: &'static str,
            _: &T,
        ) -> Result<(), FieldError> {
            Err(FieldError::new("headers are flat structs of scalars"))
        }
        unsupported! {
            serialize_bytes(&[u8]) -> ();
            serialize_unit_struct(&'static str) -> ();
            serialize_seq(Option<usize>) -> Self::SerializeSeq;
            serialize_tuple(usize) -> Self::SerializeTuple;
            serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
            serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant;
            serialize_map(Option<usize>) -> Self::SerializeMap;
            serialize_struct_variant(&'static str, u32, &'static str, usize) -> Self::SerializeStructVariant;
        }
    };
}

impl<S: Sink> Serializer for StructWriter<'_, S> {
    type Ok = ();
    type Error = FieldError;
    type SerializeSeq = Impossible<(), FieldError>;
    type SerializeTuple = Impossible<(), FieldError>;
    type SerializeTupleStruct = Impossible<(), FieldError>;
    type SerializeTupleVariant = Impossible<(), FieldError>;
    type SerializeMap = Impossible<(), FieldError>;
    type SerializeStruct = Self;
    type SerializeStructVariant = Impossible<(), FieldError>;

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, FieldError> {
        Ok(self)
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), FieldError> {
        value.serialize(self)
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), FieldError> {
        value.serialize(self)
    }
    unsupported! {
        serialize_bool(bool) -> ();
        serialize_i8(i8) -> ();
        serialize_i16(i16) -> ();
        serialize_i32(i32) -> ();
        serialize_i64(i64) -> ();
        serialize_u8(u8) -> ();
        serialize_u16(u16) -> ();
        serialize_u32(u32) -> ();
        serialize_u64(u64) -> ();
        serialize_f32(f32) -> ();
        serialize_f64(f64) -> ();
        serialize_char(char) -> ();
        serialize_str(&str) -> ();
        serialize_none() -> ();
        serialize_unit() -> ();
        serialize_unit_variant(&'static str, u32, &'static str) -> ();
    }
    unsupported_both!();
}

macro_rules! numbers {
    ($($method:ident, $type:ty;)*) => {$(
        fn $method(self, value: $type) -> Result<(), FieldError> {
            self.sink.put(self.key, itoa::Buffer::new().format(value));
            Ok(())
        }
    )*};
}

impl<S: Sink> Serializer for ValueWriter<'_, S> {
    type Ok = ();
    type Error = FieldError;
    type SerializeSeq = Impossible<(), FieldError>;
    type SerializeTuple = Impossible<(), FieldError>;
    type SerializeTupleStruct = Impossible<(), FieldError>;
    type SerializeTupleVariant = Impossible<(), FieldError>;
    type SerializeMap = Impossible<(), FieldError>;
    type SerializeStruct = Impossible<(), FieldError>;
    type SerializeStructVariant = Impossible<(), FieldError>;

    numbers! {
        serialize_i8, i8;
        serialize_i16, i16;
        serialize_i32, i32;
        serialize_i64, i64;
        serialize_u8, u8;
        serialize_u16, u16;
        serialize_u32, u32;
        serialize_u64, u64;
    }
    fn serialize_bool(self, value: bool) -> Result<(), FieldError> {
        self.sink.put(self.key, if value { "true" } else { "false" });
        Ok(())
    }
    fn serialize_str(self, value: &str) -> Result<(), FieldError> {
        self.sink.put(self.key, value);
        Ok(())
    }
    fn serialize_char(self, value: char) -> Result<(), FieldError> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }
    fn serialize_f32(self, value: f32) -> Result<(), FieldError> {
        self.serialize_str(&value.to_string())
    }
    fn serialize_f64(self, value: f64) -> Result<(), FieldError> {
        self.serialize_str(&value.to_string())
    }
    fn serialize_none(self) -> Result<(), FieldError> {
        Ok(())
    }
    fn serialize_unit(self) -> Result<(), FieldError> {
        Ok(())
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), FieldError> {
        value.serialize(self)
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), FieldError> {
        value.serialize(self)
    }
    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), FieldError> {
        self.serialize_str(variant)
    }
    unsupported! {
        serialize_struct(&'static str, usize) -> Self::SerializeStruct;
    }
    unsupported_both!();
}
