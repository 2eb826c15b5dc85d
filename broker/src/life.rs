//! One life of a broker: from the opening of its store to its close. A broker that has to take back a part of its log ends one
//! life and begins the next, on the same ports.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use orbitmq_common::clock::now_ms;
use orbitmq_common::message::id::UniqueIds;
use orbitmq_common::net::connection::ConnectionOptions;
use orbitmq_common::net::server;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::advertise::{self, Advertised};
use crate::announce;
use crate::broker::Broker;
use crate::config::Config;
use crate::config::replication::{Acknowledge, RoleSetting};
use crate::delay;
use crate::dispatch::Dispatch;
use crate::duplicates::{self, Duplicates};
use crate::filters::Filters;
use crate::locks::Locks;
use crate::members::Members;
use crate::meta::asked::Asked;
use crate::meta::db::Db;
use crate::meta::forbidden::Forbidden;
use crate::meta::groups::Groups;
use crate::meta::legacy::Legacy;
use crate::meta::levels::Progress;
use crate::meta::marks::Marks;
use crate::meta::offsets::Offsets;
use crate::meta::orders::Orders;
use crate::meta::request_modes::RequestModes;
use crate::meta::topics::Topics;
use crate::node::StartError;
use crate::pop::{Pop, revive};
use crate::replica::controller::{self, Controller};
use crate::replica::deletions::Deletions;
use crate::replica::epochs::Epochs;
use crate::replica::in_sync::InSync;
use crate::replica::promote::{Mastership, promote};
use crate::replica::role::{Restart, Role, RoleState};
use crate::replica::{follow, judge, master};
use crate::routed::Routed;
use crate::store::options::{Flush, Options};
use crate::store::{Store, identity};
use crate::system_topics;
use crate::timer::{self, Timers, run};
use crate::traffic::{self, Traffic};
use crate::transaction::{Transactions, check};
use crate::tuned::Tuned;

const EXPIRY_SCAN: Duration = Duration::from_secs(10);
/// Time after which a stop no longer waits for requests and name servers.
const STOP_DEADLINE: Duration = Duration::from_secs(5);

/// Where a broker listens and what it tells others, the same in all its lives.
#[derive(Debug)]
pub struct Sockets {
    /// For clients.
    pub listener: TcpListener,
    /// For slaves.
    pub ha_listener: TcpListener,
    /// RocketMQ's second port for clients.
    pub fast_listener: Option<TcpListener>,
    /// Told to clients.
    pub address: SocketAddr,
    /// Told to slaves.
    pub ha_address: SocketAddr,
}

/// A broker that lives.
pub struct Life {
    /// Its parts.
    pub broker: Arc<Broker>,
    /// Answers requests.
    serving: TaskTracker,
    /// Everything that works by itself.
    tasks: TaskTracker,
    /// Ends the listeners and their connections.
    close: CancellationToken,
}

