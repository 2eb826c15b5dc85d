//! Messages that say who they are: body and keys follow from the number.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use fastrand::Rng;
use orbitmq_common::message::record::NewRecord;

/// Topic whose entries carry a time in place of a tag.
pub const DELAYED: &str = "SCHEDULE_TOPIC_XXXX";
/// How long its messages are delayed, in ms.
pub const DELAY_MS: i64 = 10_000;
/// Number of different tags.
pub const TAGS: u64 = 4;
/// Topic that is deleted now and then.
pub const DELETED: &str = "gone";
/// Topics and how many queues they have.
pub const TOPICS: [(&str, u32); 4] = [("orders", 3), ("bills", 2), (DELAYED, 2), (DELETED, 2)];

/// A message before it is sent.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Its number, unlike that of all others.
    pub number: u64,
    /// Topic.
    pub topic: &'static str,
    /// Number of the queue.
    pub queue: u32,
    /// What it says.
    pub body: Arc<[u8]>,
    properties: String,
}

/// The key by which a message is found.
pub fn key(number: u64) -> String {
    format!("id-{number}")
}

/// The tag of a message.
pub fn tag(number: u64) -> String {
    format!("t{}", number % TAGS)
}

fn body(number: u64) -> Arc<[u8]> {
    let mut chance = Rng::with_seed(number);
    // Mostly small, now and then larger than a page.
    let len = if number.is_multiple_of(23) { chance.usize(4_000..9_000) } else { chance.usize(1..900) };
    (0..len).map(|_| chance.u8(..)).collect()
}

impl Draft {
    /// A message to a queue.
    pub fn new(number: u64, topic: &'static str, queue: u32) -> Self {
        let delay = if topic == DELAYED { "DELAY\u{1}3\u{2}" } else { "" };
        let properties = format!(
            "UNIQ_KEY\u{1}{}\u{2}KEYS\u{1}k{} all\u{2}TAGS\u{1}{}\u{2}{delay}",
            key(number),
            number % 9,
            tag(number)
        );
        Self { number, topic, queue, body: body(number), properties }
    }

    /// In the form that a store takes.
    pub fn record(&self) -> NewRecord<'_> {
        let host = SocketAddr::from((Ipv4Addr::LOCALHOST, 10_911));
        NewRecord {
            topic: self.topic,
            queue_id: self.queue,
            flag: 0,
            sys_flag: 0,
            born_timestamp: 1_700_000_000_000,
            born_host: host,
            store_host: host,
            reconsume_times: 0,
            prepared_offset: 0,
            body: &self.body,
            properties: self.properties.as_bytes(),
        }
    }
}
