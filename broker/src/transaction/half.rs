//! A half message: what it is in the log, and the records that come of it.

use std::net::SocketAddr;

use orbitmq_common::message::property::{self, Properties, PropertyError};
use orbitmq_common::message::record::{self, NewRecord, RecordError, RecordView};
use orbitmq_common::message::sysflag;
use orbitmq_common::name;

use crate::timer::wish::Wish;

/// Tag of a note that half messages have ended; stands on the disk, as RocketMQ's brokers read it.
const ENDED: &str = "TAGS\u{1}d\u{2}";
/// Between the offsets in a note's body, and behind the last.
const SEPARATOR: char = ',';

/// A record is no half message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HalfError {
    /// It lies elsewhere.
    #[error("the record there belongs to topic '{0}' and is no half message")]
    Topic(String),
    /// It does not say where it belongs, or to whom.
    #[error("the half message lacks its property {0}")]
    Lacks(&'static str),
}

/// A half message in the log.
#[derive(Debug, Clone, Copy)]
pub struct Half<'a> {
    /// Its record.
    pub record: RecordView<'a>,
    /// Topic to which it belongs.
    pub topic: &'a str,
    /// Queue there.
    pub queue: u32,
    /// Group of its producer.
    pub group: &'a str,
    /// The producer's id of it.
    pub key: &'a str,
}

/// Where a message that ends a half message goes.
pub struct Place {
    /// Its topic, or the schedule topic.
    pub topic: String,
    /// Queue there.
    pub queue: u32,
    properties: String,
}

impl<'a> Half<'a> {
    /// Reads a record.
    ///
    /// # Errors
    /// It is no half message.
    pub fn of(record: RecordView<'a>) -> Result<Self, HalfError> {
        if record.topic != name::HALF_TOPIC {
            return Err(HalfError::Topic(record.topic.to_owned()));
        }
        let get = |name: &'static str| record.property(name).ok_or(HalfError::Lacks(name));
        let queue = get(property::REAL_QUEUE_ID)?.parse().map_err(|_| HalfError::Lacks(property::REAL_QUEUE_ID))?;
        let (topic, group) = (get(property::REAL_TOPIC)?, get(property::PRODUCER_GROUP)?);
        Ok(Self { record, topic, queue, group, key: record.property(property::UNIQ_KEY).unwrap_or_default() })
    }

    /// Time for which its producer is left alone, ms, if it asks for one.
    pub fn immunity(&self) -> Option<i64> {
        immunity(self.record.properties)
    }

    /// Where its message goes when it is committed; one that asks for a delay or a time waits for that first. `now`: ms since the epoch.
    ///
    /// # Errors
    /// A property cannot be written.
    pub fn place(&self, levels: usize, now: i64) -> Result<Place, PropertyError> {
        let mut properties = Properties::parse(self.record.properties);
        for gone in [property::TRANSACTION_PREPARED, property::REAL_TOPIC, property::REAL_QUEUE_ID, property::CRC32] {
            properties.remove(gone);
        }
        let level = properties.get(property::DELAY).and_then(|text| text.parse::<usize>().ok()).unwrap_or(0);
        let (topic, queue) = if let Some(slot) = level.min(levels).checked_sub(1) {
            (name::SCHEDULE_TOPIC, u32::try_from(slot).unwrap_or(0))
        } else if let Some(due) = due(properties.as_str(), now) {
            properties.set(property::TIMER_OUT_MS, &due.to_string())?;
            (name::TIMER_TOPIC, 0)
        } else {
            let (topic, queue) = (self.topic.to_owned(), self.queue);
            return Ok(Place { topic, queue, properties: properties.into_text() });
        };
        properties.set(property::REAL_TOPIC, self.topic)?;
        properties.set(property::REAL_QUEUE_ID, &self.queue.to_string())?;
        Ok(Place { topic: topic.to_owned(), queue, properties: properties.into_text() })
    }

    /// The message that it becomes when it is committed.
    pub fn committed<'b>(&'b self, place: &'b Place, host: SocketAddr) -> NewRecord<'b> {
        let sys_flag = sysflag::with_transaction(self.record.sys_flag, sysflag::TRANSACTION_COMMIT);
        NewRecord { sys_flag, ..self.copy(&place.topic, place.queue, &place.properties, host) }
    }

    /// Its copy among those that were given up.
    pub fn given_up<'b>(&'b self, properties: &'b str, host: SocketAddr) -> NewRecord<'b> {
        self.copy(name::CHECK_MAX_TIME_TOPIC, 0, properties, host)
    }

    fn copy<'b>(&'b self, topic: &'b str, queue_id: u32, properties: &'b str, host: SocketAddr) -> NewRecord<'b> {
        let record = &self.record;
        NewRecord {
            prepared_offset: i64::try_from(record.physical_offset).unwrap_or(0),
            ..record.copy_to(topic, queue_id, host, properties)
        }
    }

    /// Its properties after so many questions.
    ///
    /// # Errors
    /// A property cannot be written.
    pub fn properties_after(&self, checks: u32) -> Result<String, PropertyError> {
        let mut properties = Properties::parse(self.record.properties);
        properties.remove(property::CRC32);
        properties.set(property::TRANSACTION_CHECK_TIMES, &checks.to_string())?;
        Ok(properties.into_text())
    }

    /// The record that its producer is asked about: this one under the topic and queue to which it belongs.
    ///
    /// # Errors
    /// The record would be too long.
    pub fn question(&self, properties: &str) -> Result<Vec<u8>, RecordError> {
        let record = &self.record;
        let shown =
            NewRecord { prepared_offset: 0, ..self.copy(self.topic, self.queue, properties, record.store_host) };
        let mut bytes = Vec::new();
        shown.encode_into(&mut bytes)?;
        record::seal(&mut bytes, record.queue_offset, record.physical_offset, record.store_timestamp)?;
        Ok(bytes)
    }
}

/// When a message is due that names a time; what cannot be met was refused when it was sent.
fn due(properties: &str, now: i64) -> Option<i64> {
    let mut wish = Wish::default();
    for (name, value) in property::iter(properties) {
        wish.note(name, value);
    }
    wish.due(now, None).ok().flatten()
}

/// Time for which a producer asks to be left alone, ms.
pub fn immunity(properties: &str) -> Option<i64> {
    let seconds: i64 = property::get(properties, property::CHECK_IMMUNITY_SECONDS)?.trim().parse().ok()?;
    (seconds >= 0).then(|| seconds.saturating_mul(1_000))
}

/// The body of a note that the half message at an offset has ended.
pub fn note_body(offset: u64) -> String {
    format!("{offset}{SEPARATOR}")
}

/// A note, as RocketMQ's brokers write them.
pub fn note(body: &str, now: i64, host: SocketAddr) -> NewRecord<'_> {
    NewRecord {
        topic: name::HALF_OP_TOPIC,
        queue_id: 0,
        flag: 0,
        sys_flag: 0,
        born_timestamp: now,
        born_host: host,
        store_host: host,
        reconsume_times: 0,
        prepared_offset: 0,
        body: body.as_bytes(),
        properties: ENDED.as_bytes(),
    }
}

/// Offsets of the half messages that a note says have ended. RocketMQ's broker gathers many in one.
pub fn noted<'a>(note: &RecordView<'a>) -> impl Iterator<Item = u64> + use<'a> {
    let ours = note.property(property::TAGS) == Some("d");
    let text = std::str::from_utf8(note.body).ok().filter(|_| ours).unwrap_or_default();
    text.split(SEPARATOR).filter_map(|offset| offset.trim().parse().ok())
}

#[cfg(test)]
mod tests;
