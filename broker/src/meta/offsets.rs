//! How far each group has come in each queue.
//!
//! ```text
//! commit ──> memory ──(50 ms, or at once when the sender waits for an answer)──> sled
//! ```
//! An answered commit survives the end of the process; one that wants no answer does so 50 ms later.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::RwLock;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::meta::db::{Db, DbError};
use crate::meta::kept::Kept;
use crate::meta::resets::Resets;
use crate::meta::taken::Taken;
use crate::meta::tree::Tree;
use crate::plant::{self, Plant};

type Queues = BTreeMap<i32, i64>;
type Groups = HashMap<String, Queues>;
type Table = HashMap<String, Groups>;
type Place<'a> = (&'a str, &'a str, i32);

/// The offsets, by topic, group and queue.
pub struct Offsets {
    table: RwLock<Table>,
    /// Offsets that an administrator set: the group's next pull is sent there, and until then its commits count for nothing.
    resets: Resets,
    /// Rung when an administrator has set one: held pulls of the group have to hear of it.
    reset_bell: Notify,
    taken: Taken,
    db: Arc<Db>,
}

/// An offset that was committed here while another broker was the master, for that broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untold {
    /// The topic.
    pub topic: String,
    /// The group.
    pub group: String,
    /// The queue.
    pub queue: i32,
    /// The offset.
    pub offset: i64,
    /// What the master had before, as far as it was known here.
    pub base: Option<i64>,
}

/// Key of an offset's row: `topic 0 group 0 queue`, the queue as four bytes. Names hold no zero bytes.
pub fn encode_key(topic: &str, group: &str, queue: i32) -> Vec<u8> {
    let mut key = Vec::with_capacity(topic.len() + group.len() + 6);
    key.extend_from_slice(topic.as_bytes());
    key.push(0);
    key.extend_from_slice(group.as_bytes());
    key.push(0);
    key.extend_from_slice(&queue.to_be_bytes());
    key
}

/// Topic, group and queue of a key.
pub fn decode_key(key: &[u8]) -> Option<(&str, &str, i32)> {
    let (names, queue) = key.split_last_chunk::<4>()?;
    let (topic, rest) = std::str::from_utf8(names).ok()?.split_once('\0')?;
    Some((topic, rest.strip_suffix('\0')?, i32::from_be_bytes(*queue)))
}

fn find(table: &Table, (topic, group, queue): Place<'_>) -> Option<i64> {
    table.get(topic)?.get(group)?.get(&queue).copied()
}

impl Offsets {
    /// Loads the offsets that were stored.
    ///
    /// # Errors
    /// The metadata cannot be read.
    pub fn load(db: Arc<Db>) -> Result<Self, DbError> {
        let mut table = Table::new();
        for (key, value) in db.load(Tree::Offsets)? {
            match (decode_key(&key), value.first_chunk::<8>()) {
                (Some((topic, group, queue)), Some(offset)) => {
                    let groups = table.entry_ref(topic).or_default();
                    groups.entry_ref(group).or_default().insert(queue, i64::from_be_bytes(*offset));
                }
                _ => tracing::error!(?key, "a stored offset does not parse; skipped"),
            }
        }
        let taken = Taken::load(Arc::clone(&db))?;
        let resets = Resets::load(Arc::clone(&db))?;
        Ok(Self { table: RwLock::new(table), resets, reset_bell: Notify::new(), taken, db })
    }

    /// The group's offset in a queue: the first message it has not consumed.
    #[must_use]
    pub fn get(&self, topic: &str, group: &str, queue: i32) -> Option<i64> {
        find(&self.table.read(), (topic, group, queue))
    }

    /// Stores an offset. The number is for [`Db::stored`]; `None`: an administrator has just set another one, which stands.
    pub fn commit(&self, topic: &str, group: &str, queue: i32, offset: i64) -> Option<u64> {
        let key = encode_key(topic, group, queue);
        let mut table = self.table.write();
        if self.resets.holds(&key) {
            return None;
        }
        Some(self.set(&mut table, key, (topic, group, queue), offset))
    }

    /// Takes over an offset from a broker that knows of no resets: a group that it has moved has followed.
    pub fn import(&self, topic: &str, group: &str, queue: i32, offset: i64) {
        let key = encode_key(topic, group, queue);
        let mut table = self.table.write();
        if find(&table, (topic, group, queue)) != Some(offset) {
            self.resets.take(&key);
            self.set(&mut table, key, (topic, group, queue), offset);
        }
    }

    /// The row is noted while the table is held, so that both see changes in the same order.
    fn set(&self, table: &mut Table, key: Vec<u8>, (topic, group, queue): Place<'_>, offset: i64) -> u64 {
        let before = table.entry_ref(topic).or_default().entry_ref(group).or_default().insert(queue, offset);
        if self.taken.follows() && before != Some(offset) {
            self.taken.note(&key, before);
        }
        self.db.put(Tree::Offsets, key, offset.to_be_bytes().to_vec())
    }

    /// From now on another broker is the master: what is committed here is kept for it.
    pub fn follow(&self) {
        self.taken.follow();
    }

    /// From now on this broker is the master, and its offsets are those that count.
    pub fn lead(&self) {
        self.taken.lead();
    }

    /// Whether another broker is the master.
    #[must_use]
    pub fn follows(&self) -> bool {
        self.taken.follows()
    }

    /// Offsets that the master has to be told.
    #[must_use]
    pub fn untold(&self) -> Vec<Untold> {
        let untold = |(key, base, told): (Vec<u8>, Option<i64>, Option<i64>)| {
            let (topic, group, queue) = decode_key(&key)?;
            let offset = self.get(topic, group, queue).filter(|offset| Some(*offset) != told)?;
            Some(Untold { topic: topic.to_owned(), group: group.to_owned(), queue, offset, base })
        };
        self.taken.all().into_iter().filter_map(untold).collect()
    }

