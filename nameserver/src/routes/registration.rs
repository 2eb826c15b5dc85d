//! The rules of registration: what a newcomer changes among brokers and queues, and what it is told.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use orbitmq_common::net::network::Addresses;
use orbitmq_common::protocol::body::route::{MASTER_ID, perm};
use orbitmq_common::protocol::body::topic::TopicTable;

use crate::routes::gone::{Gone, GoneBroker, Left};
use crate::routes::members::{Identity, Live, Members, Remains};
use crate::routes::queues::{Queues, queue_data};

/// What a broker says of itself when it registers.
#[derive(Debug, Clone, Copy)]
pub struct Registration<'a> {
    /// Who it is.
    pub who: Identity<'a>,
    /// `host:port` for slaves.
    pub ha_addr: &'a str,
    /// Zone.
    pub zone: Option<&'a str>,
    /// How long it may be silent.
    pub lease: Option<Duration>,
    /// Whether slaves of its group stand in for a dead master; old brokers do not say.
    pub acting: Option<bool>,
    /// Its topics.
    pub topics: &'a TopicTable,
    /// Whether topics that it no longer names are forgotten.
    pub forget_unnamed: bool,
    /// The connection that brought this.
    pub connection: u64,
    /// Where that connection comes from.
    pub from: IpAddr,
    /// Its addresses for certain networks.
    pub networks: &'a Addresses,
}

/// What a registered broker is told: where its master is, if it is a slave.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Registered {
    /// The master's `host:port` for slaves.
    pub ha_addr: Option<String>,
    /// The master's `host:port` for clients.
    pub master_addr: Option<String>,
}

/// Why a broker is not registered.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// A newcomer names one topic, which is how known brokers announce changes.
    #[error(
        "register broker failed: broker {name} with id {id} is not known here and names a single topic; \
         register all topics first"
    )]
    SingleTopic {
        /// Name of the group.
        name: String,
        /// Id within it.
        id: i64,
    },
    /// Another address holds the id with a higher state version.
    #[error(
        "id {id} of broker {name} belongs to {holder}, whose state version {theirs} is above {ours}; \
         stop one of the two or give this broker another id"
    )]
    Outranked {
        /// Name of the group.
        name: String,
        /// Id within it.
        id: i64,
        /// Who holds it.
        holder: String,
        /// The holder's state version.
        theirs: i64,
        /// The newcomer's state version.
        ours: i64,
    },
    /// The name is taken in another cluster.
    #[error("broker name {name} is used in cluster {cluster}; give this broker another name")]
    OtherCluster {
        /// Name of the group.
        name: String,
        /// The cluster it lives in.
        cluster: String,
    },
}

/// Brokers and queues, changed together.
#[derive(Debug, Default)]
pub struct State {
    /// Who is alive.
    pub members: Members,
    /// Who holds what.
    pub queues: Queues,
    /// Who and what is gone.
    pub gone: Gone,
}

impl State {
    /// The answer, and whether routes changed.
    pub fn register(&mut self, new: &Registration<'_>, now: Instant) -> Result<(Registered, bool), RegisterError> {
        let Registration { who, topics, .. } = *new;
        let mut changed = self.leave_other_name(who, now);
        self.check(new, now)?;

        let known = self.members.live.get(who.addr);
        let before = known.map(|broker| broker.data_version);
        changed |= known.is_some_and(|broker| broker.networks != *new.networks);
        let admission = self.members.admit(who, new.acting.unwrap_or(false), new.zone);
        if let Some(displaced) = &admission.displaced {
            tracing::warn!(broker = who.name, id = who.id, by = who.addr, %displaced, "a broker takes another's place");
            self.members.live.remove(displaced);
        }
        self.gone.is_back(who.name);
        if admission.first {
            tracing::info!(
                cluster = who.cluster,
                broker = who.name,
                id = who.id,
                addr = who.addr,
                "a broker is in the routes"
            );
        }
        changed |= admission.changed;

        let first_slave = new.acting.is_some() && who.id != MASTER_ID && admission.smallest;
        if who.id == MASTER_ID || first_slave {
            let stand_in = first_slave && new.acting == Some(true);
            let renew = admission.first || before != Some(topics.data_version);
            changed |= self.take_topics(new, renew, stand_in, now);
        }

        let mut broker = Live::new(who, new.ha_addr, topics.data_version, new.connection, now);
        broker.renew(new.lease, now);
        broker.networks.clone_from(new.networks);
        self.members.live.insert(who.addr.to_owned(), broker);
        Ok((self.master_for(who, new.from), changed))
    }

