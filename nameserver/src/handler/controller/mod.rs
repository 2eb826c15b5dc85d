//! What the controller is asked for: by brokers, by its other members, by operators.

use std::sync::Arc;

use orbitmq_common::net::connection::Outcome;
use orbitmq_common::protocol::code::{request as kind, response};
use orbitmq_common::protocol::frame::Frame;

use crate::controller::Controller;
use crate::handler::Refusal;

mod elect;
mod info;
mod members;
mod quorum;
mod renew;

/// GET_NEXT_BROKER_ID and APPLY_BROKER_ID of RocketMQ.
const BROKER_IDS: [i32; 2] = [1012, 1013];

/// Whether requests of this kind go to the controller.
pub fn answers(code: i32) -> bool {
    matches!(code, kind::CONTROLLER_ALTER_SYNC_STATE_SET..=kind::CONTROLLER_GET_SYNC_STATE_DATA)
        || BROKER_IDS.contains(&code)
        || matches!(code, kind::CONTROLLER_RENEW..=kind::CONTROLLER_MEMBERS)
        || matches!(code, kind::RAFT_APPEND..=kind::RAFT_SNAPSHOT)
}

/// Leads a request to its handler.
pub fn call(controller: Option<&Arc<Controller>>, request: Frame) -> Outcome {
    let Some(controller) = controller.cloned() else {
        let remark =
            "this name server has no controller: ask one that has, or give it controller_id and controller_peers";
        return Outcome::Answer(request.refuse(response::REQUEST_CODE_NOT_SUPPORTED, remark));
    };
    Outcome::later(async move {
        let answer = answer(&controller, &request).await;
        answer.unwrap_or_else(|refusal| request.refuse(refusal.code, refusal.remark))
    })
}

async fn answer(controller: &Arc<Controller>, request: &Frame) -> Result<Frame, Refusal> {
    match request.code {
        kind::CONTROLLER_RENEW => renew::renew(controller, request).await,
        kind::CONTROLLER_CHANGE_SET => renew::change_set(controller, request).await,
        kind::CONTROLLER_MEMBERS => members::members(controller, request).await,
        kind::RAFT_APPEND => quorum::append(controller, request).await,
        kind::RAFT_VOTE => quorum::vote(controller, request).await,
        kind::RAFT_SNAPSHOT => quorum::snapshot(controller, request).await,
        kind::CONTROLLER_ELECT_MASTER => elect::elect(controller, request).await,
        kind::CONTROLLER_GET_REPLICA_INFO => info::replica(controller, request).await,
        kind::CONTROLLER_GET_METADATA_INFO => Ok(info::metadata(controller, request)),
        kind::CONTROLLER_GET_SYNC_STATE_DATA => info::sync_state(controller, request).await,
        _ => Err(Refusal::new(
            response::REQUEST_CODE_NOT_SUPPORTED,
            "brokers of Apache RocketMQ cannot join this controller: run them as master and slave, or use OrbitMQ's",
        )),
    }
}
