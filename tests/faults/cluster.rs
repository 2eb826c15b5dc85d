//! The daemons of a round, behind proxies and on disks that may fail, and what a fault does to them.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::disk::Disk;
use super::history::Moment;
use super::later::LATER;
use super::load::{QUEUES, TOPIC, World};
use super::machine::Machine;
use super::observe;
use super::proxy::{Condition, Member, Net, Node, group_name};
use super::schedule::{Fault, Kind, Plan, Target};
use crate::daemon::{Place, Setup};
use crate::session::Session;
use crate::shim::Shim;
use crate::wait::until;

/// Name servers of every round; a majority of them is the controller's quorum.
const NAMESERVERS: u8 = 3;
/// A cluster that is not complete by then never will be.
const PATIENCE: Duration = Duration::from_secs(60);
/// A request to a healthy daemon takes less.
const DEADLINE: Duration = Duration::from_secs(3);

/// A kill of a master under load.
#[derive(Debug, Clone, Copy)]
pub struct Failover {
    /// Its group.
    pub group: u8,
    /// When.
    pub at: Moment,
    /// Whether nothing else was wrong at the time.
    pub is_alone: bool,
}

/// All daemons.
pub struct Cluster {
    /// What clients share.
    pub world: Arc<World>,
    /// Kills of masters so far.
    pub failovers: Vec<Failover>,
    plan: Plan,
    net: Arc<Net>,
    machines: BTreeMap<Node, Machine>,
    /// Whom a fault has hit, the master of its group first.
    hit: HashMap<usize, Vec<Node>>,
}

/// Addresses of the proxies.
#[derive(Default)]
struct Addresses {
    clients: BTreeMap<Node, SocketAddr>,
    replication: BTreeMap<Node, SocketAddr>,
}

impl Addresses {
    fn nameservers(&self, separator: &str, one: impl Fn(u8, SocketAddr) -> String) -> String {
        let all: Vec<String> = (1..=NAMESERVERS).map(|of| one(of, self.clients[&Node::Nameserver(of)])).collect();
        all.join(separator)
    }

    /// What a daemon is told beyond its name, its directory and where it listens.
    fn settings(&self, plan: &Plan, node: Node) -> Vec<(&'static str, String)> {
        let replicated = plan.members > 1;
        match node {
            Node::Nameserver(number) if replicated => vec![
                ("controller_id", number.to_string()),
                ("controller_peers", self.nameservers(",", |number, address| format!("{number}={address}"))),
                ("controller_lease", "1500ms".to_owned()),
            ],
            Node::Nameserver(_) | Node::Clients => Vec::new(),
            Node::Broker(member) => {
                let mut settings = vec![
                    ("advertise", self.clients[&node].to_string()),
                    ("nameserver", self.nameservers(",", |_, address| address.to_string())),
                    ("lease", "2s".to_owned()),
                    // Files small enough to be changed for the next one under load.
                    ("segment_size", "4MiB".to_owned()),
                    ("queue_file_entries", "1000".to_owned()),
                    ("transaction_timeout", "1s".to_owned()),
                    ("transaction_check_interval", "1s".to_owned()),
                    ("transaction_check_max", "1000".to_owned()),
                ];
                if replicated {
                    settings.extend([
                        ("id", member.id.to_string()),
                        ("role", "auto".to_owned()),
                        ("acknowledge", "sync-replica".to_owned()),
                        ("min_in_sync", "2".to_owned()),
                        ("ha_advertise", self.replication[&node].to_string()),
                    ]);
                }
                settings
            }
        }
    }
}

