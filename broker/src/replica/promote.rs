//! How a broker becomes master: under a new epoch, with everything that it has of the log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::broker::Broker;
use crate::meta::db::DbError;
use crate::plant;
use crate::replica::in_sync::Member;
use crate::replica::role::{Restart, Role};

/// Why a broker does not become master.
#[derive(Debug, thiserror::Error)]
pub enum PromoteError {
    /// The epoch cannot be stored.
    #[error(transparent)]
    Meta(#[from] DbError),
    /// The log cannot be written.
    #[error("its log takes no writes: {0}")]
    Poisoned(String),
}

/// What a new master is told.
#[derive(Debug, Clone)]
pub struct Mastership {
    /// Its epoch.
    pub epoch: i32,
    /// Slaves of the in-sync set.
    pub in_sync: Vec<Member>,
    /// When its lease begins, and how long it lasts; `None`: for good.
    pub lease: (Instant, Option<Duration>),
}

/// Makes this broker the master. Nothing may be copied from another master any more.
///
/// Order: all of the log is durable and in the queues; the epoch is stored; queues go on where they ended; topics that drop duplicates
/// are marked as to be read; then messages are taken.
///
/// # Errors
/// See [`PromoteError`]; the role stays what it was.
pub async fn promote(broker: &Arc<Broker>, mastership: Mastership) -> Result<(), PromoteError> {
    let store = &broker.store;
    if let Some(at) = plant::cut(store) {
        broker.role.ask_restart(Restart::Cut(at));
        return Err(PromoteError::Poisoned("a planted bug cuts it first".to_owned()));
    }
    let end = store.end();
    // Every member of the in-sync set has all that was ever acknowledged, and the new master is one: what it has counts.
    store.set_ceiling(u64::MAX);
    store.nudge();
    while store.local() < end {
        let news = store.news().notified();
        if let Some(reason) = store.poisoned() {
            return Err(PromoteError::Poisoned(reason));
        }
        if store.local() < end {
            let _ = tokio::time::timeout(Duration::from_millis(50), news).await;
        }
    }
    store.show_confirmed();
    store.built(end).await;
    broker.epochs.begin(mastership.epoch, end).await?;
    store.renumber();
    broker.duplicates.heed(&broker.topics);
    broker.offsets.lead();
    broker.topics.set_state_version(i64::from(mastership.epoch));
    broker.in_sync.decided(&mastership.in_sync, broker.as_ref());
    let (from, lease) = mastership.lease;
    broker.role.extend_lease(from, lease);
    broker.role.set_readable();
    if broker.role.set(Role::Master { epoch: mastership.epoch }) {
        tracing::info!(
            name = broker.config.name,
            id = broker.config.id,
            epoch = mastership.epoch,
            at = end,
            "this broker is master"
        );
    }
    Ok(())
}

impl Broker {
    /// Number under which name servers and clients know this broker: 0 for the master.
    #[must_use]
    pub fn route_id(&self) -> i64 {
        if self.role.is_master() { 0 } else { self.config.id }
    }

    /// Shows a new in-sync set to whoever waits for it.
    pub fn settle_in_sync(&self, set: &[Member]) {
        self.in_sync.decided(set, self);
        self.store.show_confirmed();
    }

    /// Slaves without which no change of metadata is acknowledged: none, unless this is the master in `sync-replica`. Slaves of
    /// RocketMQ's do not say what they have.
    #[must_use]
    pub fn in_sync_members(&self) -> Vec<Member> {
        if self.config.store.replicated && self.role.is_master() {
            self.in_sync.counting().into_iter().filter(|member| *member > 0).collect()
        } else {
            Vec::new()
        }
    }
}
