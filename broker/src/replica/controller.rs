//! A broker and the controller: leases, and who is master.
//!
//! The lease of a master runs from the moment a renewal was *sent*, so it ends here before the controller, which counts from
//! when the renewal came, gives the mastership to another one.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use orbitmq_common::net::client::{Client, ClientOptions};
use orbitmq_common::protocol::body::controller::{GroupView, Renewal, SetChange};
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::relaxed;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::replica::in_sync::Member;
use crate::replica::promote::{Mastership, promote};
use crate::replica::role::{MasterAddress, Restart, Role};
use crate::replica::slave;

/// Time between two renewals until the controller has told how long a lease is.
const FIRST_PACE: Duration = Duration::from_millis(200);
/// One controller's answer to a renewal.
const ASK: Duration = Duration::from_millis(600);

/// Why the in-sync set is not changed.
#[derive(Debug)]
pub enum SetError {
    /// The controller said no.
    Refused(String),
    /// Nobody knows whether it was changed.
    Unknown(String),
}

/// The controller as a broker sees it.
pub struct Controller {
    client: Client,
    servers: Vec<String>,
    /// Index of the one that answered last.
    leader: AtomicUsize,
    incarnation: u64,
    set_epoch: AtomicI32,
}

impl Controller {
    /// The controller that runs on these servers.
    #[must_use]
    pub fn new(servers: Vec<String>) -> Self {
        Self {
            client: Client::new(ClientOptions { connect_timeout: ASK, ..ClientOptions::default() }),
            servers,
            leader: AtomicUsize::new(0),
            incarnation: fastrand::u64(1..),
            set_epoch: AtomicI32::new(0),
        }
    }

    /// Asks the leader, whichever server that is. The outer error: nobody who could answer was reached.
    async fn ask<T: DeserializeOwned>(&self, code: i32, body: &impl Serialize) -> Result<Result<T, Frame>, String> {
        let first = self.leader.load(Ordering::Relaxed);
        let mut causes = Vec::new();
        for step in 0..self.servers.len() {
            let index = (first + step) % self.servers.len();
            let Some(server) = self.servers.get(index) else { continue };
            match self.ask_one(server, code, body).await {
                Ok(answer) if answer.code == response::SUCCESS => {
                    self.leader.store(index, Ordering::Relaxed);
                    return relaxed::parse(&answer.body).map(Ok).map_err(|error| error.to_string());
                }
                Ok(answer) if is_final(answer.code) => {
                    self.leader.store(index, Ordering::Relaxed);
                    return Ok(Err(answer));
                }
                Ok(answer) => {
                    causes.push(format!("{server}: code {} {}", answer.code, answer.remark.unwrap_or_default()))
                }
                Err(cause) => causes.push(format!("{server}: {cause}")),
            }
        }
        Err(causes.join("; "))
    }

    async fn ask_one(&self, server: &str, code: i32, body: &impl Serialize) -> Result<Frame, String> {
        self.client.forget_failures(server);
        let asked = async {
            let link = self.client.link(server).await?;
            link.call(link.request(code).with_json(body), ASK).await
        };
        match tokio::time::timeout(ASK, asked).await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {ASK:?}")),
        }
    }

    /// Has the in-sync set changed to this master and `slaves`; returns the slaves of the set as it is then.
    ///
    /// # Errors
    /// See [`SetError`].
    pub async fn change_set(&self, broker: &Broker, epoch: i32, slaves: &[Member]) -> Result<Vec<Member>, SetError> {
        let me = broker.config.id;
        let change = SetChange {
            cluster: broker.config.cluster.clone(),
            broker: broker.config.name.clone(),
            master: me,
            epoch,
            set_epoch: self.set_epoch.load(Ordering::Acquire),
            in_sync: std::iter::once(me).chain(slaves.iter().copied()).collect(),
        };
        match self.ask::<GroupView>(request::CONTROLLER_CHANGE_SET, &change).await {
            Ok(Ok(view)) if view.epoch == epoch => {
                self.set_epoch.fetch_max(view.set_epoch, Ordering::AcqRel);
                Ok(others(&view, me))
            }
            Ok(Ok(_)) => Err(SetError::Unknown("another mastership has begun".to_owned())),
            Ok(Err(refusal)) => Err(SetError::Refused(refusal.remark.unwrap_or_default())),
            Err(cause) => Err(SetError::Unknown(cause)),
        }
    }
}

/// Answers that only the leader gives.
fn is_final(code: i32) -> bool {
    matches!(
        code,
        response::CONTROLLER_FENCED_MASTER_EPOCH
            | response::CONTROLLER_FENCED_SYNC_STATE_SET_EPOCH
            | response::CONTROLLER_INVALID_MASTER
            | response::CONTROLLER_INVALID_REPLICAS
            | response::CONTROLLER_INVALID_REQUEST
            | response::CONTROLLER_BROKER_METADATA_NOT_EXIST
    )
}

fn others(view: &GroupView, me: Member) -> Vec<Member> {
    view.in_sync.iter().copied().filter(|member| *member != me).collect()
}

