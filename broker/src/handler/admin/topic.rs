//! Topics: create or change (17, 18), delete (215), list (21), one (351), figures (202), who reads it (300).

use std::collections::BTreeMap;
use std::sync::Arc;

use orbitmq_common::name;
use orbitmq_common::net::connection::Outcome;
use orbitmq_common::protocol::body::dedup::Dedup;
use orbitmq_common::protocol::body::group::{GroupList, MessageQueue};
use orbitmq_common::protocol::body::stats::{self, TopicOffset};
use orbitmq_common::protocol::body::topic::{DataVersion, TopicConfig, TopicConfigList};
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::admin::{AllTopicsRequest, AllTopicsResponse, CreateTopicRequest, TopicRequest};
use orbitmq_common::protocol::relaxed;

use crate::broker::Broker;
use crate::refusal::Refusal;
use crate::replica::metadata::settle::{self, SettleError};

/// Queues one topic may have at one broker.
const MAX_QUEUES: i32 = 65_536;

fn check(config: &TopicConfig) -> Result<(), Refusal> {
    let topic = config.topic_name.as_str();
    name::check_topic(topic)?;
    if name::is_closed_to_senders(topic) {
        return Err(Refusal::invalid(format!("'{topic}' belongs to the system and cannot be changed")));
    }
    for (which, queues) in [("readQueueNums", config.read_queue_nums), ("writeQueueNums", config.write_queue_nums)] {
        if !(0..=MAX_QUEUES).contains(&queues) {
            return Err(Refusal::invalid(format!(
                "{which} = {queues}; a topic has 0 to {MAX_QUEUES} queues at a broker"
            )));
        }
    }
    // A name server of RocketMQ's refuses every topic of a broker that has one of another kind.
    if !matches!(config.topic_filter_type.as_str(), "SINGLE_TAG" | "MULTI_TAG") {
        let kind = &config.topic_filter_type;
        return Err(Refusal::invalid(format!("topicFilterType = '{kind}'; expected SINGLE_TAG or MULTI_TAG")));
    }
    if !(0..=15).contains(&config.perm) {
        return Err(Refusal::invalid(format!(
            "perm = {}; it is the sum of 4 (read), 2 (write) and 1 (inherit)",
            config.perm
        )));
    }
    Dedup::of(topic, &config.attributes)?;
    Ok(())
}

/// UPDATE_AND_CREATE_TOPIC (17). Answers once the topic survives a power cut and name servers know it.
pub fn create(broker: &Arc<Broker>, frame: &Frame) -> Result<Outcome, Refusal> {
    let header: CreateTopicRequest<'_> = frame.fields()?;
    let mut config = TopicConfig::new(header.topic.as_ref(), header.read_queue_nums, header.perm);
    config.write_queue_nums = header.write_queue_nums;
    config.order = header.order;
    config.topic_sys_flag = header.topic_sys_flag.unwrap_or(0);
    // The client in C++ would send the number of the kind as one byte; its only kind is 0, single tags.
    if let Some(filter) = header.topic_filter_type.filter(|filter| !filter.trim_matches('\0').is_empty()) {
        config.topic_filter_type = filter.into_owned();
    }
    if let Some(known) = broker.topics.get(&config.topic_name) {
        config.attributes.clone_from(&known.attributes);
    }
    change_attributes(&mut config, header.attributes.as_deref().unwrap_or_default())?;
    check(&config)?;
    Ok(put(broker, vec![config], frame))
}

/// `+key=value` sets, `-key` removes; separated by commas.
fn change_attributes(config: &mut TopicConfig, changes: &str) -> Result<(), Refusal> {
    for change in changes.split(',').map(str::trim).filter(|change| !change.is_empty()) {
        let (key, value) = change.split_once('=').map_or((change, None), |(key, value)| (key, Some(value)));
        change_attribute(&mut config.attributes, key, value)?;
    }
    Ok(())
}

fn change_attribute(attributes: &mut BTreeMap<String, String>, key: &str, value: Option<&str>) -> Result<(), Refusal> {
    match (key.strip_prefix('+'), key.strip_prefix('-'), value) {
        (Some(key), _, Some(value)) => drop(attributes.insert(key.to_owned(), value.to_owned())),
        (_, Some(key), _) => drop(attributes.remove(key)),
        _ => {
            let change = value.map_or_else(|| key.to_owned(), |value| format!("{key}={value}"));
            return Err(Refusal::invalid(format!("attribute '{change}' is neither +key=value nor -key")));
        }
    }
    Ok(())
}

