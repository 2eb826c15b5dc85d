//! Which message a record is, as a number: the same for what waits, for its copy and for its recall. Never stored.

use std::hash::{DefaultHasher, Hash, Hasher};

use orbitmq_common::message::property;
use orbitmq_common::message::record::RecordView;
use orbitmq_common::name::TIMER_TOPIC;

/// Of a message that waits.
pub fn of(record: &RecordView<'_>) -> u64 {
    let topic = property::get(record.properties, property::REAL_TOPIC).unwrap_or_default();
    of_message(topic, property::get(record.properties, property::UNIQ_KEY).unwrap_or_default())
}

/// Of a message with a unique key.
pub fn of_message(topic: &str, key: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (topic, key).hash(&mut hasher);
    hasher.finish()
}

/// Of the message that a recall takes back. It names `topic+key`; older ones of RocketMQ's name the key alone.
pub fn of_recalled(record: &RecordView<'_>) -> u64 {
    let topic = property::get(record.properties, property::REAL_TOPIC).unwrap_or_default();
    let named = property::get(record.properties, property::TIMER_DEL_UNIQKEY).unwrap_or_default();
    let key = named.strip_prefix(topic).and_then(|rest| rest.strip_prefix('+')).unwrap_or(named);
    of_message(topic, key)
}

/// Of a message that is due at a time: tells copies of messages with one key apart.
pub fn of_copy(message: u64, due: i64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (message, due).hash(&mut hasher);
    hasher.finish()
}

/// Of the message of which a record of the log is the delivered copy, and when that was due; `None`: it is no such copy.
pub fn delivered(record: &RecordView<'_>) -> Option<(u64, i64)> {
    if record.topic == TIMER_TOPIC {
        return None;
    }
    let due = property::get(record.properties, property::TIMER_OUT_MS)?.parse().ok()?;
    let key = property::get(record.properties, property::UNIQ_KEY).unwrap_or_default();
    Some((of_copy(of_message(record.topic, key), due), due))
}
