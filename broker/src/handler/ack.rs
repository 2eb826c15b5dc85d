//! ACK_MESSAGE (200051) and BATCH_ACK_MESSAGE (200151): popped messages are done with. Answered once that is as safe as a message.

use std::sync::Arc;

use orbitmq_common::clock::now_ms;
use orbitmq_common::message::receipt::{ORDERED, Origin, Receipt};
use orbitmq_common::net::connection::Outcome;
use orbitmq_common::protocol::body::pop::{BatchAck, BatchAckBody};
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::pop::AckRequest;
use orbitmq_common::protocol::relaxed;

use crate::broker::Broker;
use crate::causes::absent::no_queue;
use crate::handler::popping;
use crate::meta::orders::Acked;
use crate::pop::take::over;
use crate::pop::{Handle, Pending};
use crate::refusal::Refusal;
use crate::replica::metadata::settle;

/// What the answer waits for.
#[derive(Default)]
struct Waits {
    pending: Vec<Pending>,
    /// Number of the last change of metadata.
    number: Option<u64>,
    /// Messages whose receipt was over, and the refusal of the last of them.
    late: usize,
    refusal: Option<Refusal>,
    /// Messages altogether.
    count: usize,
}

/// Handles the request; see the module.
pub fn call(broker: &Arc<Broker>, frame: &Frame) -> Result<Outcome, Refusal> {
    broker.tells_offsets()?;
    let request = frame.answer(response::SUCCESS);
    if broker.pop.is_ready() {
        let waits = one(broker, frame)?;
        return Ok(settle_later(broker, request, waits));
    }
    let (broker, body) = (Arc::clone(broker), frame.clone());
    Ok(Outcome::later(async move {
        let result = match popping::ready(&broker).await {
            Ok(()) => one(&broker, &body),
            Err(refusal) => Err(refusal),
        };
        match result {
            Ok(waits) => finish(&broker, request, waits).await,
            Err(refusal) => refusal.answer(&request),
        }
    }))
}

/// The same for many messages.
pub fn batch(broker: &Arc<Broker>, frame: &Frame) -> Result<Outcome, Refusal> {
    broker.tells_offsets()?;
    let body: BatchAckBody = relaxed::parse(&frame.body)?;
    let request = frame.answer(response::SUCCESS);
    if body.acks.is_empty() {
        return Err(Refusal::new(response::NO_MESSAGE, "the batch names no message"));
    }
    let broker = Arc::clone(broker);
    Ok(Outcome::later(async move {
        if let Err(refusal) = popping::ready(&broker).await {
            return refusal.answer(&request);
        }
        let mut waits = Waits::default();
        for ack in &body.acks {
            if let Err(refusal) = one_of_batch(&broker, ack, &mut waits) {
                waits.refusal = Some(refusal);
            }
        }
        finish(&broker, request, waits).await
    }))
}

fn one(broker: &Broker, frame: &Frame) -> Result<Waits, Refusal> {
    let header: AckRequest<'_> = frame.fields()?;
    let receipt = Receipt::parse(&header.extra_info).map_err(|error| Refusal::invalid(error.to_string()))?;
    let queue = check(broker, &header.topic, header.queue_id, header.offset, true)?;
    let mut waits = Waits { count: 1, ..Waits::default() };
    let handle = Handle {
        topic: &header.topic,
        group: &header.consumer_group,
        queue,
        start: receipt.start,
        pop_time: receipt.pop_time,
        invisible: receipt.invisible,
        revive_queue: u32::try_from(receipt.revive_queue).unwrap_or(u32::MAX),
    };
    done(broker, &handle, receipt.revive_queue, &[header.offset], &mut waits)?;
    Ok(waits)
}

/// The number of a message's queue. `may_end`: RocketMQ lets the end of the queue pass for an acknowledgement.
///
/// # Errors
/// There is no such message.
pub fn check(broker: &Broker, topic: &str, queue_id: i32, offset: i64, may_end: bool) -> Result<u32, Refusal> {
    let Some(config) = broker.topics.get(topic) else {
        return Err(broker.no_topic(topic, "it may have been deleted since the message was popped"));
    };
    let queue = u32::try_from(queue_id).ok().filter(|_| queue_id < config.read_queue_nums);
    let Some(queue) = queue else {
        let remark = no_queue(&config, queue_id, config.read_queue_nums, "to read");
        return Err(Refusal::new(response::MESSAGE_ILLEGAL, remark));
    };
    let (min, max) = (broker.store.min_offset(topic, queue), broker.store.max_offset(topic, queue));
    if offset < min || offset > max || offset == max && !may_end {
        let why = if offset < min {
            "it is deleted"
        } else {
            "the receipt is another broker's, or the queue was created anew"
        };
        let remark = format!("queue {queue} of '{topic}' has no message {offset}, only {min} to {}: {why}", max - 1);
        return Err(Refusal::new(response::NO_MESSAGE, remark));
    }
    Ok(queue)
}

