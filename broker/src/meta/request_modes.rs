//! Which groups pop the messages of a topic, and which pull them, as administrators have set it.

use std::collections::BTreeMap;
use std::sync::Arc;

use orbitmq_common::protocol::body::pop::{RequestModeBody, RequestModeTable};
use parking_lot::RwLock;

use crate::meta::db::{Db, DbError};
use crate::meta::kept::Kept;
use crate::meta::tree::Tree;

type Modes = BTreeMap<String, BTreeMap<String, RequestModeBody>>;

/// The modes, by topic and group.
pub struct RequestModes {
    table: RwLock<Modes>,
    db: Arc<Db>,
}

/// Key of a mode's row: `topic 0 group`.
pub fn encode_key(topic: &str, group: &str) -> Vec<u8> {
    [topic.as_bytes(), &[0], group.as_bytes()].concat()
}

impl RequestModes {
    /// Loads the modes that were stored.
    ///
    /// # Errors
    /// The metadata cannot be read.
    pub fn load(db: Arc<Db>) -> Result<Self, DbError> {
        let mut table = Modes::new();
        for (key, value) in db.load(Tree::RequestModes)? {
            match serde_json::from_slice::<RequestModeBody>(&value) {
                Ok(mode) => {
                    table.entry(mode.topic.clone()).or_default().insert(mode.consumer_group.clone(), mode);
                }
                Err(error) => tracing::error!(?key, %error, "how a group gets its messages does not parse; skipped"),
            }
        }
        Ok(Self { table: RwLock::new(table), db })
    }

    /// How a group gets the messages of a topic; `None`: nobody has said.
    #[must_use]
    pub fn get(&self, topic: &str, group: &str) -> Option<RequestModeBody> {
        self.table.read().get(topic)?.get(group).cloned()
    }

    /// Sets it. The number is for [`Db::stored`].
    pub fn put(&self, mode: RequestModeBody) -> u64 {
        let (key, value) =
            (encode_key(&mode.topic, &mode.consumer_group), serde_json::to_vec(&mode).unwrap_or_default());
        let mut table = self.table.write();
        table.entry(mode.topic.clone()).or_default().insert(mode.consumer_group.clone(), mode);
        self.db.put(Tree::RequestModes, key, value)
    }

    fn remove(&self, topic: &str, group: &str) {
        let mut table = self.table.write();
        if table.get_mut(topic).and_then(|groups| groups.remove(group)).is_some() {
            self.db.remove(Tree::RequestModes, encode_key(topic, group));
        }
    }

    /// Forgets a topic or a group.
    pub fn forget(&self, topic: Option<&str>, group: Option<&str>) {
        for (of_topic, groups) in self.snapshot().message_request_mode_map {
            for of_group in groups.into_keys() {
                if topic.is_none_or(|topic| topic == of_topic) && group.is_none_or(|group| group == of_group) {
                    self.remove(&of_topic, &of_group);
                }
            }
        }
    }

    /// All of them.
    #[must_use]
    pub fn snapshot(&self) -> RequestModeTable {
        RequestModeTable { message_request_mode_map: self.table.read().clone() }
    }
}

impl Kept for RequestModes {
    fn tree(&self) -> Tree {
        Tree::RequestModes
    }

    fn take(&self, key: &[u8], value: Option<&[u8]>) {
        let Some(value) = value else {
            if let Some((topic, group)) = std::str::from_utf8(key).ok().and_then(|key| key.split_once('\0')) {
                self.remove(topic, group);
            }
            return;
        };
        match serde_json::from_slice::<RequestModeBody>(value) {
            Ok(mode) if self.get(&mode.topic, &mode.consumer_group).as_ref() == Some(&mode) => {}
            Ok(mode) => drop(self.put(mode)),
            Err(error) => tracing::error!(?key, %error, "a request mode of the master's does not parse; skipped"),
        }
    }
}
