//! SEND_MESSAGE (10, 310) and SEND_BATCH_MESSAGE (320): checks, places and stores messages, answers once they are durable.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use orbitmq_common::message::record::NewRecord;
use orbitmq_common::message::{batch, dead, id, property};
use orbitmq_common::name;
use orbitmq_common::net::connection::Outcome;
use orbitmq_common::net::peer::Peer;
use orbitmq_common::protocol::body::route::perm;
use orbitmq_common::protocol::body::topic::TopicConfig;
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::send::{SendRequest, SendRequestV2, SendResponse};

use crate::broker::Broker;
use crate::causes::absent::no_queue;
use crate::causes::closed::{self, Access};
use crate::duplicates::memory::Sent;
use crate::duplicates::window::First;
use crate::handler::send::wishes::{Wishes, push, read_properties};
use crate::refusal::Refusal;
use crate::timer::recall;

mod half;
mod once;
mod wishes;

/// Region named in answers; RocketMQ's default, for clients compare it with their own.
pub const REGION: &str = "DefaultRegion";
const MAX_PROPERTIES: usize = 32_767;

/// Handles the request; see the module.
pub fn call(broker: &Arc<Broker>, peer: &Arc<Peer>, frame: Frame) -> Outcome {
    if broker.duplicates.is_reading()
        && let Some(topic) = once::unread(broker, &frame)
    {
        return once::later(broker, peer, frame, topic);
    }
    stored(broker, peer, frame)
}

fn stored(broker: &Arc<Broker>, peer: &Arc<Peer>, frame: Frame) -> Outcome {
    let stored = match store(broker, peer, &frame) {
        Ok(stored) => stored,
        Err(refusal) => return Outcome::Answer(refusal.answer(&frame)),
    };
    let answer = frame.answer(response::SUCCESS).with_fields(&SendResponse {
        msg_id: stored.ids.into(),
        queue_id: stored.queue,
        queue_offset: stored.offset,
        transaction_id: stored.unique_key.map(Cow::Owned),
        region: Some(REGION.into()),
        trace_on: Some(true),
        recall_handle: stored.recall_handle.map(Cow::Owned),
        ..SendResponse::default()
    });
    let answer = if stored.again { answer.with_remark(once::REMARK) } else { answer };
    if !stored.wait {
        broker.store.nudge();
        return Outcome::Answer(answer);
    }
    let (broker, end, is_new) = (Arc::clone(broker), stored.end, stored.is_new);
    Outcome::later(async move {
        if let Err(shortfall) = broker.acknowledge(end).await {
            return shortfall.mark(answer);
        }
        if is_new {
            broker.routed.caught_up(&broker.topics).await;
        }
        answer
    })
}

struct Stored {
    /// Offset ids, joined by commas.
    ids: String,
    unique_key: Option<String>,
    /// Takes back a message that waits for its time.
    recall_handle: Option<String>,
    queue: i32,
    /// Offset of the first message.
    offset: i64,
    /// End of the last message in the log.
    end: u64,
    /// Whether the sender waits for durability.
    wait: bool,
    /// Whether some of it had been stored before.
    again: bool,
    /// Whether its topic was made for it.
    is_new: bool,
}

impl Stored {
    fn single(broker: &Broker, sent: Sent, wishes: Wishes) -> Self {
        Self {
            ids: id::offset_id(broker.address, sent.place.physical),
            unique_key: wishes.unique_key,
            recall_handle: None,
            queue: sent.place.queue,
            offset: offset_of(&sent.place),
            end: sent.place.end(),
            wait: !wishes.no_wait,
            again: sent.again,
            is_new: false,
        }
    }
}

fn store(broker: &Broker, peer: &Peer, frame: &Frame) -> Result<Stored, Refusal> {
    broker.admit()?;
    let header = decode(frame)?;
    check_message(broker, &header, frame)?;
    if frame.body.is_empty() {
        return Err(Refusal::new(response::MESSAGE_ILLEGAL, "the message has no body: send at least one byte"));
    }
    let (topic, is_new) = find_topic(broker, &header)?;
    let stored = if header.batch == Some(true) || frame.code == request::SEND_BATCH_MESSAGE {
        store_batch(broker, peer, frame, &header, &topic)?
    } else {
        store_single(broker, peer, frame, &header, &topic)?
    };
    Ok(Stored { is_new, ..stored })
}

fn decode(frame: &Frame) -> Result<SendRequest<'_>, Refusal> {
    if frame.code == request::SEND_MESSAGE {
        Ok(frame.fields()?)
    } else {
        Ok(frame.fields::<SendRequestV2<'_>>()?.into())
    }
}

