//! Headers of administration at a broker.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::protocol::fields::or_default;

/// UPDATE_AND_CREATE_TOPIC (17).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateTopicRequest<'a> {
    /// The topic.
    #[serde(borrow)]
    pub topic: Cow<'a, str>,
    /// Ignored; the field is required of senders.
    #[serde(borrow)]
    pub default_topic: Cow<'a, str>,
    /// Queues that are read.
    pub read_queue_nums: i32,
    /// Queues that are written.
    pub write_queue_nums: i32,
    /// Bits: 4 read, 2 write, 1 inherit.
    pub perm: i32,
    /// `SINGLE_TAG` or `MULTI_TAG`.
    #[serde(borrow, default)]
    pub topic_filter_type: Option<Cow<'a, str>>,
    /// System flag.
    #[serde(default)]
    pub topic_sys_flag: Option<i32>,
    /// Whether the queue count is fixed for order.
    #[serde(default, deserialize_with = "or_default")]
    pub order: bool,
    /// `+key=value,-key`
    #[serde(borrow, default)]
    pub attributes: Option<Cow<'a, str>>,
    /// Whether checks are skipped.
    #[serde(default)]
    pub force: Option<bool>,
}

/// Requests that name a topic only: 215, 202, 300, 351.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicRequest<'a> {
    /// The topic.
    #[serde(borrow)]
    pub topic: Cow<'a, str>,
}

/// GET_ALL_TOPIC_CONFIG (21): a page, or everything when the fields are absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AllTopicsRequest<'a> {
    /// First topic of the page.
    #[serde(default)]
    pub topic_seq: Option<i32>,
    /// Version the asker has.
    #[serde(borrow, default)]
    pub data_version: Option<Cow<'a, str>>,
    /// Page length.
    #[serde(default)]
    pub max_topic_num: Option<i32>,
}

/// Answer to 21.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AllTopicsResponse {
    /// All topics there are.
    pub total_topic_num: i32,
}

/// GET_ALL_SUBSCRIPTIONGROUP_CONFIG (201): a page, or everything when the fields are absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AllGroupsRequest<'a> {
    /// First group of the page.
    #[serde(default)]
    pub group_seq: Option<i32>,
    /// Version the asker has.
    #[serde(borrow, default)]
    pub data_version: Option<Cow<'a, str>>,
    /// Page length.
    #[serde(default)]
    pub max_group_num: Option<i32>,
}

/// Answer to 201.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AllGroupsResponse {
    /// All groups there are.
    pub total_group_num: i32,
}

/// GET_SUBSCRIPTIONGROUP_CONFIG (352).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupRequest<'a> {
    /// The group.
    #[serde(borrow)]
    pub group: Cow<'a, str>,
}

/// DELETE_SUBSCRIPTIONGROUP (207).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeleteGroupRequest<'a> {
    /// The group.
    #[serde(borrow)]
    pub group_name: Cow<'a, str>,
    /// Whether its offsets go too.
    #[serde(default)]
    pub clean_offset: Option<bool>,
}

/// GET_CONSUME_STATS (208).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsumeStatsRequest<'a> {
    /// The group.
    #[serde(borrow)]
    pub consumer_group: Cow<'a, str>,
    /// Only this topic; empty: all of the group's.
    #[serde(borrow, default)]
    pub topic: Option<Cow<'a, str>>,
    /// Only these topics, separated by `;`, whether the group reads them now or not.
    #[serde(borrow, default)]
    pub topic_list: Option<Cow<'a, str>>,
}

/// INVOKE_BROKER_TO_RESET_OFFSET (222).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResetOffsetRequest<'a> {
    /// The group.
    #[serde(borrow)]
    pub group: Cow<'a, str>,
    /// The topic.
    #[serde(borrow)]
    pub topic: Cow<'a, str>,
    /// Only this queue; -1 or absent: all.
    #[serde(default)]
    pub queue_id: Option<i32>,
    /// To this offset.
    #[serde(default)]
    pub offset: Option<i64>,
    /// Or to this store time, ms; -1: the end.
    pub timestamp: i64,
    /// Whether an offset may also go forward.
    #[serde(default)]
    pub is_force: Option<bool>,
}
