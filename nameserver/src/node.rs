//! A running name server: builds its parts, starts them, stops them in order.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use orbitmq_common::net::connection::ConnectionOptions;
use orbitmq_common::net::server::{bind, serve};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::answers::Answers;
use crate::config::Config;
use crate::controller::{self, Controller};
use crate::dispatch::Dispatch;
use crate::expiry;
use crate::handler::Parts;
use crate::options::{Options, Switches};
use crate::routes::RouteTable;
use crate::settings::{OPTIONS, Settings, SettingsError};

/// Why a name server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is not to be had.
    #[error("{0}; is another name server running there?")]
    Listen(#[from] io::Error),
    /// The settings do not open.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The controller does not start.
    #[error(transparent)]
    Controller(#[from] controller::StartError),
}

/// A name server in this process. Dropping it leaves it running until the process ends; [`Node::shutdown`] stops it.
#[derive(Debug)]
pub struct Node {
    /// Where it listens.
    pub addr: SocketAddr,
    stop: CancellationToken,
    settings: Arc<Settings>,
    controller: Option<Arc<Controller>>,
    connections: JoinHandle<()>,
    leases: JoinHandle<()>,
}

impl Node {
    /// Starts a name server that listens where its settings say.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let listener = bind(config.listen)?;
        Self::start_on(listener, config).await
    }

    /// Starts a name server on a listener of the caller. It accepts when this returns.
    pub async fn start_on(listener: TcpListener, config: Config) -> Result<Self, StartError> {
        let addr = listener.local_addr()?;
        let settings = Arc::new(open_settings(config.data_dir.clone()).await?);
        let controller = match &config.controller {
            Some(config) => Some(Controller::start(config).await?),
            None => None,
        };
        let routes = Arc::new(RouteTable::default());
        let parts = Parts {
            routes: Arc::clone(&routes),
            settings: Arc::clone(&settings),
            options: Arc::new(Options::new(changed_before(&settings, config.switches))),
            answers: Arc::new(Answers::default()),
            controller: controller.clone(),
        };
        let stop = CancellationToken::new();
        let handler = Arc::new(Dispatch::new(parts));
        let connections = serve(listener, handler, ConnectionOptions::default(), config.max_connections, stop.clone());
        let connections = tokio::spawn(connections);
        let leases = tokio::spawn(expiry::run(routes, stop.clone()));
        tracing::info!(%addr, data_dir = ?config.data_dir, "name server accepts");
        Ok(Self { addr, stop, settings, controller, connections, leases })
    }

    #[cfg(test)]
    pub(crate) fn controller(&self) -> Option<&Arc<Controller>> {
        self.controller.as_ref()
    }

    /// Leaves the controller quorum to the others, accepts nothing more, ends the connections, brings the settings to disk.
    pub async fn shutdown(self) {
        if let Some(controller) = &self.controller {
            controller.shutdown().await;
        }
        self.stop.cancel();
        for task in [self.connections, self.leases] {
            if let Err(error) = task.await {
                tracing::error!(%error, "a part of the name server did not end in peace");
            }
        }
        let settings = self.settings;
        match tokio::task::spawn_blocking(move || settings.flush()).await {
            Ok(Ok(())) => tracing::info!(addr = %self.addr, "name server stopped"),
            Ok(Err(error)) => tracing::error!(%error, "the settings were not flushed"),
            Err(error) => tracing::error!(%error, "the settings were not flushed"),
        }
    }
}

async fn open_settings(data_dir: Option<std::path::PathBuf>) -> Result<Settings, StartError> {
    let Some(path) = data_dir else {
        tracing::warn!("no data_dir is given: key-value settings end with this process");
        return Ok(Settings::in_memory());
    };
    let opened = tokio::task::spawn_blocking(move || Settings::open(&path)).await;
    Ok(opened.map_err(|error| StartError::Listen(io::Error::other(error)))??)
}

/// The switches with the changes that were made over the network in earlier runs.
fn changed_before(settings: &Settings, mut switches: Switches) -> Switches {
    for (name, value) in settings.list(OPTIONS).unwrap_or_default() {
        tracing::info!(%name, %value, "option changed while running stays in force");
        if let Ok(on) = value.parse() {
            switches.set(&name, on);
        }
    }
    switches
}

#[cfg(test)]
mod tests;
