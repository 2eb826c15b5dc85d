//! Copies of messages that are missing: which slave has not what it should have, and how far it is.

use orbitmq_common::plain::bytes;

use crate::broker::Broker;
use crate::replica::in_sync::Shown;

/// Slaves that a remark lists.
const LISTED: usize = 4;

impl Broker {
    /// What is the matter with the copies that are not in sync.
    #[must_use]
    pub fn missing_copies(&self) -> String {
        let slaves = self.in_sync.shown();
        if slaves.is_empty() {
            return "no slave is connected: start them, or look whether they reach the replication port".to_owned();
        }
        let end = self.store.local();
        let outside: Vec<String> =
            slaves.iter().filter(|slave| !slave.in_sync).take(LISTED).map(|slave| told(slave, end)).collect();
        if outside.is_empty() {
            let inside = slaves.len();
            return format!(
                "the {inside} slave(s) that are connected are in sync, no other one is: start more, or lower min_in_sync"
            );
        }
        format!("not in sync: {}", outside.join(", "))
    }

    /// The slaves of the in-sync set that do not have the log up to `end`.
    #[must_use]
    pub fn late_copies(&self, end: u64) -> String {
        let slaves = self.in_sync.shown();
        let late = slaves.iter().filter(|slave| slave.acked < end);
        let late: Vec<String> = late.take(LISTED).map(|slave| told(slave, end)).collect();
        if late.is_empty() { "all have it by now".to_owned() } else { late.join(", ") }
    }
}

fn told(slave: &Shown, end: u64) -> String {
    let (id, address) = (slave.member, &slave.address);
    let behind = end.saturating_sub(slave.acked);
    match (slave.connected, behind) {
        (false, _) => format!("slave {id} at {address} has lost its connection, {} behind", bytes(behind)),
        (true, 0) => format!("slave {id} at {address} has everything and is about to join"),
        (true, _) => format!("slave {id} at {address} is connected and {} behind", bytes(behind)),
    }
}
