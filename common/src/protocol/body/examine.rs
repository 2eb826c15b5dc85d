//! What a broker tells of its producers, its traffic, one queue, and how far groups lag in time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::protocol::body::group::{GroupConfig, MessageQueue};
use crate::protocol::body::heartbeat::SubscriptionData;

/// One connected producer (328).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProducerInfo {
    /// Its id.
    pub client_id: String,
    /// Its language.
    pub language: String,
    /// Time of its last heartbeat, ms since the epoch.
    pub last_update_timestamp: i64,
    /// Its `ip:port`.
    #[serde(rename = "remoteIP")]
    pub remote_ip: String,
    /// Its protocol version.
    pub version: i32,
}

/// All connected producers by group (328).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerTable {
    /// By group.
    pub data: BTreeMap<String, Vec<ProducerInfo>>,
}

/// A count over a stretch of time (315).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct TrafficItem {
    /// Per message.
    pub avgpt: f64,
    /// Over the stretch.
    pub sum: i64,
    /// Per second.
    pub tps: f64,
}

/// A count over the last minute, hour and day (315).
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrafficData {
    /// The last 24 hours.
    pub stats_day: TrafficItem,
    /// The last 60 minutes.
    pub stats_hour: TrafficItem,
    /// The last 60 seconds.
    pub stats_minute: TrafficItem,
}

/// How far a group lags behind in a queue, in time (303). Times are store times, ms since the epoch; -1: there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueTimeSpan {
    /// Of the last message consumed; of the first one while nothing is consumed.
    pub consume_time_stamp: i64,
    /// How long the next message has waited, ms; 0: there is none.
    pub delay_time: i64,
    /// Of the last message.
    pub max_time_stamp: i64,
    /// The queue.
    pub message_queue: MessageQueue,
    /// Of the first message.
    pub min_time_stamp: i64,
}

/// How far a group lags behind in a topic, in time (303).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsumeTimeSpan {
    /// By queue.
    pub consume_time_span_set: Vec<QueueTimeSpan>,
}

/// A group's subscription to a topic (345).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subscribed {
    /// The group.
    pub group: String,
    /// Absent: nobody of the group is connected, or nobody reads the topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription_data: Option<SubscriptionData>,
    /// The topic.
    pub topic: String,
}

/// Whether a group may read a topic (353).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupForbidden {
    /// The group.
    pub group: String,
    /// Whether it may.
    pub readable: bool,
    /// The topic.
    pub topic: String,
}

/// Offsets by queue (308).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CorrectionOffsets {
    /// By queue.
    pub correction_offsets: BTreeMap<i32, i64>,
}

/// One entry of a queue (321).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueEntryData {
    /// Whether the group's filter takes it.
    pub eval: bool,
    /// What is odd about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub msg: Option<String>,
    /// Offset of the record in the log.
    pub physic_offset: i64,
    /// Length of the record.
    pub physic_size: i32,
    /// Hash of the tag.
    pub tags_code: i64,
}

/// Entries of a queue (321).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueEntries {
    /// About the filter of the group that was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter_data: Option<String>,
    /// Offset behind the queue's last message.
    pub max_queue_index: i64,
    /// First offset of the queue.
    pub min_queue_index: i64,
    /// The entries.
    pub queue_data: Vec<QueueEntryData>,
    /// Subscription of the group that was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription_data: Option<SubscriptionData>,
}

/// Several groups to create at once (225).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupConfigList {
    /// The groups.
    pub group_config_list: Vec<GroupConfig>,
}
