//! How far groups have come: figures (208), reset by time or to a value (222), and what slaves of RocketMQ's copy (43, 45).

use std::sync::Arc;

use orbitmq_common::name;
use orbitmq_common::net::connection::Outcome;
use orbitmq_common::protocol::body::stats::{self, ConsumeOffset, QueueTable};
use orbitmq_common::protocol::body::topic::{DataVersion, TopicConfig};
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::admin::{ConsumeStatsRequest, ResetOffsetRequest};
use serde::Serialize;

use crate::broker::Broker;
use crate::causes::absent::no_queue;
use crate::handler::admin::topic::message_queue;
use crate::refusal::Refusal;
use crate::replica::metadata::settle;
use crate::store::search::Boundary;

/// GET_CONSUME_STATS (208): every queue of the group's topics, or of one of them.
pub fn figures(broker: &Broker, frame: &Frame) -> Result<Frame, Refusal> {
    let header: ConsumeStatsRequest<'_> = frame.fields()?;
    let group = header.consumer_group.as_ref();
    let (mut table, mut per_second) = (QueueTable::new(), 0.0);
    for topic in topics(broker, &header) {
        let Some(config) = broker.topics.get(&topic) else { continue };
        table.extend(rows(broker, group, &config));
        per_second += broker.traffic.reads_per_second(&topic, group);
    }
    Ok(frame.answer(response::SUCCESS).with_body(stats::consume_stats(&table, per_second)))
}

/// Topics that are listed are told as they are; of others those that the connected members have left are passed over.
fn topics(broker: &Broker, header: &ConsumeStatsRequest<'_>) -> Vec<String> {
    let group = header.consumer_group.as_ref();
    let listed = header.topic_list.as_deref().unwrap_or_default().split(';').filter(|topic| !topic.is_empty());
    let listed: Vec<String> = listed.map(str::to_owned).collect();
    if !listed.is_empty() {
        return listed;
    }
    let mut topics = match header.topic.as_deref().filter(|topic| !topic.is_empty()) {
        Some(topic) => vec![topic.to_owned()],
        None => broker.offsets.topics_of(group),
    };
    topics.retain(|topic| !broker.members.reads_only_others(group, topic));
    topics
}

/// How far a group has come in every queue of a topic.
pub(super) fn rows(broker: &Broker, group: &str, config: &TopicConfig) -> QueueTable<ConsumeOffset> {
    let topic = config.topic_name.as_str();
    let queues = (0..config.read_queue_nums).filter_map(|id| Some((id, u32::try_from(id).ok()?)));
    let row = |(id, queue)| {
        let consumed = broker.offsets.get(topic, group, id).unwrap_or(0);
        let last = if consumed > 0 { broker.store.store_timestamp(topic, queue, consumed - 1) } else { None };
        let row = ConsumeOffset {
            broker_offset: broker.store.max_offset(topic, queue),
            consumer_offset: consumed,
            last_timestamp: last.unwrap_or(0),
            pull_offset: consumed,
        };
        (message_queue(broker, topic, queue), row)
    };
    queues.map(row).collect()
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
        return Err(broker.no_topic(topic, "offsets are reset in existing topics only"));
    };
    if broker.groups.get(group).is_none() {
        return Err(broker.no_group(group, "a reset"));
    }
    let only = header.queue_id.filter(|id| *id >= 0);
    if let Some(id) = only.filter(|id| *id >= config.read_queue_nums) {
        return Err(Refusal::invalid(no_queue(&config, id, config.read_queue_nums, "to read")));
    }
    let mut rows = QueueTable::new();
    let mut last = 0;
    for id in (0..config.read_queue_nums).filter(|id| only.is_none_or(|only| only == *id)) {
        let Ok(queue) = u32::try_from(id) else { continue };
        let offset = target(broker, &header, queue);
        let forward = broker.offsets.get(topic, group, id).is_some_and(|current| offset > current);
        // Without force a time only takes a group back. Tools that name the offset do not speak of force.
        if forward && header.is_force == Some(false) && header.offset.is_none_or(|offset| offset < 0) {
            continue;
        }
        last = broker.offsets.reset(topic, group, id, offset);
        rows.push((message_queue(broker, topic, queue), offset));
    }
    tracing::info!(topic, group, queues = rows.len(), "offsets reset");
    Ok(settled(broker, frame.answer(response::SUCCESS).with_body(stats::reset_offsets(&rows)), last))
}

/// This answer, once a change of an offset survives the end of this process.
pub(super) fn settled(broker: &Arc<Broker>, answer: Frame, number: u64) -> Outcome {
    let broker = Arc::clone(broker);
    Outcome::later(async move {
        match settle::settled(&broker, number).await {
            Ok(()) => answer,
            Err(error) => Refusal::from(error).answer(&answer),
        }
    })
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