impl Cluster {
    /// Starts everything and waits until it serves. `plant`: a bug that daemons built for it have.
    pub async fn start(place: &Place, plan: &Plan, plant: Option<&str>) -> Self {
        let shim = Shim::compile(place.path());
        let net = Net::new(place.host());
        let members = (0..plan.groups).flat_map(|group| (1..=plan.members).map(move |id| Member { group, id }));
        let nodes = (1..=NAMESERVERS).map(Node::Nameserver).chain(members.map(Node::Broker));
        let (mut addresses, mut setups) = (Addresses::default(), Vec::new());
        for node in nodes {
            let setup = match node {
                Node::Broker(member) => {
                    let data = place.path().join(node.to_string());
                    let setup = place.broker_in(&node.to_string(), &data);
                    setup.set("name", &member.group_name())
                }
                _ => place.nameserver(&node.to_string()),
            };
            let (host, port) = (setup.address().ip(), setup.address().port());
            addresses.clients.insert(node, net.expose(node, setup.address()).await);
            if matches!(node, Node::Broker(_)) {
                addresses.replication.insert(node, net.expose(node, (host, port + 1).into()).await);
            }
            setups.push((node, setup));
        }
        let nameservers = (1..=NAMESERVERS).map(|of| addresses.clients[&Node::Nameserver(of)].to_string()).collect();
        let brokers = addresses.clients.iter().filter_map(|(node, address)| match node {
            Node::Broker(member) => Some((address.to_string(), *member)),
            _ => None,
        });
        let world = World::new(nameservers, brokers.collect(), plan.groups);
        let finish = |(node, setup): (Node, Setup)| {
            let disk = Disk::new(place.path(), &node.to_string());
            let settings = addresses.settings(plan, node);
            let setup = settings.iter().fold(setup, |setup, (key, value)| setup.set(key, value));
            let setup = plant.into_iter().fold(setup, |setup, name| setup.environment("ORBITMQ_PLANT", name));
            let setup = shim.connecting_from(disk.on(setup, &shim), net.source(node));
            (node, Machine::new(node, setup.daemon(), disk, &world))
        };
        let machines = setups.into_iter().map(finish).collect();
        let (hit, failovers, plan) = (HashMap::new(), Vec::new(), plan.clone());
        let mut cluster = Self { world, failovers, plan, net, machines, hit };
        cluster.machines.values_mut().for_each(Machine::start);
        cluster.serves().await;
        cluster
    }

    /// All members of a group.
    #[must_use]
    pub fn members(&self, group: u8) -> Vec<Member> {
        (1..=self.plan.members).map(|id| Member { group, id }).collect()
    }

    /// A connection to a daemon that passes no proxy.
    #[must_use]
    pub fn direct(&self, node: Node) -> Session {
        Session::new(self.machines[&node].daemon().address()).within(DEADLINE)
    }

    /// The end of a daemon's log.
    #[must_use]
    pub fn tail(&self, node: Node) -> String {
        self.machines[&node].daemon().tail()
    }

    /// Waits until every group is complete, and creates the topics.
    async fn serves(&self) {
        let nameserver = self.direct(Node::Nameserver(1));
        for group in 0..self.plan.groups {
            let name = group_name(group);
            until(&format!("{name} is complete and has its topics"), PATIENCE, async || {
                let known = nameserver.cluster().await.ok()?;
                let addresses = &known.broker_addr_table.get(&name)?.broker_addrs;
                let master = addresses.get(&0).filter(|_| addresses.len() == usize::from(self.plan.members))?;
                let session = Session::new(master).within(DEADLINE);
                session.create_topic(TOPIC, QUEUES.into()).await.ok()?;
                session.create_topic(LATER, 1).await.ok()
            })
            .await;
        }
    }

    /// The nodes that a target means now.
    fn find(&self, target: Target) -> Node {
        let master = |group| self.world.master(group).unwrap_or(Member { group, id: 1 });
        match target {
            Target::Clients => Node::Clients,
            Target::Nameserver(number) => Node::Nameserver(number),
            Target::Master(group) => Node::Broker(master(group)),
            Target::Slave(group, number) => {
                let master = master(group);
                let slaves: Vec<Member> = self.members(group).into_iter().filter(|member| *member != master).collect();
                Node::Broker(slaves.get(usize::from(number) % slaves.len().max(1)).copied().unwrap_or(master))
            }
        }
    }

    /// One phase of a fault comes about; returns whom it hits, for the log.
    pub fn advance(&mut self, index: usize, phase: usize) -> Vec<Node> {
        let fault = self.plan.faults[index].clone();
        if phase == 0 {
            let mut nodes = vec![self.find(fault.target)];
            match (fault.kind, fault.group()) {
                (Kind::Cut | Kind::OneWay | Kind::HalfOpen | Kind::Delay, _) => nodes.push(self.find(fault.other)),
                (Kind::Blackout | Kind::Strand | Kind::Relay, Some(group)) => {
                    let others = self.members(group).into_iter().map(Node::Broker).filter(|node| *node != nodes[0]);
                    nodes.extend(others.collect::<Vec<_>>());
                }
                _ => {}
            }
            self.hit.insert(index, nodes);
        }
        let nodes = self.hit[&index].clone();
        self.harm(&fault, index, phase, &nodes);
        nodes
    }

