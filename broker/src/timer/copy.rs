//! A stored message as it is stored again: under its real topic, or in the timer queue once more.

use std::net::SocketAddr;

use bytes::Bytes;
use orbitmq_common::message::property;
use orbitmq_common::message::record::{NewRecord, RecordView};
use orbitmq_common::name::TIMER_TOPIC;

/// A record to store, with the place it goes to.
#[derive(Debug)]
pub struct Copy {
    record: Bytes,
    /// The topic.
    pub topic: String,
    /// The queue there.
    pub queue: u32,
    properties: String,
}

impl Copy {
    /// A message that is due, for its real topic; `None`: it does not say which that is. When it was due stays in its
    /// properties: by that and by its key the copy is recognised.
    pub fn delivered(record: &Bytes) -> Option<Self> {
        let view = RecordView::parse(record).ok()?;
        let (mut topic, mut queue) = (None, 0);
        let mut properties = String::with_capacity(view.properties.len());
        for (name, value) in property::iter(view.properties) {
            match name {
                property::REAL_TOPIC => topic = Some(value.to_owned()),
                property::REAL_QUEUE_ID => queue = value.parse().unwrap_or(0),
                property::CRC32 => {}
                _ => push(&mut properties, name, value),
            }
        }
        Some(Self { record: record.clone(), topic: topic?, queue, properties })
    }

    /// The same for the end of the timer queue.
    pub fn rolled(record: &Bytes) -> Option<Self> {
        let view = RecordView::parse(record).ok()?;
        let times = rolled_times(&view).saturating_add(1);
        let mut properties = String::with_capacity(view.properties.len() + 20);
        let kept = |name: &str| name != property::CRC32 && name != property::TIMER_ROLL_TIMES;
        for (name, value) in property::iter(view.properties).filter(|(name, _)| kept(name)) {
            push(&mut properties, name, value);
        }
        push(&mut properties, property::TIMER_ROLL_TIMES, &times.to_string());
        Some(Self { record: record.clone(), topic: TIMER_TOPIC.to_owned(), queue: 0, properties })
    }

    /// What to append.
    pub fn to_store(&self, host: SocketAddr) -> Option<NewRecord<'_>> {
        let view = RecordView::parse(&self.record).ok()?;
        Some(NewRecord {
            topic: &self.topic,
            queue_id: self.queue,
            flag: view.flag,
            sys_flag: view.sys_flag,
            born_timestamp: view.born_timestamp,
            born_host: view.born_host,
            store_host: host,
            reconsume_times: view.reconsume_times,
            prepared_offset: 0,
            body: view.body,
            properties: self.properties.as_bytes(),
        })
    }
}

/// How often a message was written again.
pub fn rolled_times(view: &RecordView<'_>) -> u32 {
    property::get(view.properties, property::TIMER_ROLL_TIMES).and_then(|times| times.parse().ok()).unwrap_or(0)
}

fn push(out: &mut String, name: &str, value: &str) {
    out.push_str(name);
    out.push(property::NAME_END);
    out.push_str(value);
    out.push(property::VALUE_END);
}