/// Whether a message, or a reply, may be sent at all.
pub fn check_message(broker: &Broker, header: &SendRequest<'_>, frame: &Frame) -> Result<(), Refusal> {
    name::check_topic(&header.topic)?;
    if name::is_closed_to_senders(&header.topic) {
        let remark = format!("'{}' belongs to the system; send to a topic of your own", header.topic);
        return Err(Refusal::new(response::NO_PERMISSION, remark));
    }
    let illegal = |remark: String| Err(Refusal::new(response::MESSAGE_ILLEGAL, remark));
    let (length, limit) = (frame.body.len(), broker.tuned.max_message_size());
    if length > limit {
        return illegal(format!(
            "the body has {length} bytes; this broker takes {limit} (max_message_size): send less, or raise it"
        ));
    }
    let properties = header.properties.as_deref().map_or(0, str::len);
    if properties > MAX_PROPERTIES {
        return illegal(format!(
            "the properties have {properties} bytes; {MAX_PROPERTIES} is the most a record holds: put what is long into the body"
        ));
    }
    Ok(())
}

/// The topic, created if it is new and that is allowed; and whether it was.
fn find_topic(broker: &Broker, header: &SendRequest<'_>) -> Result<(Arc<TopicConfig>, bool), Refusal> {
    let topic = header.topic.as_ref();
    let (config, is_new) = match broker.topics.get(topic) {
        Some(config) => (config, false),
        None => (create_topic(broker, header)?, true),
    };
    closed::topic(&config, Access::Write)?;
    let queues = config.write_queue_nums.max(config.read_queue_nums);
    if header.queue_id >= queues {
        return Err(Refusal::invalid(no_queue(&config, header.queue_id, queues, "to write")));
    }
    Ok((config, is_new))
}

fn create_topic(broker: &Broker, header: &SendRequest<'_>) -> Result<Arc<TopicConfig>, Refusal> {
    let topic = header.topic.as_ref();
    if let Some(group) = topic.strip_prefix(name::RETRY_PREFIX) {
        name::check_group(group)?;
        return Ok(broker.topics.ensure_retry(group, 1));
    }
    let template = broker.topics.get(&header.default_topic).filter(|template| template.perm & perm::INHERIT != 0);
    let Some(template) = template.filter(|_| broker.tuned.auto_create_topics()) else {
        let cure = if broker.tuned.auto_create_topics() {
            "sending creates topics here, but this send names no topic to take settings from (defaultTopic TBW102): name it, or create \
             the topic with 'orbitmq topic create' or updateTopic"
        } else {
            "it is not created by sending (auto_create_topics = false): create it with 'orbitmq topic create' or updateTopic"
        };
        return Err(broker.no_topic(topic, cure));
    };
    let queues = header.default_topic_queue_nums.min(template.write_queue_nums).max(1);
    let create =
        || TopicConfig { topic_sys_flag: 0, ..TopicConfig::new(topic, queues, template.perm & !perm::INHERIT) };
    Ok(broker.topics.ensure(topic, create))
}

/// Where a message goes in the end.
struct Place<'a> {
    topic: Cow<'a, str>,
    queue: i32,
    /// The delay level it waits for before it gets there; 0: none.
    delay: u32,
    /// The time it waits for, ms since the epoch.
    due: Option<i64>,
}

fn place<'a>(
    broker: &Broker,
    header: &'a SendRequest<'_>,
    config: &TopicConfig,
    wishes: &Wishes,
) -> Result<Place<'a>, Refusal> {
    if let Some(group) = header.topic.strip_prefix(name::RETRY_PREFIX)
        && is_dead(broker, group, header)
    {
        let topic = name::dead_letter_topic(group);
        broker.topics.ensure(&topic, || TopicConfig::new(topic.clone(), 1, perm::READ | perm::WRITE));
        return Ok(Place { topic: topic.into(), queue: 0, delay: 0, due: None });
    }
    let queue = if header.queue_id < 0 { fastrand::i32(0..config.write_queue_nums.max(1)) } else { header.queue_id };
    Ok(Place { topic: Cow::Borrowed(header.topic.as_ref()), queue, delay: wishes.delay, due: wishes.due })
}

/// Whether a message given back by its consumer has been given back often enough.
fn is_dead(broker: &Broker, group: &str, header: &SendRequest<'_>) -> bool {
    let own = broker.groups.get(group).map_or(16, |config| config.retry_max_times);
    let limit = header.max_reconsume_times.filter(|limit| *limit >= 0).unwrap_or(own);
    header.reconsume_times.is_some_and(|times| times > limit)
}

