//! The fields of every captured frame, read into their typed header and written again in each encoding.

use std::collections::BTreeMap;

use orbitmq_common::protocol::code::request as code;
use orbitmq_common::protocol::fields::FieldError;
use orbitmq_common::protocol::frame::{Encoding, Frame};
use orbitmq_common::protocol::header::admin::{
    AllGroupsRequest, AllGroupsResponse, AllTopicsRequest, AllTopicsResponse, ConsumeStatsRequest, CreateTopicRequest,
    DeleteGroupRequest, ResetOffsetRequest, TopicRequest,
};
use orbitmq_common::protocol::header::group::{
    ConsumerGroupRequest, HeartbeatResponse, ProducerGroupRequest, UnregisterClientRequest,
};
use orbitmq_common::protocol::header::nameserver::{
    AddWritePermResponse, BrokerRequest, ClusterRequest, KvListRequest, KvRequest, KvResponse, NameServerTopicRequest,
    PutKvRequest, QueryDataVersionResponse, RegisterBrokerRequest, RegisterBrokerResponse, RouteRequest,
    WipeWritePermResponse, WritePermRequest,
};
use orbitmq_common::protocol::header::offset::{
    OffsetResponse, QueryOffsetRequest, QueueRequest, SearchOffsetRequest, TimestampResponse, UpdateOffsetRequest,
};
use orbitmq_common::protocol::header::pop::{AckRequest, PopRequest, PopResponse};
use orbitmq_common::protocol::header::pull::{PullRequest, PullResponse};
use orbitmq_common::protocol::header::query::{QueryRequest, QueryResponse, ViewRequest};
use orbitmq_common::protocol::header::send::{SendBackRequest, SendRequest, SendRequestV2, SendResponse};
use orbitmq_common::protocol::header::transaction::{CheckTransactionRequest, EndTransactionRequest};

use crate::sample::{self, Sample};

type Again = fn(&Frame, Encoding) -> Result<Frame, FieldError>;

macro_rules! header {
    ($type:ty) => {
        |frame, encoding| Ok(Frame::request(frame.code, encoding).with_fields(&frame.fields::<$type>()?))
    };
}

/// Decodes and encodes the typed header of a frame's kind; `None`: this kind has no fields, or we do not speak it.
fn header_of(sample: &Sample) -> Option<Again> {
    if matches!(sample.direction.as_str(), "request" | "push") { of_request(sample.code) } else { of_answer(sample) }
}

