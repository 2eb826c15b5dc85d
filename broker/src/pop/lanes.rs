//! Lanes: how far a group has popped through a queue.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use hashbrown::{Equivalent, HashMap};
use orbitmq_common::name;
use parking_lot::{Mutex, RwLock};

use crate::pop::REVIVE_QUEUES;

/// A group on its way through a queue.
#[derive(Debug)]
pub struct Lane {
    /// Its number, in this process.
    pub id: u32,
    /// The topic, which may be a retry topic.
    pub topic: Arc<str>,
    /// The group.
    pub group: Arc<str>,
    /// The queue.
    pub queue: u32,
    /// Queue of the revive topic in which its pops are noted.
    pub revive_queue: u32,
    /// Held while the group pops from the queue.
    pub state: Mutex<State>,
}

/// What changes of a lane.
#[derive(Debug, Default)]
pub struct State {
    /// Offset to pop next. `None`: as the group's offset says.
    pub position: Option<i64>,
    /// Log offset behind the last note that moved the position: it is stored as the group's offset once that is durable.
    pub noted: u64,
    /// How often the position was set by other than popping.
    pub resets: u32,
    /// Whether the group's offset is behind.
    pub is_dirty: bool,
    /// Whether topic or group are gone, and this lane with them.
    pub is_gone: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Name {
    topic: Arc<str>,
    group: Arc<str>,
    queue: u32,
}

struct Asked<'a>(&'a str, &'a str, u32);

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Asked(&self.topic, &self.group, self.queue).hash(state);
    }
}

impl Hash for Asked<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.0, self.1, self.2).hash(state);
    }
}

impl Equivalent<Name> for Asked<'_> {
    fn equivalent(&self, name: &Name) -> bool {
        (self.0, self.1, self.2) == (&*name.topic, &*name.group, name.queue)
    }
}

#[derive(Debug, Default)]
struct Table {
    by_name: HashMap<Name, Arc<Lane>>,
    by_id: HashMap<u32, Arc<Lane>>,
    next: u32,
}

/// All lanes.
#[derive(Debug, Default)]
pub struct Lanes {
    table: RwLock<Table>,
}

impl Lanes {
    /// The lane of a group through a queue, if there is one.
    pub fn find(&self, topic: &str, group: &str, queue: u32) -> Option<Arc<Lane>> {
        self.table.read().by_name.get(&Asked(topic, group, queue)).cloned()
    }

    /// The lane of a group through a queue, made if need be.
    pub fn of(&self, topic: &str, group: &str, queue: u32) -> Arc<Lane> {
        if let Some(lane) = self.find(topic, group, queue) {
            return lane;
        }
        let mut table = self.table.write();
        if let Some(lane) = table.by_name.get(&Asked(topic, group, queue)) {
            return Arc::clone(lane);
        }
        let (topic, group): (Arc<str>, Arc<str>) = (topic.into(), group.into());
        // One answer names one revive queue; always the same, so that notes of one lane stand in their order.
        let popped = format!("{}@{group}", name::popped_topic(&topic, &group));
        let revive_queue = crc32fast::hash(popped.as_bytes()) % REVIVE_QUEUES;
        let id = table.next;
        table.next += 1;
        let name = Name { topic: Arc::clone(&topic), group: Arc::clone(&group), queue };
        let lane = Arc::new(Lane { id, topic, group, queue, revive_queue, state: Mutex::default() });
        table.by_name.insert(name, Arc::clone(&lane));
        table.by_id.insert(id, Arc::clone(&lane));
        lane
    }

    /// The lane with a number.
    pub fn numbered(&self, id: u32) -> Option<Arc<Lane>> {
        self.table.read().by_id.get(&id).cloned()
    }

    /// Takes lanes out; their receipts are unknown from now on.
    pub fn remove(&self, which: impl Fn(&Lane) -> bool) -> Vec<Arc<Lane>> {
        let mut table = self.table.write();
        let gone: Vec<Arc<Lane>> = table.by_id.extract_if(|_, lane| which(lane)).map(|(_, lane)| lane).collect();
        for lane in &gone {
            table.by_name.remove(&Asked(&lane.topic, &lane.group, lane.queue));
        }
        drop(table);
        for lane in &gone {
            lane.state.lock().is_gone = true;
        }
        gone
    }

    /// Number of lanes.
    pub fn count(&self) -> usize {
        self.table.read().by_id.len()
    }
}
