//! Headers of sending: single, batch, send-back.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// A refusal of a send whose remark holds this came after the message was appended: whether it stays is not known. Other
/// refusals mean that nothing is stored. Stable: producers look for it.
pub const MAYBE_STORED: &str = "the message may be stored all the same";

/// SEND_MESSAGE (10), with full names. [`SendRequestV2`] is the same with one-letter names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SendRequest<'a> {
    /// Group of the sender.
    #[serde(borrow)]
    pub producer_group: Cow<'a, str>,
    /// Where the message goes.
    #[serde(borrow)]
    pub topic: Cow<'a, str>,
    /// The topic whose settings a topic created by this send takes over.
    #[serde(borrow)]
    pub default_topic: Cow<'a, str>,
    /// Queues that the sender wishes for a topic created by this send.
    pub default_topic_queue_nums: i32,
    /// Queue to append to; negative: the broker chooses.
    pub queue_id: i32,
    /// Bits of [`crate::message::sysflag`].
    pub sys_flag: i32,
    /// When the sender made the message, ms since the epoch.
    pub born_timestamp: i64,
    /// The sender's own number.
    pub flag: i32,
    /// Properties as text: name 0x01 value 0x02 …
    #[serde(borrow, default)]
    pub properties: Option<Cow<'a, str>>,
    /// How often the message was given back already.
    #[serde(default)]
    pub reconsume_times: Option<i32>,
    /// Unit mode of old set-ups.
    #[serde(default)]
    pub unit_mode: Option<bool>,
    /// Whether the body is a batch.
    #[serde(default)]
    pub batch: Option<bool>,
    /// After how many returns the message is dead.
    #[serde(default)]
    pub max_reconsume_times: Option<i32>,
    /// Name of the broker the sender believes to talk to.
    #[serde(borrow, default, rename = "bname")]
    pub broker_name: Option<Cow<'a, str>>,
}

/// SEND_MESSAGE_V2 (310) and SEND_BATCH_MESSAGE (320): [`SendRequest`] with one-letter names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendRequestV2<'a> {
    /// See [`SendRequest::producer_group`].
    #[serde(borrow, rename = "a")]
    pub producer_group: Cow<'a, str>,
    /// See [`SendRequest::topic`].
    #[serde(borrow, rename = "b")]
    pub topic: Cow<'a, str>,
    /// See [`SendRequest::default_topic`].
    #[serde(borrow, rename = "c")]
    pub default_topic: Cow<'a, str>,
    /// See [`SendRequest::default_topic_queue_nums`].
    #[serde(rename = "d")]
    pub default_topic_queue_nums: i32,
    /// See [`SendRequest::queue_id`].
    #[serde(rename = "e")]
    pub queue_id: i32,
    /// See [`SendRequest::sys_flag`].
    #[serde(rename = "f")]
    pub sys_flag: i32,
    /// See [`SendRequest::born_timestamp`].
    #[serde(rename = "g")]
    pub born_timestamp: i64,
    /// See [`SendRequest::flag`].
    #[serde(rename = "h")]
    pub flag: i32,
    /// See [`SendRequest::properties`].
    #[serde(borrow, default, rename = "i")]
    pub properties: Option<Cow<'a, str>>,
    /// See [`SendRequest::reconsume_times`].
    #[serde(default, rename = "j")]
    pub reconsume_times: Option<i32>,
    /// See [`SendRequest::unit_mode`].
    #[serde(default, rename = "k")]
    pub unit_mode: Option<bool>,
    /// See [`SendRequest::max_reconsume_times`].
    #[serde(default, rename = "l")]
    pub max_reconsume_times: Option<i32>,
    /// See [`SendRequest::batch`].
    #[serde(default, rename = "m")]
    pub batch: Option<bool>,
    /// See [`SendRequest::broker_name`].
    #[serde(borrow, default, rename = "n")]
    pub broker_name: Option<Cow<'a, str>>,
}

impl<'a> From<SendRequestV2<'a>> for SendRequest<'a> {
    fn from(v2: SendRequestV2<'a>) -> Self {
        Self {
            producer_group: v2.producer_group,
            topic: v2.topic,
            default_topic: v2.default_topic,
            default_topic_queue_nums: v2.default_topic_queue_nums,
            queue_id: v2.queue_id,
            sys_flag: v2.sys_flag,
            born_timestamp: v2.born_timestamp,
            flag: v2.flag,
            properties: v2.properties,
            reconsume_times: v2.reconsume_times,
            unit_mode: v2.unit_mode,
            batch: v2.batch,
            max_reconsume_times: v2.max_reconsume_times,
            broker_name: v2.broker_name,
        }
    }
}

