//! One member of the controller quorum: decides who is master of each broker group.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use openraft::{BasicNode, SnapshotPolicy};
use orbitmq_common::protocol::body::controller::{GroupView, Renewal, SetChange};
use orbitmq_common::protocol::code::response;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::controller::ControllerConfig;
use crate::controller::confirm::Confirm;
use crate::controller::leases::{Leases, Terms};
use crate::controller::network::Network;
use crate::controller::raft::Raft;
use crate::controller::refusal::ControllerError;
use crate::controller::state::{Change, Group, Member, Name, Process, Reign, unknown_group};
use crate::controller::storage::log::Log;
use crate::controller::storage::machine::{Machine, Shared};
use crate::controller::storage::{Cause, Disk, OpenError};

mod confirm;
mod elect;
mod found;
pub mod leases;
pub mod members;
pub mod network;
pub mod plant;
pub mod raft;
pub mod refusal;
pub mod state;
mod storage;

const HEARTBEAT_MS: u64 = 100;
/// A member waits for the greater one in silence, then for a random time between both, before it wants to lead.
const ELECTION_MS: (u64, u64) = (250, 450);
const SNAPSHOT_TIMEOUT_MS: u64 = 5_000;
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);

/// Why the controller does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its directory does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What is in there cannot be read.
    #[error("the controller's state is not read: {0}")]
    Read(#[from] Cause),
    /// It is another member's.
    #[error("{} belongs to controller_id {owner}: set that, or give this member a directory of its own", path.display())]
    Owner {
        /// The directory.
        path: PathBuf,
        /// Its member.
        owner: u64,
    },
    /// The consensus does not start from it.
    #[error("the controller does not start: {0}")]
    Consensus(String),
}

/// The controller in this process.
pub struct Controller {
    me: u64,
    peers: BTreeMap<u64, String>,
    /// The lease that it was told to promise.
    lease_ms: u64,
    raft: Raft,
    applied: Shared,
    leases: Mutex<Leases>,
    confirm: Confirm,
    network: Network,
    /// Something happened that may call for an election.
    wake: Notify,
    stop: CancellationToken,
    tasks: tokio::sync::Mutex<JoinSet<()>>,
}

impl std::fmt::Debug for Controller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Controller").field("me", &self.me).field("peers", &self.peers).finish_non_exhaustive()
    }
}

impl Controller {
    /// Starts a member from its directory. It takes part as soon as requests reach it.
    pub async fn start(config: &ControllerConfig) -> Result<Arc<Self>, StartError> {
        let (path, id) = (config.directory.clone(), config.id);
        let opened = tokio::task::spawn_blocking(move || {
            let disk = Disk::open(&path)?;
            if disk.owner(id)? != id {
                return Err(StartError::Owner { path, owner: disk.owner(id)? });
            }
            Ok((Log(Arc::clone(&disk)), Machine::open(disk)?))
        });
        let (log, machine) = opened.await.map_err(|error| StartError::Consensus(error.to_string()))??;
        let (applied, network) = (machine.shared(), Network::default());
        let consensus = openraft::Config {
            cluster_name: "controller".to_owned(),
            heartbeat_interval: HEARTBEAT_MS,
            election_timeout_min: ELECTION_MS.0,
            election_timeout_max: ELECTION_MS.1,
            install_snapshot_timeout: SNAPSHOT_TIMEOUT_MS,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(config.snapshot_after),
            max_in_snapshot_log_to_keep: config.snapshot_after,
            ..openraft::Config::default()
        };
        let failed = |error: String| StartError::Consensus(error);
        let consensus = Arc::new(consensus.validate().map_err(|error| failed(error.to_string()))?);
        let raft = Raft::new(config.id, consensus, network.clone(), log, machine).await;
        let lease_ms = Terms { lease: config.lease }.lease_ms();
        let controller = Arc::new(Self {
            me: config.id,
            peers: config.peers.clone(),
            lease_ms,
            raft: raft.map_err(|error| failed(error.to_string()))?,
            applied,
            leases: Mutex::new(Leases::new(Terms { lease: config.lease }, Instant::now())),
            confirm: Confirm::default(),
            network,
            wake: Notify::new(),
            stop: CancellationToken::new(),
            tasks: tokio::sync::Mutex::default(),
        });
        controller.spawn_tasks().await;
        tracing::info!(id = config.id, peers = ?config.peers, lease = ?config.lease, "controller starts");
        Ok(controller)
    }

    async fn spawn_tasks(self: &Arc<Self>) {
        let mut tasks = self.tasks.lock().await;
        let [founding, confirming, electing] = [(); 3].map(|()| Arc::clone(self));
        tasks.spawn(async move { found::run(&founding).await });
        tasks.spawn(async move { confirming.confirm.run(&confirming.raft, &confirming.stop).await });
        tasks.spawn(async move { elect::run(electing).await });
    }

