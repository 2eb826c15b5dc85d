//! Tells every name server of the list that this broker is here, and what it holds.
//!
//! One task a name server, none waiting for another: registration in full at first and whenever topics change, a
//! heartbeat each second in between, word of leaving at the end.

use std::sync::Arc;
use std::time::Duration;

use orbitmq_common::name;
use orbitmq_common::net::client::{Client, ClientOptions, Link};
use orbitmq_common::net::peer::CallError;
use orbitmq_common::protocol::body::register::RegisterBody;
use orbitmq_common::protocol::body::route::perm;
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::nameserver::{
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRequest, RegisterBrokerRequest, RegisterBrokerResponse,
};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::task::TaskTracker;

use crate::broker::Broker;
use crate::config::replication::RoleSetting;
use crate::replica::role::{MasterAddress, Role};

const HEARTBEAT: Duration = Duration::from_secs(1);
/// Time to the next attempt after one that failed.
const RETRY: Duration = Duration::from_millis(250);
const DEADLINE: Duration = Duration::from_secs(3);
/// A name server of RocketMQ's does not say that it has forgotten us; so it is told everything this often.
const AGAIN: Duration = Duration::from_secs(30);
const LEAVE_DEADLINE: Duration = Duration::from_millis(500);

#[derive(Debug, thiserror::Error)]
enum AnnounceError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("refused with code {code}: {remark}")]
    Refused { code: i32, remark: String },
}

/// Starts one task a name server; they end, with word of leaving, when the broker stops.
pub fn start(broker: &Arc<Broker>, tasks: &TaskTracker) {
    for (number, address) in broker.config.nameservers.iter().enumerate() {
        let (broker, address) = (Arc::clone(broker), address.clone());
        tasks.spawn(async move {
            let mut announcer = Announcer::new(&broker, number, &address);
            tokio::select! {
                () = announcer.run() => {}
                () = broker.stop.cancelled() => {}
            }
            announcer.leave().await;
        });
    }
}

struct Announcer<'b> {
    broker: &'b Broker,
    /// Place in the list of name servers.
    number: usize,
    address: &'b str,
    client: Client,
    /// The connection over which this broker is registered, and when it was last.
    registered: Option<(u64, Instant)>,
    /// Whether the last attempt failed; a change is logged once.
    failing: Option<bool>,
}

impl<'b> Announcer<'b> {
    fn new(broker: &'b Broker, number: usize, address: &'b str) -> Self {
        let client = Client::new(ClientOptions::default());
        Self { broker, number, address, client, registered: None, failing: None }
    }

    async fn run(&mut self) {
        let mut changes = self.broker.topics.changes();
        let mut roles = self.broker.role.watch();
        let mut beat = tokio::time::interval(HEARTBEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let changed = tokio::select! {
                _ = beat.tick() => false,
                changed = changes.changed() => changed.is_ok(),
                changed = roles.changed() => changed.is_ok(),
            };
            changes.mark_unchanged();
            // Who does not know yet whether it is master does not say that it is there.
            if *roles.borrow_and_update() == Role::Undecided {
                continue;
            }
            let result = self.announce(changed).await;
            if result.is_err() {
                beat.reset_after(RETRY);
            }
            self.report(&result);
        }
    }

    fn report(&mut self, result: &Result<(), AnnounceError>) {
        let failing = result.is_err();
        if failing {
            self.broker.routed.told(self.number, None);
        }
        if self.failing == Some(failing) {
            return;
        }
        self.failing = Some(failing);
        match result {
            Ok(()) => tracing::info!(nameserver = self.address, "registered"),
            Err(error) => {
                self.registered = None;
                tracing::warn!(nameserver = self.address, %error, "this name server does not know us; it is tried again");
            }
        }
    }

    async fn announce(&mut self, changed: bool) -> Result<(), AnnounceError> {
        // A name server that is back learns of us with the next heartbeat, however long it was away.
        self.client.forget_failures(self.address);
        let link = self.client.link(self.address).await?;
        // A slave is told of its master in answer to a registration.
        let again = if self.lacks_master() { Duration::ZERO } else { AGAIN };
        let fresh = matches!(&self.registered, Some((peer, at)) if *peer == link.peer().id() && at.elapsed() < again);
        if changed || !fresh || !self.heartbeat(&link).await? {
            self.register(&link).await?;
        }
        Ok(())
    }

