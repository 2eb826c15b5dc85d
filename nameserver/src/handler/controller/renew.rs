//! CONTROLLER_RENEW (60010): a broker asks for its lease. CONTROLLER_CHANGE_SET (60011): a master says who has everything.

use orbitmq_common::protocol::body::controller::{Renewal, SetChange};
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::relaxed;

use crate::controller::Controller;
use crate::handler::{Refusal, identity};

/// What is kept for ever has bounds.
const LONGEST: usize = 255;

/// The next epoch is above those that members bring with them; there must be one.
const GREATEST_EPOCH: i32 = 1_000_000_000;

/// Answers 60010.
pub async fn renew(controller: &Controller, request: &Frame) -> Result<Frame, Refusal> {
    let renewal: Renewal = relaxed::parse(&request.body)?;
    identity(&renewal.cluster, &renewal.broker, &renewal.address, renewal.id)?;
    identity(&renewal.cluster, &renewal.broker, &renewal.ha_address, renewal.id)?;
    let texts = [&renewal.cluster, &renewal.broker, &renewal.address, &renewal.ha_address];
    if texts.iter().any(|text| text.len() > LONGEST) {
        return Err(Refusal::invalid(format!("names and addresses have at most {LONGEST} bytes")));
    }
    if !(0..GREATEST_EPOCH).contains(&renewal.log_epoch) {
        return Err(Refusal::invalid(format!("logEpoch {} is none: the store's epochs are broken", renewal.log_epoch)));
    }
    if renewal.id == 0 {
        return Err(Refusal::invalid("id is 0: members of a group that has a controller are numbered from 1 on"));
    }
    let view = controller.renew(&renewal).await?;
    Ok(request.answer(response::SUCCESS).with_json(&view))
}

/// Answers 60011.
pub async fn change_set(controller: &Controller, request: &Frame) -> Result<Frame, Refusal> {
    let change: SetChange = relaxed::parse(&request.body)?;
    let view = controller.change_set(change).await?;
    Ok(request.answer(response::SUCCESS).with_json(&view))
}
