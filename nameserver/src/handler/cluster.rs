//! GET_BROKER_CLUSTER_INFO (106), GET_BROKER_MEMBER_GROUP (901), GET_SYSTEM_TOPIC_LIST_FROM_NS (304): who is there.

use std::net::IpAddr;

use orbitmq_common::protocol::body::route::BrokerMemberGroup;
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::nameserver::BrokerMemberGroupRequest;
use serde::Serialize;

use crate::handler::{Parts, Refusal};

/// Answers 106.
pub fn cluster_info(parts: &Parts, request: &Frame, asker: IpAddr) -> Frame {
    request.answer(response::SUCCESS).with_json(&parts.routes.cluster_info(asker))
}

/// Answers 901.
pub fn member_group(parts: &Parts, request: &Frame, asker: IpAddr) -> Result<Frame, Refusal> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Body {
        broker_member_group: BrokerMemberGroup,
    }
    let header: BrokerMemberGroupRequest<'_> = request.fields()?;
    let broker_member_group = parts.routes.member_group(&header.cluster_name, &header.broker_name, asker);
    Ok(request.answer(response::SUCCESS).with_json(&Body { broker_member_group }))
}

/// Answers 304.
pub fn system_topics(parts: &Parts, request: &Frame, asker: IpAddr) -> Frame {
    request.answer(response::SUCCESS).with_json(&parts.routes.system_topics(asker))
}
