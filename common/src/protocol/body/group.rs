//! Consumer groups, their members and their locks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::protocol::body::heartbeat::{ConsumeFromWhere, ConsumeType, MessageModel, SubscriptionData};
use crate::protocol::body::topic::DataVersion;

/// Names one queue of a topic at a broker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageQueue {
    /// The broker.
    #[serde(default)]
    pub broker_name: String,
    /// Number of the queue.
    #[serde(default)]
    pub queue_id: i32,
    /// The topic.
    #[serde(default)]
    pub topic: String,
}

/// Settings of a consumer group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupConfig {
    /// Named attributes.
    pub attributes: BTreeMap<String, String>,
    /// Broker to read from.
    pub broker_id: i64,
    /// Whether broadcasting is allowed.
    pub consume_broadcast_enable: bool,
    /// Whether the group may consume at all.
    pub consume_enable: bool,
    /// Whether a new group starts at the first message.
    pub consume_from_min_enable: bool,
    /// Whether the group consumes in order.
    pub consume_message_orderly: bool,
    /// Minutes after which a message counts as not consumed.
    pub consume_timeout_minute: i32,
    /// The name.
    pub group_name: String,
    /// How returns are delayed.
    pub group_retry_policy: serde_json::Value,
    /// System flag.
    pub group_sys_flag: i32,
    /// Whether members are told at once of each other's coming and going.
    pub notify_consumer_ids_changed_enable: bool,
    /// After how many returns a message is dead.
    pub retry_max_times: i32,
    /// Queues of the retry topic.
    pub retry_queue_nums: i32,
    /// Broker that slow readers are sent to.
    pub which_broker_when_consume_slowly: i64,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            attributes: BTreeMap::new(),
            broker_id: 0,
            consume_broadcast_enable: true,
            consume_enable: true,
            consume_from_min_enable: true,
            consume_message_orderly: false,
            consume_timeout_minute: 15,
            group_name: String::new(),
            group_retry_policy: serde_json::json!({"type": "CUSTOMIZED"}),
            group_sys_flag: 0,
            notify_consumer_ids_changed_enable: true,
            retry_max_times: 16,
            retry_queue_nums: 1,
            which_broker_when_consume_slowly: 1,
        }
    }
}

impl GroupConfig {
    /// A group with RocketMQ's defaults.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { group_name: name.into(), ..Self::default() }
    }
}

/// All groups of a broker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupTable {
    /// Version of the table.
    #[serde(default)]
    pub data_version: DataVersion,
    /// Topics that a group may not read; always empty here.
    #[serde(default)]
    pub forbidden_table: BTreeMap<String, BTreeMap<String, i32>>,
    /// By name.
    #[serde(default)]
    pub subscription_group_table: BTreeMap<String, GroupConfig>,
}

/// Ids of a group's members.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerIds {
    /// Client ids.
    #[serde(default)]
    pub consumer_id_list: Vec<String>,
}

/// Body of LOCK_BATCH_MQ and UNLOCK_BATCH_MQ.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LockRequest {
    /// Who wants the locks.
    #[serde(default)]
    pub client_id: String,
    /// Its group.
    #[serde(default)]
    pub consumer_group: String,
    /// The queues.
    #[serde(default)]
    pub mq_set: Vec<MessageQueue>,
    /// Whether no other broker has to agree.
    #[serde(default)]
    pub only_this_broker: bool,
}

/// Answer to LOCK_BATCH_MQ.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockResponse {
    /// Queues that the caller owns now.
    #[serde(default, rename = "lockOKMQSet")]
    pub locked: Vec<MessageQueue>,
}

/// One connected client.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// Its `ip:port`.
    pub client_addr: String,
    /// Its id.
    pub client_id: String,
    /// Its language.
    pub language: String,
    /// Its protocol version.
    pub version: i32,
}

/// Members of a consumer group with what they subscribe to (203).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerConnection {
    /// The members.
    pub connection_set: Vec<Connection>,
    /// Where a new group starts.
    pub consume_from_where: ConsumeFromWhere,
    /// How messages reach the group.
    pub consume_type: ConsumeType,
    /// Sharing or broadcasting.
    pub message_model: MessageModel,
    /// By topic.
    pub subscription_table: BTreeMap<String, SubscriptionData>,
    /// OrbitMQ's own: two members that want different things, and the difference. Others pass over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription_conflict: Option<String>,
}

/// Members of a producer group (204).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProducerConnection {
    /// The members.
    pub connection_set: Vec<Connection>,
}

/// Groups that read a topic (300).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupList {
    /// The names.
    pub group_list: Vec<String>,
}