    /// Ends this member; the others go on.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        let mut tasks = self.tasks.lock().await;
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a part of the controller did not end in peace");
            }
        }
        if let Err(error) = self.raft.shutdown().await {
            tracing::error!(%error, "the controller's consensus did not end in peace");
        }
        self.network.close();
    }

    /// The consensus, for what other members ask of it.
    pub fn raft(&self) -> &Raft {
        &self.raft
    }

    /// This member's number.
    pub fn id(&self) -> u64 {
        self.me
    }

    /// The leadership of this member, as far as it knows.
    fn leads(&self) -> Option<Reign> {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow();
        let vote = metrics.vote;
        let leads = metrics.state.is_leader() && vote.is_committed();
        leads.then_some(Reign { term: vote.leader_id.term, leader: vote.leader_id.node_id })
    }

    /// Refuses on a member that does not even think that it leads.
    fn check_leads(&self) -> Result<(), ControllerError> {
        if self.leads().is_some() {
            Ok(())
        } else {
            Err(ControllerError::NotLeader(self.leader().map(|(_, addr)| addr)))
        }
    }

    /// The leader as this member knows it.
    pub fn leader(&self) -> Option<(u64, String)> {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow();
        let leader = metrics.current_leader?;
        metrics.membership_config.membership().get_node(&leader).map(|node| (leader, node.addr.clone()))
    }

    /// Waits until a quorum confirms that this member leads; the leases are this leadership's then.
    async fn confirmed(&self) -> Result<Reign, ControllerError> {
        self.check_leads()?;
        let reign = self.confirm.confirmed().await?;
        if self.leases.lock().reign() < reign {
            self.begin(reign).await?;
        }
        Ok(reign)
    }

    /// Begins a leadership. The state shows by now how long earlier leaders' leases are; this one's must not be longer than the
    /// quorum knows before they are promised.
    async fn begin(&self, reign: Reign) -> Result<(), ControllerError> {
        let agreed = || self.applied.read().state.lease_ms();
        if agreed() < self.lease_ms {
            self.write_soon(Change::Lease(self.lease_ms)).await?;
        } else if agreed() > self.lease_ms {
            tracing::warn!(agreed_ms = agreed(), "leases stay as long as the quorum once agreed on");
        }
        let terms = Terms { lease: Duration::from_millis(agreed()) };
        if self.leases.lock().begin(reign, terms, Instant::now()) {
            tracing::info!(term = reign.term, "this name server leads the controller quorum");
        }
        Ok(())
    }

    /// Has the quorum agree on a change, however long that takes.
    async fn write(&self, change: Change) -> Result<(), ControllerError> {
        let written = self.raft.client_write(change).await?;
        Ok(written.data?)
    }

    /// The same for somebody who does not wait so long, and asks again. A leader without a quorum is as good as none.
    async fn write_soon(&self, change: Change) -> Result<(), ControllerError> {
        let written = tokio::time::timeout(WRITE_TIMEOUT, self.write(change)).await;
        written.unwrap_or(Err(ControllerError::NotLeader(None)))
    }

    /// A member asks for its lease, and who is master.
    pub async fn renew(&self, renewal: &Renewal) -> Result<GroupView, ControllerError> {
        let heard = Instant::now();
        self.confirmed().await?;
        let name = Name::new(&renewal.cluster, &renewal.broker);
        let process = Process { id: renewal.id, incarnation: renewal.incarnation };
        let member =
            Member { address: renewal.address.clone(), ha_address: renewal.ha_address.clone(), store: renewal.store };
        let new = self.with_group(&name, |leases, group| {
            leases.renew(&name, group, renewal, heard)?;
            Ok::<_, ControllerError>(group.is_none_or(|group| group.differs(renewal.id, &member)))
        })?;
        if new {
            tracing::info!(group = %name, id = renewal.id, address = %member.address, "member registers");
            let newest = renewal.log_epoch;
            self.write_soon(Change::Register { group: name.clone(), process, member, newest }).await?;
        }
        self.view(&name, Some(process))
    }

    /// The master says who has everything. Its epoch proves that it is the process that was elected.
    pub async fn change_set(&self, change: SetChange) -> Result<GroupView, ControllerError> {
        let heard = Instant::now();
        self.confirmed().await?;
        let name = Name::new(&change.cluster, &change.broker);
        let master = self.with_group(&name, |leases, group| {
            let Some(group) = group.filter(|group| group.epoch == change.epoch) else { return Ok(None) };
            let Some(master) = group.master.filter(|master| master.id == change.master) else { return Ok(None) };
            let noted = leases.master_speaks(&name, group, master, heard).map(|()| Some(master));
            noted.map_err(|error| ControllerError::refused(response::CONTROLLER_INVALID_MASTER, error.to_string()))
        })?;
        self.write_soon(Change::SetInSync(change)).await?;
        self.view(&name, master)
    }

    /// The group as the one who asks may know it: who is being replaced, was another process, or does not take up its mastership
    /// is not told to be master.
    fn view(&self, name: &Name, asking: Option<Process>) -> Result<GroupView, ControllerError> {
        let (view, vacant) = self.with_group(name, |leases, group| {
            let group = group.ok_or_else(|| unknown_group(name))?;
            let mut view = group.view(leases.terms().lease_ms());
            let follows = |master: Process| asking.is_some_and(|asking| asking.id == master.id && asking != master);
            if leases.is_deposed(name) || leases.idles(name, group) || group.master.is_some_and(follows) {
                view.master = None;
            }
            let vacant = view.master.is_none();
            Ok::<_, ControllerError>((view, vacant))
        })?;
        if vacant {
            self.wake.notify_one();
        }
        Ok(view)
    }

    /// Leases and group at one moment: between the two nobody is elected or deposed.
    fn with_group<T>(&self, name: &Name, look: impl FnOnce(&mut Leases, Option<&Group>) -> T) -> T {
        let mut leases = self.leases.lock();
        let applied = self.applied.read();
        look(&mut leases, applied.state.group(name))
    }

    /// The members of the quorum that were configured.
    fn founders(&self) -> BTreeMap<u64, BasicNode> {
        self.peers.iter().map(|(id, address)| (*id, BasicNode::new(address))).collect()
    }
}

#[cfg(test)]
mod tests;
