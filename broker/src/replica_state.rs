//! How this broker stands among the copies of its messages, as far as its readers should know.

use crate::broker::Broker;

impl Broker {
    /// The slave that readers may be sent to: `wanted` if it has all that this master has, else another one that has.
    #[must_use]
    pub fn readable_slave(&self, wanted: i64) -> Option<i64> {
        // Slaves of RocketMQ's kind do not tell their numbers and count from below 0 here; routes have them as 1 and up.
        let (known, unknown): (Vec<i64>, Vec<i64>) = self.in_sync.members().into_iter().partition(|member| *member > 0);
        if known.contains(&wanted) || !unknown.is_empty() { Some(wanted) } else { known.first().copied() }
    }

    /// Whether another broker may know more about a queue's ends.
    #[must_use]
    pub fn is_slave(&self) -> bool {
        !self.role.is_master()
    }

    /// Whether this slave hears nothing of its master.
    #[must_use]
    pub fn master_is_gone(&self) -> bool {
        !self.role.is_master_alive()
    }
}
