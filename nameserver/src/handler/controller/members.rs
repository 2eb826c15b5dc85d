//! CONTROLLER_MEMBERS (60012): who belongs to the quorum; add and remove members.

use orbitmq_common::protocol::body::controller::MembersRequest;
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::relaxed;

use crate::controller::Controller;
use crate::handler::Refusal;

/// Answers 60012. Any member lists, the leader alone changes.
pub async fn members(controller: &Controller, request: &Frame) -> Result<Frame, Refusal> {
    let quorum = match relaxed::parse(&request.body)? {
        MembersRequest::List => controller.quorum(),
        MembersRequest::Add { id, address } => controller.add_member(id, &address).await?,
        MembersRequest::Remove { id } => controller.remove_member(id).await?,
    };
    Ok(request.answer(response::SUCCESS).with_json(&quorum))
}
