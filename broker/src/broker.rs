//! The parts of a running broker, as its handlers see them.

use std::net::SocketAddr;
use std::sync::Arc;

use orbitmq_common::message::id::UniqueIds;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::advertise::Advertised;
use crate::config::Config;
use crate::duplicates::Duplicates;
use crate::filters::Filters;
use crate::locks::Locks;
use crate::members::Members;
use crate::meta::asked::Asked;
use crate::meta::db::Db;
use crate::meta::forbidden::Forbidden;
use crate::meta::groups::Groups;
use crate::meta::levels::Progress;
use crate::meta::offsets::Offsets;
use crate::meta::orders::Orders;
use crate::meta::request_modes::RequestModes;
use crate::meta::topics::Topics;
use crate::pop::Pop;
use crate::replica::deletions::Deletions;
use crate::replica::epochs::Epochs;
use crate::replica::in_sync::InSync;
use crate::replica::role::{MasterAddress, RoleState};
use crate::routed::Routed;
use crate::store::Store;
use crate::timer::Timers;
use crate::traffic::Traffic;
use crate::transaction::{Ground, Transactions};
use crate::tuned::Tuned;

/// Everything a handler may need. Built by the node, which also starts and stops what runs by itself.
pub struct Broker {
    /// Settings.
    pub config: Config,
    /// Settings that may change while the broker runs.
    pub tuned: Tuned,
    /// How much goes in and out.
    pub traffic: Traffic,
    /// Address that clients are told; it is part of offset message ids.
    pub address: SocketAddr,
    /// Whether clients reach it there.
    pub advertised: Advertised,
    /// Address that slaves are told.
    pub ha_address: SocketAddr,
    /// Drawn when the store was made: the controller sees by it whether a member has lost everything.
    pub store_id: u64,
    /// Messages.
    pub store: Arc<Store>,
    /// The lasting copy of what follows.
    pub db: Arc<Db>,
    /// Topics.
    pub topics: Topics,
    /// What name servers know of them.
    pub routed: Routed,
    /// Groups.
    pub groups: Groups,
    /// Topics that groups may not read.
    pub forbidden: Forbidden,
    /// How far groups have come.
    pub offsets: Offsets,
    /// How far delay levels were delivered.
    pub delay: Arc<Progress>,
    /// Half messages that are open.
    pub transactions: Transactions,
    /// How often producers were asked about them.
    pub asked: Asked,
    /// What topics remember that store nothing twice.
    pub duplicates: Duplicates,
    /// Messages for a time of their own.
    pub timers: Arc<Timers>,
    /// Batches in hand of groups that pop in order.
    pub orders: Orders,
    /// Which groups pop, and which pull.
    pub request_modes: RequestModes,
    /// What was popped and is open.
    pub pop: Pop,
    /// Deleted topics.
    pub deletions: Deletions,
    /// Which mastership wrote which part of the log.
    pub epochs: Epochs,
    /// Master or slave.
    pub role: RoleState,
    /// The slaves of a master.
    pub in_sync: InSync,
    /// The master of this name as settings or name servers name it, for a slave without a controller.
    pub master_named: watch::Sender<Option<MasterAddress>>,
    /// Rung when an administrator makes a slave without a controller the master.
    pub promotion: Notify,
    /// What consumers want of messages.
    pub filters: Arc<Filters>,
    /// Connected clients.
    pub members: Members,
    /// Queues consumed in order.
    pub locks: Locks,
    /// Ids for messages that come without one.
    pub ids: UniqueIds,
    /// When this broker started, ms since the epoch.
    pub started: i64,
    /// Cancelled when the broker stops: whoever waits here answers.
    pub stop: CancellationToken,
}

impl Broker {
    /// What transactions stand on.
    #[must_use]
    pub fn ground(&self) -> Ground<'_> {
        Ground {
            store: &self.store,
            host: self.address,
            levels: self.config.store.delay_levels.len(),
            timeout: i64::try_from(self.config.transactions.timeout.as_millis()).unwrap_or(i64::MAX),
        }
    }
}