/// Renews until `stop`, and does what the controller says.
pub async fn run(broker: Arc<Broker>, controller: Arc<Controller>, stop: CancellationToken) {
    let mut copying: Option<Copying> = None;
    let (mut pace, mut failing) = (FIRST_PACE, false);
    loop {
        let sent = Instant::now();
        let renewal = renewal(&broker, &controller);
        let renewed = tokio::select! {
            renewed = controller.ask::<GroupView>(request::CONTROLLER_RENEW, &renewal) => renewed,
            () = stop.cancelled() => break,
        };
        let result = match renewed {
            Ok(Ok(view)) => {
                pace = Duration::from_millis(view.lease_ms.clamp(100, 60_000) / 5);
                obey(&broker, &controller, &view, sent, &mut copying).await
            }
            Ok(Err(refusal)) => {
                Err(format!("refused with code {}: {}", refusal.code, refusal.remark.unwrap_or_default()))
            }
            Err(cause) => Err(cause),
        };
        match &result {
            Ok(()) if failing => tracing::info!("the controller answers again"),
            Err(cause) if !failing => tracing::warn!(cause, "no word from the controller; it is asked again"),
            _ => {}
        }
        failing = result.is_err();
        let spent = sent.elapsed();
        tokio::select! {
            () = tokio::time::sleep(pace.saturating_sub(spent).max(Duration::from_millis(20))) => {}
            () = stop.cancelled() => break,
        }
    }
    if let Some(copying) = copying {
        copying.end().await;
    }
}

fn renewal(broker: &Broker, controller: &Controller) -> Renewal {
    let end = broker.store.local();
    Renewal {
        cluster: broker.config.cluster.clone(),
        broker: broker.config.name.clone(),
        id: broker.config.id,
        incarnation: controller.incarnation,
        store: broker.store_id,
        address: broker.address.to_string(),
        ha_address: broker.ha_address.to_string(),
        epoch: broker.role.epoch(),
        log_epoch: broker.epochs.highest(),
        log_end: end,
    }
}

/// A master that is being copied.
struct Copying {
    master: MasterAddress,
    epoch: i32,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Copying {
    fn start(broker: &Arc<Broker>, master: MasterAddress, epoch: i32) -> Self {
        let (stop, broker, from) = (CancellationToken::new(), Arc::clone(broker), master.clone());
        let ending = stop.clone();
        let task = tokio::spawn(async move { slave::follow(&broker, &from, &ending).await });
        Self { master, epoch, stop, task }
    }

    /// Nothing more is copied when this returns.
    async fn end(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the copying task ended badly");
        }
    }
}

/// Does what the group's state asks of this broker.
async fn obey(
    broker: &Arc<Broker>,
    controller: &Controller,
    view: &GroupView,
    sent: Instant,
    copying: &mut Option<Copying>,
) -> Result<(), String> {
    let me = broker.config.id;
    let lease = (sent, Some(Duration::from_millis(view.lease_ms)));
    match (&view.master, broker.role.current()) {
        (Some(master), Role::Master { epoch }) if master.id == me && epoch == view.epoch => {
            broker.role.extend_lease(lease.0, lease.1);
            if view.set_epoch > controller.set_epoch.load(Ordering::Acquire) {
                controller.set_epoch.store(view.set_epoch, Ordering::Release);
                broker.settle_in_sync(&others(view, me));
            }
            Ok(())
        }
        (Some(master), Role::Undecided | Role::Slave { .. }) if master.id == me => {
            if view.epoch <= broker.epochs.highest() {
                // Elected for an earlier run of this process, in which it did not serve: the next renewal brings a newer epoch.
                return Err(format!("epoch {} is over: waiting for the next election", view.epoch));
            }
            if let Some(copying) = copying.take() {
                copying.end().await;
            }
            controller.set_epoch.store(view.set_epoch, Ordering::Release);
            let mastership = Mastership { epoch: view.epoch, in_sync: others(view, me), lease };
            promote(broker, mastership).await.map_err(|error| format!("not master in spite of its election: {error}"))
        }
        // A master under another epoch, or not any more: what it has not got acknowledged must not stay.
        (master, Role::Master { epoch }) if view.epoch > epoch => {
            let master = master.as_ref().map_or("nobody", |master| master.address.as_str());
            tracing::warn!(
                epoch,
                newer = view.epoch,
                master,
                "another mastership has begun: this broker begins again as a slave"
            );
            broker.role.extend_lease(sent, Some(Duration::ZERO));
            broker.role.ask_restart(Restart::Demoted);
            Ok(())
        }
        // Nobody is master, or an answer came late: the lease runs out.
        (_, Role::Master { .. }) => Ok(()),
        (Some(master), _) => {
            let address = MasterAddress { client: master.address.clone(), ha: master.ha_address.clone() };
            let same = copying.as_ref().is_some_and(|copying| copying.master == address && copying.epoch == view.epoch);
            if !same {
                if let Some(copying) = copying.take() {
                    copying.end().await;
                }
                broker.role.set_in_step(false);
                broker.role.set(Role::Slave { master: Some(address.clone()) });
                *copying = Some(Copying::start(broker, address, view.epoch));
            }
            Ok(())
        }
        (None, _) => {
            if let Some(copying) = copying.take() {
                copying.end().await;
            }
            broker.role.set(Role::Slave { master: None });
            Ok(())
        }
    }
}
