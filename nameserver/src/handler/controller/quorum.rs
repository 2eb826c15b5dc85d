//! RAFT_APPEND (60020), RAFT_VOTE (60021), RAFT_SNAPSHOT (60022): what the members of the quorum ask one another.

use openraft::Snapshot;
use openraft::raft::{AppendEntriesRequest, VoteRequest};
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::controller::Controller;
use crate::controller::network::{Ask, WholeSnapshot};
use crate::controller::raft::{Types, decode, encode};
use crate::handler::Refusal;

/// Answers 60020.
pub async fn append(controller: &Controller, request: &Frame) -> Result<Frame, Refusal> {
    let what: AppendEntriesRequest<Types> = asked(controller, request)?;
    answer(request, &controller.raft().append_entries(what).await.map_err(ended)?)
}

/// Answers 60021.
pub async fn vote(controller: &Controller, request: &Frame) -> Result<Frame, Refusal> {
    let what: VoteRequest<u64> = asked(controller, request)?;
    answer(request, &controller.raft().vote(what).await.map_err(ended)?)
}

/// Answers 60022.
pub async fn snapshot(controller: &Controller, request: &Frame) -> Result<Frame, Refusal> {
    let what: WholeSnapshot = asked(controller, request)?;
    let snapshot = Snapshot { meta: what.meta, snapshot: Box::new(what.state) };
    answer(request, &controller.raft().install_full_snapshot(what.vote, snapshot).await.map_err(ended)?)
}

fn asked<T: DeserializeOwned>(controller: &Controller, request: &Frame) -> Result<T, Refusal> {
    let ask: Ask<T> = decode(&request.body).map_err(|error| {
        Refusal::invalid(format!(
            "the body does not parse: {error}; do all members of the quorum run the same version?"
        ))
    })?;
    if ask.to != controller.id() {
        let remark = format!(
            "this is member {}, not {}: correct controller_peers, or remove the member and add it anew",
            controller.id(),
            ask.to
        );
        return Err(Refusal::invalid(remark));
    }
    Ok(ask.what)
}

fn answer<T: Serialize>(request: &Frame, answer: &T) -> Result<Frame, Refusal> {
    let body = encode(answer).map_err(|error| Refusal::new(response::SYSTEM_ERROR, error.to_string()))?;
    Ok(request.answer(response::SUCCESS).with_body(body))
}

fn ended(error: impl std::fmt::Display) -> Refusal {
    Refusal::new(response::SYSTEM_ERROR, format!("this member of the quorum has ended: {error}"))
}
