//! Headers about positions in queues.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// QUERY_CONSUMER_OFFSET (14).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueryOffsetRequest<'a> {
    /// Whose offset.
    #[serde(borrow)]
    pub consumer_group: Cow<'a, str>,
    /// Of which topic.
    #[serde(borrow)]
    pub topic: Cow<'a, str>,
    /// And which queue.
    pub queue_id: i32,
    /// False: answer 22 rather than 0 for a group that has no offset yet.
    #[serde(default)]
    pub set_zero_if_not_found: Option<bool>,
}

/// UPDATE_CONSUMER_OFFSET (15).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateOffsetRequest<'a> {
    /// Whose offset.
    #[serde(borrow)]
    pub consumer_group: Cow<'a, str>,
    /// Of which topic.
    #[serde(borrow)]
    pub topic: Cow<'a, str>,
    /// And which queue.
    pub queue_id: i32,
    /// The first message not yet consumed.
    pub commit_offset: i64,
}

/// GET_MAX_OFFSET (30), GET_MIN_OFFSET (31), GET_EARLIEST_MSG_STORETIME (32).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueRequest<'a> {
    /// Topic of the queue.
    #[serde(borrow)]
    pub topic: Cow<'a, str>,
    /// The queue.
    pub queue_id: i32,
    /// Whether only confirmed messages count; ours always do.
    #[serde(default)]
    pub committed: Option<bool>,
}

/// SEARCH_OFFSET_BY_TIMESTAMP (29).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SearchOffsetRequest<'a> {
    /// Topic of the queue.
    #[serde(borrow)]
    pub topic: Cow<'a, str>,
    /// The queue.
    pub queue_id: i32,
    /// Store time looked for, ms since the epoch.
    pub timestamp: i64,
    /// `lower` (default) or `upper`, in any case.
    #[serde(borrow, default)]
    pub boundary_type: Option<Cow<'a, str>>,
}

/// Answer with one offset: to 14, 29, 30, 31.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetResponse {
    /// Offset in the queue.
    pub offset: i64,
}

/// Answer to 32.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimestampResponse {
    /// ms since the epoch; -1: none.
    pub timestamp: i64,
}
