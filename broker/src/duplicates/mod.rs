//! Messages that are sent again because an answer was lost: topics that ask for it store each once.
//!
//! ```text
//! send ──key──> window of the topic ──┬─ not known ──> log ──> noted in the window, under one lock
//!                    ▲                └─ known ──> the first one's place is answered, once that is as safe as it has to be
//! log ──read when a broker becomes master──┘
//! ```
//! See `docs/duplicates.md` for the decisions.

pub mod memory;
pub mod read;
pub mod run;
pub mod window;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use hashbrown::HashMap;
use orbitmq_common::protocol::body::dedup::{self, Dedup};
use orbitmq_common::protocol::body::topic::TopicConfig;
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::duplicates::memory::{Memory, NotRead};
use crate::meta::topics::Topics;

/// What the topics of a master remember that drop duplicates.
pub struct Duplicates {
    topics: RwLock<HashMap<String, Arc<Memory>>>,
    /// Whether some topic's memory has yet to be read from the log.
    reading: AtomicBool,
    /// Told when one was.
    news: watch::Sender<()>,
    /// Messages dropped that went to topics which remember nothing any more.
    dropped_before: AtomicU64,
}

impl Default for Duplicates {
    fn default() -> Self {
        Self {
            topics: RwLock::default(),
            reading: AtomicBool::new(false),
            news: watch::Sender::new(()),
            dropped_before: AtomicU64::new(0),
        }
    }
}

/// What one topic remembers, in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figures {
    /// The topic.
    pub topic: String,
    /// Messages dropped since the start.
    pub dropped: u64,
    /// Messages forgotten before they were too old.
    pub forgotten: u64,
    /// Messages that it remembers.
    pub known: usize,
    /// Memory that they take, bytes.
    pub bytes: usize,
}

impl Duplicates {
    /// What a topic remembers; `None`: it takes duplicates.
    ///
    /// # Errors
    /// Its memory has yet to be read from the log.
    pub fn of(&self, topic: &TopicConfig) -> Result<Option<Arc<Memory>>, NotRead> {
        if topic.attributes.is_empty() || !topic.attributes.contains_key(dedup::WINDOW) {
            return Ok(None);
        }
        match self.topics.read().get(&topic.topic_name) {
            Some(memory) => Ok(Some(Arc::clone(memory))),
            None if wish(topic).is_some() => Err(NotRead),
            None => Ok(None),
        }
    }

    /// Whether some topic has yet to be read.
    pub fn is_reading(&self) -> bool {
        self.reading.load(Ordering::Acquire)
    }

    /// Resolves when a topic's memory is read, or it has none any more.
    pub async fn read(&self, topic: &str) {
        let mut news = self.news.subscribe();
        while self.topics.read().get(topic).is_some_and(|memory| !memory.is_read()) {
            if news.changed().await.is_err() {
                return;
            }
        }
    }

    /// Brings it in line with the topics' settings: what is new or has changed is to be read from the log before such a topic takes
    /// a message again.
    pub fn heed(&self, topics: &Topics) {
        let mut table = self.topics.write();
        let wishes: HashMap<String, Dedup> =
            topics.select(|topic| Some((topic.topic_name.clone(), wish(topic)?))).into_iter().collect();
        table.retain(|topic, memory| {
            let stays = wishes.contains_key(topic);
            if !stays {
                self.end(memory);
            }
            stays
        });
        for (topic, wish) in wishes {
            table.entry(topic).or_insert_with_key(|topic| Arc::new(Memory::new(topic, wish))).bound(wish);
        }
        let reading = table.values().any(|memory| !memory.is_read());
        self.reading.store(reading, Ordering::Release);
        drop(table);
        self.news.send_replace(());
    }

    /// A topic is deleted: what it remembers belongs to messages that are gone.
    pub fn forget(&self, topic: &str) {
        if let Some(memory) = self.topics.write().remove(topic) {
            self.end(&memory);
            self.news.send_replace(());
        }
    }

    fn end(&self, memory: &Memory) {
        memory.end();
        self.dropped_before.fetch_add(memory.dropped(), Ordering::Relaxed);
    }

    /// Topics whose memory has yet to be read.
    fn unread(&self) -> Vec<(String, Arc<Memory>)> {
        let table = self.topics.read();
        let unread = table.iter().filter(|(_, memory)| !memory.is_read());
        unread.map(|(topic, memory)| (topic.clone(), Arc::clone(memory))).collect()
    }

    /// Some were read.
    fn settle(&self) {
        let table = self.topics.write();
        self.reading.store(table.values().any(|memory| !memory.is_read()), Ordering::Release);
        drop(table);
        self.news.send_replace(());
    }

    /// Forgets what is too old, in topics that nobody sends to as well.
    fn expire(&self, now: i64) {
        let memories: Vec<_> = self.topics.read().values().cloned().collect();
        for memory in memories {
            // Senders come in between.
            while !memory.expire(now) {}
        }
    }

    /// Each topic in numbers, by name.
    pub fn figures(&self) -> Vec<Figures> {
        let table = self.topics.read();
        let mut figures: Vec<_> = table
            .iter()
            .map(|(topic, memory)| {
                let (known, bytes) = memory.size();
                let (dropped, forgotten) = (memory.dropped(), memory.forgotten());
                Figures { topic: topic.clone(), dropped, forgotten, known, bytes }
            })
            .collect();
        figures.sort_unstable_by(|a, b| a.topic.cmp(&b.topic));
        figures
    }

    /// Messages dropped since the start.
    pub fn dropped(&self) -> u64 {
        let now: u64 = self.topics.read().values().map(|memory| memory.dropped()).sum();
        now + self.dropped_before.load(Ordering::Relaxed)
    }
}

/// What a topic's attributes ask for. What cannot be is refused when it is set; it can still come with the files of another broker.
fn wish(topic: &TopicConfig) -> Option<Dedup> {
    if topic.attributes.is_empty() {
        return None;
    }
    Dedup::of(&topic.topic_name, &topic.attributes).ok().flatten()
}

#[cfg(test)]
mod tests;
