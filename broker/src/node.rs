//! A whole broker: its sockets, and the lives it leads on them.

use std::net::SocketAddr;
use std::sync::Arc;

use orbitmq_common::net::server;
use parking_lot::RwLock;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::Broker;
use crate::config::Config;
use crate::life::{Life, Sockets};
use crate::meta::db::DbError;
use crate::monitor::{self, Shown};
use crate::replica::promote::PromoteError;
use crate::replica::role::Restart;
use crate::store::error::OpenError;
use crate::store::truncate;

/// Why a broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The metadata do not open.
    #[error(transparent)]
    Meta(#[from] DbError),
    /// It cannot take messages.
    #[error(transparent)]
    Promote(#[from] PromoteError),
    /// The address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] std::io::Error),
    /// The advertised host has no address.
    #[error("{0}")]
    Advertise(String),
}

/// A running broker.
pub struct Node {
    current: Arc<RwLock<Arc<Broker>>>,
    stop: CancellationToken,
    lives: tokio::task::JoinHandle<()>,
    /// The monitor port.
    watching: TaskTracker,
    close: CancellationToken,
    address: SocketAddr,
    bound: SocketAddr,
    ha_bound: SocketAddr,
    monitor: Option<SocketAddr>,
    failed: watch::Receiver<Option<String>>,
}

impl Node {
    /// Opens the store, recovers, listens, and registers with the name servers. Returns when every listener accepts.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(config: Config) -> Result<Self, StartError> {
        for ignored in &config.ignored {
            tracing::warn!("setting without effect in this broker: {ignored}");
        }
        let (sockets, bound, ha_bound) = listen(&config)?;
        let (watching, close) = (TaskTracker::new(), CancellationToken::new());
        // A start that fails half-way must not leave its monitor port behind.
        let unfinished = close.clone().drop_guard();
        let shown = Shown::default();
        let monitor = match config.monitor {
            Some(address) => Some(monitor::start(address, &shown, &watching, &close)?),
            None => None,
        };
        let life = Life::begin(config, &sockets).await?;
        *shown.write() = Some(Arc::clone(&life.broker));
        let current = Arc::new(RwLock::new(Arc::clone(&life.broker)));
        let (address, stop) = (sockets.address, CancellationToken::new());
        let (failing, failed) = watch::channel(None);
        let lives = Lives { sockets, shown, current: Arc::clone(&current), stop: stop.clone(), failed: failing };
        let lives = tokio::spawn(lives.lead(life));
        drop(unfinished.disarm());
        Ok(Self { current, stop, lives, watching, close, address, bound, ha_bound, monitor, failed })
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the listener is bound.
    #[must_use]
    pub fn bound(&self) -> SocketAddr {
        self.bound
    }

    /// Where the listener for slaves is bound.
    #[must_use]
    pub fn ha_bound(&self) -> SocketAddr {
        self.ha_bound
    }

    /// Where health and figures are served.
    #[must_use]
    pub fn monitor(&self) -> Option<SocketAddr> {
        self.monitor
    }

    /// The parts, for those who look inside; others after a change of roles.
    #[must_use]
    pub fn broker(&self) -> Arc<Broker> {
        Arc::clone(&self.current.read())
    }

    /// Resolves with the reason when the broker could not begin another life.
    pub async fn failed(&self) -> String {
        let mut failed = self.failed.clone();
        match failed.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Leaves the routes, answers what is in hand, and writes everything out. Every step is bounded.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.lives.await {
            tracing::error!(%error, "the broker did not end in peace");
        }
        self.close.cancel();
        self.watching.close();
        self.watching.wait().await;
    }
}

fn listen(config: &Config) -> Result<(Sockets, SocketAddr, SocketAddr), StartError> {
    let listener = server::bind(config.listen)?.into_std()?;
    let bound = listener.local_addr()?;
    let ha = config.ha_listen.unwrap_or_else(|| {
        let port = if config.listen.port() == 0 { 0 } else { config.listen.port().saturating_add(1) };
        SocketAddr::new(config.listen.ip(), port)
    });
    let ha_listener = server::bind(ha).map_err(|error| {
        std::io::Error::new(error.kind(), format!("{error}; slaves connect there: set ha_listen (haListenPort)"))
    })?;
    let ha_listener = ha_listener.into_std()?;
    let ha_bound = ha_listener.local_addr()?;
    let address = config.advertised(bound).map_err(StartError::Advertise)?;
    let ha_address = config.ha_advertised(address, ha_bound).map_err(StartError::Advertise)?;
    Ok((Sockets { listener, ha_listener, fast_listener: fast(config)?, address, ha_address }, bound, ha_bound))
}

/// RocketMQ's second port for clients, two below the first: its slaves ask there for topics, groups and offsets. Who has no such
/// slaves does not miss it.
fn fast(config: &Config) -> std::io::Result<Option<std::net::TcpListener>> {
    let Some(port) = config.listen.port().checked_sub(2).filter(|port| *port > 0 && config.fast_port) else {
        return Ok(None);
    };
    match server::bind(SocketAddr::new(config.listen.ip(), port)) {
        Ok(listener) => listener.into_std().map(Some),
        Err(error) => {
            tracing::warn!(%error, "without this port slaves of RocketMQ's kind get no metadata; fast_port = false if there are none");
            Ok(None)
        }
    }
}

/// Leads one life after the other.
struct Lives {
    sockets: Sockets,
    shown: Shown,
    current: Arc<RwLock<Arc<Broker>>>,
    stop: CancellationToken,
    failed: watch::Sender<Option<String>>,
}

impl Lives {
    async fn lead(self, first: Life) {
        let mut life = first;
        loop {
            let why = tokio::select! {
                why = life.broker.role.restart_asked() => why,
                () = self.stop.cancelled() => return life.end().await,
            };
            let mut config = life.broker.config.clone();
            *self.shown.write() = None;
            life.break_off(&why).await;
            let next = match mend(&mut config, why).await {
                Ok(()) => Life::begin(config, &self.sockets).await,
                Err(error) => Err(error.into()),
            };
            life = match next {
                Ok(life) => life,
                Err(error) => {
                    tracing::error!(%error, "the broker cannot go on");
                    self.failed.send_replace(Some(error.to_string()));
                    return;
                }
            };
            *self.shown.write() = Some(Arc::clone(&life.broker));
            *self.current.write() = Arc::clone(&life.broker);
        }
    }
}

/// What has to be done to the closed store before it is opened again.
async fn mend(config: &mut Config, why: Restart) -> Result<(), OpenError> {
    let options = config.store.clone();
    let mended = match why {
        Restart::Demoted => return Ok(()),
        Restart::Cut(to) => tokio::task::spawn_blocking(move || {
            let bytes = truncate::truncate(&options, to)?;
            tracing::warn!(to, bytes, "the log is cut: what lay behind was not acknowledged");
            Ok(())
        }),
        Restart::StartOver { segment_size, reason } => {
            config.store.segment_size = segment_size;
            tokio::task::spawn_blocking(move || {
                let old = truncate::set_aside(&options)?;
                tracing::warn!(reason, aside = %old.display(), "the log is set aside and copied anew from the master");
                Ok(())
            })
        }
    };
    mended.await.unwrap_or_else(|error| {
        Err(OpenError::Io { what: "mend", path: config.store.dir.clone(), source: std::io::Error::other(error) })
    })
}

#[cfg(test)]
mod tests;
