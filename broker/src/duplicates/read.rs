//! Reads from the log what topics have to remember: the newest messages of their queues, and those for them that wait for a time or
//! for the end of a transaction.
//!
//! The queues say where these lie, so nothing else of the log is looked at. What a message became that waited (a copy under its
//! topic, a commit) is not its first place, and passed over.

use hashbrown::HashMap;
use orbitmq_common::message::record::RecordView;
use orbitmq_common::message::{property, sysflag};
use orbitmq_common::name;
use orbitmq_common::protocol::body::dedup::Dedup;

use crate::duplicates::window::{First, Window};
use crate::store::Store;
use crate::store::follow::{Follower, Numbered};
use crate::store::search::Boundary;

/// Entries of a queue read in one go.
const READ: usize = 16_384;
/// Where messages lie that are not under their topic yet.
const WAITING: [&str; 3] = [name::SCHEDULE_TOPIC, name::TIMER_TOPIC, name::HALF_TOPIC];

/// What these topics have to remember at a time, in ms. All of the log must be confirmed and in the queues. Blocks.
pub fn windows(store: &Store, topics: &[(String, Dedup)], now: i64) -> HashMap<String, Window> {
    let places = places(store, topics, now);
    let mut windows: HashMap<String, Window> =
        topics.iter().map(|(topic, bounds)| (topic.clone(), Window::new(*bounds))).collect();
    let mut unreadable = 0_u64;
    for at in places {
        let Ok(bytes) = store.record_at(at) else {
            unreadable += 1;
            continue;
        };
        let Ok(record) = RecordView::parse(&bytes) else { continue };
        if let Some(message) = Message::of(&record)
            && let Some(window) = windows.get_mut(message.topic)
        {
            let print = window.print(message.key);
            window.insert(print, record.store_timestamp, message.place);
        }
    }
    if unreadable > 0 {
        tracing::warn!(unreadable, "messages that cannot be read are not known when they are sent again");
    }
    windows.values_mut().for_each(|window| while !window.expire(now) {});
    windows
}

/// Log offsets of all that may count, in the order of the log.
fn places(store: &Store, topics: &[(String, Dedup)], now: i64) -> Vec<u64> {
    let log = store.follower();
    let since = |bounds: &Dedup| now.saturating_sub(i64::try_from(bounds.window.as_millis()).unwrap_or(i64::MAX));
    let mut places = Vec::new();
    for (topic, bounds) in topics {
        let mut newest = Vec::new();
        for queue in store.queues(topic) {
            // Of one topic no more than so many are remembered, wherever they lie.
            let least = store.max_offset(topic, queue).saturating_sub(i64::try_from(bounds.count).unwrap_or(i64::MAX));
            let from = store.offset_by_time(topic, queue, since(bounds), Boundary::Lower).max(least);
            gather(&log, topic, queue, from, &mut newest);
            if let Some(surplus) = newest.len().checked_sub(bounds.count).filter(|surplus| *surplus > 0) {
                newest.select_nth_unstable(surplus);
                newest.drain(..surplus);
            }
        }
        places.append(&mut newest);
    }
    if let Some(longest) = topics.iter().map(|(_, bounds)| since(bounds)).min() {
        for topic in WAITING {
            for queue in store.queues(topic) {
                let from = store.offset_by_time(topic, queue, longest, Boundary::Lower);
                gather(&log, topic, queue, from, &mut places);
            }
        }
    }
    places.sort_unstable();
    places
}

/// Adds the log offsets of a queue's messages from an offset on.
fn gather(log: &Follower, topic: &str, queue: u32, from: i64, out: &mut Vec<u64>) {
    let (mut at, mut buffer): (u64, Vec<Numbered>) = (u64::try_from(from).unwrap_or(0), Vec::new());
    loop {
        let next = log.entries(topic, queue, at, READ, &mut buffer);
        out.extend(buffer.iter().map(|(_, entry)| entry.physical_offset));
        if next <= at {
            return;
        }
        at = next;
    }
}

/// A record as the message that its sender sent.
struct Message<'a> {
    topic: &'a str,
    key: &'a str,
    place: First,
}

impl<'a> Message<'a> {
    /// `None`: it has no key, or came of another record.
    fn of(record: &RecordView<'a>) -> Option<Self> {
        if sysflag::transaction(record.sys_flag) == sysflag::TRANSACTION_COMMIT {
            return None;
        }
        let waits = WAITING.contains(&record.topic);
        let (mut topic, mut queue, mut key) = (record.topic, i32::try_from(record.queue_id).ok(), None);
        for (name, value) in property::iter(record.properties) {
            match name {
                property::UNIQ_KEY => key = Some(value).filter(|key| !key.is_empty()),
                property::REAL_TOPIC if waits => topic = value,
                property::REAL_QUEUE_ID if waits => queue = value.parse().ok(),
                // A copy of one that waited, or what rolls or takes back one that waits.
                property::REAL_TOPIC | property::TIMER_ROLL_TIMES | property::TIMER_DEL_UNIQKEY => return None,
                property::TIMER_OUT_MS if !waits => return None,
                _ => {}
            }
        }
        let (queue_offset, size) = (record.queue_offset, u32::try_from(record.size()).unwrap_or(u32::MAX));
        let place = First { physical: record.physical_offset, queue_offset, queue: queue?, size };
        Some(Self { topic, key: key?, place })
    }
}
