//! The route table: which brokers are alive and which queues they hold, changed by registrations and read by everyone.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use orbitmq_common::net::network::{self, Network};
use orbitmq_common::protocol::body::route::{
    BrokerMemberGroup, ClusterInfo, MASTER_ID, QueueData, TopicList, TopicRoute, perm,
};
use orbitmq_common::protocol::body::topic::DataVersion;
use parking_lot::RwLock;
use tokio::sync::Notify;

use crate::routes::absence::Absence;
use crate::routes::gone::Left;
use crate::routes::members::Identity;
use crate::routes::registration::{RegisterError, Registered, Registration, State};

pub mod absence;
pub mod gone;
pub mod members;
pub mod queues;
pub mod registration;

/// Topics whose route always shows the true ids, even where a slave stands in for a master.
const MEMBER_GROUP_PREFIX: &str = "rmq_sys_SYNC_BROKER_MEMBER_";

/// How a heartbeat found its broker.
#[derive(Debug, PartialEq, Eq)]
pub enum Pulse {
    /// Registered, lease renewed.
    Alive {
        /// The broker's data differ from what is registered.
        stale: bool,
    },
    /// Not registered: the broker has to do so.
    Unknown,
    /// Another broker registered under this name and id since.
    Displaced {
        /// Its address.
        by: String,
    },
}

/// A route as somebody sees it.
#[derive(Debug, PartialEq, Eq)]
pub struct Seen {
    /// The route, with the addresses that reach its brokers from where it was asked for.
    pub route: TopicRoute,
    /// The networks that see other addresses, the longest prefix first; none: everybody sees the same.
    pub networks: Vec<Network>,
}

/// All routes of this name server.
#[derive(Debug, Default)]
pub struct RouteTable {
    state: RwLock<State>,
    /// Rises with every change that a route answer could show.
    version: AtomicU64,
    /// Told when a lease may end earlier than was known.
    pub leases: Notify,
}

impl RouteTable {
    /// Rises with every change that a route answer could show.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Makes every answer built so far outdated.
    pub fn touch(&self) {
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Takes a broker in, or takes over what changed at a known one.
    pub fn register(&self, registration: &Registration<'_>, now: Instant) -> Result<Registered, RegisterError> {
        let mut state = self.state.write();
        let outcome = state.register(registration, now);
        match &outcome {
            Ok((_, false)) => {}
            // A refused broker may have lost what it held before under another name.
            Ok((_, true)) | Err(_) => self.touch(),
        }
        if let Err(error) = &outcome {
            let who = registration.who;
            state.gone.refused(format!("'{}' with id {} at {}: {error}", who.name, who.id, who.addr), now);
        }
        drop(state);
        self.leases.notify_one();
        outcome.map(|(registered, _)| registered)
    }

    /// Lets a broker go that says goodbye; tells whether it was known.
    pub fn unregister(&self, name: &str, addr: &str) -> bool {
        let mut state = self.state.write();
        let name = state.members.live.get(addr).map_or_else(|| name.to_owned(), |broker| broker.name.clone());
        self.remove_from(&mut state, vec![(addr.to_owned(), name)], Instant::now(), |_| Left::Goodbye) > 0
    }

    /// Lets every broker go that registered on a connection; tells their addresses.
    pub fn disconnect(&self, connection: u64) -> Vec<String> {
        let gone = self.state.read().members.select(|broker| broker.connection == connection);
        let addrs = gone.iter().map(|(addr, _)| addr.clone()).collect();
        // A broker that registered anew on another connection meanwhile stays.
        let mut state = self.state.write();
        let gone: Vec<_> = gone
            .into_iter()
            .filter(|(addr, _)| state.members.live.get(addr).is_some_and(|broker| broker.connection == connection))
            .collect();
        self.remove_from(&mut state, gone, Instant::now(), |_| Left::Closed);
        addrs
    }

    /// Lets every broker go whose lease is over; tells their addresses.
    pub fn expire(&self, now: Instant) -> Vec<String> {
        let mut state = self.state.write();
        let gone = state.members.expired(now);
        let addrs = gone.iter().map(|(addr, _)| addr.clone()).collect();
        self.remove_from(&mut state, gone, now, Left::Silent);
        addrs
    }

    /// Starts every lease anew.
    pub fn renew_all(&self, now: Instant) {
        for broker in self.state.write().members.live.values_mut() {
            broker.renew(None, now);
        }
    }

    /// When the next lease ends.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.state.read().members.next_deadline()
    }