impl Life {
    /// Opens the store, recovers, and serves. A master without a controller takes messages when this returns.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn begin(config: Config, sockets: &Sockets) -> Result<Self, StartError> {
        // Nothing goes before it is known what waits for its time.
        let options = Options { hold_from: 0, ..config.store.clone() };
        let opened = tokio::task::spawn_blocking(move || Store::open(options)).await;
        let store = Arc::new(opened.map_err(|error| StartError::Listen(std::io::Error::other(error)))??);
        let broker = Arc::new(build(config, sockets, store)?);
        banner(&broker);
        let (tasks, serving, close) = (TaskTracker::new(), TaskTracker::new(), CancellationToken::new());
        // A life that fails half-way must not go on serving.
        let unfinished = close.clone().drop_guard();
        let listener = tokio::net::TcpListener::from_std(sockets.listener.try_clone()?)?;
        let ha_listener = tokio::net::TcpListener::from_std(sockets.ha_listener.try_clone()?)?;
        begin_role(&broker, &tasks).await?;
        let dispatch = Arc::new(Dispatch::new(Arc::clone(&broker)));
        let most = broker.config.max_connections;
        if let Some(listener) = &sockets.fast_listener {
            let listener = tokio::net::TcpListener::from_std(listener.try_clone()?)?;
            let dispatch = Arc::clone(&dispatch);
            serving.spawn(server::serve(listener, dispatch, ConnectionOptions::default(), most, close.clone()));
        }
        serving.spawn(server::serve(listener, dispatch, ConnectionOptions::default(), most, close.clone()));
        serving.spawn(master::serve(Arc::clone(&broker), ha_listener, close.clone()));
        advertise::start(&broker, &tasks);
        announce::start(&broker, &tasks);
        work_as_master(&broker, &tasks);
        run::start(&broker, &tasks);
        revive::start(&broker, &tasks);
        expire_members(&broker, &tasks);
        traffic::start(&broker, &tasks);
        drop(unfinished.disarm());
        Ok(Self { broker, serving, tasks, close })
    }

    /// Leaves the routes, answers what is in hand, and writes everything out. Every step is bounded.
    pub async fn end(self) {
        self.end_tasks().await;
        let broker = Arc::clone(&self.broker);
        let closed = tokio::task::spawn_blocking(move || close_files(&broker)).await;
        if let Err(error) = closed {
            tracing::error!(%error, "the files were not closed; the next start recovers");
        }
    }

    /// Ends at once without acknowledging anything more, for the next life to recover.
    pub async fn break_off(self, why: &Restart) {
        self.broker.store.fence(match why {
            Restart::Demoted => "another broker is master now",
            Restart::Cut(_) | Restart::StartOver { .. } => "the log is brought in line with the master's",
        });
        self.end_tasks().await;
        let broker = Arc::clone(&self.broker);
        let closed = tokio::task::spawn_blocking(move || {
            broker.store.abandon();
            broker.db.close();
        });
        if let Err(error) = closed.await {
            tracing::error!(%error, "the files were not closed; the next start recovers");
        }
    }

    async fn end_tasks(&self) {
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
    }
}

pub(crate) fn build(config: Config, sockets: &Sockets, store: Arc<Store>) -> Result<Broker, StartError> {
    let db = Arc::new(Db::open(&config.store.dir.join("orbitmq"))?);
    let topics = Topics::load(Arc::clone(&db))?;
    let groups = Groups::load(Arc::clone(&db))?;
    let forbidden = Forbidden::load(Arc::clone(&db))?;
    let tuned = Tuned::load(&config, Arc::clone(&db))?;
    let offsets = Offsets::load(Arc::clone(&db))?;
    let delay = Arc::new(Progress::load(Arc::clone(&db))?);
    let asked = Asked::load(Arc::clone(&db))?;
    let timers = Arc::new(Timers::new(Arc::new(Marks::load(Arc::clone(&db), store.end())?)));
    let orders = Orders::load(Arc::clone(&db))?;
    let request_modes = RequestModes::load(Arc::clone(&db))?;
    let pop = Pop::new(Arc::clone(&store), &config.cluster, &config.name, sockets.address);
    let epochs = Epochs::load(Arc::clone(&db))?;
    let deletions = Deletions::load(Arc::clone(&store), Arc::clone(&db))?;
    let dir = &config.store.dir;
    let legacy = Legacy {
        dir,
        db: &db,
        topics: &topics,
        groups: &groups,
        offsets: &offsets,
        delay: &delay,
        marks: &timers.marks,
        orders: &orders,
        request_modes: &request_modes,
    };
    legacy.import()?;
    let store_id = identity::of(&config.store)?;
    let filters = Arc::new(Filters::new(config.filtering.sql));
    let broker = Broker {
        store_id,
        ids: UniqueIds::new(sockets.address.ip()),
        advertised: Advertised::default(),
        members: Members::new(Arc::clone(&filters), config.filtering.on_conflict),
        filters,
        traffic: Traffic::default(),
        tuned,
        locks: Locks::default(),
        started: now_ms(),
        stop: CancellationToken::new(),
        address: sockets.address,
        ha_address: sockets.ha_address,
        store,
        db,
        topics,
        routed: Routed::new(config.nameservers.len()),
        groups,
        forbidden,
        offsets,
        delay,
        transactions: Transactions::new(config.transactions.max_open),
        asked,
        duplicates: Duplicates::default(),
        config,
        timers,
        orders,
        request_modes,
        pop,
        deletions,
        epochs,
        role: RoleState::default(),
        in_sync: InSync::default(),
        master_named: watch::Sender::new(None),
        promotion: Notify::new(),
    };
    system_topics::create(&broker);
    system_topics::adopt(&broker);
    Ok(broker)
}

