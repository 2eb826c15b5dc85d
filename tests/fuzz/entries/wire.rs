//! Bytes from a socket: a stream of frames, their fields, their bodies.

use bytes::BytesMut;
use orbitmq_common::protocol::body::group::{GroupConfig, LockRequest};
use orbitmq_common::protocol::body::heartbeat::{CheckClientRequest, HeartbeatData};
use orbitmq_common::protocol::body::kv::KvTable;
use orbitmq_common::protocol::body::register::RegisterBody;
use orbitmq_common::protocol::body::route::{ClusterInfo, TopicRoute};
use orbitmq_common::protocol::body::stats::{TopicOffset, parse_table};
use orbitmq_common::protocol::body::topic::TopicTable;
use orbitmq_common::protocol::codec::{FrameCodec, encode_frame};
use orbitmq_common::protocol::frame::{Encoding, Frame};
use orbitmq_common::protocol::header::{admin, group, nameserver, offset, pull, query, send};
use orbitmq_common::protocol::relaxed;
use tokio_util::codec::Decoder;

/// Longest text that an error may be: it goes into logs and remarks.
const MAX_ERROR: usize = 300;

/// The frames of a stream, up to its end or its first error.
fn frames(data: &[u8]) -> Vec<Frame> {
    let mut source = BytesMut::from(data);
    let mut codec = FrameCodec::default();
    let mut frames = Vec::new();
    loop {
        match codec.decode(&mut source) {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => break,
            Err(error) => {
                check_text(&error);
                break;
            }
        }
    }
    let room = source.capacity();
    assert!(room <= 2 * data.len() + (1 << 20), "{} bytes take a buffer of {room}", data.len());
    frames
}

fn check_text(error: &dyn std::fmt::Display) {
    let text = error.to_string();
    assert!(!text.is_empty() && text.len() < MAX_ERROR, "an error of {} bytes: {text}", text.len());
}

/// A stream of frames, however it is cut; what is read is written and read again as the same.
pub fn frame(data: &[u8]) {
    let whole = frames(data);
    for frame in &whole {
        let mut bytes = BytesMut::new();
        encode_frame(frame, &mut bytes);
        assert_eq!(FrameCodec::default().decode(&mut bytes).ok().flatten().as_ref(), Some(frame));
        assert!(bytes.is_empty());
    }
    let (mut source, mut codec, mut pieces) = (BytesMut::new(), FrameCodec::default(), Vec::new());
    'stream: for chunk in data.chunks(data.len() / 3 + 1) {
        source.extend_from_slice(chunk);
        loop {
            match codec.decode(&mut source) {
                Ok(Some(frame)) => pieces.push(frame),
                Ok(None) => break,
                // Its connection would be closed.
                Err(_) => break 'stream,
            }
        }
    }
    assert_eq!(whole, pieces);
}

macro_rules! read_as {
    ($frame:expr; $($type:ty),* $(,)?) => {$(
        match $frame.fields::<$type>() {
            Ok(header) => {
                for encoding in [Encoding::Json, Encoding::Binary, Encoding::MessagePack] {
                    let again = Frame::request($frame.code, encoding).with_fields(&header);
                    // A present but empty text of MessagePack counts as absent in the others.
                    let read = again.fields::<$type>();
                    assert!(read.is_ok(), "{read:?} from {header:?}");
                    assert!(read.as_ref() == Ok(&header) || format!("{header:?}").contains("Some(\"\")"), "{read:?} from {header:?}");
                }
            }
            Err(error) => check_text(&error),
        }
    )*};
}

/// The fields of each frame, read as every header there is.
pub fn headers(data: &[u8]) {
    for frame in frames(data) {
        read_as!(frame;
            send::SendRequest<'_>, send::SendRequestV2<'_>, send::SendResponse<'_>, send::SendBackRequest<'_>,
            pull::PullRequest<'_>, pull::PullResponse,
            offset::QueryOffsetRequest<'_>, offset::UpdateOffsetRequest<'_>, offset::QueueRequest<'_>,
            offset::SearchOffsetRequest<'_>, offset::OffsetResponse, offset::TimestampResponse,
            query::QueryRequest<'_>, query::QueryResponse, query::ViewRequest<'_>,
            group::HeartbeatResponse, group::UnregisterClientRequest<'_>, group::ConsumerGroupRequest<'_>,
            group::ProducerGroupRequest<'_>,
        );
        read_as!(frame;
            admin::CreateTopicRequest<'_>, admin::TopicRequest<'_>, admin::AllTopicsRequest<'_>, admin::AllTopicsResponse,
            admin::AllGroupsRequest<'_>, admin::AllGroupsResponse, admin::GroupRequest<'_>, admin::DeleteGroupRequest<'_>,
            admin::ConsumeStatsRequest<'_>, admin::ResetOffsetRequest<'_>,
        );
        read_as!(frame;
            nameserver::RouteRequest<'_>, nameserver::RegisterBrokerRequest<'_>, nameserver::RegisterBrokerResponse<'_>,
            nameserver::BrokerRequest<'_>, nameserver::QueryDataVersionResponse, nameserver::BrokerHeartbeatRequest<'_>,
            nameserver::BrokerHeartbeatResponse, nameserver::BrokerMemberGroupRequest<'_>, nameserver::WritePermRequest<'_>,
            nameserver::WipeWritePermResponse, nameserver::AddWritePermResponse, nameserver::NameServerTopicRequest<'_>,
            nameserver::ClusterRequest<'_>, nameserver::PutKvRequest<'_>, nameserver::KvRequest<'_>,
            nameserver::KvListRequest<'_>, nameserver::KvResponse<'_>, nameserver::Hello,
        );
    }
}

/// A body, read as every kind there is.
pub fn body(data: &[u8]) {
    match relaxed::to_strict(data) {
        Ok(strict) => assert!(strict.len() <= 4 * data.len() + 2, "{} bytes grow to {}", data.len(), strict.len()),
        Err(error) => check_text(&error),
    }
    let errors = [
        relaxed::parse::<HeartbeatData>(data).err(),
        relaxed::parse::<CheckClientRequest>(data).err(),
        relaxed::parse::<LockRequest>(data).err(),
        relaxed::parse::<GroupConfig>(data).err(),
        relaxed::parse::<TopicTable>(data).err(),
        relaxed::parse::<TopicRoute>(data).err(),
        relaxed::parse::<ClusterInfo>(data).err(),
        relaxed::parse::<KvTable>(data).err(),
        parse_table::<TopicOffset>(data).err(),
        RegisterBody::decode(data, false).err(),
        RegisterBody::decode(data, true).err(),
    ];
    for error in errors.iter().flatten() {
        check_text(error);
    }
}
