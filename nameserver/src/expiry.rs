//! Lets brokers go whose lease is over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::routes::RouteTable;

/// Waking so much too late means that this process stood still, not the brokers.
const STOOD_STILL: Duration = Duration::from_secs(1);
/// With no broker there is nothing to wait for but a registration.
const NO_LEASE: Duration = Duration::from_secs(3600);

/// Runs until `stop`.
pub async fn run(routes: Arc<RouteTable>, stop: CancellationToken) {
    loop {
        let deadline = routes.next_deadline().unwrap_or_else(|| Instant::now() + NO_LEASE);
        tokio::select! {
            () = stop.cancelled() => return,
            () = routes.leases.notified() => {}
            () = tokio::time::sleep_until(deadline.into()) => end_leases(&routes, deadline),
        }
    }
}

fn end_leases(routes: &RouteTable, deadline: Instant) {
    let now = Instant::now();
    let late = now.saturating_duration_since(deadline);
    if late > STOOD_STILL {
        tracing::warn!(?late, "this name server stood still: every broker's lease starts anew");
        routes.renew_all(now);
        return;
    }
    for addr in routes.expire(now) {
        tracing::warn!(%addr, "no sign of life within its lease: the broker is out of the routes");
    }
}
