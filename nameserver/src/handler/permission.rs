//! WIPE_WRITE_PERM_OF_BROKER (205), ADD_WRITE_PERM_OF_BROKER (327): a broker gets no new messages, or gets them again.

use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::nameserver::{AddWritePermResponse, WipeWritePermResponse, WritePermRequest};

use crate::handler::{Parts, Refusal};

/// Answers 205.
pub fn wipe(parts: &Parts, request: &Frame) -> Result<Frame, Refusal> {
    let wipe_topic_count = set(parts, request, false)?;
    let answer = request.answer(response::SUCCESS).with_fields(&WipeWritePermResponse { wipe_topic_count });
    explained(request, answer, wipe_topic_count)
}

/// Answers 327.
pub fn add(parts: &Parts, request: &Frame) -> Result<Frame, Refusal> {
    let add_topic_count = set(parts, request, true)?;
    let answer = request.answer(response::SUCCESS).with_fields(&AddWritePermResponse { add_topic_count });
    explained(request, answer, add_topic_count)
}

/// A success that changed nothing says so.
fn explained(request: &Frame, answer: Frame, topics: i32) -> Result<Frame, Refusal> {
    if topics > 0 {
        return Ok(answer);
    }
    let header: WritePermRequest<'_> = request.fields()?;
    let remark = format!(
        "broker '{}' has no topic in the routes of this name server: it is not registered here, or its name is spelled differently \
         ('orbitmq cluster' shows the names)",
        header.broker_name
    );
    Ok(answer.with_remark(remark))
}

fn set(parts: &Parts, request: &Frame, writable: bool) -> Result<i32, Refusal> {
    let header: WritePermRequest<'_> = request.fields()?;
    let topics = parts.routes.set_writable(&header.broker_name, writable);
    tracing::info!(broker = %header.broker_name, writable, topics, "write permission changed in the routes");
    Ok(topics)
}
