//! Tables whose keys are queues. RocketMQ writes each key as an object, which is no legal JSON, and its newer clients read
//! nothing else; hence the hand-written form.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::protocol::body::group::MessageQueue;
use crate::protocol::relaxed::{self, BodyError};

/// Rows by queue.
pub type QueueTable<V> = Vec<(MessageQueue, V)>;

/// First and last offset of a queue (202).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicOffset {
    /// Store time of the last message, ms; 0: none.
    pub last_update_timestamp: i64,
    /// Offset after the last message.
    pub max_offset: i64,
    /// First offset there is.
    pub min_offset: i64,
}

/// How far a group has come in a queue (208).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsumeOffset {
    /// Offset after the queue's last message.
    pub broker_offset: i64,
    /// The group's stored offset.
    pub consumer_offset: i64,
    /// Store time of the last consumed message, ms.
    pub last_timestamp: i64,
    /// Offset up to which the group has pulled.
    #[serde(default)]
    pub pull_offset: i64,
}

/// `{"offsetTable":{…},"topicPutTps":…}`
#[must_use]
pub fn topic_stats(rows: &QueueTable<TopicOffset>, puts_per_second: f64) -> Vec<u8> {
    let mut out = table("offsetTable", rows);
    out.extend_from_slice(format!(",\"topicPutTps\":{puts_per_second:?}}}").as_bytes());
    out
}

/// `{"consumeTps":…,"offsetTable":{…}}`
#[must_use]
pub fn consume_stats(rows: &QueueTable<ConsumeOffset>, consumed_per_second: f64) -> Vec<u8> {
    let mut out = table("offsetTable", rows);
    out.extend_from_slice(format!(",\"consumeTps\":{consumed_per_second:?}}}").as_bytes());
    out
}

/// `{"offsetTable":{…}}`, the answer to 222 and the body of 220.
#[must_use]
pub fn reset_offsets(rows: &QueueTable<i64>) -> Vec<u8> {
    let mut out = table("offsetTable", rows);
    out.push(b'}');
    out
}

/// `{"name":{{queue}:value,…}` without the closing brace.
fn table<V: Serialize>(name: &str, rows: &QueueTable<V>) -> Vec<u8> {
    let mut out = format!("{{\"{name}\":{{").into_bytes();
    for (at, (queue, value)) in rows.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        let written = serde_json::to_writer(&mut out, queue).and_then(|()| {
            out.push(b':');
            serde_json::to_writer(&mut out, value)
        });
        if let Err(error) = written {
            tracing::error!(%error, "a row of ours has no JSON form");
        }
    }
    out.push(b'}');
    out
}

/// Reads the rows of an `offsetTable`, in the illegal form or with the keys as quoted texts.
///
/// # Errors
/// The body does not parse.
pub fn parse_table<V: DeserializeOwned>(body: &[u8]) -> Result<QueueTable<V>, BodyError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Table<V> {
        offset_table: std::collections::BTreeMap<String, V>,
    }
    let table: Table<V> = relaxed::parse(body)?;
    let rows = table.offset_table.into_iter().map(|(key, value)| Ok((relaxed::parse(key.as_bytes())?, value)));
    rows.collect()
}
