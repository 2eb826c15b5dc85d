//! Headers of requests that look at what a broker holds for topics and groups, or correct it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::protocol::fields::or_default;

/// VIEW_BROKER_STATS_DATA (315).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrafficRequest<'a> {
    /// What is counted, such as `TOPIC_PUT_NUMS`.
    #[serde(borrow)]
    pub stats_name: Cow<'a, str>,
    /// Of what: a topic, `topic@group`, or the cluster.
    #[serde(borrow)]
    pub stats_key: Cow<'a, str>,
}

/// GET_BROKER_CONSUME_STATS (317).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AllConsumeStatsRequest {
    /// Whether only topics with a fixed number of queues count.
    #[serde(default, deserialize_with = "or_default")]
    pub is_order: bool,
}

/// Requests that name a group and a topic: 303, 345.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupTopicRequest<'a> {
    /// The group.
    #[serde(borrow)]
    pub group: Cow<'a, str>,
    /// The topic.
    #[serde(borrow)]
    pub topic: Cow<'a, str>,
}

/// INVOKE_BROKER_TO_GET_CONSUMER_STATUS (223), and GET_CONSUMER_STATUS_FROM_CLIENT (221) that it hands on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerStatusRequest<'a> {
    /// The topic.
    #[serde(borrow)]
    pub topic: Cow<'a, str>,
    /// The group.
    #[serde(borrow)]
    pub group: Cow<'a, str>,
    /// Id of the only client to ask; absent: all of the group's.
    #[serde(borrow, default)]
    pub client_addr: Option<Cow<'a, str>>,
}

/// QUERY_CORRECTION_OFFSET (308).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CorrectionRequest<'a> {
    /// Groups that do not count, separated by commas.
    #[serde(borrow, default)]
    pub filter_groups: Option<Cow<'a, str>>,
    /// The group to compare with.
    #[serde(borrow)]
    pub compare_group: Cow<'a, str>,
    /// The topic.
    #[serde(borrow)]
    pub topic: Cow<'a, str>,
}

/// CLONE_GROUP_OFFSET (314).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CloneOffsetsRequest<'a> {
    /// The group whose offsets are copied.
    #[serde(borrow)]
    pub src_group: Cow<'a, str>,
    /// The group that gets them.
    #[serde(borrow)]
    pub dest_group: Cow<'a, str>,
    /// Only this topic; absent: all of the group's.
    #[serde(borrow, default)]
    pub topic: Option<Cow<'a, str>>,
    /// Whether topics count that the connected members no longer read.
    #[serde(default, deserialize_with = "or_default")]
    pub offline: bool,
}

/// UPDATE_AND_GET_GROUP_FORBIDDEN (353).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForbiddenRequest<'a> {
    /// The group.
    #[serde(borrow)]
    pub group: Cow<'a, str>,
    /// The topic.
    #[serde(borrow)]
    pub topic: Cow<'a, str>,
    /// Whether the group may read the topic from now on; absent: nothing changes.
    #[serde(default)]
    pub readable: Option<bool>,
}

/// QUERY_CONSUME_QUEUE (321).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueEntriesRequest<'a> {
    /// The topic.
    #[serde(borrow)]
    pub topic: Cow<'a, str>,
    /// The queue.
    pub queue_id: i32,
    /// Offset of the first entry.
    pub index: i64,
    /// At most so many entries.
    pub count: i32,
    /// The group whose subscription is looked at.
    #[serde(borrow, default)]
    pub consumer_group: Option<Cow<'a, str>>,
}

/// Answer to GET_BROKER_CONFIG (26).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettingsResponse<'a> {
    /// Version of the settings, as the JSON of a data version.
    #[serde(borrow)]
    pub version: Cow<'a, str>,
}

/// GET_CONSUMER_RUNNING_INFO (307), to a broker and from there to the consumer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunningInfoRequest<'a> {
    /// The consumer's group.
    #[serde(borrow)]
    pub consumer_group: Cow<'a, str>,
    /// The consumer.
    #[serde(borrow)]
    pub client_id: Cow<'a, str>,
    /// Whether to tell what each thread does.
    #[serde(default)]
    pub jstack_enable: Option<bool>,
}

/// CONSUME_MESSAGE_DIRECTLY (309), to a broker and from there, with the message, to the consumer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsumeDirectlyRequest<'a> {
    /// The consumer's group.
    #[serde(borrow)]
    pub consumer_group: Cow<'a, str>,
    /// The consumer.
    #[serde(borrow, default)]
    pub client_id: Option<Cow<'a, str>>,
    /// The message's offset id.
    #[serde(borrow, default)]
    pub msg_id: Option<Cow<'a, str>>,
    /// The broker that holds it.
    #[serde(borrow, default)]
    pub broker_name: Option<Cow<'a, str>>,
    /// Its topic.
    #[serde(borrow, default)]
    pub topic: Option<Cow<'a, str>>,
}
