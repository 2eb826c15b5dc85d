//! Handles by which a sender takes a message back before it is due: base64 of `v1 topic broker time key`, as RocketMQ makes them.

use std::fmt::Write;

const VERSION: &str = "v1";
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// Longest handle that is read, bytes: more than topic, broker and key can need.
const MAX_TEXT: usize = 4_096;

/// What a handle says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecallHandle {
    /// Topic of the message.
    pub topic: String,
    /// Name of the broker that has it.
    pub broker: String,
    /// When it is due, ms since the epoch. The handle holds one more: RocketMQ rounds down what it reads there.
    pub due: i64,
    /// Its unique key.
    pub key: String,
}

/// A text is no handle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the recall handle is not valid ({0}): give back what the answer to the send held as recallHandle")]
pub struct HandleError(&'static str);

impl RecallHandle {
    /// The handle as it travels.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::with_capacity(self.topic.len() + self.broker.len() + self.key.len() + 24);
        // Writing to a String cannot fail.
        let _ = write!(text, "{VERSION} {} {} {} {}", self.topic, self.broker, self.due.saturating_add(1), self.key);
        encode(text.as_bytes())
    }

    /// Reads a handle.
    ///
    /// # Errors
    /// See [`HandleError`].
    pub fn decode(handle: &str) -> Result<Self, HandleError> {
        let bytes = decode(handle).ok_or(HandleError("it is not base64"))?;
        let text = String::from_utf8(bytes).map_err(|_| HandleError("it holds no text"))?;
        let mut words = text.split(' ');
        if words.next() != Some(VERSION) {
            return Err(HandleError("its version is not v1"));
        }
        let (Some(topic), Some(broker), Some(time), Some(key)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(HandleError("it does not name topic, broker, time and key"));
        };
        let due = time.parse::<i64>().ok().filter(|time| *time > 0).ok_or(HandleError("its time is no number"))?;
        if topic.is_empty() || key.is_empty() {
            return Err(HandleError("its topic or key is empty"));
        }
        Ok(Self { topic: topic.to_owned(), broker: broker.to_owned(), due: due - 1, key: key.to_owned() })
    }
}

/// Base64 with the alphabet for addresses, padded.
fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let [a, b, c] = std::array::from_fn(|at| u32::from(group.get(at).copied().unwrap_or(0)));
        let bits = a << 16 | b << 8 | c;
        for (place, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let digit = ALPHABET.get((bits >> shift & 63) as usize).copied().unwrap_or(b'=');
            out.push(if place <= group.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

fn decode(text: &str) -> Option<Vec<u8>> {
    if text.len() > MAX_TEXT {
        return None;
    }
    let text = text.trim_end_matches('=').as_bytes();
    let mut out = Vec::with_capacity(text.len() / 4 * 3 + 2);
    for group in text.chunks(4) {
        let mut bits = 0_u32;
        for digit in group {
            let value = ALPHABET.iter().position(|known| known == digit)?;
            bits = bits << 6 | u32::try_from(value).ok()?;
        }
        let (bytes, left) = match group.len() {
            4 => (3, 0),
            3 => (2, 6),
            2 => (1, 12),
            _ => return None,
        };
        let [_, all @ ..] = (bits << left).to_be_bytes();
        out.extend(all.into_iter().take(bytes));
    }
    Some(out)
}

#[cfg(test)]
mod tests;