/// UPDATE_AND_CREATE_TOPIC_LIST (18): all or none. As with 17, attributes that are not named stay; here a name without a sign sets
/// one, too.
pub fn create_list(broker: &Arc<Broker>, frame: &Frame) -> Result<Outcome, Refusal> {
    let mut list: TopicConfigList = relaxed::parse(&frame.body)?;
    for config in &mut list.topic_config_list {
        let given = std::mem::take(&mut config.attributes);
        if let Some(known) = broker.topics.get(&config.topic_name) {
            config.attributes.clone_from(&known.attributes);
        }
        for (key, value) in given {
            if key.starts_with(['+', '-']) {
                change_attribute(&mut config.attributes, &key, Some(&value))?;
            } else {
                config.attributes.insert(key, value);
            }
        }
        check(config)?;
    }
    Ok(put(broker, list.topic_config_list, frame))
}

fn put(broker: &Arc<Broker>, configs: Vec<TopicConfig>, frame: &Frame) -> Outcome {
    for config in configs {
        tracing::info!(
            topic = config.topic_name,
            read = config.read_queue_nums,
            write = config.write_queue_nums,
            perm = config.perm,
            "topic set"
        );
        broker.topics.put(config);
    }
    broker.duplicates.heed(&broker.topics);
    routed(broker, frame)
}

/// An answer that waits until metadata is on the disk and name servers know of it.
pub(super) fn routed(broker: &Arc<Broker>, frame: &Frame) -> Outcome {
    let (broker, answer) = (Arc::clone(broker), frame.answer(response::SUCCESS));
    Outcome::later(async move {
        if let Err(error) = settle::synced(&broker).await {
            return Refusal::from(error).answer(&answer);
        }
        broker.routed.caught_up(&broker.topics).await;
        answer
    })
}

/// An answer that waits until metadata is on the disk.
pub(super) fn synced(broker: &Arc<Broker>, frame: &Frame) -> Outcome {
    synced_with(broker, frame.answer(response::SUCCESS))
}

/// This answer, once metadata is on the disk.
pub(super) fn synced_with(broker: &Arc<Broker>, answer: Frame) -> Outcome {
    let broker = Arc::clone(broker);
    Outcome::later(async move {
        match settle::synced(&broker).await {
            Ok(()) => answer,
            Err(error) => Refusal::from(error).answer(&answer),
        }
    })
}

/// DELETE_TOPIC_IN_BROKER (215): the topic, its queues and every group's offsets in it.
pub fn delete(broker: &Arc<Broker>, frame: &Frame) -> Result<Outcome, Refusal> {
    let header: TopicRequest<'_> = frame.fields()?;
    let topic = header.topic.as_ref();
    name::check_topic(topic)?;
    if name::is_system_topic(topic) || topic == broker.config.cluster || topic == broker.config.name {
        return Err(Refusal::invalid(format!("'{topic}' belongs to the system and cannot be deleted")));
    }
    let topics = with_retry_topics(broker, topic);
    for topic in &topics {
        broker.topics.remove(topic);
        broker.duplicates.forget(topic);
        broker.offsets.remove_topic(topic);
        broker.orders.forget(Some(topic), None);
        broker.request_modes.forget(Some(topic), None);
        broker.pop.forget(|lane| *lane.topic == **topic);
    }
    let (broker, answer, topic) = (Arc::clone(broker), frame.answer(response::SUCCESS), topic.to_owned());
    Ok(Outcome::later(async move {
        // The store notes for good what it has deleted. An offset that a crash brought back would pass over what is sent next.
        if let Err(error) = broker.db.sync().await {
            return Refusal::from(SettleError::from(error)).answer(&answer);
        }
        // Files are removed, which takes its time on a thread of its own.
        let deleting = Arc::clone(&broker);
        let deleted = tokio::task::spawn_blocking(move || {
            for retry in topics.iter().filter(|other| **other != topic) {
                deleting.deletions.delete(retry);
            }
            deleting.deletions.delete(&topic);
            tracing::info!(topic, "topic deleted");
        });
        match (deleted.await, settle::synced(&broker).await) {
            (Ok(()), Ok(())) => answer,
            (_, Err(error)) => Refusal::from(error).answer(&answer),
            (Err(error), _) => {
                answer.refuse(response::SYSTEM_ERROR, format!("the topic's files were not all removed: {error}"))
            }
        }
    }))
}