/// Becomes master, begins to copy one, or asks the controller which.
async fn begin_role(broker: &Arc<Broker>, tasks: &TaskTracker) -> Result<(), StartError> {
    let stop = broker.stop.clone();
    let controller = match broker.config.role {
        RoleSetting::Master => {
            let epoch = broker.epochs.highest().saturating_add(1);
            let lease = (std::time::Instant::now(), None);
            promote(broker, Mastership { epoch, in_sync: Vec::new(), lease }).await?;
            None
        }
        RoleSetting::Slave => {
            // Before anybody can commit: what is committed here is kept for the master.
            broker.offsets.follow();
            tasks.spawn(follow::run(Arc::clone(broker), stop.clone()));
            None
        }
        RoleSetting::Auto => {
            broker.offsets.follow();
            let config = &broker.config;
            let servers = if config.controllers.is_empty() { &config.nameservers } else { &config.controllers };
            let controller = Arc::new(Controller::new(servers.clone()));
            tasks.spawn(controller::run(Arc::clone(broker), Arc::clone(&controller), stop.clone()));
            Some(controller)
        }
    };
    tasks.spawn(judge::run(Arc::clone(broker), controller, stop));
    Ok(())
}

/// Delayed messages are delivered, producers asked about half messages, and duplicates dropped by masters alone.
fn work_as_master(broker: &Arc<Broker>, tasks: &TaskTracker) {
    let (broker, tasks_of_masters) = (Arc::clone(broker), tasks.clone());
    tasks.spawn(async move {
        let mut role = broker.role.watch();
        let master = role.wait_for(|role| matches!(role, Role::Master { .. }));
        tokio::select! {
            found = master => if found.is_err() { return },
            () = broker.stop.cancelled() => return,
        }
        delay::start(&broker, &tasks_of_masters);
        check::start(&broker, &tasks_of_masters);
        duplicates::run::start(&broker, &tasks_of_masters);
    });
}

fn banner(broker: &Broker) {
    let config = &broker.config;
    let promise = match (config.acknowledge, config.store.flush) {
        (Acknowledge::Replica, Flush::Sync) => {
            "sync-replica: acknowledged once on the disks of this broker and all in-sync slaves"
        }
        (Acknowledge::Replica, Flush::Async) => {
            "sync-replica, flush ASYNC: acknowledged once all in-sync slaves have it, not on the disk"
        }
        (_, Flush::Sync) => "sync-flush: a message is acknowledged once it is on the disk",
        (_, Flush::Async) => {
            "ASYNC: a message is acknowledged before it is on the disk; a power cut loses the last moments"
        }
    };
    tracing::info!(
        name = config.name, cluster = config.cluster, id = config.id, role = ?config.role,
        advertise = %broker.address, replication = %broker.ha_address, data_dir = %config.store.dir.display(), nameservers = config.nameservers.join(","), promise, "broker started"
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

pub(crate) fn close_files(broker: &Broker) {
    if let Err(error) = broker.store.close() {
        tracing::error!(%error, "the store was not closed cleanly; the next start recovers");
    }
    let dir = &broker.config.store.dir;
    let checkpoint = timer::leave(&broker.store, &broker.timers, dir, now_ms());
    let legacy = Legacy {
        dir,
        db: &broker.db,
        topics: &broker.topics,
        groups: &broker.groups,
        offsets: &broker.offsets,
        delay: &broker.delay,
        marks: &broker.timers.marks,
        orders: &broker.orders,
        request_modes: &broker.request_modes,
    };
    if let Err(error) = checkpoint.and_then(|checkpoint| legacy.export(checkpoint.as_deref())) {
        tracing::warn!(%error, "the metadata files for RocketMQ's broker could not be written");
    }
    broker.db.close();
}
