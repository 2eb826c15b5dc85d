//! BROKER_HEARTBEAT (904): a sign of life. QUERY_DATA_VERSION (322): the same, asking whether to register anew.

use std::time::Instant;

use orbitmq_common::protocol::body::topic::DataVersion;
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::nameserver::{
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRequest, QueryDataVersionResponse,
};
use orbitmq_common::protocol::relaxed;

use crate::handler::register::lease;
use crate::handler::{Parts, Refusal};
use crate::routes::Pulse;
use crate::routes::members::Identity;

/// Answers 904. RocketMQ's brokers read the code alone, ours the fields.
pub fn heartbeat(parts: &Parts, request: &Frame) -> Result<Frame, Refusal> {
    let header: BrokerHeartbeatRequest<'_> = request.fields()?;
    let who = Identity {
        cluster: &header.cluster_name,
        name: &header.broker_name,
        addr: &header.broker_addr,
        id: header.broker_id.unwrap_or(0),
    };
    let lease = lease(header.heartbeat_timeout_mills, "heartbeatTimeoutMills")?;
    let pulse = parts.routes.heartbeat(who, lease, header.data_version.as_deref(), Instant::now());
    let answer = request.answer(response::SUCCESS);
    Ok(match pulse {
        Pulse::Alive { stale } => {
            answer.with_fields(&BrokerHeartbeatResponse { unknown: None, stale: stale.then_some(true) })
        }
        Pulse::Unknown => answer
            .with_fields(&BrokerHeartbeatResponse { unknown: Some(true), stale: None })
            .with_remark(format!("broker {} is not registered here: register it", who.addr)),
        Pulse::Displaced { by } => answer.with_fields(&BrokerHeartbeatResponse::default()).with_remark(format!(
            "{by} registered as broker {} with id {} since: stop one of the two or give it another id",
            who.name, who.id
        )),
    })
}

/// Answers 322.
pub fn query_data_version(parts: &Parts, request: &Frame) -> Result<Frame, Refusal> {
    let header: BrokerRequest<'_> = request.fields()?;
    let theirs: DataVersion = relaxed::parse(&request.body)?;
    let ours = parts.routes.data_version(&header.cluster_name, &header.broker_addr, Instant::now());
    let answer =
        request.answer(response::SUCCESS).with_fields(&QueryDataVersionResponse { changed: ours != Some(theirs) });
    Ok(match ours {
        Some(version) => answer.with_json(&version),
        None => answer,
    })
}
