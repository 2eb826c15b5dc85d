//! Topics and their settings.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::protocol::body::route::perm;

/// How often and when a set of settings was changed. Equal when all three are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataVersion {
    /// Changes since the broker's start.
    #[serde(default)]
    pub counter: i64,
    /// Changes of the broker's role.
    #[serde(default)]
    pub state_version: i64,
    /// Time of the last change, ms since the epoch.
    #[serde(default)]
    pub timestamp: i64,
}

impl std::fmt::Display for DataVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.state_version, self.timestamp, self.counter)
    }
}

/// Settings of one topic at one broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicConfig {
    /// Named attributes.
    #[serde(default)]
    pub attributes: BTreeMap<String, String>,
    /// Whether the queue count is fixed for order.
    #[serde(default)]
    pub order: bool,
    /// Bits of [`perm`].
    #[serde(default = "read_write")]
    pub perm: i32,
    /// Queues that are read.
    #[serde(default = "sixteen")]
    pub read_queue_nums: i32,
    /// `SINGLE_TAG` or `MULTI_TAG`.
    #[serde(default = "single_tag")]
    pub topic_filter_type: String,
    /// The name.
    #[serde(default)]
    pub topic_name: String,
    /// System flag.
    #[serde(default)]
    pub topic_sys_flag: i32,
    /// Queues that are written.
    #[serde(default = "sixteen")]
    pub write_queue_nums: i32,
}

fn read_write() -> i32 {
    perm::READ | perm::WRITE
}

fn sixteen() -> i32 {
    16
}

fn single_tag() -> String {
    "SINGLE_TAG".to_owned()
}

impl TopicConfig {
    /// A topic with as many read as write queues.
    #[must_use]
    pub fn new(name: impl Into<String>, queues: i32, perm: i32) -> Self {
        Self {
            attributes: BTreeMap::new(),
            order: false,
            perm,
            read_queue_nums: queues,
            topic_filter_type: single_tag(),
            topic_name: name.into(),
            topic_sys_flag: 0,
            write_queue_nums: queues,
        }
    }
}

/// All topics of a broker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicTable {
    /// Version of the table.
    #[serde(default)]
    pub data_version: DataVersion,
    /// Version of the static-topic mappings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapping_data_version: Option<DataVersion>,
    /// By name.
    #[serde(default)]
    pub topic_config_table: BTreeMap<String, TopicConfig>,
    /// Mappings of static topics, always empty here.
    #[serde(default)]
    pub topic_queue_mapping_detail_map: BTreeMap<String, serde_json::Value>,
    /// Mappings of static topics, always empty here.
    #[serde(default)]
    pub topic_queue_mapping_info_map: BTreeMap<String, serde_json::Value>,
}

/// Several topics to create at once (18).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicConfigList {
    /// The topics.
    pub topic_config_list: Vec<TopicConfig>,
}
