//! CHANGE_MESSAGE_INVISIBLETIME (200053): a popped message stays invisible longer, or comes back sooner.

use std::sync::Arc;

use orbitmq_common::clock::now_ms;
use orbitmq_common::message::receipt::{ORDERED, Receipt};
use orbitmq_common::net::connection::Outcome;
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::pop::{InvisibleRequest, InvisibleResponse};

use crate::broker::Broker;
use crate::handler::{ack, popping};
use crate::pop::Handle;
use crate::pop::take::{LONGEST, over};
use crate::refusal::Refusal;
use crate::replica::metadata::settle;

/// Handles the request; see the module.
pub fn call(broker: &Arc<Broker>, frame: &Frame) -> Result<Outcome, Refusal> {
    broker.tells_offsets()?;
    let (broker, frame) = (Arc::clone(broker), frame.clone());
    Ok(Outcome::later(async move {
        match change(&broker, &frame).await {
            Ok(fields) => frame.answer(response::SUCCESS).with_fields(&fields),
            Err(refusal) => refusal.answer(&frame),
        }
    }))
}

async fn change(broker: &Broker, frame: &Frame) -> Result<InvisibleResponse, Refusal> {
    popping::ready(broker).await?;
    let header: InvisibleRequest<'_> = frame.fields()?;
    let receipt = Receipt::parse(&header.extra_info).map_err(|error| Refusal::invalid(error.to_string()))?;
    let queue = ack::check(broker, &header.topic, header.queue_id, header.offset, false)?;
    if !(0..=LONGEST).contains(&header.invisible_time) {
        let remark = format!("invisibleTime = {}; it is 0 to {LONGEST} ms", header.invisible_time);
        return Err(Refusal::invalid(remark));
    }
    let handle = Handle {
        topic: &header.topic,
        group: &header.consumer_group,
        queue,
        start: receipt.start,
        pop_time: receipt.pop_time,
        invisible: receipt.invisible,
        revive_queue: u32::try_from(receipt.revive_queue).unwrap_or(u32::MAX),
    };
    if receipt.revive_queue == ORDERED {
        return change_in_order(broker, &handle, header.offset, header.invisible_time).await;
    }
    let (pop_time, end) = broker.pop.change(&handle, header.offset, header.invisible_time, now_ms())?;
    broker.acknowledge(end).await?;
    Ok(InvisibleResponse { pop_time, invisible_time: header.invisible_time, revive_qid: receipt.revive_queue })
}

/// The receipt stays as it is; only the time changes at which the batch may be given again.
async fn change_in_order(
    broker: &Broker,
    handle: &Handle<'_>,
    offset: i64,
    invisible: i64,
) -> Result<InvisibleResponse, Refusal> {
    let queue = i32::try_from(handle.queue).unwrap_or(i32::MAX);
    let place = (handle.topic, handle.group, queue);
    let visible = now_ms().saturating_add(invisible);
    let number = broker.orders.set_visible(place, offset, handle.pop_time, visible);
    let number = number.ok_or_else(|| over(handle, offset))?;
    // Who waits may have a queue that is free sooner.
    broker.pop.halls.ring(handle.topic, handle.group, queue);
    settle::settled(broker, number).await?;
    let invisible_time = visible - handle.pop_time;
    Ok(InvisibleResponse { pop_time: handle.pop_time, invisible_time, revive_qid: ORDERED })
}
