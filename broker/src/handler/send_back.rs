//! CONSUMER_SEND_MSG_BACK (36): a consumer gives a message back, to come again later or to be laid aside as dead.

use std::sync::Arc;

use orbitmq_common::message::dead::{self, Origin};
use orbitmq_common::message::property::{Properties, PropertyError};
use orbitmq_common::message::record::{NewRecord, RecordView};
use orbitmq_common::message::{id, property};
use orbitmq_common::name;
use orbitmq_common::net::connection::Outcome;
use orbitmq_common::protocol::body::route::perm;
use orbitmq_common::protocol::body::topic::TopicConfig;
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::send::SendBackRequest;

use crate::broker::Broker;
use crate::delay;
use crate::refusal::Refusal;

/// Delay level of the first return, when the broker chooses; later returns wait longer.
const FIRST_LEVEL: i32 = 3;

/// Handles the request; answers once the copy is durable.
pub fn call(broker: &Arc<Broker>, frame: &Frame) -> Result<Outcome, Refusal> {
    broker.admit()?;
    let header: SendBackRequest<'_> = frame.fields()?;
    let end = store(broker, &header)?;
    let (broker, answer) = (Arc::clone(broker), frame.answer(response::SUCCESS));
    Ok(Outcome::later(async move {
        match broker.acknowledge(end).await {
            Ok(()) => answer,
            Err(shortfall) => shortfall.mark(answer),
        }
    }))
}

/// Stores the copy; returns its end in the log.
fn store(broker: &Broker, header: &SendBackRequest<'_>) -> Result<u64, Refusal> {
    let group = header.group.as_ref();
    let Some(config) = broker.groups.get(group) else {
        return Err(broker.no_group(group, "giving messages back"));
    };
    let offset = u64::try_from(header.offset)
        .map_err(|_| Refusal::invalid(format!("{} is not a place in the log", header.offset)))?;
    let bytes = broker.store.record_at(offset)?;
    let record = RecordView::parse(&bytes).map_err(|error| Refusal::new(response::SYSTEM_ERROR, error.to_string()))?;

    let limit = header.max_reconsume_times.filter(|limit| *limit >= 0).unwrap_or(config.retry_max_times);
    let is_dead = header.delay_level < 0 || record.reconsume_times >= limit;
    let target = if is_dead {
        let topic = name::dead_letter_topic(group);
        broker.topics.ensure(&topic, || TopicConfig::new(topic.clone(), 1, perm::READ | perm::WRITE))
    } else {
        broker.topics.ensure_retry(group, config.retry_queue_nums)
    };
    let level = if is_dead {
        0
    } else if header.delay_level == 0 {
        FIRST_LEVEL.saturating_add(record.reconsume_times)
    } else {
        header.delay_level
    };
    let mut properties = properties(broker, &record, group, header.reason.as_deref()).map_err(refuse)?;
    if is_dead {
        dead::note_death(&mut properties, group).map_err(refuse)?;
    }
    broker.traffic.given_back(properties.get(property::RETRY_TOPIC).unwrap_or(record.topic), group);
    let queues = u32::try_from(target.write_queue_nums).unwrap_or(1).max(1);
    let queue = fastrand::u32(0..queues);
    let place = delay::place(broker, &mut properties, &target.topic_name, queue, level).map_err(refuse)?;
    let copy = NewRecord {
        reconsume_times: record.reconsume_times.saturating_add(1),
        ..record.copy_to(place.topic, place.queue, broker.address, properties.as_str())
    };
    Ok(broker.store.append(&copy).map_err(|error| broker.not_appended(error))?.end)
}

fn refuse(error: PropertyError) -> Refusal {
    Refusal::invalid(error.to_string())
}

/// The properties of the copy: those of the message, where it came from, and why it is given back.
fn properties(
    broker: &Broker,
    record: &RecordView<'_>,
    group: &str,
    reason: Option<&str>,
) -> Result<Properties, PropertyError> {
    let mut properties = Properties::parse(record.properties);
    properties.remove(property::CRC32);
    let place = Origin { broker: &broker.config.name, queue: record.queue_id, offset: record.queue_offset };
    dead::note_return(&mut properties, &place, reason);
    if properties.get(property::RETRY_TOPIC).is_none() {
        // A popped message that was given back lies in a retry topic without saying so.
        properties.set(property::RETRY_TOPIC, name::popped_topic(record.topic, group))?;
    }
    if properties.get(property::ORIGIN_MESSAGE_ID).is_none() {
        properties.set(property::ORIGIN_MESSAGE_ID, &id::offset_id(record.store_host, record.physical_offset))?;
    }
    Ok(properties)
}