    /// An address is one broker: under a new name or cluster it leaves the old one.
    fn leave_other_name(&mut self, who: Identity<'_>, now: Instant) -> bool {
        let Some(other) = self.members.live.get(who.addr) else { return false };
        if other.name == who.name && other.cluster == who.cluster {
            return false;
        }
        let name = other.name.clone();
        tracing::warn!(addr = who.addr, was = %name, is = who.name, "a broker comes back under another name");
        self.remove(who.addr, &name, Left::Renamed(who.name.to_owned()), now)
    }

    fn check(&mut self, new: &Registration<'_>, now: Instant) -> Result<(), RegisterError> {
        let who = new.who;
        let name = who.name.to_owned();
        if let Some(group) = self.members.groups.get(who.name)
            && group.cluster != who.cluster
        {
            return Err(RegisterError::OtherCluster { name, cluster: group.cluster.clone() });
        }
        match self.members.holder(who.name, who.id) {
            None if new.topics.topic_config_table.len() == 1 => Err(RegisterError::SingleTopic { name, id: who.id }),
            Some(holder) if holder != who.addr => {
                let holder = holder.to_owned();
                let theirs = self.members.live.get(&holder).map_or(0, |broker| broker.data_version.state_version);
                let ours = new.topics.data_version.state_version;
                if theirs <= ours {
                    return Ok(());
                }
                self.remove(who.addr, who.name, Left::Outranked, now);
                Err(RegisterError::Outranked { name, id: who.id, holder, theirs, ours })
            }
            _ => Ok(()),
        }
    }

    /// Takes over a broker's topics: all when its data are new, else those that are missing here.
    fn take_topics(&mut self, new: &Registration<'_>, renew: bool, stand_in: bool, now: Instant) -> bool {
        let name = new.who.name;
        let table = &new.topics.topic_config_table;
        let forgotten = if new.forget_unnamed { self.queues.keep_only(name, table) } else { Vec::new() };
        let mut changed = !forgotten.is_empty();
        forgotten.iter().for_each(|topic| self.gone.deleted(topic, now));
        for (key, config) in table {
            let topic = if config.topic_name.is_empty() { key } else { &config.topic_name };
            if renew || !self.queues.has(topic, name) {
                let mut queues = queue_data(name, config);
                if stand_in {
                    queues.perm &= !perm::WRITE;
                }
                changed |= self.queues.put(topic, queues);
            }
        }
        changed
    }

    /// Where the master of a slave is, if it is alive, as the slave reaches it.
    fn master_for(&self, who: Identity<'_>, from: IpAddr) -> Registered {
        if who.id == MASTER_ID {
            return Registered::default();
        }
        let master = self.members.holder(who.name, MASTER_ID);
        match master.and_then(|addr| self.members.live.get(addr).map(|broker| (addr, broker))) {
            Some((addr, broker)) => {
                let seen = broker.networks.seen_from(from);
                let ha_addr = seen.map_or_else(|| broker.ha_addr.clone(), |seen| at_host_of(seen, &broker.ha_addr));
                Registered { ha_addr: Some(ha_addr), master_addr: Some(seen.unwrap_or(addr).to_owned()) }
            }
            None => Registered::default(),
        }
    }

    /// Lets a broker go; tells whether it was known.
    pub fn remove(&mut self, addr: &str, name: &str, why: Left, at: Instant) -> bool {
        match self.members.remove(addr, name) {
            Remains::Nothing => return false,
            Remains::NoGroup(name) => {
                let topics = self.queues.delete_broker(&name);
                self.gone.left(GoneBroker { name, addr: addr.to_owned(), at, why }, topics);
            }
            Remains::Group { name, acting: true } => {
                self.queues.set_writable(&name, false);
            }
            Remains::Group { .. } => {}
        }
        true
    }
}

/// The port of one address at the host of another: a master listens to slaves where it listens to clients.
fn at_host_of(client_addr: &str, ha_addr: &str) -> String {
    match (client_addr.rsplit_once(':'), ha_addr.rsplit_once(':')) {
        (Some((host, _)), Some((_, port))) => format!("{host}:{port}"),
        _ => ha_addr.to_owned(),
    }
}