/// Answer to a send. RocketMQ's Java client needs `MSG_REGION` and `TRACE_ON` to be there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SendResponse<'a> {
    /// Offset message id; of a batch: all of them, joined by commas.
    #[serde(borrow)]
    pub msg_id: Cow<'a, str>,
    /// Queue the message went to.
    pub queue_id: i32,
    /// Its offset there; of a batch: the first one's.
    pub queue_offset: i64,
    /// The message's unique key.
    #[serde(borrow, default)]
    pub transaction_id: Option<Cow<'a, str>>,
    /// Only for inner batches.
    #[serde(borrow, default)]
    pub batch_uniq_id: Option<Cow<'a, str>>,
    /// Region of the broker.
    #[serde(borrow, default, rename = "MSG_REGION")]
    pub region: Option<Cow<'a, str>>,
    /// Whether clients should write trace messages.
    #[serde(default, rename = "TRACE_ON")]
    pub trace_on: Option<bool>,
    /// Takes the message back before it is due.
    #[serde(borrow, default)]
    pub recall_handle: Option<Cow<'a, str>>,
}

/// PUSH_REPLY_MESSAGE_TO_CLIENT (326): a broker hands a reply to the client that asked; the body is the reply's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PushReplyRequest<'a> {
    /// Group of whoever replied.
    #[serde(borrow)]
    pub producer_group: Cow<'a, str>,
    /// The cluster's topic of replies.
    #[serde(borrow)]
    pub topic: Cow<'a, str>,
    /// As in the send of the reply.
    #[serde(borrow)]
    pub default_topic: Cow<'a, str>,
    /// As in the send of the reply.
    pub default_topic_queue_nums: i32,
    /// As in the send of the reply.
    pub queue_id: i32,
    /// Bits of [`crate::message::sysflag`].
    pub sys_flag: i32,
    /// When the reply was made, ms since the epoch.
    pub born_timestamp: i64,
    /// The replying application's own number.
    pub flag: i32,
    /// Properties as text; CORRELATION_ID names the request.
    #[serde(borrow, default)]
    pub properties: Option<Cow<'a, str>>,
    /// As in the send of the reply.
    #[serde(default)]
    pub reconsume_times: Option<i32>,
    /// As in the send of the reply.
    #[serde(default)]
    pub unit_mode: Option<bool>,
    /// `ip:port` of whoever replied.
    #[serde(borrow)]
    pub born_host: Cow<'a, str>,
    /// `ip:port` of the broker.
    #[serde(borrow)]
    pub store_host: Cow<'a, str>,
    /// When the broker got the reply, ms since the epoch.
    pub store_timestamp: i64,
}

/// CONSUMER_SEND_MSG_BACK (36): a consumer could not deal with a message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SendBackRequest<'a> {
    /// Offset of the message in the commit log.
    pub offset: i64,
    /// The consumer's group.
    #[serde(borrow)]
    pub group: Cow<'a, str>,
    /// Negative: to the dead letters; 0: the broker chooses; else the delay level.
    pub delay_level: i32,
    /// Offset message id of the original.
    #[serde(borrow, default)]
    pub origin_msg_id: Option<Cow<'a, str>>,
    /// Topic of the original.
    #[serde(borrow, default)]
    pub origin_topic: Option<Cow<'a, str>>,
    /// Unit mode of old set-ups.
    #[serde(default)]
    pub unit_mode: Option<bool>,
    /// Overrides the group's limit.
    #[serde(default)]
    pub max_reconsume_times: Option<i32>,
    /// OrbitMQ's own: why the message is given back. RocketMQ's brokers pass over it.
    #[serde(borrow, default)]
    pub reason: Option<Cow<'a, str>>,
}

/// RECALL_MESSAGE (370): takes back a message that is not due yet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecallRequest<'a> {
    /// Group of the sender.
    #[serde(borrow, default)]
    pub producer_group: Option<Cow<'a, str>>,
    /// Topic of the message.
    #[serde(borrow)]
    pub topic: Cow<'a, str>,
    /// See [`SendResponse::recall_handle`] and [`crate::message::recall`].
    #[serde(borrow)]
    pub recall_handle: Cow<'a, str>,
    /// Name of the broker the sender believes to talk to.
    #[serde(borrow, default, rename = "bname")]
    pub broker_name: Option<Cow<'a, str>>,
}

/// Answer to a recall. RocketMQ's Java client needs `MSG_REGION` to be there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecallResponse<'a> {
    /// The message's unique key.
    #[serde(borrow)]
    pub msg_id: Cow<'a, str>,
    /// Region of the broker.
    #[serde(borrow, default, rename = "MSG_REGION")]
    pub region: Option<Cow<'a, str>>,
}
