//! What an acknowledgement means: written, flushed, or flushed here and at every slave of the in-sync set.

use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::header::send::MAYBE_STORED;

use crate::broker::Broker;
use crate::config::replication::Acknowledge;
use crate::plant::{self, Plant};
use crate::refusal::Refusal;
use crate::replica::role::Role;

impl Broker {
    /// Whether a message may be taken now; asked before it is stored.
    ///
    /// # Errors
    /// This is no master, its lease is over, or too few copies would be made. Nothing is stored then.
    pub fn admit(&self) -> Result<(), Refusal> {
        if !self.role.is_master() {
            return Err(self.not_master());
        }
        if !self.role.has_lease() {
            return Err(no_lease());
        }
        let (copies, least) = (self.in_sync.copies(), self.config.min_in_sync);
        if self.config.acknowledge == Acknowledge::Replica && copies < least {
            let remark = format!(
                "{copies} of {least} copies are in sync (min_in_sync), nothing is stored; bring a slave of broker '{}' back: {}",
                self.config.name,
                self.missing_copies()
            );
            return Err(Refusal::new(response::SERVICE_NOT_AVAILABLE, remark));
        }
        Ok(())
    }

    /// Whether offsets of groups may be told: by the master as long as it surely is that, and by a slave that had its master's
    /// offsets and hears nothing of it any more. Others may know older ones than were acknowledged.
    ///
    /// # Errors
    /// Ask another broker of the name.
    pub fn tells_offsets(&self) -> Result<(), Refusal> {
        if self.role.is_master() {
            return if self.role.has_lease() { Ok(()) } else { Err(no_lease()) };
        }
        if self.role.is_slave() && self.role.is_in_step() && !self.role.is_master_alive() {
            Ok(())
        } else {
            Err(self.not_master())
        }
    }

    /// The refusal of what only a master does.
    #[must_use]
    pub fn not_master(&self) -> Refusal {
        let remark = match self.role.current() {
            Role::Slave { master: Some(master) } => {
                format!("this broker is not master of '{}'; send to {}", self.config.name, master.client)
            }
            Role::Slave { master: None } => {
                format!("this broker is not master of '{}', and no master is known; try again", self.config.name)
            }
            Role::Undecided => format!(
                "this broker is not master: the controller has not said yet who is master of '{}'; try again",
                self.config.name
            ),
            Role::Master { .. } => format!("this broker has just become master of '{}'; try again", self.config.name),
        };
        Refusal::new(response::SERVICE_NOT_AVAILABLE, remark)
    }

    /// Waits until a message that ends at `end` in the log is as safe as the broker's level demands.
    ///
    /// # Errors
    /// It is stored here, but not as safe as that: 10, 11 or 12 for the sender; or nobody knows whether it will stay: 14.
    pub async fn acknowledge(&self, end: u64) -> Result<(), Refusal> {
        if plant::is(Plant::AckBeforeFlush) {
            self.store.nudge();
            return Ok(());
        }
        match tokio::time::timeout(self.config.acknowledge_timeout, self.store.durable(end)).await {
            Ok(Ok(())) => {}
            Ok(Err(poisoned)) => return Err(undecided(poisoned.into())),
            Err(_) => return Err(self.too_late(end)),
        }
        // Asked last: between the lease and the answer lies nothing but the way to the socket.
        if !self.role.has_lease() {
            return Err(undecided(no_lease()));
        }
        if self.config.acknowledge == Acknowledge::Replica && self.in_sync.copies() < self.config.min_in_sync {
            let remark = format!(
                "stored here, but the in-sync set fell below {} copies (min_in_sync) meanwhile: {}",
                self.config.min_in_sync,
                self.missing_copies()
            );
            return Err(Refusal::new(response::SLAVE_NOT_AVAILABLE, remark));
        }
        Ok(())
    }

    fn too_late(&self, end: u64) -> Refusal {
        let waited = self.config.acknowledge_timeout;
        if self.store.local() < end {
            let pace = self.store.pace();
            let remark = match pace.running {
                Some(running) => format!(
                    "the disk has not stored it within {waited:?} (acknowledge_timeout); it may still do: the flush at hand takes \
                     {running:?} by now (on average {:?}); look at the disk and what else uses it",
                    pace.mean
                ),
                None => format!(
                    "the disk has not stored it within {waited:?} (acknowledge_timeout); it may still do: no flush is at hand, so this \
                     process or its machine is overloaded"
                ),
            };
            return Refusal::new(response::FLUSH_DISK_TIMEOUT, remark);
        }
        let remark = format!(
            "stored here, but not every slave of the in-sync set has confirmed it within {waited:?} (acknowledge_timeout): {}; one that \
             stays behind leaves the set",
            self.late_copies(end)
        );
        Refusal::new(response::FLUSH_SLAVE_TIMEOUT, remark)
    }
}

/// A refusal that comes when the message is appended already.
fn undecided(refusal: Refusal) -> Refusal {
    Refusal { remark: format!("{}; {MAYBE_STORED}", refusal.remark), ..refusal }
}

fn no_lease() -> Refusal {
    let remark = "this broker is not master any more as far as it knows: the controller has not renewed its lease; \
                  ask a name server for the route again";
    Refusal::new(response::SERVICE_NOT_AVAILABLE, remark)
}
