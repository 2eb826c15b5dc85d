//! Where a message that is given back came from, and why, as properties beside RocketMQ's own. Clients of RocketMQ's pass over them.

use crate::message::property::{self, Properties, PropertyError};
use crate::message::record::SHORT_MAX;

/// Bytes of a reason that are kept.
pub const LONGEST_REASON: usize = 512;
/// Properties longer than this get none of ours: brokers need the rest for what a delayed message carries.
const ROOM: usize = SHORT_MAX - 1024;

/// The place at which a message was delivered first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin<'a> {
    /// Name of the broker.
    pub broker: &'a str,
    /// Queue of the topic.
    pub queue: u32,
    /// Position in the queue.
    pub offset: u64,
}

impl<'a> Origin<'a> {
    /// Reads what [`note_return`] wrote.
    #[must_use]
    pub fn of(properties: &'a str) -> Option<Self> {
        Some(Self {
            broker: property::get(properties, property::ORIGIN_BROKER)?,
            queue: property::get(properties, property::ORIGIN_QUEUE)?.parse().ok()?,
            offset: property::get(properties, property::ORIGIN_OFFSET)?.parse().ok()?,
        })
    }
}

/// Notes that a message is given back from `place`, and why. Only the first return tells where the message came from; a return
/// without a reason leaves that of an earlier one.
pub fn note_return(properties: &mut Properties, place: &Origin<'_>, reason: Option<&str>) {
    // Before RETRY_TOPIC is set it was never given back, and what it has of ours belongs to another life.
    if properties.get(property::RETRY_TOPIC).is_none() {
        forget(properties);
        note(properties, property::ORIGIN_BROKER, place.broker);
        note(properties, property::ORIGIN_QUEUE, &place.queue.to_string());
        note(properties, property::ORIGIN_OFFSET, &place.offset.to_string());
    }
    if let Some(reason) = reason.map(clean).filter(|reason| !reason.is_empty()) {
        note(properties, property::RETURN_REASON, &reason);
    }
}

/// Notes that a message of a group is dead: RocketMQ's own properties, and the group. RETRY_TOPIC and ORIGIN_MESSAGE_ID must be
/// set where they are known.
///
/// # Errors
/// A value cannot be written.
pub fn note_death(properties: &mut Properties, group: &str) -> Result<(), PropertyError> {
    for (from, to) in [
        (property::RETRY_TOPIC, property::DLQ_ORIGIN_TOPIC),
        (property::ORIGIN_MESSAGE_ID, property::DLQ_ORIGIN_MESSAGE_ID),
    ] {
        if let Some(value) = properties.get(from).map(str::to_owned) {
            properties.set(to, &value)?;
        }
    }
    note(properties, property::DEAD_GROUP, group);
    Ok(())
}

/// Removes everything that returns and death have left, so that the message can be sent anew.
pub fn forget(properties: &mut Properties) {
    for name in [
        property::ORIGIN_BROKER,
        property::ORIGIN_QUEUE,
        property::ORIGIN_OFFSET,
        property::RETURN_REASON,
        property::DEAD_GROUP,
    ] {
        properties.remove(name);
    }
}

/// Writes what there is room for and what can be written.
fn note(properties: &mut Properties, name: &str, value: &str) {
    if properties.as_str().len() + name.len() + value.len() <= ROOM {
        // Names and values that cannot be written say nothing.
        let _ = properties.set(name, value);
    }
}

/// One line without control characters, cut to [`LONGEST_REASON`].
#[must_use]
pub fn clean(reason: &str) -> String {
    let line: String = reason.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let line = line.trim();
    let end = line.floor_char_boundary(LONGEST_REASON);
    line.get(..end).unwrap_or(line).trim_end().to_owned()
}

#[cfg(test)]
mod tests;
