//! A slave without a controller: copies the master that its settings or the name servers name.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::replica::role::Role;
use crate::replica::slave;

/// Copies whichever master is named, until `stop` or until this broker is made master.
pub async fn run(broker: Arc<Broker>, stop: CancellationToken) {
    let mut named = broker.master_named.subscribe();
    if let Some(master) = &broker.config.master {
        broker.master_named.send_replace(Some(master.clone()));
    }
    broker.role.set(Role::Slave { master: None });
    loop {
        let master = named.borrow_and_update().clone();
        let Some(master) = master else {
            tokio::select! {
                changed = named.changed() => if changed.is_err() { return },
                () = stop.cancelled() => return,
            }
            continue;
        };
        broker.role.set(Role::Slave { master: Some(master.clone()) });
        let copying = stop.child_token();
        tokio::select! {
            () = slave::follow(&broker, &master, &copying) => {}
            _ = named.changed() => tracing::info!(was = %master.ha, "another master is named"),
            () = stop.cancelled() => return,
        }
    }
}
