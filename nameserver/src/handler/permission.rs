//! WIPE_WRITE_PERM_OF_BROKER (205), ADD_WRITE_PERM_OF_BROKER (327): a broker gets no new messages, or gets them again.

use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::nameserver::{AddWritePermResponse, WipeWritePermResponse, WritePermRequest};

use crate::handler::{Parts, Refusal};

/// Answers 205.
pub fn wipe(parts: &Parts, request: &Frame) -> Result<Frame, Refusal> {
    let wipe_topic_count = set(parts, request, false)?;
    Ok(request.answer(response::SUCCESS).with_fields(&WipeWritePermResponse { wipe_topic_count }))
}

/// Answers 327.
pub fn add(parts: &Parts, request: &Frame) -> Result<Frame, Refusal> {
    let add_topic_count = set(parts, request, true)?;
    Ok(request.answer(response::SUCCESS).with_fields(&AddWritePermResponse { add_topic_count }))
}

fn set(parts: &Parts, request: &Frame, writable: bool) -> Result<i32, Refusal> {
    let header: WritePermRequest<'_> = request.fields()?;
    let topics = parts.routes.set_writable(&header.broker_name, writable);
    tracing::info!(broker = %header.broker_name, writable, topics, "write permission changed in the routes");
    Ok(topics)
}