    fn remove_from(
        &self,
        state: &mut State,
        brokers: Vec<(String, String)>,
        now: Instant,
        why: impl Fn(Duration) -> Left,
    ) -> usize {
        let mut removed = 0;
        for (addr, name) in &brokers {
            let lease = state.members.live.get(addr).map_or(Duration::ZERO, |broker| broker.lease());
            removed += usize::from(state.remove(addr, name, why(lease), now));
        }
        if removed > 0 {
            self.touch();
        }
        removed
    }

    /// Renews a broker's lease.
    pub fn heartbeat(
        &self,
        who: Identity<'_>,
        lease: Option<Duration>,
        data_version: Option<&str>,
        now: Instant,
    ) -> Pulse {
        let mut state = self.state.write();
        if let Some(broker) = state.members.live.get_mut(who.addr)
            && broker.cluster == who.cluster
        {
            broker.renew(lease, now);
            let stale = data_version.is_some_and(|version| version != broker.data_version.to_string());
            drop(state);
            if lease.is_some() {
                self.leases.notify_one();
            }
            return Pulse::Alive { stale };
        }
        match state.members.holder(who.name, who.id) {
            Some(holder) if holder != who.addr => Pulse::Displaced { by: holder.to_owned() },
            _ => Pulse::Unknown,
        }
    }

    /// The data version that a broker registered; asking renews its lease.
    pub fn data_version(&self, cluster: &str, addr: &str, now: Instant) -> Option<DataVersion> {
        let mut state = self.state.write();
        let broker = state.members.live.get_mut(addr).filter(|broker| broker.cluster == cluster)?;
        broker.renew(None, now);
        Some(broker.data_version)
    }

    /// Where the queues of a topic are, as `asker` reaches them; `None` when no living broker has any.
    pub fn route(&self, topic: &str, acting_masters: bool, asker: IpAddr) -> Option<Seen> {
        let state = self.state.read();
        let queues = state.queues.of(topic)?;
        let mut route = TopicRoute { queue_datas: queues.values().cloned().collect(), ..TopicRoute::default() };
        route.broker_datas.extend(queues.keys().filter_map(|name| state.members.groups.get(name)).cloned());
        if route.broker_datas.is_empty() {
            return None;
        }
        let mut networks: Vec<Network> =
            route.broker_datas.iter().flat_map(|group| state.members.networks_of(group)).collect();
        if !networks.is_empty() {
            network::sort(&mut networks);
            route.broker_datas.iter_mut().for_each(|group| state.members.show(&mut group.broker_addrs, asker));
        }
        if acting_masters && !topic.starts_with(MEMBER_GROUP_PREFIX) {
            name_acting_masters(&mut route);
        }
        Some(Seen { route, networks })
    }

    /// Why there is no route of a topic.
    pub fn absence(&self, topic: &str, now: Instant) -> Absence {
        Absence::find(&self.state.read(), topic, now)
    }

    /// How many brokers are registered.
    #[cfg(test)]
    pub fn broker_count(&self) -> usize {
        self.state.read().members.live.len()
    }

    /// All brokers and clusters, as `asker` reaches them.
    pub fn cluster_info(&self, asker: IpAddr) -> ClusterInfo {
        let state = self.state.read();
        let mut broker_addr_table = state.members.groups.clone();
        broker_addr_table.values_mut().for_each(|group| state.members.show(&mut group.broker_addrs, asker));
        ClusterInfo { broker_addr_table, cluster_addr_table: state.members.clusters() }
    }

