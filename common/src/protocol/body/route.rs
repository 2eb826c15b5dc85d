//! Routes: which brokers are there and which queues of a topic they hold.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The id under which a master is registered.
pub const MASTER_ID: i64 = 0;

/// Permission bits of a topic's queues.
pub mod perm {
    /// Queues may be read.
    pub const READ: i32 = 4;
    /// Queues may be written.
    pub const WRITE: i32 = 2;
    /// Topics created automatically take their settings from this one.
    pub const INHERIT: i32 = 1;
}

/// The queues of one topic at one broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueData {
    /// The broker.
    pub broker_name: String,
    /// Bits of [`perm`].
    pub perm: i32,
    /// Queues that are read.
    pub read_queue_nums: i32,
    /// System flag of the topic.
    #[serde(default, alias = "topicSynFlag")]
    pub topic_sys_flag: i32,
    /// Queues that are written.
    pub write_queue_nums: i32,
}

/// A master and its slaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BrokerData {
    /// `host:port` by broker id; 0 is the master.
    #[serde(default)]
    pub broker_addrs: BTreeMap<i64, String>,
    /// The shared name.
    pub broker_name: String,
    /// The cluster.
    #[serde(default)]
    pub cluster: String,
    /// Whether a slave stands in for a dead master.
    #[serde(default)]
    pub enable_acting_master: bool,
    /// Zone of the broker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone_name: Option<String>,
}

/// Answer to a route request. All three collections are always there: Java sorts them without a null check.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicRoute {
    /// The brokers.
    #[serde(default)]
    pub broker_datas: Vec<BrokerData>,
    /// Filter servers by broker address; a relic.
    #[serde(default)]
    pub filter_server_table: BTreeMap<String, Vec<String>>,
    /// `brokerA:4;brokerB:4`, for topics with a fixed queue layout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_topic_conf: Option<String>,
    /// The queues.
    #[serde(default)]
    pub queue_datas: Vec<QueueData>,
}

/// All brokers a name server knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterInfo {
    /// By broker name.
    #[serde(default)]
    pub broker_addr_table: BTreeMap<String, BrokerData>,
    /// Broker names by cluster.
    #[serde(default)]
    pub cluster_addr_table: BTreeMap<String, Vec<String>>,
}

/// Names of topics.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicList {
    /// One broker that can be asked for more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broker_addr: Option<String>,
    /// The names.
    #[serde(default)]
    pub topic_list: Vec<String>,
}

/// Members of one broker group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BrokerMemberGroup {
    /// `host:port` by broker id.
    pub broker_addrs: BTreeMap<i64, String>,
    /// The shared name.
    pub broker_name: String,
    /// The cluster.
    pub cluster: String,
}
