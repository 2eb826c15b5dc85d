//! Bodies of what brokers and the controller tell each other: leases, masters, in-sync sets.

use std::collections::BTreeMap;

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
    /// Drawn when its store was made, and kept there: another one means that the member has lost everything. 0: not told.
    #[serde(default)]
    pub store: u64,
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

/// Answer to CONTROLLER_RENEW and CONTROLLER_CHANGE_SET: the group as the quorum has it. An answer to the latter is as good as
/// one to a renewal sent at the same time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupView {
    /// Rises with every election.
    pub epoch: i32,
    /// The master of this epoch; `None` while no member of the in-sync set is alive, and while the master is being replaced.
    pub master: Option<Replica>,
    /// Members that have everything that was ever acknowledged, the master among them. Empty if the last of them came back
    /// with another store.
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

/// CONTROLLER_MEMBERS: what is asked of the controller quorum itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "camelCase")]
pub enum MembersRequest {
    /// Who belongs to it, as the asked member sees it.
    List,
    /// Takes a member in.
    Add {
        /// Its `controller_id`.
        id: u64,
        /// Its `host:port`.
        address: String,
    },
    /// Takes a member out.
    Remove {
        /// Its `controller_id`.
        id: u64,
    },
}

/// One member of the controller quorum.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QuorumMember {
    /// Its `controller_id`.
    pub id: u64,
    /// Its `host:port`.
    pub address: String,
    /// Whether it votes; one that does not only follows.
    pub voter: bool,
    /// Up to which entry it has the log; only the leader knows that of others.
    pub matched: Option<u64>,
}

/// A broker group as the quorum has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupStatus {
    /// The cluster.
    pub cluster: String,
    /// Name that the members share.
    pub broker: String,
    /// Its master and its sets.
    pub view: GroupView,
    /// Members that have renewed within their lease; only the leader knows.
    pub alive: Option<Vec<i64>>,
}

/// Answer to CONTROLLER_MEMBERS: the quorum as the asked member sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Quorum {
    /// `controller_id` of the asked member.
    pub id: u64,
    /// `controller_id` of the leader.
    pub leader: Option<u64>,
    /// Rises with every vote.
    pub term: u64,
    /// Whether the asked member belongs to a quorum that has begun.
    pub founded: bool,
    /// Up to which entry its state is.
    pub applied: u64,
    /// All members.
    pub members: Vec<QuorumMember>,
    /// All groups.
    pub groups: Vec<GroupStatus>,
}

/// Body of the answers to CONTROLLER_ELECT_MASTER (1002) and CONTROLLER_GET_REPLICA_INFO (1004).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SyncStateSet {
    /// Members that have everything acknowledged.
    pub sync_state_set: Vec<i64>,
    /// Rises with every change.
    pub sync_state_set_epoch: i32,
}

/// Answer to CONTROLLER_GET_SYNC_STATE_DATA (1006).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BrokerReplicasInfo {
    /// Groups by broker name.
    pub replicas_info_table: BTreeMap<String, ReplicasInfo>,
}

/// A group as RocketMQ's tools are told of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicasInfo {
    /// Number of the master, if there is one.
    pub master_broker_id: Option<i64>,
    /// Its `host:port` for clients.
    pub master_address: Option<String>,
    /// The epoch of the newest mastership.
    pub master_epoch: i32,
    /// Epoch of the in-sync set.
    pub sync_state_set_epoch: i32,
    /// Members in the set.
    pub in_sync_replicas: Vec<ReplicaIdentity>,
    /// Members outside.
    pub not_in_sync_replicas: Vec<ReplicaIdentity>,
}

/// One member as RocketMQ's tools are told of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaIdentity {
    /// Name of the group.
    pub broker_name: String,
    /// Number of the member.
    pub broker_id: i64,
    /// Its `host:port` for clients.
    pub broker_address: String,
    /// Whether it has renewed within its lease.
    pub alive: bool,
}
