//! Values for any typed header, drawn from bytes, so that one property covers all headers and shrinks.

use serde::de::{DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

use crate::protocol::fields::FieldError;

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Number,
    Truth,
}

/// A field as its header type declares it.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    pub name: &'static str,
    pub kind: Kind,
}

/// A header whose fields are drawn from `bytes`.
pub fn fill<T: Deserialize<'static>>(bytes: &[u8]) -> T {
    T::deserialize(Struct { source: &mut Source { bytes }, fields: &mut Vec::new() }).unwrap()
}

/// The fields of a header type, in the order of their declaration.
pub fn fields_of<T: Deserialize<'static>>() -> Vec<Field> {
    let mut fields = Vec::new();
    // Odd bytes make every optional field present.
    T::deserialize(Struct { source: &mut Source { bytes: &[1; 256] }, fields: &mut fields }).unwrap();
    fields
}

/// A text of the characters that break encodings.
pub fn odd_text(bytes: &[u8]) -> String {
    const ODD: [char; 24] = [
        'a', '0', ' ', '"', '\\', '\'', '/', '{', '}', ':', ',', '\0', '\u{1}', '\u{2}', '\n', '\r', '\u{1f}',
        '\u{7f}', 'é', '漢', '😀', '\u{feff}', '\u{2028}', '\u{fffd}',
    ];
    bytes.iter().map(|byte| ODD[usize::from(*byte) % ODD.len()]).collect()
}

struct Source<'b> {
    bytes: &'b [u8],
}

impl Source<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        *first
    }

    fn number(&mut self) -> i64 {
        match self.byte() % 8 {
            0 => 0,
            1 => i64::from(self.byte()),
            2 => -i64::from(self.byte()) - 1,
            3 => i64::MAX,
            4 => i64::MIN,
            5 => i64::from(i32::MAX),
            6 => i64::from(i32::MIN),
            _ => i64::from_be_bytes(std::array::from_fn(|_| self.byte())),
        }
    }

    fn text(&mut self, least: usize) -> String {
        let length = usize::from(self.byte() % 6).max(least);
        let bytes: Vec<u8> = (0..length).map(|_| self.byte()).collect();
        odd_text(&bytes)
    }
}

struct Struct<'s, 'b> {
    source: &'s mut Source<'b>,
    fields: &'s mut Vec<Field>,
}

impl<'de> Deserializer<'de> for Struct<'_, '_> {
    type Error = FieldError;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, FieldError> {
        Err(FieldError::custom("headers are structs"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        visitor.visit_map(Members { source: self.source, fields: self.fields, names })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

struct Members<'s, 'b> {
    source: &'s mut Source<'b>,
    fields: &'s mut Vec<Field>,
    names: &'static [&'static str],
}

impl<'de> MapAccess<'de> for Members<'_, '_> {
    type Error = FieldError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, FieldError> {
        let Some(name) = self.names.get(self.fields.len()) else { return Ok(None) };
        seed.deserialize((*name).into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, FieldError> {
        self.fields.push(Field { name: self.names[self.fields.len()], kind: Kind::Text });
        let field = self.fields.last_mut().unwrap();
        seed.deserialize(Member { source: self.source, field, least: 0 })
    }
}

struct Member<'s, 'b> {
    source: &'s mut Source<'b>,
    field: &'s mut Field,
    least: usize,
}

macro_rules! numbers {
    ($($method:ident => $visit:ident;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
            self.field.kind = Kind::Number;
            visitor.$visit(self.source.number() as _)
        }
    )*};
}

impl<'de> Deserializer<'de> for Member<'_, '_> {
    type Error = FieldError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        visitor.visit_string(self.source.text(self.least))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        if self.source.byte().is_multiple_of(2) {
            return visitor.visit_none();
        }
        // An empty text of an optional field means that it is not there.
        visitor.visit_some(Member { least: 1, ..self })
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        self.field.kind = Kind::Truth;
        visitor.visit_bool(self.source.byte() % 2 == 1)
    }

    numbers! {
        deserialize_i32 => visit_i32;
        deserialize_i64 => visit_i64;
        deserialize_u32 => visit_u32;
    }

    forward_to_deserialize_any! {
        i8 i16 i128 u8 u16 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
