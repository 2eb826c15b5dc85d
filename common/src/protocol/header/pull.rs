//! Headers of pulling.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::protocol::fields::or_default;

/// PULL_MESSAGE (11) and LITE_PULL_MESSAGE (361).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PullRequest<'a> {
    /// The reader's group.
    #[serde(borrow)]
    pub consumer_group: Cow<'a, str>,
    /// What is read.
    #[serde(borrow)]
    pub topic: Cow<'a, str>,
    /// Which of the topic's queues.
    pub queue_id: i32,
    /// First offset wanted.
    pub queue_offset: i64,
    /// At most so many messages.
    pub max_msg_nums: i32,
    /// Bits of [`crate::message::sysflag::pull`].
    pub sys_flag: i32,
    /// Offset to store for the group, when its bit is set.
    pub commit_offset: i64,
    /// How long the broker may hold the request, ms.
    pub suspend_timeout_millis: i64,
    /// Filter expression, when its bit is set.
    #[serde(borrow, default)]
    pub subscription: Option<Cow<'a, str>>,
    /// Version of the subscription the reader has.
    #[serde(default, deserialize_with = "or_default")]
    pub sub_version: i64,
    /// `TAG` (default) or `SQL92`.
    #[serde(borrow, default)]
    pub expression_type: Option<Cow<'a, str>>,
    /// At most so many bytes.
    #[serde(default)]
    pub max_msg_bytes: Option<i32>,
    /// Used by proxies.
    #[serde(default)]
    pub request_source: Option<i32>,
    /// Name of the broker the reader believes to talk to.
    #[serde(borrow, default, rename = "bname")]
    pub broker_name: Option<Cow<'a, str>>,
}

/// Answer to a pull, whatever its code: Java unboxes the four offsets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PullResponse {
    /// Broker id the reader should ask next time.
    pub suggest_which_broker_id: i64,
    /// Where to go on.
    pub next_begin_offset: i64,
    /// First offset the queue still has.
    pub min_offset: i64,
    /// Offset after the queue's last message.
    pub max_offset: i64,
    /// 0; for logical queues of static topics.
    #[serde(default)]
    pub offset_delta: Option<i64>,
    /// Topic's system flag.
    #[serde(default)]
    pub topic_sys_flag: Option<i32>,
    /// Group's system flag.
    #[serde(default)]
    pub group_sys_flag: Option<i32>,
    /// Which ban refused the pull.
    #[serde(default)]
    pub forbidden_type: Option<i32>,
}
