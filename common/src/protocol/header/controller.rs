//! Headers that the controller answers.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::protocol::fields::or_default;

/// CONTROLLER_ELECT_MASTER (1002).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ElectMasterRequest<'a> {
    /// The cluster; empty: the only one that has such a group.
    #[serde(borrow, default)]
    pub cluster_name: Cow<'a, str>,
    /// Name of the group.
    #[serde(borrow)]
    pub broker_name: Cow<'a, str>,
    /// Number of the member that is to be master.
    #[serde(default)]
    pub broker_id: Option<i64>,
    /// Whether that member is meant, also outside the in-sync set, or else the best one.
    #[serde(default, deserialize_with = "or_default")]
    pub designate_elect: bool,
}

/// Answer to 1002.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ElectMasterResponse<'a> {
    /// Number of the new master.
    pub master_broker_id: i64,
    /// Its `host:port` for clients.
    #[serde(borrow)]
    pub master_address: Cow<'a, str>,
    /// The epoch that begins with it.
    pub master_epoch: i32,
    /// Epoch of the in-sync set.
    pub sync_state_set_epoch: i32,
}

/// CONTROLLER_GET_REPLICA_INFO (1004).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaInfoRequest<'a> {
    /// Name of the group.
    #[serde(borrow)]
    pub broker_name: Cow<'a, str>,
}

/// Answer to 1004.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaInfoResponse<'a> {
    /// Number of the master, if there is one.
    #[serde(default)]
    pub master_broker_id: Option<i64>,
    /// Its `host:port` for clients.
    #[serde(borrow, default)]
    pub master_address: Option<Cow<'a, str>>,
    /// The epoch of the newest mastership.
    pub master_epoch: i32,
}

/// Answer to CONTROLLER_GET_METADATA_INFO (1005).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MetadataResponse<'a> {
    /// Name of the quorum.
    #[serde(borrow)]
    pub group: Cow<'a, str>,
    /// Number of the leader; empty: there is none.
    #[serde(borrow)]
    pub controller_leader_id: Cow<'a, str>,
    /// Its `host:port`.
    #[serde(borrow)]
    pub controller_leader_address: Cow<'a, str>,
    /// Whether the asked member leads.
    pub is_leader: bool,
    /// All members: `number-host:port`, separated by semicolons.
    #[serde(borrow)]
    pub peers: Cow<'a, str>,
}
