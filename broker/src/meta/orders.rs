//! Batches in hand of groups that pop in order: one a queue and group, until it is acknowledged or its time is over.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use orbitmq_common::message::receipt::{Origin, PopInfo};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::meta::db::{Db, DbError};
use crate::meta::kept::Kept;
use crate::meta::offsets::{decode_key, encode_key};
use crate::meta::tree::Tree;

/// Topic, group and queue.
pub type Place<'a> = (&'a str, &'a str, i32);

/// A batch. The names are those of RocketMQ's file of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Order {
    /// The attempt that has it.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    attempt: Option<String>,
    /// Bit n: the n-th message is acknowledged.
    #[serde(rename = "cm", default)]
    acked: u64,
    /// For how long nobody else gets one, ms.
    #[serde(rename = "i", default)]
    invisible: i64,
    /// When the group got something last, ms since the epoch; for RocketMQ, which forgets old ones.
    #[serde(rename = "l", default)]
    last: i64,
    /// The first message's offset, then the distances of the others from it.
    #[serde(rename = "o", default)]
    offsets: Vec<i64>,
    /// How often messages were popped before, by offset.
    #[serde(rename = "oc", default)]
    counts: BTreeMap<i64, i32>,
    /// When messages can be seen again, by offset, where that was changed.
    #[serde(rename = "ot", default)]
    visible: BTreeMap<i64, i64>,
    /// When it was popped, ms since the epoch.
    #[serde(rename = "popTime", default)]
    pop_time: i64,
}

impl Order {
    fn all(&self) -> impl Iterator<Item = (u32, i64)> + '_ {
        let first = self.offsets.first().copied().unwrap_or(0);
        let offset = move |(n, distance): (u32, &i64)| (n, if n == 0 { first } else { first + distance });
        (0..).zip(&self.offsets).map(offset)
    }

    fn is_acked(&self, n: u32) -> bool {
        1_u64.checked_shl(n).is_none_or(|bit| self.acked & bit != 0)
    }

    /// When the last open message can be seen again; `None`: all are acknowledged.
    fn free_at(&self) -> Option<i64> {
        let open = self.all().filter(|(n, _)| !self.is_acked(*n));
        let end = self.pop_time.saturating_add(self.invisible);
        open.map(|(_, offset)| self.visible.get(&offset).copied().unwrap_or(end)).max()
    }
}

/// RocketMQ's file of batches: by `topic@group` and queue.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct OrderTable {
    #[serde(default)]
    table: BTreeMap<String, BTreeMap<i32, Order>>,
}

/// What became of an acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acked {
    /// Noted; the group goes on here, which is where it was as long as an earlier message is open. The number is for
    /// [`Db::stored`].
    Next(i64, u64),
    /// The batch was popped again since.
    Late,
    /// There is no such message in hand.
    NotOpen,
}

/// The batches.
pub struct Orders {
    table: Mutex<HashMap<Vec<u8>, Order>>,
    db: Arc<Db>,
}

impl Orders {
    /// Loads the batches that were stored.
    ///
    /// # Errors
    /// The metadata cannot be read.
    pub fn load(db: Arc<Db>) -> Result<Self, DbError> {
        let mut table = HashMap::new();
        for (key, value) in db.load(Tree::Orders)? {
            match serde_json::from_slice(&value) {
                Ok(order) => drop(table.insert(key, order)),
                Err(error) => tracing::error!(?key, %error, "a batch popped in order does not parse; skipped"),
            }
        }
        Ok(Self { table: Mutex::new(table), db })
    }

    /// When the queue is free for the group, if it is not now; a repeated attempt may have its own batch again.
    #[must_use]
    pub fn blocked(&self, (topic, group, queue): Place<'_>, attempt: Option<&str>, now: i64) -> Option<i64> {
        let table = self.table.lock();
        let order = table.get(&encode_key(topic, group, queue))?;
        if order.attempt.is_some() && order.attempt.as_deref() == attempt {
            return None;
        }
        order.free_at().filter(|free_at| now < *free_at)
    }