fn store_single(
    broker: &Broker,
    peer: &Peer,
    frame: &Frame,
    header: &SendRequest<'_>,
    config: &TopicConfig,
) -> Result<Stored, Refusal> {
    let given = header.properties.as_deref().unwrap_or_default();
    let (mut properties, wishes) = read_properties(broker, given)?;
    let place = place(broker, header, config, &wishes)?;
    if let Some(group) = place.topic.strip_prefix(name::DEAD_LETTER_PREFIX)
        && place.topic != header.topic
    {
        let mut noted = property::Properties::parse(&properties);
        dead::note_death(&mut noted, group).map_err(|error| Refusal::invalid(error.to_string()))?;
        properties = noted.into_text();
    }
    push(&mut properties, property::MSG_REGION, REGION);
    push(&mut properties, property::TRACE_ON, "true");
    push(&mut properties, property::CLUSTER, &broker.config.cluster);
    // Old clients return messages to their retry topic with the mark of a half message left on them.
    if wishes.half && (header.reconsume_times.unwrap_or(0) <= 0 || wishes.delay == 0) {
        return half::store(broker, peer, frame, header, config, &place, properties, wishes);
    }
    if place.delay > 0 || place.due.is_some() {
        push(&mut properties, property::REAL_TOPIC, &place.topic);
        push(&mut properties, property::REAL_QUEUE_ID, &place.queue.to_string());
    }
    let (topic, queue) = if let Some(due) = place.due {
        push(&mut properties, property::TIMER_OUT_MS, &due.to_string());
        (name::TIMER_TOPIC, 0)
    } else if place.delay > 0 {
        push(&mut properties, property::DELAY, &place.delay.to_string());
        (name::SCHEDULE_TOPIC, place.delay - 1)
    } else {
        (place.topic.as_ref(), u32::try_from(place.queue).unwrap_or(0))
    };
    let record = record(broker, peer, header, topic, queue, header.flag, &frame.body, &properties);
    let sent = once::append(broker, config, &wishes, place.queue, || {
        broker.store.append(&record).map_err(|error| broker.not_appended(error))
    })?;
    let due = if sent.again { once::due_of_first(broker, place.due, sent.place) } else { place.due };
    let recall_handle = recall::handle(broker, &place.topic, due, wishes.unique_key.as_deref());
    Ok(Stored { recall_handle, ..Stored::single(broker, sent, wishes) })
}

fn store_batch(
    broker: &Broker,
    peer: &Peer,
    frame: &Frame,
    header: &SendRequest<'_>,
    config: &TopicConfig,
) -> Result<Stored, Refusal> {
    let illegal = |remark: String| Refusal::new(response::MESSAGE_ILLEGAL, remark);
    if header.topic.starts_with(name::RETRY_PREFIX) {
        return Err(illegal("a batch cannot go to a retry topic; send its messages one by one".to_owned()));
    }
    let outer = header.properties.as_deref().unwrap_or_default();
    let wait = property::get(outer, property::WAIT) != Some("false");
    let mut parts = Vec::new();
    for entry in batch::decode(&frame.body) {
        let entry = entry.map_err(|error| illegal(format!("the batch does not parse: {error}")))?;
        let (properties, wishes) = read_properties(broker, entry.properties)?;
        if wishes.delay > 0 || wishes.due.is_some() {
            return Err(illegal("a batch cannot hold delayed messages; send them one by one".to_owned()));
        }
        if wishes.half {
            return Err(illegal("a batch cannot hold half messages of transactions; send them one by one".to_owned()));
        }
        parts.push((entry.flag, entry.body, properties, wishes));
    }
    if parts.is_empty() {
        return Err(illegal("the batch holds no message".to_owned()));
    }
    let place = place(broker, header, config, &Wishes::default())?;
    let queue = u32::try_from(place.queue).unwrap_or(0);
    let records: Vec<NewRecord<'_>> = parts
        .iter()
        .map(|(flag, body, properties, _)| record(broker, peer, header, &place.topic, queue, *flag, body, properties))
        .collect();
    let keys = parts.iter().map(|(.., wishes)| wishes.key());
    let sent = once::append_batch(broker, config, keys, place.queue, &records)?;
    let mut ids = String::with_capacity(sent.len() * 33);
    for one in &sent {
        if !ids.is_empty() {
            ids.push(',');
        }
        ids.push_str(&id::offset_id(broker.address, one.place.physical));
    }
    let unique_key = property::get(outer, property::UNIQ_KEY).map(str::to_owned);
    let (queue, offset) = sent.first().map_or((place.queue, 0), |first| (first.place.queue, offset_of(&first.place)));
    let end = sent.iter().map(|sent| sent.place.end()).max().unwrap_or(0);
    let again = sent.iter().any(|sent| sent.again);
    Ok(Stored { ids, unique_key, recall_handle: None, queue, offset, end, wait, again, is_new: false })
}

fn offset_of(place: &First) -> i64 {
    i64::try_from(place.queue_offset).unwrap_or(i64::MAX)
}

#[allow(clippy::too_many_arguments, reason = "the parts of a record that differ between single and batch sends")]
fn record<'a>(
    broker: &Broker,
    peer: &Peer,
    header: &SendRequest<'_>,
    topic: &'a str,
    queue_id: u32,
    flag: i32,
    body: &'a [u8],
    properties: &'a str,
) -> NewRecord<'a> {
    NewRecord {
        topic,
        queue_id,
        flag,
        sys_flag: header.sys_flag.cast_unsigned(),
        born_timestamp: header.born_timestamp,
        born_host: canonical(peer.remote()),
        store_host: broker.address,
        reconsume_times: header.reconsume_times.unwrap_or(0),
        prepared_offset: 0,
        body,
        properties: properties.as_bytes(),
    }
}

/// IPv4 clients of a listener for both families show as IPv4; older clients read nothing else.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
