//! The body of a batch send: several messages, each `size 4 | 0 | 0 | flag 4 | body length 4, body | properties length 2, properties`.

use bytes::{BufMut, Bytes, BytesMut};

use crate::message::record::SHORT_MAX;

/// Everything of a message but body and properties.
const FIXED: usize = 22;

/// One message of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchEntry<'a> {
    /// The user's flag.
    pub flag: i32,
    /// Body.
    pub body: &'a [u8],
    /// Properties text.
    pub properties: &'a str,
}

/// Why bytes are not a batch, or messages cannot become one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// A length points beyond the bytes, or does not agree with the size beside it.
    #[error("message {index} of the batch has lengths that do not agree with its bytes")]
    Lengths {
        /// Position in the batch.
        index: usize,
    },
    /// Properties are not UTF-8.
    #[error("message {index} of the batch has properties that are not UTF-8")]
    Properties {
        /// Position in the batch.
        index: usize,
    },
    /// A message does not fit the form.
    #[error("message {index} of the batch is too large: properties hold {SHORT_MAX} bytes, a body 2 GiB")]
    TooLarge {
        /// Position in the batch.
        index: usize,
    },
}

/// The batch body of some messages.
pub fn encode<'a>(entries: impl IntoIterator<Item = BatchEntry<'a>>) -> Result<Bytes, BatchError> {
    let mut out = BytesMut::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let too_large = || BatchError::TooLarge { index };
        let properties = i16::try_from(entry.properties.len()).map_err(|_| too_large())?;
        let body = i32::try_from(entry.body.len()).map_err(|_| too_large())?;
        let size = FIXED.saturating_add(entry.body.len()).saturating_add(entry.properties.len());
        out.reserve(size);
        out.put_i32(i32::try_from(size).map_err(|_| too_large())?);
        out.put_u64(0);
        out.put_i32(entry.flag);
        out.put_i32(body);
        out.put_slice(entry.body);
        out.put_i16(properties);
        out.put_slice(entry.properties.as_bytes());
    }
    Ok(out.freeze())
}

/// The messages of a batch body, up to the first that is not well formed.
pub fn decode(bytes: &[u8]) -> impl Iterator<Item = Result<BatchEntry<'_>, BatchError>> {
    let (mut rest, mut index) = (bytes, 0_usize);
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let entry = match decode_one(rest) {
            Some((body, properties, flag, after)) => {
                rest = after;
                std::str::from_utf8(properties)
                    .map(|properties| BatchEntry { flag, body, properties })
                    .map_err(|_| BatchError::Properties { index })
            }
            None => Err(BatchError::Lengths { index }),
        };
        index = index.saturating_add(1);
        if entry.is_err() {
            rest = &[];
        }
        Some(entry)
    })
}

type Parts<'a> = (&'a [u8], &'a [u8], i32, &'a [u8]);

fn decode_one(bytes: &[u8]) -> Option<Parts<'_>> {
    let size = usize::try_from(i32::from_be_bytes(*bytes.first_chunk()?)).ok()?;
    let (entry, after) = bytes.split_at_checked(size)?;
    let (_, fields) = entry.split_at_checked(12)?;
    let (flag, fields) = fields.split_first_chunk::<4>()?;
    let (body_len, fields) = fields.split_first_chunk::<4>()?;
    let (body, fields) = fields.split_at_checked(usize::try_from(i32::from_be_bytes(*body_len)).ok()?)?;
    let (properties_len, properties) = fields.split_first_chunk::<2>()?;
    let announced = usize::try_from(i16::from_be_bytes(*properties_len)).ok()?;
    (announced == properties.len()).then_some((body, properties, i32::from_be_bytes(*flag), after))
}

#[cfg(test)]
mod tests;
