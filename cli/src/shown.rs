//! A stored message as it is shown.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use orbitmq_common::message::message::StoredMessage;
use orbitmq_common::plain;
use serde::Serialize;

use crate::report::pairs;

/// Bytes of a body that a table shows.
const BODY_SHOWN: usize = 4096;

/// A message, for programs and people.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Shown {
    message_id: String,
    offset_id: String,
    topic: String,
    queue: u32,
    offset: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
    keys: Vec<String>,
    flag: i32,
    deliveries_before: i32,
    born_ms: i64,
    born_host: String,
    stored_ms: i64,
    store_host: String,
    properties: BTreeMap<String, String>,
    /// The body where it is UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// The body where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_hex: Option<String>,
}

impl Shown {
    /// Shows a message.
    pub fn new(message: &StoredMessage) -> Self {
        let text = std::str::from_utf8(&message.body).ok().map(str::to_owned);
        Self {
            message_id: message.message_id(),
            offset_id: message.offset_id(),
            topic: message.topic.clone(),
            queue: message.queue_id,
            offset: message.queue_offset,
            tag: message.tag().map(str::to_owned),
            keys: message.keys().map(str::to_owned).collect(),
            flag: message.flag,
            deliveries_before: message.reconsume_times,
            born_ms: message.born_timestamp,
            born_host: message.born_host.to_string(),
            stored_ms: message.store_timestamp,
            store_host: message.store_host.to_string(),
            properties: message.properties().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            body_hex: text.is_none().then(|| hex(&message.body)),
            body: text,
        }
    }

    fn body(&self) -> String {
        match (&self.body, &self.body_hex) {
            (Some(text), _) => {
                let shown: String = text.chars().take(BODY_SHOWN).collect();
                visible(&shown)
            }
            (None, Some(hex)) => format!("hex {}", hex.chars().take(BODY_SHOWN).collect::<String>()),
            (None, None) => String::new(),
        }
    }

    /// One line: when, where, tag, keys, body.
    pub fn line(&self) -> String {
        let tag = self.tag.as_ref().map(|tag| format!("  [{tag}]")).unwrap_or_default();
        let keys = if self.keys.is_empty() { String::new() } else { format!("  {{{}}}", self.keys.join(" ")) };
        let queue = format!("{}/{}", self.store_host, self.queue);
        format!("{}  {queue} @{}{tag}{keys}  {}", plain::date(self.stored_ms), self.offset, self.body())
    }

    /// One line a field.
    pub fn block(&self) -> String {
        let properties: Vec<String> = self.properties.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs([
            ("message id", self.message_id.clone()),
            ("offset id", self.offset_id.clone()),
            ("place", format!("{} queue {} offset {}", self.topic, self.queue, self.offset)),
            ("tag", self.tag.clone().unwrap_or_else(|| "-".to_owned())),
            ("keys", if self.keys.is_empty() { "-".to_owned() } else { self.keys.join(" ") }),
            ("born", format!("{} at {}", plain::date(self.born_ms), self.born_host)),
            ("stored", format!("{} at {}", plain::date(self.stored_ms), self.store_host)),
            ("delivered before", format!("{} times", self.deliveries_before)),
            ("properties", visible(&properties.join(", "))),
            ("body", self.body()),
        ])
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Control characters as escapes: what others have sent does not steer this terminal.
pub fn visible(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        if c.is_control() {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_does_not_steer_the_terminal() {
        assert_eq!(visible("a\u{1b}[2Jb\nü"), "a\\u{1b}[2Jb\\nü");
        assert_eq!(hex(&[0, 0xff]), "00ff");
    }
}
