//! Headers of popping: messages go to whoever asks, invisible to others until they are acknowledged or their time is over.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::protocol::fields::or_default;

/// POP_MESSAGE (200050).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PopRequest<'a> {
    /// The reader's group.
    #[serde(borrow)]
    pub consumer_group: Cow<'a, str>,
    /// What is read.
    #[serde(borrow)]
    pub topic: Cow<'a, str>,
    /// Which of the topic's queues; negative: any.
    pub queue_id: i32,
    /// At most so many messages, up to 32.
    pub max_msg_nums: i32,
    /// For how long nobody else shall see them, ms.
    pub invisible_time: i64,
    /// How long the broker may hold the request, ms.
    #[serde(default, deserialize_with = "or_default")]
    pub poll_time: i64,
    /// When the request was made, ms since the epoch of the reader's clock.
    #[serde(default, deserialize_with = "or_default")]
    pub born_time: i64,
    /// Where a group without an offset begins: 0 at the first message, 1 at the last.
    #[serde(default, deserialize_with = "or_default")]
    pub init_mode: i32,
    /// `TAG` (default) or `SQL92`.
    #[serde(borrow, default)]
    pub exp_type: Option<Cow<'a, str>>,
    /// Filter expression.
    #[serde(borrow, default)]
    pub exp: Option<Cow<'a, str>>,
    /// Whether one batch of a queue has to be acknowledged before the next.
    #[serde(default)]
    pub order: Option<bool>,
    /// Names one attempt: repeated with the same id it may have the batch that it has already.
    #[serde(borrow, default)]
    pub attempt_id: Option<Cow<'a, str>>,
}

/// Answer to a pop, whatever its code: Java unboxes the four numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PopResponse<'a> {
    /// When the messages were popped, ms since the epoch.
    pub pop_time: i64,
    /// For how long nobody else sees them, ms.
    pub invisible_time: i64,
    /// Queue of the revive topic that notes them; 999: in order.
    pub revive_qid: i32,
    /// How many more messages wait.
    pub rest_num: i64,
    /// First offset by queue; see [`crate::message::receipt`].
    #[serde(borrow, default)]
    pub start_offset_info: Option<Cow<'a, str>>,
    /// Offsets of the messages by queue.
    #[serde(borrow, default)]
    pub msg_offset_info: Option<Cow<'a, str>>,
    /// How often messages were popped in order before.
    #[serde(borrow, default)]
    pub order_count_info: Option<Cow<'a, str>>,
}

/// PEEK_MESSAGE (200052): what a pop would give, and nothing changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeekRequest<'a> {
    /// The reader's group.
    #[serde(borrow)]
    pub consumer_group: Cow<'a, str>,
    /// What is read.
    #[serde(borrow)]
    pub topic: Cow<'a, str>,
    /// Which of the topic's queues; negative: any.
    pub queue_id: i32,
    /// At most so many messages.
    pub max_msg_nums: i32,
}

/// ACK_MESSAGE (200051).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AckRequest<'a> {
    /// The reader's group.
    #[serde(borrow)]
    pub consumer_group: Cow<'a, str>,
    /// The topic that the message lies in, which may be a retry topic.
    #[serde(borrow)]
    pub topic: Cow<'a, str>,
    /// The queue that the message lies in.
    pub queue_id: i32,
    /// Its receipt.
    #[serde(borrow)]
    pub extra_info: Cow<'a, str>,
    /// Its offset.
    pub offset: i64,
}

/// CHANGE_MESSAGE_INVISIBLETIME (200053).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvisibleRequest<'a> {
    /// The reader's group.
    #[serde(borrow)]
    pub consumer_group: Cow<'a, str>,
    /// The topic that the message lies in, which may be a retry topic.
    #[serde(borrow)]
    pub topic: Cow<'a, str>,
    /// The queue that the message lies in.
    pub queue_id: i32,
    /// Its receipt.
    #[serde(borrow)]
    pub extra_info: Cow<'a, str>,
    /// Its offset.
    pub offset: i64,
    /// For how long from now nobody else shall see it, ms.
    pub invisible_time: i64,
}

/// Answer to it: parts of the message's new receipt.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InvisibleResponse {
    /// When the new invisible time began, ms since the epoch.
    pub pop_time: i64,
    /// How long it is, ms.
    pub invisible_time: i64,
    /// Queue of the revive topic that notes it.
    pub revive_qid: i32,
}

/// NOTIFICATION (200054): answered when there is something to pop.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NotificationRequest<'a> {
    /// The reader's group.
    #[serde(borrow)]
    pub consumer_group: Cow<'a, str>,
    /// What would be read.
    #[serde(borrow)]
    pub topic: Cow<'a, str>,
    /// Which of the topic's queues; negative: any.
    pub queue_id: i32,
    /// How long the broker may hold the request, ms.
    #[serde(default, deserialize_with = "or_default")]
    pub poll_time: i64,
    /// When the request was made, ms since the epoch of the reader's clock.
    #[serde(default, deserialize_with = "or_default")]
    pub born_time: i64,
    /// Whether it would be popped in order.
    #[serde(default)]
    pub order: Option<bool>,
    /// The attempt in whose name it would be popped.
    #[serde(borrow, default)]
    pub attempt_id: Option<Cow<'a, str>>,
}

/// Answer to it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NotificationResponse {
    /// Whether there is something to pop.
    pub has_msg: bool,
    /// Whether the request was not held because too many are.
    #[serde(default)]
    pub polling_full: bool,
}

/// POLLING_INFO (200055).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PollingInfoRequest<'a> {
    /// The readers' group.
    #[serde(borrow)]
    pub consumer_group: Cow<'a, str>,
    /// What they wait for.
    #[serde(borrow)]
    pub topic: Cow<'a, str>,
    /// Which of the topic's queues they named; negative: any.
    pub queue_id: i32,
}

/// Answer to it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PollingInfoResponse {
    /// Requests that are held.
    pub polling_num: i32,
}
