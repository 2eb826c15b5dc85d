//! The port two below the main one, at which slaves of RocketMQ's ask their master for topics and timers.

use std::net::SocketAddr;
use std::sync::Arc;

use orbitmq_common::net::connection::ConnectionOptions;
use orbitmq_common::net::server;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::Broker;
use crate::dispatch::Dispatch;

/// Listens there as well, with the same requests and bounds, unless the main port was left to the system. Nothing else needs it, so a
/// port that is taken is only noted.
pub fn start(broker: &Broker, dispatch: &Arc<Dispatch>, serving: &TaskTracker, close: &CancellationToken) {
    let main = broker.config.listen;
    let Some(port) = main.port().checked_sub(2).filter(|port| *port > 0) else { return };
    match server::bind(SocketAddr::new(main.ip(), port)) {
        Ok(listener) => {
            let most = broker.config.max_connections;
            serving.spawn(server::serve(
                listener,
                Arc::clone(dispatch),
                ConnectionOptions::default(),
                most,
                close.clone(),
            ));
        }
        Err(error) => tracing::info!(%error, "slaves of RocketMQ's cannot copy topics from this broker"),
    }
}
