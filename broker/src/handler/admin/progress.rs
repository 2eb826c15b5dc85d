//! How far groups have come: figures (208), reset by time or to a value (222), and what slaves of RocketMQ's copy (43, 45).

use std::sync::Arc;

use orbitmq_common::name;
use orbitmq_common::net::connection::Outcome;
use orbitmq_common::protocol::body::stats::{self, ConsumeOffset, QueueTable};
use orbitmq_common::protocol::body::topic::DataVersion;
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::admin::{ConsumeStatsRequest, ResetOffsetRequest};
use serde::Serialize;

use crate::broker::Broker;
use crate::handler::admin::topic::message_queue;
use crate::refusal::Refusal;
use crate::replica::metadata::settle;
use crate::store::search::Boundary;

/// GET_CONSUME_STATS (208): every queue of the group's topics, or of one of them.
pub fn figures(broker: &Broker, frame: &Frame) -> Result<Frame, Refusal> {
    let header: ConsumeStatsRequest<'_> = frame.fields()?;
    let group = header.consumer_group.as_ref();
    let topics = match header.topic.as_deref().filter(|topic| !topic.is_empty()) {
        Some(topic) => vec![topic.to_owned()],
        None => broker.offsets.topics_of(group),
    };
    let mut rows = QueueTable::new();
    for topic in topics {
        let Some(config) = broker.topics.get(&topic) else { continue };
        for id in 0..config.read_queue_nums {
            let Ok(queue) = u32::try_from(id) else { continue };
            let consumed = broker.offsets.get(&topic, group, id).unwrap_or(0);
            let last = if consumed > 0 { broker.store.store_timestamp(&topic, queue, consumed - 1) } else { None };
            let row = ConsumeOffset {
                broker_offset: broker.store.max_offset(&topic, queue),
                consumer_offset: consumed,
                last_timestamp: last.unwrap_or(0),
                pull_offset: consumed,
            };
            rows.push((message_queue(broker, &topic, queue), row));
        }
    }
    Ok(frame.answer(response::SUCCESS).with_body(stats::consume_stats(&rows, 0.0)))
}

/// A whole table with its version, without which a slave of RocketMQ's does not store what it got.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OffsetTable<T> {
    data_version: DataVersion,
    offset_table: T,
}

fn version(broker: &Broker) -> DataVersion {
    let counter = i64::try_from(broker.db.newest()).unwrap_or(i64::MAX);
    DataVersion { counter, state_version: 0, timestamp: broker.started }
}

/// GET_ALL_CONSUMER_OFFSET (43).
pub fn all(broker: &Broker, frame: &Frame) -> Frame {
    let table = OffsetTable { data_version: version(broker), offset_table: broker.offsets.snapshot() };
    frame.answer(response::SUCCESS).with_json(&table)
}

/// GET_ALL_DELAY_OFFSET (45).
pub fn delay(broker: &Broker, frame: &Frame) -> Frame {
    let table = OffsetTable { data_version: version(broker), offset_table: broker.delay.snapshot() };
    frame.answer(response::SUCCESS).with_json(&table)
}

/// INVOKE_BROKER_TO_RESET_OFFSET (222): stores the new offsets; the group's next pulls are sent there.
pub fn reset(broker: &Arc<Broker>, frame: &Frame) -> Result<Outcome, Refusal> {
    let header: ResetOffsetRequest<'_> = frame.fields()?;
    let (topic, group) = (header.topic.as_ref(), header.group.as_ref());
    name::check_group(group)?;
    let Some(config) = broker.topics.get(topic) else {
        return Err(Refusal::no_topic(topic, "offsets are reset in existing topics only"));
    };
    if broker.groups.get(group).is_none() {
        let remark = format!("group '{group}' does not exist at this broker; create it or let it consume once");
        return Err(Refusal::new(response::SUBSCRIPTION_GROUP_NOT_EXIST, remark));
    }
    let only = header.queue_id.filter(|id| *id >= 0);
    let mut rows = QueueTable::new();
    let mut last = 0;
    for id in (0..config.read_queue_nums).filter(|id| only.is_none_or(|only| only == *id)) {
        let Ok(queue) = u32::try_from(id) else { continue };
        let offset = target(broker, &header, queue);
        let forward = broker.offsets.get(topic, group, id).is_some_and(|current| offset > current);
        // Without force an offset only goes back.
        if forward && header.is_force == Some(false) {
            continue;
        }
        last = broker.offsets.reset(topic, group, id, offset);
        rows.push((message_queue(broker, topic, queue), offset));
    }
    tracing::info!(topic, group, queues = rows.len(), "offsets reset");
    let answer = frame.answer(response::SUCCESS).with_body(stats::reset_offsets(&rows));
    let broker = Arc::clone(broker);
    Ok(Outcome::later(async move {
        match settle::settled(&broker, last).await {
            Ok(()) => answer,
            Err(error) => Refusal::from(error).answer(&answer),
        }
    }))
}

fn target(broker: &Broker, header: &ResetOffsetRequest<'_>, queue: u32) -> i64 {
    let topic = header.topic.as_ref();
    let (min, max) = (broker.store.min_offset(topic, queue), broker.store.max_offset(topic, queue));
    match header.offset.filter(|offset| *offset >= 0) {
        Some(offset) => offset.clamp(min, max),
        None if header.timestamp < 0 => max,
        None => broker.store.offset_by_time(topic, queue, header.timestamp, Boundary::Lower),
    }
}
