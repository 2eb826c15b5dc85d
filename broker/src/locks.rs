//! Locks on queues for groups that consume in order: one owner per group and queue, for a minute at a time.

use std::time::{Duration, Instant};

use hashbrown::HashMap;
use orbitmq_common::protocol::body::group::MessageQueue;
use parking_lot::Mutex;

/// A lock that is not renewed for so long is free.
const LEASE: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Lock {
    owner: String,
    renewed: Instant,
}

/// The locks, by group and queue.
#[derive(Debug, Default)]
pub struct Locks {
    table: Mutex<HashMap<String, HashMap<MessageQueue, Lock>>>,
}

impl Locks {
    /// Locks or renews what is free or already the client's. Returns the queues that are its own now.
    pub fn lock(&self, group: &str, client: &str, queues: Vec<MessageQueue>) -> Vec<MessageQueue> {
        if queues.is_empty() {
            return queues;
        }
        let mut table = self.table.lock();
        let locks = table.entry_ref(group).or_default();
        let now = Instant::now();
        locks.retain(|_, lock| lock.renewed + LEASE > now);
        let own = queues.into_iter().filter(|queue| {
            let taken = locks.get(queue).is_some_and(|lock| lock.owner != client && lock.renewed + LEASE > now);
            if !taken {
                locks.insert(queue.clone(), Lock { owner: client.to_owned(), renewed: now });
            }
            !taken
        });
        own.collect()
    }

    /// Frees what the client owns of `queues`.
    pub fn unlock(&self, group: &str, client: &str, queues: &[MessageQueue]) {
        let mut table = self.table.lock();
        let Some(locks) = table.get_mut(group) else { return };
        for queue in queues {
            if locks.get(queue).is_some_and(|lock| lock.owner == client) {
                locks.remove(queue);
            }
        }
        if locks.is_empty() {
            table.remove(group);
        }
    }

    /// Frees everything that a client owns in a group it leaves.
    pub fn release(&self, group: &str, client: &str) {
        let mut table = self.table.lock();
        if let Some(locks) = table.get_mut(group) {
            locks.retain(|_, lock| lock.owner != client);
            if locks.is_empty() {
                table.remove(group);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(id: i32) -> MessageQueue {
        MessageQueue { broker_name: "b".to_owned(), queue_id: id, topic: "T".to_owned() }
    }

    #[test]
    fn a_queue_has_one_owner() {
        let locks = Locks::default();
        assert_eq!(locks.lock("G", "a", vec![queue(0), queue(1)]).len(), 2);
        assert_eq!(locks.lock("G", "b", vec![queue(1), queue(2)]), vec![queue(2)]);
        assert_eq!(locks.lock("H", "b", vec![queue(1)]), vec![queue(1)]);
        locks.unlock("G", "b", &[queue(1)]);
        assert_eq!(locks.lock("G", "b", vec![queue(1)]), vec![]);
        locks.unlock("G", "a", &[queue(1)]);
        assert_eq!(locks.lock("G", "b", vec![queue(1)]), vec![queue(1)]);
        locks.release("G", "a");
        assert_eq!(locks.lock("G", "b", vec![queue(0)]), vec![queue(0)]);
    }
}
