//! Topics that an administrator keeps a group from reading.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use parking_lot::RwLock;

use crate::meta::db::{Db, DbError};
use crate::meta::kept::Kept;
use crate::meta::tree::Tree;

/// The bit that RocketMQ sets for reading in its table of bans.
const READ: i32 = 1 << 2;

/// The bans.
pub struct Forbidden {
    /// Topics by group.
    table: RwLock<HashMap<String, HashSet<String>>>,
    db: Arc<Db>,
}

/// Key of a ban's row: `group 0 topic`. Names hold no zero bytes.
fn encode_key(group: &str, topic: &str) -> Vec<u8> {
    format!("{group}\0{topic}").into_bytes()
}

fn decode_key(key: &[u8]) -> Option<(&str, &str)> {
    std::str::from_utf8(key).ok()?.split_once('\0')
}

impl Forbidden {
    /// Loads the bans that were stored.
    ///
    /// # Errors
    /// The metadata cannot be read.
    pub fn load(db: Arc<Db>) -> Result<Self, DbError> {
        let mut table: HashMap<String, HashSet<String>> = HashMap::new();
        for (key, _) in db.load(Tree::Forbidden)? {
            match decode_key(&key) {
                Some((group, topic)) => drop(table.entry_ref(group).or_default().insert(topic.to_owned())),
                None => tracing::error!(?key, "a stored ban does not parse; skipped"),
            }
        }
        Ok(Self { table: RwLock::new(table), db })
    }

    /// Whether the group may not read the topic.
    #[must_use]
    pub fn holds(&self, group: &str, topic: &str) -> bool {
        let table = self.table.read();
        !table.is_empty() && table.get(group).is_some_and(|topics| topics.contains(topic))
    }

    /// Forbids a group a topic, or allows it again.
    pub fn set(&self, group: &str, topic: &str, forbidden: bool) {
        let mut table = self.table.write();
        let key = encode_key(group, topic);
        if forbidden {
            table.entry_ref(group).or_default().insert(topic.to_owned());
            self.db.put(Tree::Forbidden, key, Vec::new());
            return;
        }
        let Some(topics) = table.get_mut(group) else { return };
        if topics.remove(topic) {
            self.db.remove(Tree::Forbidden, key);
        }
        if topics.is_empty() {
            table.remove(group);
        }
    }

    /// Forgets the bans of a group that is gone.
    pub fn remove_group(&self, group: &str) {
        let topics = self.table.write().remove(group).unwrap_or_default();
        for topic in topics {
            self.db.remove(Tree::Forbidden, encode_key(group, &topic));
        }
    }

    /// RocketMQ's form of the whole table: bits by topic, by group.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<String, BTreeMap<String, i32>> {
        let table = self.table.read();
        let rows = table
            .iter()
            .map(|(group, topics)| (group.clone(), topics.iter().map(|topic| (topic.clone(), READ)).collect()));
        rows.collect()
    }
}

impl Kept for Forbidden {
    fn tree(&self) -> Tree {
        Tree::Forbidden
    }

    fn take(&self, key: &[u8], value: Option<&[u8]>) {
        match decode_key(key) {
            Some((group, topic)) if self.holds(group, topic) != value.is_some() => {
                self.set(group, topic, value.is_some());
            }
            Some(_) => {}
            None => tracing::error!(?key, "a ban of the master's does not parse; skipped"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_ban_stands_until_it_is_lifted_or_its_group_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let db = Arc::new(Db::open(&dir.path().join("db")).unwrap());
        let forbidden = Forbidden::load(Arc::clone(&db)).unwrap();
        for (group, topic) in [("G", "T"), ("G", "U"), ("H", "T")] {
            forbidden.set(group, topic, true);
        }
        forbidden.set("G", "U", false);
        forbidden.remove_group("H");
        db.stored(db.newest()).await.unwrap();
        let again = Forbidden::load(Arc::clone(&db)).unwrap();
        for table in [&forbidden, &again] {
            assert!(table.holds("G", "T") && !table.holds("G", "U") && !table.holds("H", "T"));
            assert_eq!(table.snapshot(), BTreeMap::from([("G".to_owned(), BTreeMap::from([("T".to_owned(), 4)]))]));
        }
        Kept::take(&again, b"G\0T", None);
        Kept::take(&again, b"X\0T", Some(b""));
        Kept::take(&again, b"nonsense", Some(b""));
        assert!(!again.holds("G", "T") && again.holds("X", "T"));
        db.close();
    }
}
