//! All queues, found by topic and number.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashMap;
use parking_lot::RwLock;
use tokio::sync::Notify;

use crate::store::queue::Queue;

/// Looks at a topic and its queues.
pub type EachTopic<'a> = &'a mut dyn FnMut(&Arc<str>, &[Arc<Queue>]);

/// The table of queues.
#[derive(Debug)]
pub struct Queues {
    dir: PathBuf,
    file_entries: u64,
    uid: AtomicU64,
    /// Per topic, sorted by number.
    topics: RwLock<HashMap<Arc<str>, Vec<Arc<Queue>>>>,
    created: Arc<Notify>,
}

impl Queues {
    /// No queues yet; their files are below `dir`.
    pub fn new(dir: PathBuf, file_entries: u64) -> Self {
        Self { dir, file_entries, uid: AtomicU64::new(0), topics: RwLock::default(), created: Arc::default() }
    }

    /// The directory of the queue files.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Woken when a queue comes into being.
    pub fn created(&self) -> &Arc<Notify> {
        &self.created
    }

    /// A queue, if there is one.
    pub fn get(&self, topic: &str, id: u32) -> Option<Arc<Queue>> {
        let topics = self.topics.read();
        let queues = topics.get(topic)?;
        let index = queues.binary_search_by_key(&id, |queue| queue.id()).ok()?;
        queues.get(index).cloned()
    }

    /// A queue, new and empty if there was none.
    pub fn get_or_create(&self, topic: &str, id: u32) -> Arc<Queue> {
        match self.get(topic, id) {
            Some(queue) => queue,
            None => self.insert(topic, id, None),
        }
    }

    /// Adds a queue unless it is there; `known` is the range of its entries.
    pub fn insert(&self, topic: &str, id: u32, known: Option<(u64, u64)>) -> Arc<Queue> {
        let mut topics = self.topics.write();
        let name: Arc<str> = topics.get_key_value(topic).map_or_else(|| Arc::from(topic), |(name, _)| Arc::clone(name));
        let queues = topics.entry(Arc::clone(&name)).or_default();
        let index = match queues.binary_search_by_key(&id, |queue| queue.id()) {
            Ok(index) => return queues.get(index).map_or_else(|| self.build(name, id, known), Arc::clone),
            Err(index) => index,
        };
        let queue = self.build(name, id, known);
        queues.insert(index, Arc::clone(&queue));
        drop(topics);
        self.created.notify_waiters();
        queue
    }

    fn build(&self, topic: Arc<str>, id: u32, known: Option<(u64, u64)>) -> Arc<Queue> {
        let uid = self.uid.fetch_add(1, Ordering::Relaxed);
        let dir = self.dir.join(&*topic).join(id.to_string());
        Arc::new(Queue::new(topic, id, uid, dir, self.file_entries, known))
    }

    /// Takes a topic's queues out of the table.
    pub fn remove(&self, topic: &str) -> Vec<Arc<Queue>> {
        self.topics.write().remove(topic).unwrap_or_default()
    }

    /// Numbers of a topic's queues.
    pub fn ids(&self, topic: &str) -> Vec<u32> {
        let topics = self.topics.read();
        topics.get(topic).map(|queues| queues.iter().map(|queue| queue.id()).collect()).unwrap_or_default()
    }

    /// A topic's queues.
    pub fn of(&self, topic: &str) -> Vec<Arc<Queue>> {
        self.topics.read().get(topic).cloned().unwrap_or_default()
    }

    /// Shows every topic with its queues. None comes into being meanwhile.
    pub fn each_topic(&self, each: EachTopic<'_>) {
        self.topics.read().iter().for_each(|(topic, queues)| each(topic, queues));
    }

    /// Topics that have queues.
    pub fn topics(&self) -> Vec<String> {
        self.topics.read().keys().map(|topic| topic.to_string()).collect()
    }

    /// Every queue.
    pub fn all(&self) -> Vec<Arc<Queue>> {
        self.topics.read().values().flatten().cloned().collect()
    }

    /// Number of queues.
    pub fn count(&self) -> usize {
        self.topics.read().values().map(Vec::len).sum()
    }
}

/// Whether a topic can be the name of a directory.
pub fn is_storable(topic: &str) -> bool {
    !topic.is_empty() && topic.len() <= 255 && topic != "." && topic != ".." && !topic.contains(['/', '\0'])
}
