//! UPDATE_NAMESRV_CONFIG (318), GET_NAMESRV_CONFIG (319): the switches of this server.

use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;

use crate::handler::{Parts, Refusal};
use crate::options::parse_changes;
use crate::settings::OPTIONS;

/// Answers 318. Blocks until the changes are on disk: they hold after a restart too.
pub fn update(parts: &Parts, request: &Frame) -> Result<Frame, Refusal> {
    let text = std::str::from_utf8(&request.body).map_err(|_| Refusal::invalid("the body is not UTF-8 text"))?;
    let changes = parse_changes(text)?;
    for (name, on) in &changes {
        parts.settings.put(OPTIONS, name, if *on { "true" } else { "false" })?;
    }
    parts.options.apply(&changes);
    parts.routes.touch();
    tracing::info!(?changes, "options changed");
    Ok(request.answer(response::SUCCESS))
}

/// Answers 319.
pub fn get(parts: &Parts, request: &Frame) -> Frame {
    request.answer(response::SUCCESS).with_body(parts.options.to_properties())
}
