//! A whole broker: builds all parts, starts them, stops them in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use orbitmq_common::message::id::UniqueIds;
use orbitmq_common::name;
use orbitmq_common::net::connection::ConnectionOptions;
use orbitmq_common::net::server;
use orbitmq_common::protocol::body::route::perm;
use orbitmq_common::protocol::body::topic::TopicConfig;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::advertise::{self, Advertised};
use crate::announce;
use crate::broker::Broker;
use crate::config::Config;
use crate::delay;
use crate::dispatch::Dispatch;
use crate::locks::Locks;
use crate::members::Members;
use crate::meta::db::{Db, DbError};
use crate::meta::groups::Groups;
use crate::meta::legacy::Legacy;
use crate::meta::levels::Progress;
use crate::meta::offsets::Offsets;
use crate::meta::topics::{Topics, now_ms};
use crate::monitor;
use crate::store::Store;
use crate::store::error::OpenError;
use crate::store::options::Flush;

const EXPIRY_SCAN: Duration = Duration::from_secs(10);
/// Time after which a stop no longer waits for requests and name servers.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// Why a broker does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The metadata do not open.
    #[error(transparent)]
    Meta(#[from] DbError),
    /// The address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] std::io::Error),
    /// The advertised host has no address.
    #[error("{0}")]
    Advertise(String),
}

/// A running broker.
pub struct Node {
    broker: Arc<Broker>,
    /// Answers requests.
    serving: TaskTracker,
    /// Everything that works by itself.
    tasks: TaskTracker,
    /// Ends the listener and its connections.
    close: CancellationToken,
    bound: SocketAddr,
    monitor: Option<SocketAddr>,
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
        let listener = server::bind(config.listen)?;
        let bound = listener.local_addr()?;
        let address = config.advertised(bound).map_err(StartError::Advertise)?;
        let (tasks, serving, close) = (TaskTracker::new(), TaskTracker::new(), CancellationToken::new());
        // A start that fails half-way must not leave its monitor port behind.
        let unfinished = close.clone().drop_guard();
        let shown = monitor::Shown::default();
        let monitor = match config.monitor {
            Some(address) => Some(monitor::start(address, &shown, &serving, &close)?),
            None => None,
        };
        let options = config.store.clone();
        let opened = tokio::task::spawn_blocking(move || Store::open(options)).await;
        let store = Arc::new(opened.map_err(|error| StartError::Listen(std::io::Error::other(error)))??);
        let broker = Arc::new(build(config, address, store)?);
        banner(&broker, bound);
        shown.get_or_init(|| Arc::clone(&broker));

        let dispatch = Arc::new(Dispatch::new(Arc::clone(&broker)));
        let most = broker.config.max_connections;
        serving.spawn(server::serve(listener, dispatch, ConnectionOptions::default(), most, close.clone()));
        advertise::start(&broker, &tasks);
        announce::start(&broker, &tasks);
        delay::start(&broker, &tasks);
        expire_members(&broker, &tasks);
        drop(unfinished.disarm());
        Ok(Self { broker, serving, tasks, close, bound, monitor })
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.broker.address
    }

    /// Where the listener is bound.
    #[must_use]
    pub fn bound(&self) -> SocketAddr {
        self.bound
    }

    /// Where health and figures are served.
    #[must_use]
    pub fn monitor(&self) -> Option<SocketAddr> {
        self.monitor
    }

    /// The parts, for those who look inside.
    #[must_use]
    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// Leaves the routes, answers what is in hand, and writes everything out. Every step is bounded.
    pub async fn stop(self) {
        // Held pulls are answered, delivery of delayed messages ends, name servers are told.
        self.broker.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(STOP_DEADLINE, self.tasks.wait()).await.is_err() {
            tracing::warn!("not everything ended within {STOP_DEADLINE:?}; going on with the stop");
        }
        self.close.cancel();
        self.serving.close();
        if tokio::time::timeout(STOP_DEADLINE, self.serving.wait()).await.is_err() {
            tracing::warn!("some connections did not end within {STOP_DEADLINE:?}; they are cut");
        }
        let broker = Arc::clone(&self.broker);
        let closed = tokio::task::spawn_blocking(move || close_files(&broker)).await;
        if let Err(error) = closed {
            tracing::error!(%error, "the files were not closed; the next start recovers");
        }
    }
}

