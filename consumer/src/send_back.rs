//! Gives a message back: to the broker that holds it, else as a new message to the group's retry topic.

use orbitmq_common::message::dead::{self, Origin};
use orbitmq_common::message::message::StoredMessage;
use orbitmq_common::message::property::{self, Properties};
use orbitmq_common::name;
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::header::send::{SendBackRequest, SendRequestV2};

use crate::core::Core;
use crate::error::RetryError;

/// What RocketMQ's clients assume where the group's own limit is not known.
const DEFAULT_MAX: i32 = 16;
/// Delay level of the first return, as brokers choose it.
const FIRST_LEVEL: i32 = 3;
const HIGHEST_LEVEL: i32 = 18;

/// Gives a message back for delivery after the delay of `level`; 0: as the broker chooses, -1: to the dead letters.
/// `reason` is kept with it.
pub(crate) async fn send_back(
    core: &Core,
    whence: Whence<'_>,
    message: &StoredMessage,
    level: i32,
    reason: Option<&str>,
) -> Result<(), RetryError> {
    let Err(first) = to_its_broker(core, whence, message, level, reason).await else { return Ok(()) };
    tracing::debug!(cause = first, "a message could not be given back to its broker; trying as a new message");
    let Err(second) = as_new_message(core, whence, message, level, reason).await else { return Ok(()) };
    Err(RetryError { message_id: message.message_id(), cause: format!("{first}; as a new message: {second}") })
}

/// Gives a message back to the broker that holds it.
///
/// # Errors
/// It did not take it.
pub(crate) async fn to_its_broker(
    core: &Core,
    whence: Whence<'_>,
    message: &StoredMessage,
    level: i32,
    reason: Option<&str>,
) -> Result<(), String> {
    let place = Place { physical_offset: message.physical_offset, id: message.offset_id(), topic: &message.topic };
    give_back_at(core, whence, &place, level, reason).await
}

/// Topic and broker of the queue that a message came through.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Whence<'a> {
    pub topic: &'a str,
    pub broker: &'a str,
}

/// Where a message is stored, which is all that a broker needs to take it back.
pub(crate) struct Place<'a> {
    pub physical_offset: u64,
    pub id: String,
    pub topic: &'a str,
}

pub(crate) async fn give_back_at(
    core: &Core,
    whence: Whence<'_>,
    place: &Place<'_>,
    level: i32,
    reason: Option<&str>,
) -> Result<(), String> {
    let route = core.finder.table().get(whence.topic);
    let master = route.as_ref().and_then(|route| route.master(whence.broker));
    let address = master.ok_or_else(|| format!("broker {} has no master now", whence.broker))?;
    let link = core.link(address).await.map_err(|error| error.to_string())?;
    let fields = SendBackRequest {
        offset: i64::try_from(place.physical_offset).unwrap_or(i64::MAX),
        group: core.config.group.as_str().into(),
        delay_level: level,
        origin_msg_id: Some(place.id.as_str().into()),
        origin_topic: Some(place.topic.into()),
        unit_mode: Some(false),
        max_reconsume_times: core.config.max_deliveries.or(Some(DEFAULT_MAX)),
        reason: reason.map(dead::clean).map(Into::into),
    };
    let back = link.request(request::CONSUMER_SEND_MSG_BACK).with_fields(&fields);
    let answer = link.call(back, core.config.call_timeout).await.map_err(|error| error.to_string())?;
    match answer.code {
        response::SUCCESS => Ok(()),
        code => Err(format!("code {code}: {}", answer.remark.unwrap_or_default())),
    }
}

/// The way for a message whose broker is gone: any broker of the retry topic takes a copy.
async fn as_new_message(
    core: &Core,
    whence: Whence<'_>,
    message: &StoredMessage,
    level: i32,
    reason: Option<&str>,
) -> Result<(), String> {
    let group = &core.config.group;
    let max = core.config.max_deliveries.unwrap_or(DEFAULT_MAX);
    let is_dead = level < 0 || message.reconsume_times >= max;
    let topic = if is_dead { name::dead_letter_topic(group) } else { name::retry_topic(group) };
    let route = core.finder.find_or_default(&topic, 1).await.map_err(|error| error.to_string())?;
    let mut properties = properties(whence, message, max, reason).map_err(|error| error.to_string())?;
    let marked = if is_dead {
        dead::note_death(&mut properties, group)
    } else {
        let chosen = if level > 0 { level } else { FIRST_LEVEL.saturating_add(message.reconsume_times) };
        properties.set(property::DELAY, &chosen.clamp(1, HIGHEST_LEVEL).to_string()).map(drop)
    };
    marked.map_err(|error| error.to_string())?;
    let mut causes = Vec::new();
    for target in &route.writable {
        let Some(address) = route.master(&target.broker) else { continue };
        let fields = SendRequestV2 {
            producer_group: "CLIENT_INNER_PRODUCER".into(),
            topic: topic.as_str().into(),
            default_topic: name::DEFAULT_TOPIC.into(),
            default_topic_queue_nums: 1,
            queue_id: target.id,
            sys_flag: 0,
            born_timestamp: message.born_timestamp,
            flag: message.flag,
            properties: Some(properties.as_str().into()),
            reconsume_times: Some(message.reconsume_times.saturating_add(1)),
            unit_mode: Some(false),
            max_reconsume_times: Some(max),
            batch: Some(false),
            broker_name: None,
        };
        let sent = async {
            let link = core.link(address).await.map_err(|error| error.to_string())?;
            let send = link.request(request::SEND_MESSAGE_V2).with_fields(&fields).with_body(message.body.clone());
            let answer = link.call(send, core.config.call_timeout).await.map_err(|error| error.to_string())?;
            match answer.code {
                response::SUCCESS
                | response::FLUSH_DISK_TIMEOUT
                | response::FLUSH_SLAVE_TIMEOUT
                | response::SLAVE_NOT_AVAILABLE => Ok(()),
                code => Err(format!("code {code}: {}", answer.remark.unwrap_or_default())),
            }
        };
        match sent.await {
            Ok(()) => return Ok(()),
            Err(cause) => causes.push(format!("{}: {cause}", target.broker)),
        }
    }
    if causes.is_empty() {
        causes.push(format!("topic {topic} has no writable queue"));
    }
    Err(causes.join("; "))
}

fn properties(
    whence: Whence<'_>,
    message: &StoredMessage,
    max: i32,
    reason: Option<&str>,
) -> Result<Properties, property::PropertyError> {
    let mut properties = Properties::parse(&message.properties);
    properties.remove(property::TRANSACTION_PREPARED).remove(property::CRC32).remove(property::DELAY);
    let place = Origin { broker: whence.broker, queue: message.queue_id, offset: message.queue_offset };
    dead::note_return(&mut properties, &place, reason);
    let origin = message.property(property::ORIGIN_MESSAGE_ID).map_or_else(|| message.offset_id(), str::to_owned);
    properties.set(property::RETRY_TOPIC, &message.topic)?;
    properties.set(property::ORIGIN_MESSAGE_ID, &origin)?;
    properties.set(property::RECONSUME_TIME, &message.reconsume_times.saturating_add(1).to_string())?;
    properties.set(property::MAX_RECONSUME_TIMES, &max.to_string())?;
    Ok(properties)
}
