//! Positions in queues: stored ones of groups (14, 15), the ends (30, 31, 32) and by time (29).

use std::sync::Arc;

use orbitmq_common::name;
use orbitmq_common::net::connection::Outcome;
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::offset::{
    OffsetResponse, QueryOffsetRequest, QueueRequest, SearchOffsetRequest, TimestampResponse, UpdateOffsetRequest,
};

use crate::broker::Broker;
use crate::causes::absent::no_queue;
use crate::refusal::Refusal;
use crate::replica::metadata::settle;
use crate::store::read::ReadLimit;
use crate::store::search::Boundary;

fn offset_answer(frame: &Frame, offset: i64) -> Frame {
    frame.answer(response::SUCCESS).with_fields(&OffsetResponse { offset })
}

/// QUERY_CONSUMER_OFFSET (14): the stored offset; for a group without one 0, as long as the queue still has its first message.
pub fn query(broker: &Broker, frame: &Frame) -> Result<Frame, Refusal> {
    let header: QueryOffsetRequest<'_> = frame.fields()?;
    broker.tells_offsets()?;
    let (topic, group) = (header.topic.as_ref(), header.consumer_group.as_ref());
    if let Some(offset) = broker.offsets.get(topic, group, header.queue_id) {
        return Ok(offset_answer(frame, offset));
    }
    // A young group on a young topic starts at the beginning, wherever it wanted to start: clients rely on it.
    let queue = queue_number(header.queue_id)?;
    let first_is_there = broker.store.min_offset(topic, queue) == 0 && broker.store.max_offset(topic, queue) > 0;
    if first_is_there && header.set_zero_if_not_found != Some(false) && first_is_recent(broker, topic, queue) {
        return Ok(offset_answer(frame, 0));
    }
    Err(broker.no_offset(topic, group, header.queue_id))
}

/// Whether so little was stored after the queue's first message that it would still be in a broker's memory.
pub(crate) fn first_is_recent(broker: &Broker, topic: &str, queue: u32) -> bool {
    let first = broker.store.read(topic, queue, 0, ReadLimit { max_messages: 1, max_bytes: 1 }, &mut |_, _| true);
    let memory = rustix::system::sysinfo();
    let memory = u64::from(memory.mem_unit) * memory.totalram;
    broker.store.confirmed().saturating_sub(first.last_physical) <= memory / 10 * 4
}

/// UPDATE_CONSUMER_OFFSET (15). Who waits for the answer gets it once the offset survives the end of this process, and that of the
/// in-sync slaves in `sync-replica`.
pub fn update(broker: &Arc<Broker>, frame: &Frame) -> Result<Outcome, Refusal> {
    let header: UpdateOffsetRequest<'_> = frame.fields()?;
    let (topic, group) = (header.topic.as_ref(), header.consumer_group.as_ref());
    name::check_group(group)?;
    let Some(config) = broker.topics.get(topic) else {
        return Err(broker.no_topic(topic, "offsets are stored for existing topics only"));
    };
    let queues = config.read_queue_nums.max(config.write_queue_nums);
    if !(0..queues).contains(&header.queue_id) {
        return Err(Refusal::invalid(no_queue(&config, header.queue_id, queues, "to read")));
    }
    if broker.groups.find_or_create(group, broker.tuned.auto_create_groups()).is_none() {
        return Err(broker.no_group(group, "storing offsets"));
    }
    if header.commit_offset < 0 {
        return Err(Refusal::invalid(format!("{} is not an offset: offsets count from 0", header.commit_offset)));
    }
    let answer = frame.answer(response::SUCCESS);
    let Some(number) = commit(broker, topic, group, header.queue_id, header.commit_offset) else {
        let remark = "not stored: an administrator has just reset this offset, and the group has yet to follow";
        return Ok(Outcome::Answer(answer.with_remark(remark)));
    };
    if frame.is_oneway() {
        return Ok(Outcome::Nothing);
    }
    let broker = Arc::clone(broker);
    Ok(Outcome::later(async move {
        // A master may have been replaced meanwhile; a slave keeps the offset for the next master.
        let settled = match settle::settled(&broker, number).await {
            Ok(()) if broker.role.is_master() => broker.tells_offsets(),
            other => other.map_err(Refusal::from),
        };
        match settled {
            Ok(()) => answer,
            Err(refusal) => refusal.answer(&answer),
        }
    }))
}

/// Stores an offset; a topic that is deleted meanwhile takes it along. See [`crate::meta::offsets::Offsets::commit`].
pub(super) fn commit(broker: &Broker, topic: &str, group: &str, queue: i32, offset: i64) -> Option<u64> {
    let number = broker.offsets.commit(topic, group, queue, offset);
    // The deletion may have forgotten the topic's offsets just before this one came.
    if broker.topics.get(topic).is_none() {
        broker.offsets.remove_topic(topic);
    }
    number
}

fn queue_number(id: i32) -> Result<u32, Refusal> {
    u32::try_from(id).map_err(|_| Refusal::invalid(format!("{id} is not the number of a queue: queues count from 0")))
}

/// GET_MAX_OFFSET (30): the offset after the last message. Whatever was acknowledged before the request is counted.
pub fn max(broker: &Arc<Broker>, frame: &Frame) -> Result<Outcome, Refusal> {
    let header: QueueRequest<'_> = frame.fields()?;
    let (topic, queue) = (header.topic.into_owned(), queue_number(header.queue_id)?);
    let confirmed = broker.store.confirmed();
    let (broker, request) = (Arc::clone(broker), frame.answer(response::SUCCESS));
    Ok(Outcome::later(async move {
        broker.store.built(confirmed).await;
        offset_answer(&request, broker.store.max_offset(&topic, queue))
    }))
}

/// GET_MIN_OFFSET (31): the first offset that is still there.
pub fn min(broker: &Broker, frame: &Frame) -> Result<Frame, Refusal> {
    let header: QueueRequest<'_> = frame.fields()?;
    Ok(offset_answer(frame, broker.store.min_offset(&header.topic, queue_number(header.queue_id)?)))
}

/// GET_EARLIEST_MSG_STORETIME (32): when the queue's first message was stored.
pub fn earliest(broker: &Broker, frame: &Frame) -> Result<Frame, Refusal> {
    let header: QueueRequest<'_> = frame.fields()?;
    let queue = queue_number(header.queue_id)?;
    let first = broker.store.min_offset(&header.topic, queue);
    let timestamp = broker.store.store_timestamp(&header.topic, queue, first).unwrap_or(-1);
    Ok(frame.answer(response::SUCCESS).with_fields(&TimestampResponse { timestamp }))
}

/// SEARCH_OFFSET_BY_TIMESTAMP (29).
pub fn search(broker: &Broker, frame: &Frame) -> Result<Frame, Refusal> {
    let header: SearchOffsetRequest<'_> = frame.fields()?;
    let boundary = match header.boundary_type.as_deref() {
        None => Boundary::Lower,
        Some(text) if text.eq_ignore_ascii_case("lower") => Boundary::Lower,
        Some(text) if text.eq_ignore_ascii_case("upper") => Boundary::Upper,
        Some(other) => return Err(Refusal::invalid(format!("boundaryType '{other}' is neither lower nor upper"))),
    };
    let queue = queue_number(header.queue_id)?;
    Ok(offset_answer(frame, broker.store.offset_by_time(&header.topic, queue, header.timestamp, boundary)))
}

#[cfg(test)]
mod tests;
