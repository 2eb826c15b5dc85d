//! A slave without a controller: copies the master that its settings or the name servers name, until it is made master itself.

use std::sync::Arc;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::replica::promote::{Mastership, promote};
use crate::replica::role::Role;
use crate::replica::slave;

/// Copies whichever master is named, until `stop` or until this broker is made master.
pub async fn run(broker: Arc<Broker>, stop: CancellationToken) {
    let mut named = broker.master_named.subscribe();
    if let Some(master) = &broker.config.master {
        broker.master_named.send_replace(Some(master.clone()));
    }
    // Nobody is made master in its place: it serves what it has, whether the master is there or not.
    broker.role.set_readable();
    broker.role.set_in_step(true);
    loop {
        let master = named.borrow_and_update().clone();
        broker.role.set(Role::Slave { master: master.clone() });
        let copying = async {
            match &master {
                Some(master) => slave::follow(&broker, master, &stop).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = copying => {}
            changed = named.changed() => {
                if changed.is_err() { return }
                tracing::info!(was = ?master, "another master is named");
            }
            () = broker.promotion.notified() => if become_master(&broker).await { return },
            () = stop.cancelled() => return,
        }
    }
}

async fn become_master(broker: &Arc<Broker>) -> bool {
    broker.role.set_master_alive(false);
    let epoch = broker.epochs.highest().saturating_add(1);
    let promoted = promote(broker, Mastership { epoch, in_sync: Vec::new(), lease: (Instant::now(), None) }).await;
    if let Err(error) = &promoted {
        tracing::error!(%error, "this broker was to become master and cannot");
    }
    promoted.is_ok()
}
