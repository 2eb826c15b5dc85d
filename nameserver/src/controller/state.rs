//! What the quorum agrees on: of each broker group its members, its master, and who has everything acknowledged.

use std::collections::{BTreeMap, BTreeSet};

use orbitmq_common::protocol::body::controller::{GroupView, Replica, SetChange};
use orbitmq_common::protocol::code::response;
use serde::{Deserialize, Serialize};

/// Bounds of what strangers can make the quorum keep.
const MAX_GROUPS: usize = 10_000;
const MAX_MEMBERS: usize = 64;

/// One leadership of the quorum. No two are alike.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reign {
    /// Rises with every vote.
    pub term: u64,
    /// Member that leads.
    pub leader: u64,
}

/// One member of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// `host:port` for clients.
    pub address: String,
    /// `host:port` of its replication port.
    pub ha_address: String,
    /// Drawn when its store was made; 0: it never told.
    pub store: u64,
}

/// One process of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Number of the member.
    pub id: i64,
    /// Drawn at each start.
    pub incarnation: u64,
}

/// A broker group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Every member that ever registered.
    pub members: BTreeMap<i64, Member>,
    /// Mastership is a process's, not a member's: a restarted master may have lost what it had in memory.
    pub master: Option<Process>,
    /// Rises with every election.
    pub epoch: i32,
    /// Members that have everything acknowledged. Empty only when the last one came back with another store.
    pub in_sync: BTreeSet<i64>,
    /// Rises with every change of `in_sync`.
    pub set_epoch: i32,
    /// Newest epoch that a member brought with it.
    #[serde(default)]
    pub heard_of: i32,
}

/// Name of a group: cluster and broker name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Name {
    /// The cluster.
    pub cluster: String,
    /// The name that its members share.
    pub broker: String,
}

impl Name {
    /// A name.
    pub fn new(cluster: impl Into<String>, broker: impl Into<String>) -> Self {
        Self { cluster: cluster.into(), broker: broker.into() }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.cluster, self.broker)
    }
}

/// A change that is agreed on. Its form is on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Change {
    /// A member is new, or has moved, or has another store.
    Register {
        /// Its group.
        group: Name,
        /// The process that asks.
        process: Process,
        /// What is to be known of it.
        member: Member,
        /// Newest epoch of which its store has heard, perhaps from before it had a controller: later ones are greater.
        #[serde(default)]
        newest: i32,
    },
    /// Another master.
    Elect(Election),
    /// The master says who has everything.
    SetInSync(SetChange),
    /// From now on leases may be so long, ms.
    Lease(u64),
}

/// An election as its leader saw the group. Whatever has changed since makes it void.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Election {
    /// The group.
    pub group: Name,
    /// The epoch that ends.
    pub epoch: i32,
    /// The set epoch from which the master was chosen.
    pub set_epoch: i32,
    /// The leadership whose clock said that the old master's lease is over. Under another one that master may have renewed.
    pub reign: Reign,
    /// The new master; `None`: nobody in the set is alive.
    pub master: Option<Process>,
    /// An operator chose, who may go outside the in-sync set.
    pub by_operator: bool,
}

/// The quorum agreed on not doing it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Code of the answer.
    pub code: i32,
    /// Cause and cure.
    pub remark: String,
}

fn refused(code: i32, remark: impl Into<String>) -> Result<(), Refused> {
    Err(Refused { code, remark: remark.into() })
}

/// All groups.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    groups: BTreeMap<Name, Group>,
    /// The longest lease that was ever promised, ms: a leader with a shorter one in its settings must wait for it all the same.
    lease_ms: u64,
}

impl State {
    /// One group.
    pub fn group(&self, name: &Name) -> Option<&Group> {
        self.groups.get(name)
    }

    /// All groups by name.
    pub fn groups(&self) -> impl Iterator<Item = (&Name, &Group)> {
        self.groups.iter()
    }

    /// How long leases are, ms.
    pub fn lease_ms(&self) -> u64 {
        self.lease_ms
    }

    /// Makes a change that was written under `reign`. Depends on nothing but the state and its arguments: every member of the
    /// quorum must come to the same end.
    pub fn apply(&mut self, change: &Change, reign: Reign) -> Result<(), Refused> {
        match change {
            Change::Register { group, process, member, newest } => {
                if self.groups.len() >= MAX_GROUPS && !self.groups.contains_key(group) {
                    return refused(
                        response::CONTROLLER_INVALID_REQUEST,
                        format!("there are {MAX_GROUPS} groups already"),
                    );
                }
                let group = self.groups.entry(group.clone()).or_default();
                group.heard_of = group.heard_of.max(*newest);
                group.register(*process, member)
            }
            Change::Lease(ms) => {
                self.lease_ms = self.lease_ms.max(*ms);
                Ok(())
            }
            Change::Elect(election) => {
                if election.reign != reign {
                    let remark =
                        format!("the election in {} was decided under another leader of the quorum", election.group);
                    return refused(response::CONTROLLER_ELECT_MASTER_FAILED, remark);
                }
                self.existing(&election.group)?.elect(election)
            }
            Change::SetInSync(change) => {
                self.existing(&Name::new(&change.cluster, &change.broker))?.set_in_sync(change)
            }
        }
    }

