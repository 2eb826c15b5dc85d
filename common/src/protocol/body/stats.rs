//! Tables whose keys are queues. RocketMQ writes each key as an object, which is no legal JSON, and its newer clients read
//! nothing else; hence the hand-written form.

use std::collections::BTreeMap;

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

/// How far a group has come in one topic, and how many messages it consumes per second.
pub type TopicConsumeStats = (QueueTable<ConsumeOffset>, f64);

/// Figures of all groups of a broker (317).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AllConsumeStats {
    /// The broker's `ip:port`.
    pub broker_addr: String,
    /// By group, for each of its topics.
    pub groups: Vec<(String, Vec<TopicConsumeStats>)>,
}

/// `{"brokerAddr":…,"consumeStatsList":[{group:[{…},…]},…],"totalDiff":…,"totalInflightDiff":…}`
#[must_use]
pub fn all_consume_stats(stats: &AllConsumeStats) -> Vec<u8> {
    let (mut behind, mut in_flight) = (0_i64, 0_i64);
    let mut out = format!("{{\"brokerAddr\":{},\"consumeStatsList\":[", quoted(&stats.broker_addr)).into_bytes();
    for (at, (group, topics)) in stats.groups.iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        out.extend_from_slice(format!("{comma}{{{}:[", quoted(group)).as_bytes());
        for (at, (rows, per_second)) in topics.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            out.extend_from_slice(&consume_stats(rows, *per_second));
            for (_, row) in rows {
                behind = behind.saturating_add(row.broker_offset.saturating_sub(row.consumer_offset));
                in_flight = in_flight.saturating_add(row.pull_offset.saturating_sub(row.consumer_offset));
            }
        }
        out.extend_from_slice(b"]}");
    }
    out.extend_from_slice(format!("],\"totalDiff\":{behind},\"totalInflightDiff\":{in_flight}}}").as_bytes());
    out
}

/// `{"consumerTable":{client:{…},…},"messageQueueTable":{}}`, the answer to 223.
#[must_use]
pub fn consumer_status(clients: &[(String, QueueTable<i64>)]) -> Vec<u8> {
    let mut out = b"{\"consumerTable\":{".to_vec();
    for (at, (client, rows)) in clients.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(quoted(client).as_bytes());
        out.push(b':');
        write_rows(&mut out, rows);
    }
    out.extend_from_slice(b"},\"messageQueueTable\":{}}");
    out
}

/// A text in JSON.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// `{"offsetTable":{…}}`, the answer to 222 and the body of 220.
#[must_use]
pub fn reset_offsets(rows: &QueueTable<i64>) -> Vec<u8> {
    let mut out = table("offsetTable", rows);
    out.push(b'}');
    out
}

/// `{"name":{{queue}:value,…}` without the closing brace.
pub(crate) fn table<V: Serialize>(name: &str, rows: &QueueTable<V>) -> Vec<u8> {
    let mut out = format!("{{\"{name}\":").into_bytes();
    write_rows(&mut out, rows);
    out
}

/// `{"messageQueueTable":{…}}`, a client's answer to 221.
#[must_use]
pub fn client_status(rows: &QueueTable<i64>) -> Vec<u8> {
    let mut out = table("messageQueueTable", rows);
    out.push(b'}');
    out
}

/// `{{queue}:value,…}`
pub(crate) fn write_rows<V: Serialize>(out: &mut Vec<u8>, rows: &QueueTable<V>) {
    out.push(b'{');
    for (at, (queue, value)) in rows.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        let written = serde_json::to_writer(&mut *out, queue).and_then(|()| {
            out.push(b':');
            serde_json::to_writer(&mut *out, value)
        });
        if let Err(error) = written {
            tracing::error!(%error, "a row of ours has no JSON form");
        }
    }
    out.push(b'}');
}

/// Reads the rows of an `offsetTable`, in the illegal form or with the keys as quoted texts.
///
/// # Errors
/// The body does not parse.
pub fn parse_table<V: DeserializeOwned>(body: &[u8]) -> Result<QueueTable<V>, BodyError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Table<V> {
        offset_table: BTreeMap<String, V>,
    }
    let table: Table<V> = relaxed::parse(body)?;
    rows(table.offset_table)
}

/// Rows whose keys were read as texts.
pub(crate) fn rows<V>(table: BTreeMap<String, V>) -> Result<QueueTable<V>, BodyError> {
    table.into_iter().map(|(key, value)| Ok((relaxed::parse(key.as_bytes())?, value))).collect()
}

/// Reads the rows of a `messageQueueTable`, a client's answer to 221, as [`parse_table`] does.
///
/// # Errors
/// The body does not parse.
pub fn parse_client_status(body: &[u8]) -> Result<QueueTable<i64>, BodyError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Table {
        #[serde(default)]
        message_queue_table: BTreeMap<String, i64>,
    }
    rows(relaxed::parse::<Table>(body)?.message_queue_table)
}
