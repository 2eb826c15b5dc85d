//! Batches: messages of one topic, cut into parts that one request can carry.

use orbitmq_common::clock::now_ms;
use orbitmq_common::message::batch::{self, BatchEntry};
use orbitmq_common::message::message::Message;

use crate::config::Config;
use crate::error::SendError;
use crate::producer::{check_topic, properties_of};
use crate::send::Parcel;

/// What a message of a batch takes beside body and properties.
const OVERHEAD: usize = 22;

/// Cuts a batch into parcels no larger than a message may be.
pub(crate) fn split(
    messages: &[Message],
    config: &Config,
    mut next_id: impl FnMut() -> String,
) -> Result<Vec<Parcel>, SendError> {
    let Some(first) = messages.first() else { return Ok(Vec::new()) };
    check_topic(&first.topic)?;
    let mut parcels = Vec::new();
    let mut part: Vec<(&Message, String, String)> = Vec::new();
    let mut size = 0;
    for message in messages {
        check(message, &first.topic)?;
        let id = next_id();
        let properties = properties_of(message, &id)?;
        let more = OVERHEAD + message.body.len() + properties.len();
        if more > config.max_message_size {
            return Err(SendError::TooLarge { size: more, limit: config.max_message_size });
        }
        if size + more > config.max_message_size {
            parcels.push(parcel(&first.topic, std::mem::take(&mut part))?);
            size = 0;
        }
        size += more;
        part.push((message, properties, id));
    }
    parcels.push(parcel(&first.topic, part)?);
    Ok(parcels)
}

fn check(message: &Message, topic: &str) -> Result<(), SendError> {
    let refuse = |why: &str| Err(SendError::Message(format!("a batch {why}")));
    if message.topic != topic {
        return refuse(&format!("has one topic: '{topic}' and '{}' need a batch each", message.topic));
    }
    if message.delay_level > 0 || message.when.is_some() {
        return refuse("cannot be delayed: send delayed messages one by one");
    }
    if message.sharding_key.is_some() {
        return refuse("goes to one queue in turn: send messages with sharding keys one by one");
    }
    Ok(())
}

fn parcel(topic: &str, part: Vec<(&Message, String, String)>) -> Result<Parcel, SendError> {
    let entries =
        part.iter().map(|(message, properties, _)| BatchEntry { flag: message.flag, body: &message.body, properties });
    let body = batch::encode(entries).map_err(|error| SendError::Message(error.to_string()))?;
    Ok(Parcel {
        topic: topic.to_owned(),
        body,
        properties: "WAIT\u{1}true\u{2}".to_owned(),
        sys_flag: 0,
        flag: 0,
        born: now_ms(),
        batch: true,
        ids: part.into_iter().map(|(_, _, id)| id).collect(),
    })
}

#[cfg(test)]
mod tests;