fn of_request(kind: i32) -> Option<Again> {
    Some(match kind {
        code::SEND_MESSAGE => header!(SendRequest<'_>),
        code::SEND_MESSAGE_V2 | code::SEND_BATCH_MESSAGE | code::SEND_REPLY_MESSAGE_V2 => header!(SendRequestV2<'_>),
        code::CONSUMER_SEND_MSG_BACK => header!(SendBackRequest<'_>),
        code::END_TRANSACTION => header!(EndTransactionRequest<'_>),
        code::CHECK_TRANSACTION_STATE => header!(CheckTransactionRequest<'_>),
        code::PULL_MESSAGE | code::LITE_PULL_MESSAGE => header!(PullRequest<'_>),
        code::QUERY_MESSAGE => header!(QueryRequest<'_>),
        code::VIEW_MESSAGE_BY_ID => header!(ViewRequest<'_>),
        code::QUERY_CONSUMER_OFFSET => header!(QueryOffsetRequest<'_>),
        code::UPDATE_CONSUMER_OFFSET => header!(UpdateOffsetRequest<'_>),
        code::GET_MAX_OFFSET | code::GET_MIN_OFFSET | code::GET_EARLIEST_MSG_STORETIME => header!(QueueRequest<'_>),
        code::SEARCH_OFFSET_BY_TIMESTAMP => header!(SearchOffsetRequest<'_>),
        code::UNREGISTER_CLIENT => header!(UnregisterClientRequest<'_>),
        code::GET_CONSUMER_LIST_BY_GROUP | code::GET_CONSUMER_CONNECTION_LIST | code::NOTIFY_CONSUMER_IDS_CHANGED => {
            header!(ConsumerGroupRequest<'_>)
        }
        code::GET_PRODUCER_CONNECTION_LIST => header!(ProducerGroupRequest<'_>),
        code::UPDATE_AND_CREATE_TOPIC => header!(CreateTopicRequest<'_>),
        code::DELETE_TOPIC_IN_BROKER
        | code::GET_TOPIC_STATS_INFO
        | code::QUERY_TOPIC_CONSUME_BY_WHO
        | code::GET_TOPIC_CONFIG => header!(TopicRequest<'_>),
        code::GET_ALL_TOPIC_CONFIG => header!(AllTopicsRequest<'_>),
        code::GET_ALL_SUBSCRIPTIONGROUP_CONFIG => header!(AllGroupsRequest<'_>),
        code::DELETE_SUBSCRIPTIONGROUP => header!(DeleteGroupRequest<'_>),
        code::GET_CONSUME_STATS => header!(ConsumeStatsRequest<'_>),
        code::INVOKE_BROKER_TO_RESET_OFFSET => header!(ResetOffsetRequest<'_>),
        code::GET_ROUTEINFO_BY_TOPIC => header!(RouteRequest<'_>),
        code::REGISTER_BROKER => header!(RegisterBrokerRequest<'_>),
        code::UNREGISTER_BROKER | code::QUERY_DATA_VERSION => header!(BrokerRequest<'_>),
        code::WIPE_WRITE_PERM_OF_BROKER | code::ADD_WRITE_PERM_OF_BROKER => header!(WritePermRequest<'_>),
        code::DELETE_TOPIC_IN_NAMESRV => header!(NameServerTopicRequest<'_>),
        code::GET_TOPICS_BY_CLUSTER => header!(ClusterRequest<'_>),
        code::PUT_KV_CONFIG => header!(PutKvRequest<'_>),
        code::GET_KV_CONFIG | code::DELETE_KV_CONFIG => header!(KvRequest<'_>),
        code::GET_KVLIST_BY_NAMESPACE => header!(KvListRequest<'_>),
        code::POP_MESSAGE => header!(PopRequest<'_>),
        code::ACK_MESSAGE => header!(AckRequest<'_>),
        _ => return None,
    })
}

fn of_answer(sample: &Sample) -> Option<Again> {
    let found = sample.frame.code == 0;
    Some(match sample.code {
        code::PULL_MESSAGE | code::LITE_PULL_MESSAGE if matches!(sample.frame.code, 0 | 19..=21) => {
            header!(PullResponse)
        }
        _ if !found => return None,
        code::SEND_MESSAGE | code::SEND_MESSAGE_V2 | code::SEND_BATCH_MESSAGE => header!(SendResponse<'_>),
        code::QUERY_CONSUMER_OFFSET
        | code::GET_MAX_OFFSET
        | code::GET_MIN_OFFSET
        | code::SEARCH_OFFSET_BY_TIMESTAMP => header!(OffsetResponse),
        code::GET_EARLIEST_MSG_STORETIME => header!(TimestampResponse),
        code::QUERY_MESSAGE => header!(QueryResponse),
        code::HEART_BEAT => header!(HeartbeatResponse),
        code::GET_ALL_TOPIC_CONFIG => header!(AllTopicsResponse),
        code::GET_ALL_SUBSCRIPTIONGROUP_CONFIG => header!(AllGroupsResponse),
        code::REGISTER_BROKER => header!(RegisterBrokerResponse<'_>),
        code::QUERY_DATA_VERSION => header!(QueryDataVersionResponse),
        code::WIPE_WRITE_PERM_OF_BROKER => header!(WipeWritePermResponse),
        code::ADD_WRITE_PERM_OF_BROKER => header!(AddWritePermResponse),
        code::GET_KV_CONFIG => header!(KvResponse<'_>),
        code::POP_MESSAGE => header!(PopResponse<'_>),
        _ => return None,
    })
}

fn texts(frame: &Frame) -> BTreeMap<String, String> {
    frame.fields::<BTreeMap<String, String>>().unwrap()
}

#[test]
fn fields_are_the_same_after_typed_headers_in_every_encoding() {
    let mut read = 0;
    for sample in sample::all() {
        let Some(again) = header_of(&sample) else { continue };
        if sample.is_odd() && again(&sample.frame, Encoding::Json).is_err() {
            continue;
        }
        let first = again(&sample.frame, Encoding::Json).unwrap_or_else(|error| panic!("{}: {error}", sample.file));
        for encoding in [Encoding::Json, Encoding::Binary, Encoding::MessagePack] {
            let other = again(&sample.frame, encoding).unwrap();
            assert_eq!(again(&other, Encoding::Json).unwrap(), first, "{} {encoding:?}", sample.file);
        }
        read += 1;
    }
    assert!(read > 150, "{read} frames have typed headers");
}

/// Fields that Apache sends and we have no use for.
const UNUSED: [&str; 4] = [
    // The broker that the client believes to talk to.
    "bname",
    // Whether the name is that of a static topic's part.
    "lo",
    // Where a pull comes from: a consumer or a proxy.
    "ReqT",
    // Whether the key of a query is a key or a unique id; `_UNIQUE_KEY_QUERY` says it as well.
    "indexType",
];

#[test]
fn no_field_of_apaches_is_lost_by_accident() {
    let mut unused: BTreeMap<String, String> = BTreeMap::new();
    for sample in sample::all() {
        let Some(again) = header_of(&sample) else { continue };
        let Ok(typed) = again(&sample.frame, Encoding::Json) else { continue };
        let (theirs, ours) = (texts(&sample.frame), texts(&typed));
        for (name, value) in &theirs {
            match ours.get(name) {
                Some(kept) => assert_eq!(kept, value, "{}: {name}", sample.file),
                // An empty text is an absent one.
                None if value.is_empty() => {}
                None if UNUSED.contains(&name.as_str()) => {}
                None => drop(unused.insert(format!("{name} on {}", sample.code), sample.file.clone())),
            }
        }
        for name in ours.keys() {
            let optional = matches!(name.as_str(), "compressed" | "bodyCrc32" | "subVersion" | "order");
            assert!(theirs.contains_key(name) || optional, "{}: '{name}' was not sent", sample.file);
        }
    }
    assert!(unused.is_empty(), "fields that no typed header reads: {unused:#?}");
}

#[test]
fn headers_that_lack_or_misspell_a_field_are_refused_by_its_name() {
    let refused: Vec<String> = sample::all()
        .iter()
        .filter(|sample| sample.is_odd())
        .filter_map(|sample| header_of(sample)?(&sample.frame, Encoding::Json).err())
        .map(|error| error.to_string())
        .collect();
    assert!(refused.iter().any(|text| text.contains("'topic' is missing")), "{refused:?}");
}