    /// False: the name server has to be told everything.
    async fn heartbeat(&self, link: &Link) -> Result<bool, AnnounceError> {
        let (broker, version) = (self.broker, self.broker.topics.version().to_string());
        let fields = BrokerHeartbeatRequest {
            cluster_name: broker.config.cluster.as_str().into(),
            broker_addr: broker.address.to_string().into(),
            broker_name: broker.config.name.as_str().into(),
            broker_id: Some(broker.route_id()),
            epoch: Some(broker.role.epoch()),
            max_offset: i64::try_from(broker.store.written()).ok(),
            confirm_offset: i64::try_from(broker.store.confirmed()).ok(),
            heartbeat_timeout_mills: Some(lease(broker)),
            data_version: Some(version.into()),
            ..BrokerHeartbeatRequest::default()
        };
        let answer = link.call(link.request(request::BROKER_HEARTBEAT).with_fields(&fields), DEADLINE).await?;
        let state: BrokerHeartbeatResponse = accepted(answer)?.fields().unwrap_or_default();
        Ok(state.unknown != Some(true) && state.stale != Some(true))
    }

    async fn register(&mut self, link: &Link) -> Result<(), AnnounceError> {
        let broker = self.broker;
        let networks = &broker.config.advertise_networks;
        let mut topics = broker.topics.snapshot();
        let version = topics.data_version.counter;
        for topic in topics.topic_config_table.values_mut() {
            topic.perm &= broker.tuned.permission() | perm::INHERIT;
        }
        // What new topics take their settings from says so only while sends make them: name servers tell askers.
        if !broker.tuned.auto_create_topics()
            && let Some(template) = topics.topic_config_table.get_mut(name::DEFAULT_TOPIC)
        {
            template.perm &= !perm::INHERIT;
        }
        let body = RegisterBody { filter_server_list: Vec::new(), topic_config_serialize_wrapper: topics };
        let fields = RegisterBrokerRequest {
            broker_name: broker.config.name.as_str().into(),
            broker_addr: broker.address.to_string().into(),
            cluster_name: broker.config.cluster.as_str().into(),
            ha_server_addr: broker.ha_address.to_string().into(),
            broker_id: broker.route_id(),
            heartbeat_timeout_millis: Some(lease(broker)),
            enable_acting_master: Some(false),
            network_addrs: (!networks.is_empty()).then(|| networks.to_string().into()),
            ..RegisterBrokerRequest::default()
        };
        let frame = link.request(request::REGISTER_BROKER).with_json(&body).with_fields(&fields);
        let answer = accepted(link.call(frame, DEADLINE).await?)?;
        let told: RegisterBrokerResponse<'_> = answer.fields().unwrap_or_default();
        self.note_master(&told);
        self.registered = Some((link.peer().id(), Instant::now()));
        broker.routed.told(self.number, Some(version));
        Ok(())
    }

    /// Whether this is a slave that neither its settings nor a controller tells its master.
    fn asks_for_master(&self) -> bool {
        let config = &self.broker.config;
        config.role == RoleSetting::Slave && config.master.is_none() && self.broker.role.is_slave()
    }

    fn lacks_master(&self) -> bool {
        self.asks_for_master() && !self.broker.role.is_master_alive()
    }

    fn note_master(&self, told: &RegisterBrokerResponse<'_>) {
        let broker = self.broker;
        let (Some(client), Some(ha)) = (&told.master_addr, &told.ha_server_addr) else { return };
        if !self.asks_for_master() {
            return;
        }
        let master = MasterAddress { client: client.to_string(), ha: ha.to_string() };
        broker.master_named.send_if_modified(|named| {
            let changed = named.as_ref() != Some(&master);
            *named = Some(master);
            changed
        });
    }

    /// Takes this broker out of the routes before it stops answering.
    async fn leave(&self) {
        if self.registered.is_none() {
            return;
        }
        let Ok(link) = self.client.link(self.address).await else { return };
        let fields = BrokerRequest {
            broker_name: self.broker.config.name.as_str().into(),
            broker_addr: self.broker.address.to_string().into(),
            cluster_name: self.broker.config.cluster.as_str().into(),
            broker_id: self.broker.route_id(),
        };
        let frame = link.request(request::UNREGISTER_BROKER).with_fields(&fields);
        if let Err(error) = link.call(frame, LEAVE_DEADLINE).await {
            tracing::debug!(nameserver = self.address, %error, "word of leaving did not arrive; the lease ends by itself");
        }
    }
}

fn lease(broker: &Broker) -> i64 {
    i64::try_from(broker.config.lease.as_millis()).unwrap_or(i64::MAX)
}

fn accepted(answer: Frame) -> Result<Frame, AnnounceError> {
    if answer.code == response::SUCCESS {
        return Ok(answer);
    }
    Err(AnnounceError::Refused { code: answer.code, remark: answer.remark.unwrap_or_default() })
}