    /// The members of a group, as `asker` reaches them.
    pub fn member_group(&self, cluster: &str, name: &str, asker: IpAddr) -> BrokerMemberGroup {
        let state = self.state.read();
        let group = state.members.groups.get(name);
        let mut broker_addrs = group.map(|group| group.broker_addrs.clone()).unwrap_or_default();
        state.members.show(&mut broker_addrs, asker);
        BrokerMemberGroup { broker_addrs, broker_name: name.to_owned(), cluster: cluster.to_owned() }
    }

    /// Takes or gives the write permission of a broker's queues, here only, and counts its topics.
    pub fn set_writable(&self, name: &str, writable: bool) -> i32 {
        let topics = self.state.write().queues.set_writable(name, writable);
        self.touch();
        topics
    }

    /// Adds queues of a topic at known brokers; an unknown broker refuses them all and is told.
    pub fn register_topic(&self, topic: &str, queues: Vec<QueueData>) -> Result<(), String> {
        let mut state = self.state.write();
        if let Some(unknown) = queues.iter().find(|queue| !state.members.groups.contains_key(&queue.broker_name)) {
            return Err(unknown.broker_name.clone());
        }
        for queue in queues {
            if state.queues.put(topic, queue) {
                self.touch();
            }
        }
        Ok(())
    }

    /// Forgets a topic, in one cluster or everywhere.
    pub fn delete_topic(&self, topic: &str, cluster: Option<&str>) -> bool {
        let mut state = self.state.write();
        let brokers = cluster.map(|cluster| state.members.names_of(cluster));
        let deleted = state.queues.delete(topic, brokers.as_ref());
        if deleted {
            state.gone.deleted(topic, Instant::now());
            self.touch();
        }
        deleted
    }

    /// Names of all topics.
    pub fn topics(&self) -> TopicList {
        self.topics_where(|_| true)
    }

    /// Names of the topics of a cluster.
    pub fn topics_of_cluster(&self, cluster: &str) -> TopicList {
        let state = self.state.read();
        let names = state.members.names_of(cluster);
        let topic_list = state.queues.topics(|queues| queues.keys().any(|broker| names.contains(broker)));
        TopicList { broker_addr: None, topic_list }
    }

    /// Names of the topics whose system flag satisfies a condition; its first broker speaks for a topic.
    pub fn topics_where(&self, wanted: impl Fn(i32) -> bool) -> TopicList {
        let topics = |queues: &std::collections::BTreeMap<String, QueueData>| {
            queues.values().next().is_some_and(|queue| wanted(queue.topic_sys_flag))
        };
        TopicList { broker_addr: None, topic_list: self.state.read().queues.topics(topics) }
    }

    /// The topics that are there by themselves: names of clusters and brokers; and a broker that knows more.
    pub fn system_topics(&self, asker: IpAddr) -> TopicList {
        let state = self.state.read();
        let mut topic_list: Vec<String> = Vec::new();
        for (cluster, names) in state.members.clusters() {
            topic_list.push(cluster);
            topic_list.extend(names);
        }
        let first = state.members.groups.values().find_map(|group| group.broker_addrs.values().next());
        let broker_addr = first.map(|addr| state.members.seen_from(addr, asker).to_owned());
        TopicList { broker_addr, topic_list }
    }
}

/// Gives the smallest slave of a group without a master the master's id, where the group wants that and takes no writes.
fn name_acting_masters(route: &mut TopicRoute) {
    for group in &mut route.broker_datas {
        let read_only = route
            .queue_datas
            .iter()
            .any(|queue| queue.broker_name == group.broker_name && queue.perm & perm::WRITE == 0);
        if group.enable_acting_master
            && read_only
            && !group.broker_addrs.contains_key(&MASTER_ID)
            && let Some((_, addr)) = group.broker_addrs.pop_first()
        {
            group.broker_addrs.insert(MASTER_ID, addr);
        }
    }
}

#[cfg(test)]
mod tests;
