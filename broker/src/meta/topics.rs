//! Topics of this broker and their settings.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use orbitmq_common::clock::now_ms;
use orbitmq_common::name;
use orbitmq_common::plain;
use orbitmq_common::protocol::body::route::perm;
use orbitmq_common::protocol::body::topic::{DataVersion, TopicConfig, TopicTable};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::meta::db::{Db, DbError};
use crate::meta::kept::Kept;
use crate::meta::removed::Removed;
use crate::meta::tree::Tree;

/// Counts changes of a table; its value is the version that others compare.
#[derive(Debug)]
pub(crate) struct Version(watch::Sender<DataVersion>);

impl Version {
    pub(crate) fn new() -> Self {
        Self(watch::channel(DataVersion { counter: 0, state_version: 0, timestamp: now_ms() }).0)
    }

    pub(crate) fn current(&self) -> DataVersion {
        *self.0.borrow()
    }

    pub(crate) fn bump(&self) {
        self.0.send_modify(|version| {
            version.counter += 1;
            version.timestamp = now_ms();
        });
    }

    fn set_state(&self, state_version: i64) {
        self.0.send_modify(|version| version.state_version = state_version);
    }
}

/// The topics.
pub struct Topics {
    table: RwLock<HashMap<String, Arc<TopicConfig>>>,
    creating: Mutex<()>,
    version: Version,
    db: Arc<Db>,
    /// Those that were deleted.
    pub removed: Removed,
}

impl Topics {
    /// Loads the topics that were stored.
    ///
    /// # Errors
    /// The metadata cannot be read.
    pub fn load(db: Arc<Db>) -> Result<Self, DbError> {
        let mut table = HashMap::new();
        for (key, value) in db.load(Tree::Topics)? {
            match serde_json::from_slice::<TopicConfig>(&value) {
                Ok(config) => drop(table.insert(config.topic_name.clone(), Arc::new(config))),
                Err(error) => {
                    tracing::error!(topic = %String::from_utf8_lossy(&key), %error, "settings of a topic do not parse; skipped");
                }
            }
        }
        Ok(Self {
            table: RwLock::new(table),
            creating: Mutex::default(),
            version: Version::new(),
            db,
            removed: Removed::default(),
        })
    }

    /// Notes the mastership under which the table changes: name servers believe the newest.
    pub fn set_state_version(&self, state_version: i64) {
        self.version.set_state(state_version);
    }

    /// A topic's settings.
    #[must_use]
    pub fn get(&self, topic: &str) -> Option<Arc<TopicConfig>> {
        self.table.read().get(topic).cloned()
    }

    /// Version of the table now.
    #[must_use]
    pub fn version(&self) -> DataVersion {
        self.version.current()
    }

    /// Told on every change.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<DataVersion> {
        self.version.0.subscribe()
    }

    /// Has name servers told everything anew.
    pub fn touch(&self) {
        self.version.bump();
    }

    /// Creates or replaces a topic. The number is for [`Db::stored`].
    pub fn put(&self, config: TopicConfig) -> u64 {
        self.store(Arc::new(config))
    }

    /// The row is noted while the table is held, so that both see changes in the same order.
    fn store(&self, config: Arc<TopicConfig>) -> u64 {
        let (name, value) = (config.topic_name.clone(), serde_json::to_vec(&*config).unwrap_or_default());
        let number = {
            let mut table = self.table.write();
            table.insert(name.clone(), config);
            self.db.put(Tree::Topics, name.into_bytes(), value)
        };
        self.version.bump();
        number
    }

    /// Creates a topic unless it is there; either way its settings.
    pub fn ensure(&self, topic: &str, make: impl FnOnce() -> TopicConfig) -> Arc<TopicConfig> {
        if let Some(config) = self.get(topic) {
            return config;
        }
        let _one_at_a_time = self.creating.lock();
        if let Some(config) = self.get(topic) {
            return config;
        }
        let config = Arc::new(make());
        self.store(Arc::clone(&config));
        tracing::info!(topic, queues = config.write_queue_nums, perm = config.perm, "topic created");
        config
    }

    /// The topic of a group's returned messages, made when missing.
    pub fn ensure_retry(&self, group: &str, queues: i32) -> Arc<TopicConfig> {
        let topic = name::retry_topic(group);
        self.ensure(&topic, || TopicConfig::new(topic.clone(), queues.max(1), perm::READ | perm::WRITE))
    }

    /// Removes a topic. Returns the number for [`Db::stored`], or `None` when there was none.
    pub fn remove(&self, topic: &str) -> Option<u64> {
        let number = {
            let mut table = self.table.write();
            table.remove(topic)?;
            self.db.remove(Tree::Topics, topic.as_bytes().to_vec())
        };
        self.removed.note(topic);
        self.version.bump();
        Some(number)
    }

    /// All topics with the table's version.
    #[must_use]
    pub fn snapshot(&self) -> TopicTable {
        let table = self.table.read();
        let topics: BTreeMap<_, _> =
            table.iter().map(|(name, config)| (name.clone(), config.as_ref().clone())).collect();
        TopicTable { data_version: self.version(), topic_config_table: topics, ..TopicTable::default() }
    }

    /// What `wanted` makes of the topics, without those of which it makes nothing.
    pub fn select<T>(&self, wanted: impl FnMut(&Arc<TopicConfig>) -> Option<T>) -> Vec<T> {
        self.table.read().values().filter_map(wanted).collect()
    }

    /// A topic of nearly this name.
    #[must_use]
    pub fn meant(&self, topic: &str) -> Option<String> {
        plain::meant(topic, self.table.read().keys().map(String::as_str)).map(str::to_owned)
    }

    /// Names of all topics.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.table.read().keys().cloned().collect()
    }
}

impl Kept for Topics {
    fn tree(&self) -> Tree {
        Tree::Topics
    }

    /// Topics of the system stay: each broker makes those that it needs, and no administrator can delete one.
    fn take(&self, key: &[u8], value: Option<&[u8]>) {
        let Some(value) = value else {
            match std::str::from_utf8(key) {
                Ok(topic) if !name::is_system_topic(topic) => {
                    self.remove(topic);
                }
                _ => {}
            }
            return;
        };
        match serde_json::from_slice::<TopicConfig>(value) {
            Ok(config) if self.get(&config.topic_name).is_some_and(|known| *known == config) => {}
            Ok(config) => {
                self.put(config);
            }
            Err(error) => {
                tracing::error!(topic = %String::from_utf8_lossy(key), %error, "settings of a topic of the master's do not parse; skipped");
            }
        }
    }
}