    /// Waits until there is something to tell since the last time.
    pub async fn untold_news(&self) {
        self.taken.news().await;
    }

    /// The master has accepted the offset. Until it comes back from there, older ones of the master's do not replace it.
    pub fn told(&self, untold: &Untold) {
        self.taken.told(&encode_key(&untold.topic, &untold.group, untold.queue), untold.offset);
    }

    /// The master's offset counts, not the one committed here, unless that has moved on meanwhile.
    pub fn give_up(&self, untold: &Untold, master: Option<i64>) {
        let mut table = self.table.write();
        let place @ (topic, group, queue) = (untold.topic.as_str(), untold.group.as_str(), untold.queue);
        if find(&table, place) == Some(untold.offset) {
            let key = encode_key(topic, group, queue);
            self.taken.forget(&key);
            self.replace(&mut table, key, place, master);
        }
    }

    /// The master's rows from now on have all that it was told.
    pub fn settle_told(&self) {
        let table = self.table.write();
        self.taken.settle_told(|key| decode_key(key).and_then(|place| find(&table, place)));
    }

    fn replace(&self, table: &mut Table, key: Vec<u8>, (topic, group, queue): Place<'_>, offset: Option<i64>) {
        if let Some(offset) = offset {
            table.entry_ref(topic).or_default().entry_ref(group).or_default().insert(queue, offset);
            self.db.put(Tree::Offsets, key, offset.to_be_bytes().to_vec());
            return;
        }
        if let Some(groups) = table.get_mut(topic)
            && let Some(queues) = groups.get_mut(group)
        {
            queues.remove(&queue);
            if queues.is_empty() {
                groups.remove(group);
            }
            if groups.is_empty() {
                table.remove(topic);
            }
        }
        self.db.remove(Tree::Offsets, key);
    }

    /// Sets an offset by an administrator's will; the group's next pull is sent there.
    pub fn reset(&self, topic: &str, group: &str, queue: i32, offset: i64) -> u64 {
        let key = encode_key(topic, group, queue);
        // Held before the reset is there: a commit comes before both or after both.
        let mut table = self.table.write();
        self.resets.set(key.clone(), offset);
        let number = self.set(&mut table, key, (topic, group, queue), offset);
        drop(table);
        self.reset_bell.notify_waiters();
        number
    }

    /// Resolves when an administrator sets an offset after this was called; whose is seen by [`Self::take_reset`].
    pub fn reset_rung(&self) -> Notified<'_> {
        self.reset_bell.notified()
    }

    /// Where an administrator has sent the group; asked once, by its next pull.
    #[must_use]
    pub fn take_reset(&self, topic: &str, group: &str, queue: i32) -> Option<i64> {
        if self.resets.is_empty() {
            return None;
        }
        self.resets.take(&encode_key(topic, group, queue))
    }

    /// What administrators have set and groups have yet to follow.
    #[must_use]
    pub fn resets(&self) -> &Resets {
        &self.resets
    }

    /// Topics in which the group has offsets.
    #[must_use]
    pub fn topics_of(&self, group: &str) -> Vec<String> {
        let table = self.table.read();
        table.iter().filter(|(_, groups)| groups.contains_key(group)).map(|(topic, _)| topic.clone()).collect()
    }

    /// Groups that have offsets in the topic.
    #[must_use]
    pub fn groups_of(&self, topic: &str) -> Vec<String> {
        self.table.read().get(topic).map(|groups| groups.keys().cloned().collect()).unwrap_or_default()
    }

    /// Forgets everything about a topic.
    pub fn remove_topic(&self, topic: &str) {
        let mut table = self.table.write();
        for (group, queues) in table.remove(topic).unwrap_or_default() {
            self.forget(topic, &group, &queues);
        }
    }

    /// Forgets everything about a group.
    pub fn remove_group(&self, group: &str) {
        for (topic, groups) in self.table.write().iter_mut() {
            if let Some(queues) = groups.remove(group) {
                self.forget(topic, group, &queues);
            }
        }
    }

    fn forget(&self, topic: &str, group: &str, queues: &Queues) {
        for queue in queues.keys() {
            let key = encode_key(topic, group, *queue);
            self.resets.take(&key);
            self.db.remove(Tree::Offsets, key);
        }
    }

    /// RocketMQ's form of the whole table: offsets by queue, by `topic@group`.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<String, Queues> {
        let table = self.table.read();
        let rows = table.iter().flat_map(|(topic, groups)| {
            groups.iter().map(move |(group, queues)| (format!("{topic}@{group}"), queues.clone()))
        });
        rows.collect()
    }
}

impl Kept for Offsets {
    fn tree(&self) -> Tree {
        Tree::Offsets
    }

    fn take(&self, key: &[u8], value: Option<&[u8]>) {
        let master = value.map(|value| value.first_chunk().map(|offset| i64::from_be_bytes(*offset)));
        let (Some((topic, group, queue)), Some(master)) = (decode_key(key), master.map_or(Some(None), |v| v.map(Some)))
        else {
            tracing::error!(?key, ?value, "an offset of the master's does not parse; skipped");
            return;
        };
        let master = if plant::is(Plant::OffsetBack) { master.map(|offset| offset / 2) } else { master };
        let mut table = self.table.write();
        let here = find(&table, (topic, group, queue));
        if !self.taken.stands(key, here, master) && here != master {
            self.replace(&mut table, key.to_vec(), (topic, group, queue), master);
        }
    }
}

#[cfg(test)]
mod tests;