    fn existing(&mut self, name: &Name) -> Result<&mut Group, Refused> {
        self.groups.get_mut(name).ok_or_else(|| unknown_group(name))
    }
}

/// Nobody of this group has registered.
pub fn unknown_group(name: &Name) -> Refused {
    Refused {
        code: response::CONTROLLER_BROKER_METADATA_NOT_EXIST,
        remark: format!("no member of group {name} has registered: start one, or check cluster and broker name"),
    }
}

impl Group {
    /// Whether this renewal says something that the quorum does not know.
    pub fn differs(&self, id: i64, member: &Member) -> bool {
        self.members.get(&id).is_none_or(|known| {
            known.address != member.address
                || known.ha_address != member.ha_address
                || (member.store != 0 && known.store != member.store)
        })
    }

    fn register(&mut self, process: Process, member: &Member) -> Result<(), Refused> {
        if self.members.len() >= MAX_MEMBERS && !self.members.contains_key(&process.id) {
            return refused(
                response::CONTROLLER_INVALID_REQUEST,
                format!("the group has {MAX_MEMBERS} members already"),
            );
        }
        let first = self.members.is_empty();
        let known = self.members.entry(process.id).or_default();
        let replaced = known.store != 0 && member.store != 0 && known.store != member.store;
        let store = if member.store == 0 { known.store } else { member.store };
        *known = Member { store, ..member.clone() };
        if first {
            self.install(process);
        } else if replaced && self.in_sync.remove(&process.id) {
            // Another store has not what was acknowledged, whatever its number says.
            self.set_epoch += 1;
            self.master = self.master.filter(|master| master.id != process.id);
        }
        Ok(())
    }

    fn install(&mut self, master: Process) {
        self.master = Some(master);
        self.epoch = self.epoch.max(self.heard_of) + 1;
        self.in_sync = BTreeSet::from([master.id]);
        self.set_epoch += 1;
    }

    fn elect(&mut self, election: &Election) -> Result<(), Refused> {
        let group = &election.group;
        if (election.epoch, election.set_epoch) != (self.epoch, self.set_epoch) {
            let remark = format!("group {group} has changed while its master was chosen: try again");
            return refused(response::CONTROLLER_ELECT_MASTER_FAILED, remark);
        }
        let Some(master) = election.master else {
            self.master = None;
            return Ok(());
        };
        if !self.members.contains_key(&master.id) {
            let remark = format!("group {group} has no member {}: {}", master.id, self.known());
            return refused(response::CONTROLLER_INVALID_REPLICAS, remark);
        }
        if !election.by_operator && !self.in_sync.contains(&master.id) {
            let remark = format!("member {} of {group} may lack acknowledged messages", master.id);
            return refused(response::CONTROLLER_INVALID_REPLICAS, remark);
        }
        self.install(master);
        Ok(())
    }

    fn set_in_sync(&mut self, change: &SetChange) -> Result<(), Refused> {
        let master = self.master.map(|master| master.id);
        if change.epoch != self.epoch {
            let remark = format!("epoch {} is over, the group is at {}: renew first", change.epoch, self.epoch);
            return refused(response::CONTROLLER_FENCED_MASTER_EPOCH, remark);
        }
        if master != Some(change.master) {
            let is = master.map_or_else(|| "nobody is".to_owned(), |id| format!("member {id} is"));
            let remark = format!("member {} is not the master, {is}: renew first", change.master);
            return refused(response::CONTROLLER_INVALID_MASTER, remark);
        }
        if change.set_epoch != self.set_epoch {
            let remark =
                format!("set epoch {} is over, the set is at {}: renew first", change.set_epoch, self.set_epoch);
            return refused(response::CONTROLLER_FENCED_SYNC_STATE_SET_EPOCH, remark);
        }
        let wanted: BTreeSet<i64> = change.in_sync.iter().copied().collect();
        if !wanted.contains(&change.master) {
            return refused(
                response::CONTROLLER_INVALID_REPLICAS,
                "the in-sync set lacks the master: it always has everything",
            );
        }
        if let Some(stranger) = wanted.iter().find(|id| !self.members.contains_key(id)) {
            let remark = format!("member {stranger} has never registered: {}", self.known());
            return refused(response::CONTROLLER_INVALID_REPLICAS, remark);
        }
        if wanted != self.in_sync {
            self.in_sync = wanted;
            self.set_epoch += 1;
        }
        Ok(())
    }

    /// The numbers of the members, for remarks.
    pub fn known(&self) -> String {
        let ids: Vec<String> = self.members.keys().map(i64::to_string).collect();
        format!("its members are {}", ids.join(", "))
    }

    /// One member as others are told of it.
    pub fn replica(&self, id: i64) -> Option<Replica> {
        self.members.get(&id).map(|member| Replica {
            id,
            address: member.address.clone(),
            ha_address: member.ha_address.clone(),
        })
    }

    /// The group as its members are told of it.
    pub fn view(&self, lease_ms: u64) -> GroupView {
        GroupView {
            epoch: self.epoch,
            master: self.master.and_then(|master| self.replica(master.id)),
            in_sync: self.in_sync.iter().copied().collect(),
            set_epoch: self.set_epoch,
            replicas: self.members.keys().filter_map(|id| self.replica(*id)).collect(),
            lease_ms,
        }
    }
}

#[cfg(test)]
mod tests;