fn one_of_batch(broker: &Broker, ack: &BatchAck, waits: &mut Waits) -> Result<(), Refusal> {
    let Some(topic) = Origin::real_topic(&ack.retry, &ack.topic, &ack.group) else {
        return Err(Refusal::invalid(format!("retry '{}' is none of 0, 1 and 2", ack.retry)));
    };
    let queue = check(broker, &topic, ack.queue, ack.start, true)?;
    let (min, max) = (broker.store.min_offset(&topic, queue), broker.store.max_offset(&topic, queue));
    let offsets = ack.distances().map(|distance| ack.start.saturating_add(distance));
    let offsets: Vec<i64> = offsets.filter(|offset| (min..=max).contains(offset)).collect();
    waits.count += offsets.len();
    let handle = Handle {
        topic: &topic,
        group: &ack.group,
        queue,
        start: ack.start,
        pop_time: ack.pop_time,
        invisible: ack.invisible,
        revive_queue: u32::try_from(ack.revive_queue).unwrap_or(u32::MAX),
    };
    done(broker, &handle, ack.revive_queue, &offsets, waits)
}

fn done(
    broker: &Broker,
    handle: &Handle<'_>,
    revive_queue: i32,
    offsets: &[i64],
    waits: &mut Waits,
) -> Result<(), Refusal> {
    if revive_queue == ORDERED {
        return offsets.iter().try_for_each(|offset| done_in_order(broker, handle, *offset, waits));
    }
    let pending = broker.pop.ack(handle, offsets, now_ms())?;
    if pending.late > 0 {
        waits.late += pending.late;
        waits.refusal = Some(over(handle, offsets.first().copied().unwrap_or(-1)));
    }
    waits.pending.push(pending);
    Ok(())
}

fn done_in_order(broker: &Broker, handle: &Handle<'_>, offset: i64, waits: &mut Waits) -> Result<(), Refusal> {
    let Handle { topic, group, .. } = *handle;
    let queue = i32::try_from(handle.queue).unwrap_or(i32::MAX);
    let is_before = || broker.offsets.get(topic, group, queue).is_some_and(|stored| offset < stored);
    if is_before() {
        return Ok(());
    }
    let (acked, moved) = broker.pop.done_in_order(&broker.offsets, &broker.orders, handle, offset);
    match acked {
        Acked::Next(_, number) => {
            waits.number = waits.number.max(Some(number)).max(moved);
            broker.pop.halls.ring(topic, group, queue);
            Ok(())
        }
        // The batch was popped again: what this reader has done, another will do again.
        Acked::Late => {
            waits.late += 1;
            waits.refusal = Some(over(handle, offset));
            Ok(())
        }
        Acked::NotOpen if is_before() => Ok(()),
        Acked::NotOpen => {
            let remark = format!(
                "message {offset} of queue {queue} of '{topic}' is not in the hands of '{group}': it was never popped in order, or the group's offset was reset since"
            );
            Err(Refusal::new(response::MESSAGE_ILLEGAL, remark))
        }
    }
}

fn settle_later(broker: &Arc<Broker>, request: Frame, waits: Waits) -> Outcome {
    let broker = Arc::clone(broker);
    Outcome::later(async move { finish(&broker, request, waits).await })
}

async fn finish(broker: &Broker, answer: Frame, waits: Waits) -> Frame {
    // Others that have come meanwhile are written with these.
    tokio::task::yield_now().await;
    let mut end = 0;
    for pending in &waits.pending {
        match broker.pop.write(pending) {
            Ok(written) => end = end.max(written),
            Err(refusal) => return refusal.answer(&answer),
        }
    }
    let settled = match waits.number {
        Some(number) => settle::settled(broker, number).await.map_err(Refusal::from),
        None => Ok(()),
    };
    let safe = match settled {
        Ok(()) if end > 0 => broker.acknowledge(end).await,
        settled => settled,
    };
    match (safe, waits.refusal) {
        (Err(refusal), _) => refusal.answer(&answer),
        // Of a batch what could be acknowledged is; the rest comes again.
        (Ok(()), Some(refusal)) if waits.late >= waits.count => refusal.answer(&answer),
        (Ok(()), Some(refusal)) => refusal.mark(answer),
        (Ok(()), None) => answer,
    }
}