    /// Notes a batch with the time of the pop and its invisible time, in ms; tells how often its messages were popped before.
    pub fn begin(
        &self,
        place: Place<'_>,
        attempt: Option<&str>,
        (pop_time, invisible): (i64, i64),
        offsets: &[i64],
        info: &mut PopInfo,
    ) {
        let (topic, group, queue) = place;
        let key = encode_key(topic, group, queue);
        let first = offsets.first().copied().unwrap_or(0);
        let mut table = self.table.lock();
        let before = table.get(&key);
        let is_repeated = before.is_some_and(|before| before.attempt.is_some() && before.attempt.as_deref() == attempt);
        let count = |offset: &i64| {
            let before = before?;
            let known = before.counts.get(offset).copied();
            let was_there = before.all().any(|(_, other)| other == *offset);
            let count = if is_repeated { known? } else { known.unwrap_or(0) + i32::from(was_there) };
            (count > 0 && (is_repeated || was_there)).then_some((*offset, count))
        };
        let counts: BTreeMap<i64, i32> = offsets.iter().filter_map(count).collect();
        let origin = Origin::of(topic);
        let number = u32::try_from(queue).unwrap_or(0);
        for (offset, count) in &counts {
            info.push_count(origin, number, *offset, *count);
        }
        let least = if counts.len() == offsets.len() { counts.values().min().copied().unwrap_or(0) } else { 0 };
        info.push_queue_count(origin, number, least);
        let order = Order {
            attempt: attempt.map(str::to_owned),
            acked: 0,
            invisible,
            last: pop_time,
            offsets: offsets.iter().map(|offset| if *offset == first { first } else { offset - first }).collect(),
            counts,
            visible: BTreeMap::new(),
            pop_time,
        };
        self.put(&mut table, key, order);
    }

    fn put(&self, table: &mut HashMap<Vec<u8>, Order>, key: Vec<u8>, order: Order) -> u64 {
        let value = serde_json::to_vec(&order).unwrap_or_default();
        table.insert(key.clone(), order);
        self.db.put(Tree::Orders, key, value)
    }

    /// A message of the batch popped at `pop_time` is acknowledged.
    pub fn ack(&self, (topic, group, queue): Place<'_>, offset: i64, pop_time: i64) -> Acked {
        let key = encode_key(topic, group, queue);
        let mut table = self.table.lock();
        let Some(order) = table.get(&key) else { return Acked::NotOpen };
        if order.pop_time != pop_time {
            return Acked::Late;
        }
        let Some((n, _)) = order.all().find(|(_, other)| *other == offset) else { return Acked::NotOpen };
        let mut order = order.clone();
        order.acked |= 1_u64.checked_shl(n).unwrap_or(0);
        let next = order.all().find(|(n, _)| !order.is_acked(*n)).map(|(_, offset)| offset);
        let end = order.all().last().map_or(0, |(_, offset)| offset + 1);
        let number = if next.is_some() {
            self.put(&mut table, key, order)
        } else {
            table.remove(&key);
            self.db.remove(Tree::Orders, key)
        };
        Acked::Next(next.unwrap_or(end), number)
    }

    /// A message of the batch popped at `pop_time` can be seen again at `visible`, ms since the epoch. The number is for
    /// [`Db::stored`]; `None`: it is not in hand.
    pub fn set_visible(
        &self,
        (topic, group, queue): Place<'_>,
        offset: i64,
        pop_time: i64,
        visible: i64,
    ) -> Option<u64> {
        let key = encode_key(topic, group, queue);
        let mut table = self.table.lock();
        let mut order = table.get(&key).filter(|order| order.pop_time == pop_time)?.clone();
        order.all().find(|(_, other)| *other == offset)?;
        order.visible.insert(offset, visible);
        Some(self.put(&mut table, key, order))
    }

    /// The clock was set: what was popped at a time and can be seen again at another can be so much later, in ms, as `moves` says.
    pub fn clock_moved(&self, moves: impl Fn(i64, i64) -> i64) {
        let mut table = self.table.lock();
        let moved = table.iter().filter_map(|(key, order)| {
            let later = moves(order.pop_time, order.free_at()?);
            let mut order = (later != 0).then(|| order.clone())?;
            order.invisible = order.invisible.saturating_add(later);
            order.visible.values_mut().for_each(|at| *at = at.saturating_add(later));
            Some((key.clone(), order))
        });
        let moved: Vec<(Vec<u8>, Order)> = moved.collect();
        for (key, order) in moved {
            self.put(&mut table, key, order);
        }
    }

    /// All batches, in RocketMQ's form.
    #[must_use]
    pub fn snapshot(&self) -> OrderTable {
        let mut out = OrderTable::default();
        for (key, order) in &*self.table.lock() {
            if let Some((topic, group, queue)) = decode_key(key) {
                out.table.entry(format!("{topic}@{group}")).or_default().insert(queue, order.clone());
            }
        }
        out
    }

    /// Takes over batches that RocketMQ's broker has written.
    pub fn import(&self, file: OrderTable) {
        let mut table = self.table.lock();
        for (name, queues) in file.table {
            let Some((topic, group)) = name.split_once('@') else { continue };
            for (queue, order) in queues {
                self.put(&mut table, encode_key(topic, group, queue), order);
            }
        }
    }

