//! The master's look at its slaves, every moment: who is in sync, and who has to be told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::replica::controller::{Controller, SetError};
use crate::replica::in_sync::Member;
use crate::replica::role::Role;

const LOOK: Duration = Duration::from_millis(50);

/// Judges slaves while this broker is master. With a controller the set is what that decides; without one what is seen here.
pub async fn run(broker: Arc<Broker>, controller: Option<Arc<Controller>>, stop: CancellationToken) {
    let mut role = broker.role.watch();
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            () = stop.cancelled() => return,
        }
        let Role::Master { epoch } = role.borrow_and_update().clone() else { continue };
        let patience = broker.config.in_sync_timeout;
        let wanted = broker.in_sync.judge(Instant::now(), broker.store.local(), patience, broker.as_ref());
        if broker.config.store.replicated {
            // Somebody who held others back may have been given up.
            broker.store.show_confirmed();
        }
        let Some(wanted) = wanted else { continue };
        match &controller {
            None => settle(&broker, &wanted),
            Some(controller) => {
                broker.in_sync.proposed(&wanted);
                let changed = tokio::select! {
                    changed = controller.change_set(&broker, epoch, &wanted) => changed,
                    () = stop.cancelled() => return,
                };
                match changed {
                    Ok(set) => settle(&broker, &set),
                    // Whether it was decided is not known: new members go on counting until a renewal tells.
                    Err(SetError::Unknown(cause)) => {
                        tracing::warn!(cause, ?wanted, "the in-sync set could not be changed; trying again")
                    }
                    Err(SetError::Refused(remark)) => {
                        tracing::info!(remark, ?wanted, "the controller has another in-sync set")
                    }
                }
            }
        }
    }
}

fn settle(broker: &Broker, set: &[Member]) {
    let before = broker.in_sync.members();
    broker.settle_in_sync(set);
    if before != set {
        let copies = broker.in_sync.copies();
        tracing::warn!(name = broker.config.name, ?before, now = ?set, copies, "the in-sync set has changed");
    }
}
