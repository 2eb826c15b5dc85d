//! Carries traces to their topic, many in one message. What happens to traces never holds up the messages they tell of: those
//! that cannot be kept or sent are dropped and counted.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock::now_ms;
use crate::message::property::{self, Properties};
use crate::message::trace::Trace;
use crate::name;
use crate::protocol::code::{request, response};
use crate::protocol::header::send::SendRequestV2;
use crate::route::finder::RouteFinder;
use crate::route::links::Links;

/// Entries that wait at most.
const MOST: usize = 16 * 1024;
/// Entries, bytes and bytes of keys that one message carries.
const ENTRIES: usize = 200;
const BYTES: usize = 128 * 1024;
const KEY_BYTES: usize = 16 * 1024;
/// Traces are gathered for so long.
const GATHER: Duration = Duration::from_millis(500);
const DEADLINE: Duration = Duration::from_secs(3);
/// Times that one message of traces is sent.
const TRIES: usize = 4;

#[derive(Debug)]
struct Entry {
    text: String,
    keys: Vec<String>,
}

/// The traces of one client.
#[derive(Debug)]
pub struct Courier {
    topic: String,
    group: String,
    links: Arc<Links>,
    finder: RouteFinder,
    waiting: Mutex<VecDeque<Entry>>,
    bell: Notify,
    dropped: AtomicU64,
}

impl Courier {
    /// Traces go to `topic`, in the name of a producer group; they leave when [`Self::run`] runs.
    #[must_use]
    pub fn new(topic: &str, group: &str, links: Arc<Links>, finder: RouteFinder) -> Self {
        Self {
            topic: topic.to_owned(),
            group: group.to_owned(),
            links,
            finder,
            waiting: Mutex::default(),
            bell: Notify::new(),
            dropped: AtomicU64::new(0),
        }
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Takes an entry along.
    pub fn note(&self, trace: &Trace<'_>) {
        let mut text = String::with_capacity(256);
        trace.write(&mut text);
        let entry = Entry { text, keys: trace.keys().map(str::to_owned).collect() };
        let mut waiting = self.waiting.lock();
        if waiting.len() >= MOST {
            drop(waiting);
            return self.drop_some(1, "too many wait");
        }
        waiting.push_back(entry);
        if waiting.len() == ENTRIES || waiting.len() == 1 {
            drop(waiting);
            self.bell.notify_one();
        }
    }

    fn drop_some(&self, entries: usize, cause: &str) {
        if self.dropped.fetch_add(entries as u64, Ordering::Relaxed) == 0 {
            let topic = self.topic.as_str();
            tracing::warn!(topic, cause, "traces are dropped; said once, counted");
        }
    }

    /// Traces that were dropped.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Sends what is gathered, without end.
    pub async fn run(&self) {
        loop {
            self.bell.notified().await;
            if self.waiting.lock().len() < ENTRIES {
                drop(tokio::time::timeout(GATHER, self.bell.notified()).await);
            }
            self.flush().await;
        }
    }

    /// Sends all that waits.
    pub async fn flush(&self) {
        loop {
            let (body, keys, entries) = self.gather();
            if entries == 0 {
                return;
            }
            let mut cause = String::new();
            let mut sent = false;
            for _ in 0..TRIES {
                match self.send(&body, &keys).await {
                    Ok(()) => {
                        sent = true;
                        break;
                    }
                    Err(error) => cause = error,
                }
                self.finder.stale(&self.topic);
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            if !sent {
                self.drop_some(entries, &cause);
            }
        }
    }

    fn gather(&self) -> (String, String, usize) {
        let (mut body, mut keys, mut entries) = (String::new(), BTreeSet::new(), 0);
        let mut key_bytes = 0;
        let mut waiting = self.waiting.lock();
        while entries < ENTRIES && body.len() < BYTES && key_bytes < KEY_BYTES {
            let Some(entry) = waiting.pop_front() else { break };
            body.push_str(&entry.text);
            for key in entry.keys {
                let bytes = key.len() + 1;
                if key_bytes + bytes <= KEY_BYTES * 3 / 2 && keys.insert(key) {
                    key_bytes += bytes;
                }
            }
            entries += 1;
        }
        drop(waiting);
        (body, keys.into_iter().collect::<Vec<_>>().join(" "), entries)
    }

    async fn send(&self, body: &str, keys: &str) -> Result<(), String> {
        let route = self.finder.find_or_default(&self.topic, 1).await.map_err(|error| error.to_string())?;
        let turn = route.next_turn() % route.writable.len().max(1);
        let queue = route.writable.get(turn).ok_or_else(|| format!("topic {} has no writable queue", self.topic))?;
        let address = route.master(&queue.broker).ok_or_else(|| format!("broker {} has no master", queue.broker))?;
        let mut properties = Properties::new();
        properties.push(property::KEYS, keys).map_err(|error| error.to_string())?;
        let fields = SendRequestV2 {
            producer_group: self.group.as_str().into(),
            topic: self.topic.as_str().into(),
            default_topic: name::DEFAULT_TOPIC.into(),
            default_topic_queue_nums: 1,
            queue_id: queue.id,
            born_timestamp: now_ms(),
            properties: Some(properties.as_str().into()),
            ..SendRequestV2::default()
        };
        let link = self.links.get(address, DEADLINE).await.map_err(|error| error.to_string())?;
        let frame = link.request(request::SEND_MESSAGE_V2).with_fields(&fields).with_body(body.to_owned());
        let answer = link.call(frame, DEADLINE).await.map_err(|error| error.to_string())?;
        match answer.code {
            response::SUCCESS
            | response::FLUSH_DISK_TIMEOUT
            | response::FLUSH_SLAVE_TIMEOUT
            | response::SLAVE_NOT_AVAILABLE => Ok(()),
            code => Err(format!("code {code}: {}", answer.remark.unwrap_or_default())),
        }
    }
}