/// The topic and what groups that pop from it have not acknowledged in time.
fn with_retry_topics(broker: &Broker, topic: &str) -> Vec<String> {
    let mut topics = vec![topic.to_owned()];
    for group in broker.offsets.groups_of(topic) {
        let retry = [name::pop_retry_topic(&group, topic), name::pop_retry_topic_v2(&group, topic)];
        topics.extend(retry.into_iter().filter(|retry| broker.topics.get(retry).is_some()));
    }
    topics
}

/// GET_ALL_TOPIC_CONFIG (21): a page by name, or everything.
pub fn list(broker: &Broker, frame: &Frame) -> Result<Frame, Refusal> {
    let header: AllTopicsRequest<'_> = frame.fields()?;
    let mut table = broker.topics.snapshot();
    let fields =
        AllTopicsResponse { total_topic_num: i32::try_from(table.topic_config_table.len()).unwrap_or(i32::MAX) };
    // A slave of RocketMQ's breaks off the whole copy where this is missing.
    table.mapping_data_version = Some(DataVersion::default());
    if let (Some(first), Some(most)) = (header.topic_seq, header.max_topic_num) {
        table.topic_config_table = page(table.topic_config_table, first, most);
    }
    Ok(frame.answer(response::SUCCESS).with_fields(&fields).with_json(&table))
}

/// A page of a table. A slave of RocketMQ's stops asking when one row is left; so the last page takes it along.
pub(super) fn page<T>(table: BTreeMap<String, T>, first: i32, most: i32) -> BTreeMap<String, T> {
    let (first, most) = (usize::try_from(first).unwrap_or(0), usize::try_from(most).unwrap_or(0));
    let one_is_left = table.len() == first.saturating_add(most).saturating_add(1);
    table.into_iter().skip(first).take(most + usize::from(one_is_left)).collect()
}

/// GET_TOPIC_CONFIG (351).
pub fn one(broker: &Broker, frame: &Frame) -> Result<Frame, Refusal> {
    let header: TopicRequest<'_> = frame.fields()?;
    let config = known(broker, &header.topic)?;
    Ok(frame.answer(response::SUCCESS).with_json(config.as_ref()))
}

fn known(broker: &Broker, topic: &str) -> Result<Arc<TopicConfig>, Refusal> {
    broker.topics.get(topic).ok_or_else(|| broker.no_topic(topic, "topicList shows those there are"))
}

/// GET_TOPIC_STATS_INFO (202): the ends of every queue, also of empty ones.
pub fn figures(broker: &Broker, frame: &Frame) -> Result<Frame, Refusal> {
    let header: TopicRequest<'_> = frame.fields()?;
    let topic = header.topic.as_ref();
    let config = known(broker, topic)?;
    let queues = u32::try_from(config.write_queue_nums.max(config.read_queue_nums)).unwrap_or(0);
    let rows = (0..queues).map(|queue| {
        let (min, max) = (broker.store.min_offset(topic, queue), broker.store.max_offset(topic, queue));
        let last = if max > min { broker.store.store_timestamp(topic, queue, max - 1) } else { None };
        let offset = TopicOffset { last_update_timestamp: last.unwrap_or(0), max_offset: max, min_offset: min };
        (message_queue(broker, topic, queue), offset)
    });
    let per_second = broker.traffic.of_topic(broker, topic).map_or(0.0, |over| over.minute.messages_per_second());
    Ok(frame.answer(response::SUCCESS).with_body(stats::topic_stats(&rows.collect(), per_second)))
}

pub(super) fn message_queue(broker: &Broker, topic: &str, queue: u32) -> MessageQueue {
    let queue_id = i32::try_from(queue).unwrap_or(i32::MAX);
    MessageQueue { broker_name: broker.config.name.clone(), queue_id, topic: topic.to_owned() }
}

/// QUERY_TOPIC_CONSUME_BY_WHO (300): groups that read it now or have offsets in it.
pub fn readers(broker: &Broker, frame: &Frame) -> Result<Frame, Refusal> {
    let header: TopicRequest<'_> = frame.fields()?;
    let mut groups = broker.members.groups_reading(&header.topic);
    groups.extend(broker.offsets.groups_of(&header.topic));
    groups.sort_unstable();
    groups.dedup();
    Ok(frame.answer(response::SUCCESS).with_json(&GroupList { group_list: groups }))
}
