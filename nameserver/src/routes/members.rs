//! Which brokers are alive: groups of a master and its slaves, and the lease of each.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use orbitmq_common::net::network::{Addresses, Network};
use orbitmq_common::protocol::body::route::{BrokerData, MASTER_ID};
use orbitmq_common::protocol::body::topic::DataVersion;

/// A broker's lease when it names none, as RocketMQ's brokers do: they register each 30 s.
pub const DEFAULT_LEASE: Duration = Duration::from_secs(120);
/// Longest lease; a broker that names more gets this.
const MAX_LEASE: Duration = Duration::from_secs(24 * 3600);

/// Who a broker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity<'a> {
    /// Cluster.
    pub cluster: &'a str,
    /// Name shared by a master and its slaves.
    pub name: &'a str,
    /// `host:port` for clients.
    pub addr: &'a str,
    /// 0: master.
    pub id: i64,
}

/// A registered broker, by its address in [`Members::live`].
#[derive(Debug, Clone)]
pub struct Live {
    /// Cluster.
    pub cluster: String,
    /// Name of its group.
    pub name: String,
    /// `host:port` for slaves.
    pub ha_addr: String,
    /// Version of the topics that were registered last.
    pub data_version: DataVersion,
    /// The connection that brought the last registration.
    pub connection: u64,
    /// Where clients in certain networks reach it; all others do at its address in [`Members::live`].
    pub networks: Addresses,
    seen: Instant,
    lease: Duration,
}

impl Live {
    /// A broker seen now.
    pub fn new(who: Identity<'_>, ha_addr: &str, data_version: DataVersion, connection: u64, now: Instant) -> Self {
        Self {
            networks: Addresses::default(),
            cluster: who.cluster.to_owned(),
            name: who.name.to_owned(),
            ha_addr: ha_addr.to_owned(),
            data_version,
            connection,
            seen: now,
            lease: DEFAULT_LEASE,
        }
    }

    /// Renews the lease; a length given replaces the one agreed before.
    pub fn renew(&mut self, lease: Option<Duration>, now: Instant) {
        self.seen = now;
        if let Some(lease) = lease {
            self.lease = lease.min(MAX_LEASE);
        }
    }

    /// How long it may be silent.
    pub fn lease(&self) -> Duration {
        self.lease
    }

    fn deadline(&self) -> Instant {
        self.seen.checked_add(self.lease).unwrap_or(self.seen)
    }
}

/// What the departure of a broker leaves behind.
#[derive(Debug, PartialEq, Eq)]
pub enum Remains {
    /// It was not a member.
    Nothing,
    /// Its group is gone with it.
    NoGroup(String),
    /// Others of its group go on.
    Group {
        /// Name of the group.
        name: String,
        /// Whether it has no master but slaves that stand in for one.
        acting: bool,
    },
}

/// All brokers.
#[derive(Debug, Default)]
pub struct Members {
    /// By name.
    pub groups: BTreeMap<String, BrokerData>,
    /// By address.
    pub live: HashMap<String, Live>,
}

impl Members {
    /// The address that holds an id within a group.
    pub fn holder(&self, name: &str, id: i64) -> Option<&str> {
        self.groups.get(name)?.broker_addrs.get(&id).map(String::as_str)
    }

    /// The address under which a broker is reached from `asker`.
    pub fn seen_from<'a>(&'a self, addr: &'a str, asker: IpAddr) -> &'a str {
        self.live.get(addr).and_then(|broker| broker.networks.seen_from(asker)).unwrap_or(addr)
    }

    /// Turns the addresses of a group into those that reach its members from `asker`.
    pub fn show(&self, addrs: &mut BTreeMap<i64, String>, asker: IpAddr) {
        for addr in addrs.values_mut() {
            if let Some(seen) = self.live.get(addr).and_then(|broker| broker.networks.seen_from(asker)) {
                *addr = seen.to_owned();
            }
        }
    }

    /// The networks for which a member of a group has an address of its own.
    pub fn networks_of(&self, group: &BrokerData) -> impl Iterator<Item = Network> {
        let members = group.broker_addrs.values().filter_map(|addr| self.live.get(addr));
        members.flat_map(|broker| broker.networks.iter().map(|(network, _)| network))
    }

    /// Names of the groups of a cluster.
    pub fn names_of(&self, cluster: &str) -> BTreeSet<String> {
        self.groups.values().filter(|group| group.cluster == cluster).map(|group| group.broker_name.clone()).collect()
    }

    /// Names of the groups by cluster.
    pub fn clusters(&self) -> BTreeMap<String, Vec<String>> {
        let mut clusters: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for group in self.groups.values() {
            clusters.entry(group.cluster.clone()).or_default().push(group.broker_name.clone());
        }
        clusters
    }

    /// Puts a broker into its group. Tells whether the group changed, and the address that held this id before.
    pub fn admit(&mut self, who: Identity<'_>, acting: bool, zone: Option<&str>) -> Admission {
        let group = self.groups.entry(who.name.to_owned()).or_insert_with(|| BrokerData {
            broker_addrs: BTreeMap::new(),
            broker_name: who.name.to_owned(),
            cluster: who.cluster.to_owned(),
            enable_acting_master: false,
            zone_name: None,
        });
        let before = group.clone();
        group.enable_acting_master = acting;
        group.zone_name = zone.map(str::to_owned);
        // One address has one id: a slave that became master leaves its old id.
        group.broker_addrs.retain(|id, addr| addr != who.addr || *id == who.id);
        let previous = group.broker_addrs.insert(who.id, who.addr.to_owned());
        let smallest = group.broker_addrs.keys().next().copied();
        Admission {
            changed: *group != before,
            first: previous.is_none(),
            displaced: previous.filter(|addr| addr != who.addr),
            smallest: smallest == Some(who.id),
        }
    }

    /// Lets a broker go.
    pub fn remove(&mut self, addr: &str, name: &str) -> Remains {
        let was_live = self.live.remove(addr).is_some();
        let Some(group) = self.groups.get_mut(name) else { return Remains::Nothing };
        let before = group.broker_addrs.len();
        group.broker_addrs.retain(|_, known| known != addr);
        if group.broker_addrs.is_empty() {
            self.groups.remove(name);
            return Remains::NoGroup(name.to_owned());
        }
        if group.broker_addrs.len() == before && !was_live {
            return Remains::Nothing;
        }
        let acting = group.enable_acting_master && !group.broker_addrs.contains_key(&MASTER_ID);
        Remains::Group { name: name.to_owned(), acting }
    }

    /// Addresses and group names of the brokers that satisfy a condition.
    pub fn select(&self, wanted: impl Fn(&Live) -> bool) -> Vec<(String, String)> {
        self.live
            .iter()
            .filter(|(_, broker)| wanted(broker))
            .map(|(addr, broker)| (addr.clone(), broker.name.clone()))
            .collect()
    }

    /// Addresses and group names of the brokers whose lease is over.
    pub fn expired(&self, now: Instant) -> Vec<(String, String)> {
        self.select(|broker| broker.deadline() <= now)
    }

    /// When the next lease ends.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.live.values().map(Live::deadline).min()
    }
}

/// How a broker came into its group.
#[derive(Debug)]
pub struct Admission {
    /// The group is not what it was.
    pub changed: bool,
    /// Nobody held this id.
    pub first: bool,
    /// The address that lost this id to the newcomer.
    pub displaced: Option<String>,
    /// No smaller id is in the group.
    pub smallest: bool,
}
