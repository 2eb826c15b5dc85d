//! Bodies of what brokers and the controller tell each other: leases, masters, in-sync sets.

use serde::{Deserialize, Serialize};

/// CONTROLLER_RENEW: a member of a broker group asks for its lease and for who is master. The first one registers it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Renewal {
    /// The cluster.
    pub cluster: String,
    /// Name that the members of the group share.
    pub broker: String,
    /// Number of the member, from 1 on; it stays when roles change.
    pub id: i64,
    /// Drawn at each start of the process: another one means that a master has lost what it had in memory.
    pub incarnation: u64,
    /// `host:port` for clients.
    pub address: String,
    /// `host:port` of its replication port.
    pub ha_address: String,
    /// Epoch under which it serves as master; 0 as a slave, or while it does not know yet.
    pub epoch: i32,
    /// Newest epoch of which its log has records.
    pub log_epoch: i32,
    /// Offset behind the last durable record of its log.
    pub log_end: u64,
}

/// One member of a broker group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Replica {
    /// Number of the member.
    pub id: i64,
    /// `host:port` for clients.
    pub address: String,
    /// `host:port` of its replication port.
    pub ha_address: String,
}

/// Answer to CONTROLLER_RENEW and CONTROLLER_CHANGE_SET: the group as the quorum has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupView {
    /// Rises with every election.
    pub epoch: i32,
    /// The master of this epoch; `None` while no member of the in-sync set is alive.
    pub master: Option<Replica>,
    /// Members that have everything that was ever acknowledged, the master among them.
    pub in_sync: Vec<i64>,
    /// Rises with every change of the in-sync set.
    pub set_epoch: i32,
    /// Every member that ever registered.
    pub replicas: Vec<Replica>,
    /// How long, counted from when the renewal was sent, the asking master may acknowledge; ms.
    pub lease_ms: u64,
}

/// CONTROLLER_CHANGE_SET: a master changes the in-sync set of its group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SetChange {
    /// The cluster.
    pub cluster: String,
    /// Name of the group.
    pub broker: String,
    /// Number of the master that asks.
    pub master: i64,
    /// Its epoch; another one is refused with 2000.
    pub epoch: i32,
    /// The set epoch it knows; another one is refused with 2001.
    pub set_epoch: i32,
    /// The new set; it holds the master.
    pub in_sync: Vec<i64>,
}