fn build(config: Config, address: SocketAddr, store: Arc<Store>) -> Result<Broker, StartError> {
    let db = Arc::new(Db::open(&config.store.dir.join("orbitmq"))?);
    let topics = Topics::load(Arc::clone(&db))?;
    let groups = Groups::load(Arc::clone(&db))?;
    let offsets = Offsets::load(Arc::clone(&db))?;
    let delay = Arc::new(Progress::load(Arc::clone(&db))?);
    let dir = &config.store.dir;
    Legacy { dir, db: &db, topics: &topics, groups: &groups, offsets: &offsets, delay: &delay }.import()?;
    let broker = Broker {
        ids: UniqueIds::new(address.ip()),
        advertised: Advertised::default(),
        members: Members::default(),
        locks: Locks::default(),
        started: now_ms(),
        stop: CancellationToken::new(),
        config,
        address,
        store,
        db,
        topics,
        groups,
        offsets,
        delay,
    };
    create_system_topics(&broker);
    adopt_topics(&broker);
    Ok(broker)
}

/// Topics that clients and tools take for granted.
fn create_system_topics(broker: &Broker) {
    let (config, read_write) = (&broker.config, perm::READ | perm::WRITE);
    let all = read_write | perm::INHERIT;
    let levels = i32::try_from(config.store.delay_levels.len()).unwrap_or(18);
    let mut topics = vec![
        (name::SELF_TEST_TOPIC.to_owned(), 1, read_write),
        (name::BENCHMARK_TOPIC.to_owned(), 1024, read_write),
        (config.cluster.clone(), 16, all),
        (config.name.clone(), 1, all),
        (name::OFFSET_MOVED_TOPIC.to_owned(), 1, read_write),
        (name::SCHEDULE_TOPIC.to_owned(), levels, read_write),
        (format!("{}_REPLY_TOPIC", config.cluster), 1, read_write),
    ];
    if config.auto_create_topics {
        topics.push((name::DEFAULT_TOPIC.to_owned(), config.default_topic_queues, all));
    }
    if config.trace_topic {
        topics.push((name::TRACE_TOPIC.to_owned(), 1, read_write));
    }
    for (topic, queues, perm) in topics {
        broker.topics.ensure(&topic, || TopicConfig::new(topic.clone(), queues, perm));
    }
}

/// A power cut may have taken the settings of a topic whose messages are there: the messages win.
fn adopt_topics(broker: &Broker) {
    for topic in broker.store.topics() {
        if name::check_topic(&topic).is_err() || name::is_system_topic(&topic) {
            continue;
        }
        let last = broker.store.queues(&topic).into_iter().max().unwrap_or(0);
        let queues = i32::try_from(last).unwrap_or(0).saturating_add(1);
        broker.topics.ensure(&topic, || {
            tracing::warn!(
                topic,
                queues,
                "messages of this topic are stored but its settings were lost; it is readable and writable again"
            );
            TopicConfig::new(topic.clone(), queues, perm::READ | perm::WRITE)
        });
    }
}

fn banner(broker: &Broker, bound: SocketAddr) {
    let config = &broker.config;
    let promise = match config.store.flush {
        Flush::Sync => "sync: a message is acknowledged once it is on the disk",
        Flush::Async => "ASYNC: a message is acknowledged before it is on the disk; a power cut loses the last moments",
    };
    tracing::info!(
        name = config.name, cluster = config.cluster, listen = %bound, advertise = %broker.address,
        data_dir = %config.store.dir.display(), nameservers = config.nameservers.join(","), flush = promise, "broker started"
    );
    if config.nameservers.is_empty() {
        tracing::warn!("no name server is set (nameserver = \"host:port\"): clients cannot find this broker");
    }
}

fn expire_members(broker: &Arc<Broker>, tasks: &TaskTracker) {
    let broker = Arc::clone(broker);
    tasks.spawn(async move {
        let mut scan = tokio::time::interval(EXPIRY_SCAN);
        loop {
            tokio::select! {
                _ = scan.tick() => broker.members.expire(),
                () = broker.stop.cancelled() => return,
            }
        }
    });
}

fn close_files(broker: &Broker) {
    if let Err(error) = broker.store.close() {
        tracing::error!(%error, "the store was not closed cleanly; the next start recovers");
    }
    let legacy = Legacy {
        dir: &broker.config.store.dir,
        db: &broker.db,
        topics: &broker.topics,
        groups: &broker.groups,
        offsets: &broker.offsets,
        delay: &broker.delay,
    };
    if let Err(error) = legacy.export() {
        tracing::warn!(%error, "the metadata files for RocketMQ's broker could not be written");
    }
    broker.db.close();
}

#[cfg(test)]
mod tests;