    fn harm(&mut self, fault: &Fault, index: usize, phase: usize, nodes: &[Node]) {
        let (first, others) = (nodes[0], &nodes[1..]);
        let power = |number: usize| {
            matches!(fault.kind, Kind::Power | Kind::Blackout).then(|| fault.degree.wrapping_add(number as u64))
        };
        match (fault.kind, phase) {
            (Kind::Kill | Kind::Relay, 0) | (Kind::Power, 1) => {
                self.note_failover(index, first);
                self.machine(first).kill(power(0));
            }
            (Kind::Stop, 0) => self.machine(first).ask_to_stop(),
            (Kind::Kill | Kind::Stop, _) => self.machine(first).restart(),
            (Kind::Power | Kind::Blackout, 0) => nodes.iter().for_each(|node| self.machine(*node).falter(true)),
            (Kind::Blackout, 1) => {
                nodes.iter().enumerate().for_each(|(number, node)| self.machine(*node).kill(power(number)));
            }
            (Kind::Power | Kind::Blackout, 2) => {
                nodes.iter().for_each(|node| self.machine(*node).falter(false));
                // In half of all blackouts the master comes back last.
                let late = usize::from(fault.degree & 2 == 0 && !others.is_empty());
                nodes[late..].iter().for_each(|node| self.machine(*node).start());
            }
            (Kind::Power | Kind::Blackout, _) => self.machine(first).start(),
            (Kind::Strand, 0) => others.iter().for_each(|other| self.net.set_both(first, *other, Condition::Cut)),
            (Kind::Strand, 1) => {
                others.iter().for_each(|other| self.net.set_both(first, *other, Condition::Open));
                others.iter().for_each(|other| self.machine(*other).kill(None));
            }
            (Kind::Strand, _) => others.iter().for_each(|other| self.machine(*other).start()),
            (Kind::Relay, 1) => self.machine(first).start(),
            (Kind::Relay, 2) => others.iter().for_each(|other| self.machine(*other).kill(None)),
            (Kind::Relay, _) => others.iter().for_each(|other| self.machine(*other).start()),
            (Kind::Pause, _) => self.machine(first).pause(phase == 0),
            (Kind::SlowDisk | Kind::FailDisk | Kind::Clock, _) => self.machine(first).trouble(fault, phase == 0),
            (Kind::Isolate | Kind::Cut | Kind::OneWay | Kind::HalfOpen | Kind::Delay, _) => {
                self.disturb(fault, nodes, phase == 0);
            }
            (Kind::Consumer, _) => {}
        }
    }

    fn machine(&mut self, node: Node) -> &mut Machine {
        self.machines.get_mut(&node).unwrap()
    }

    fn disturb(&self, fault: &Fault, nodes: &[Node], begins: bool) {
        let slow = Duration::from_millis(1 + fault.degree % 200);
        let condition = match fault.kind {
            _ if !begins => Condition::Open,
            Kind::HalfOpen => Condition::HalfOpen,
            Kind::Delay => Condition::Slow(slow),
            Kind::OneWay => Condition::Stalled,
            // Some cuts are noticed at once and some are not.
            _ if fault.degree & 1 == 0 => Condition::Cut,
            _ => Condition::Stalled,
        };
        match (fault.kind, nodes) {
            (Kind::Isolate, [alone, ..]) => {
                let everybody = self.machines.keys().copied().chain([Node::Clients]);
                everybody.filter(|other| other != alone).for_each(|other| self.net.set_both(*alone, other, condition));
            }
            (Kind::OneWay, [from, to]) => self.net.set(*from, *to, condition),
            (_, [one, other]) => self.net.set_both(*one, *other, condition),
            _ => {}
        }
    }

    fn note_failover(&mut self, index: usize, node: Node) {
        let Node::Broker(member) = node else { return };
        if self.machine(node).is_running() && self.world.master(member.group) == Some(member) {
            let (group, at, is_alone) = (member.group, self.world.history.now(), self.plan.is_alone(index));
            self.failovers.push(Failover { group, at, is_alone });
        }
    }

    /// Notes who is master of which epoch, as name servers say over a way of their own.
    pub fn observe(&self, tasks: &mut JoinSet<()>, stop: &CancellationToken) {
        for number in 1..=NAMESERVERS {
            let session = self.direct(Node::Nameserver(number));
            observe::start(session, &self.world, tasks, stop.clone());
        }
    }

    /// Ends all faults; returns what daemons did by themselves and should not have done.
    pub fn heal(&mut self) -> Vec<String> {
        self.net.heal();
        self.machines.values_mut().filter_map(Machine::heal).collect()
    }

    /// Ends all daemons and connections.
    pub async fn close(self) {
        drop(self.machines);
        self.net.close().await;
    }
}