    /// Forgets the batch of a queue.
    pub fn clear(&self, (topic, group, queue): Place<'_>) {
        let key = encode_key(topic, group, queue);
        if self.table.lock().remove(&key).is_some() {
            self.db.remove(Tree::Orders, key);
        }
    }

    /// Forgets all batches of a topic or of a group.
    pub fn forget(&self, topic: Option<&str>, group: Option<&str>) {
        let is_it = |key: &Vec<u8>| {
            let mut names = key.split(|byte| *byte == 0);
            let (of_topic, of_group) = (names.next(), names.next());
            topic.is_none_or(|topic| of_topic == Some(topic.as_bytes()))
                && group.is_none_or(|group| of_group == Some(group.as_bytes()))
        };
        let mut table = self.table.lock();
        let gone: Vec<Vec<u8>> = table.keys().filter(|key| is_it(key)).cloned().collect();
        for key in gone {
            table.remove(&key);
            self.db.remove(Tree::Orders, key);
        }
    }
}

impl Kept for Orders {
    fn tree(&self) -> Tree {
        Tree::Orders
    }

    fn take(&self, key: &[u8], value: Option<&[u8]>) {
        let mut table = self.table.lock();
        match value.map(serde_json::from_slice::<Order>) {
            None => {
                if table.remove(key).is_some() {
                    self.db.remove(Tree::Orders, key.to_vec());
                }
            }
            Some(Ok(order)) if table.get(key) == Some(&order) => {}
            Some(Ok(order)) => drop(self.put(&mut table, key.to_vec(), order)),
            Some(Err(error)) => {
                tracing::error!(?key, %error, "a batch popped in order at the master does not parse; skipped");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'static> = ("T", "g", 3);

    fn orders() -> (tempfile::TempDir, Orders) {
        let dir = tempfile::tempdir().unwrap();
        let db = Arc::new(Db::open(dir.path()).unwrap());
        (dir, Orders::load(db).unwrap())
    }

    #[test]
    fn one_batch_is_in_hand_until_it_is_acknowledged_or_its_time_is_over() {
        let (_dir, orders) = orders();
        let mut info = PopInfo::default();
        assert_eq!(orders.blocked(PLACE, None, 0), None);
        orders.begin(PLACE, Some("a"), (100, 1_000), &[5, 6, 8], &mut info);
        assert_eq!(info.counts, "0 3 0");
        assert_eq!(orders.blocked(PLACE, Some("b"), 200), Some(1_100));
        assert_eq!(orders.blocked(PLACE, Some("a"), 200), None);
        assert_eq!(orders.blocked(PLACE, Some("b"), 1_100), None);
        assert!(matches!(orders.ack(PLACE, 6, 100), Acked::Next(5, _)));
        assert_eq!(orders.ack(PLACE, 7, 100), Acked::NotOpen);
        assert_eq!(orders.ack(PLACE, 5, 99), Acked::Late);
        assert!(orders.set_visible(PLACE, 8, 100, 5_000).is_some());
        assert_eq!(orders.blocked(PLACE, None, 1_200), Some(5_000));
        assert!(matches!(orders.ack(PLACE, 5, 100), Acked::Next(8, _)));
        assert!(matches!(orders.ack(PLACE, 8, 100), Acked::Next(9, _)));
        assert_eq!(orders.blocked(PLACE, None, 200), None);
        assert_eq!(orders.ack(PLACE, 8, 100), Acked::NotOpen);
    }

    #[test]
    fn a_clock_that_is_set_ends_no_batch_early_or_late() {
        let (_dir, orders) = orders();
        orders.begin(PLACE, None, (10_000, 1_000), &[5, 6], &mut PopInfo::default());
        orders.set_visible(PLACE, 6, 10_000, 12_000).unwrap();
        orders.clock_moved(|pop_time, due| if (pop_time, due) == (10_000, 12_000) { -9_000 } else { 7 });
        assert_eq!(orders.blocked(PLACE, None, 2_000), Some(3_000));
        assert!(matches!(orders.ack(PLACE, 6, 10_000), Acked::Next(5, _)));
        assert_eq!(orders.blocked(PLACE, None, 1_500), Some(2_000));
        assert_eq!(orders.blocked(PLACE, None, 2_000), None);
    }

    #[test]
    fn messages_know_how_often_they_were_popped() {
        let (_dir, orders) = orders();
        for (round, counts) in [(0, "0 3 0"), (1, "0 qo3%5 1;0 3 0"), (2, "0 qo3%5 2;0 qo3%6 1;0 3 1")] {
            let mut info = PopInfo::default();
            let offsets: &[i64] = if round == 0 { &[5] } else { &[5, 6] };
            orders.begin(PLACE, None, (round * 1_000, 500), offsets, &mut info);
            assert_eq!(info.counts, counts);
        }
    }
}
