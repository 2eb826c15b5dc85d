//! Every typed header with the fields that RocketMQ requires of it.

use super::fill::{Field, fields_of, fill};
use crate::protocol::fields::FieldError;
use crate::protocol::frame::{Encoding, Frame};
use crate::protocol::header::{admin, examine, group, nameserver, offset, pull, query, send};

/// One header type, its type erased.
pub struct Header {
    pub name: &'static str,
    /// Fields without which it does not decode.
    pub required: &'static [&'static str],
    pub fields: fn() -> Vec<Field>,
    /// A frame with a header drawn from bytes.
    pub filled: fn(&[u8], Encoding) -> Frame,
    /// Decodes a frame's fields and encodes them again.
    pub again: fn(&Frame, Encoding) -> Result<Frame, FieldError>,
}

macro_rules! headers {
    ($($type:ty: $required:expr,)*) => {
        pub const HEADERS: &[Header] = &[$(Header {
            name: stringify!($type),
            required: &$required,
            fields: || fields_of::<$type>(),
            filled: |bytes, encoding| Frame::request(1, encoding).with_fields(&fill::<$type>(bytes)),
            again: |frame, encoding| Ok(Frame::request(1, encoding).with_fields(&frame.fields::<$type>()?)),
        },)*];
    };
}

headers! {
    send::SendRequest<'_>: ["producerGroup", "topic", "defaultTopic", "defaultTopicQueueNums", "queueId", "sysFlag", "bornTimestamp", "flag"],
    send::SendRequestV2<'_>: ["a", "b", "c", "d", "e", "f", "g", "h"],
    send::SendResponse<'_>: ["msgId", "queueId", "queueOffset"],
    send::PushReplyRequest<'_>: ["producerGroup", "topic", "defaultTopic", "defaultTopicQueueNums", "queueId", "sysFlag", "bornTimestamp", "flag", "bornHost", "storeHost", "storeTimestamp"],
    send::SendBackRequest<'_>: ["offset", "group", "delayLevel"],
    send::RecallRequest<'_>: ["topic", "recallHandle"],
    send::RecallResponse<'_>: ["msgId"],
    pull::PullRequest<'_>: ["consumerGroup", "topic", "queueId", "queueOffset", "maxMsgNums", "sysFlag", "commitOffset", "suspendTimeoutMillis"],
    pull::PullResponse: ["suggestWhichBrokerId", "nextBeginOffset", "minOffset", "maxOffset"],
    offset::QueryOffsetRequest<'_>: ["consumerGroup", "topic", "queueId"],
    offset::UpdateOffsetRequest<'_>: ["consumerGroup", "topic", "queueId", "commitOffset"],
    offset::QueueRequest<'_>: ["topic", "queueId"],
    offset::SearchOffsetRequest<'_>: ["topic", "queueId", "timestamp"],
    offset::OffsetResponse: ["offset"],
    offset::TimestampResponse: ["timestamp"],
    query::QueryRequest<'_>: ["topic", "key", "maxNum", "beginTimestamp", "endTimestamp"],
    query::QueryResponse: ["indexLastUpdateTimestamp", "indexLastUpdatePhyoffset"],
    query::ViewRequest<'_>: ["offset"],
    group::HeartbeatResponse: ["IS_SUPPORT_HEART_BEAT_V2", "IS_SUB_CHANGE"],
    group::UnregisterClientRequest<'_>: ["clientID"],
    group::ConsumerGroupRequest<'_>: ["consumerGroup"],
    group::ProducerGroupRequest<'_>: ["producerGroup"],
    admin::CreateTopicRequest<'_>: ["topic", "defaultTopic", "readQueueNums", "writeQueueNums", "perm"],
    admin::TopicRequest<'_>: ["topic"],
    admin::AllTopicsRequest<'_>: [],
    admin::AllTopicsResponse: ["totalTopicNum"],
    admin::AllGroupsRequest<'_>: [],
    admin::AllGroupsResponse: ["totalGroupNum"],
    admin::GroupRequest<'_>: ["group"],
    admin::DeleteGroupRequest<'_>: ["groupName"],
    admin::ConsumeStatsRequest<'_>: ["consumerGroup"],
    admin::ResetOffsetRequest<'_>: ["group", "topic", "timestamp"],
    examine::TrafficRequest<'_>: ["statsName", "statsKey"],
    examine::AllConsumeStatsRequest: [],
    examine::GroupTopicRequest<'_>: ["group", "topic"],
    examine::ConsumerStatusRequest<'_>: ["topic", "group"],
    examine::CorrectionRequest<'_>: ["compareGroup", "topic"],
    examine::CloneOffsetsRequest<'_>: ["srcGroup", "destGroup"],
    examine::ForbiddenRequest<'_>: ["group", "topic"],
    examine::QueueEntriesRequest<'_>: ["topic", "queueId", "index", "count"],
    examine::SettingsResponse<'_>: ["version"],
    nameserver::RouteRequest<'_>: ["topic"],
    nameserver::RegisterBrokerRequest<'_>: ["brokerName", "brokerAddr", "clusterName", "haServerAddr", "brokerId"],
    nameserver::RegisterBrokerResponse<'_>: [],
    nameserver::BrokerRequest<'_>: ["brokerName", "brokerAddr", "clusterName", "brokerId"],
    nameserver::QueryDataVersionResponse: ["changed"],
    nameserver::BrokerHeartbeatRequest<'_>: ["clusterName", "brokerAddr", "brokerName"],
    nameserver::BrokerHeartbeatResponse: [],
    nameserver::BrokerMemberGroupRequest<'_>: ["clusterName", "brokerName"],
    nameserver::WritePermRequest<'_>: ["brokerName"],
    nameserver::WipeWritePermResponse: ["wipeTopicCount"],
    nameserver::AddWritePermResponse: ["addTopicCount"],
    nameserver::NameServerTopicRequest<'_>: ["topic"],
    nameserver::ClusterRequest<'_>: ["cluster"],
    nameserver::PutKvRequest<'_>: ["namespace", "key", "value"],
    nameserver::KvRequest<'_>: ["namespace", "key"],
    nameserver::KvListRequest<'_>: ["namespace"],
    nameserver::KvResponse<'_>: ["value"],
    nameserver::Hello: ["encodings"],
}
