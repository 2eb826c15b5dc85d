//! Headers that name servers answer.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::protocol::fields::or_default;

/// GET_ROUTEINFO_BY_TOPIC (105).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteRequest<'a> {
    /// Topic asked for.
    #[serde(borrow)]
    pub topic: Cow<'a, str>,
    /// Whether map keys have to be quoted.
    #[serde(default)]
    pub accept_standard_json_only: Option<bool>,
}

/// REGISTER_BROKER (103).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegisterBrokerRequest<'a> {
    /// Name shared by a master and its slaves.
    #[serde(borrow)]
    pub broker_name: Cow<'a, str>,
    /// `host:port` for clients.
    #[serde(borrow)]
    pub broker_addr: Cow<'a, str>,
    /// The cluster it belongs to.
    #[serde(borrow)]
    pub cluster_name: Cow<'a, str>,
    /// `host:port` for slaves.
    #[serde(borrow)]
    pub ha_server_addr: Cow<'a, str>,
    /// 0: master.
    pub broker_id: i64,
    /// Lease: after so many ms without a sign of life the broker is dropped.
    #[serde(default)]
    pub heartbeat_timeout_millis: Option<i64>,
    /// Whether the slave with the smallest id stands in for a dead master.
    #[serde(default)]
    pub enable_acting_master: Option<bool>,
    /// Whether the body is deflated.
    #[serde(default, deserialize_with = "or_default")]
    pub compressed: bool,
    /// CRC-32 of the body without its top bit; 0: not given.
    #[serde(default, deserialize_with = "or_default")]
    pub body_crc32: i32,
    /// Zone of the broker.
    #[serde(borrow, default, rename = "__ZONE_NAME")]
    pub zone_name: Option<Cow<'a, str>>,
    /// OrbitMQ's own: addresses for clients in certain networks, `10.0.0.0/8=10.1.2.3:10911,…`.
    #[serde(borrow, default)]
    pub network_addrs: Option<Cow<'a, str>>,
}

/// Answer to 103: where a slave finds its master.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegisterBrokerResponse<'a> {
    /// The master's `host:port` for slaves.
    #[serde(borrow, default)]
    pub ha_server_addr: Option<Cow<'a, str>>,
    /// The master's `host:port` for clients.
    #[serde(borrow, default)]
    pub master_addr: Option<Cow<'a, str>>,
}

/// UNREGISTER_BROKER (104) and QUERY_DATA_VERSION (322).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BrokerRequest<'a> {
    /// Name shared by a master and its slaves.
    #[serde(borrow)]
    pub broker_name: Cow<'a, str>,
    /// `host:port` for clients.
    #[serde(borrow)]
    pub broker_addr: Cow<'a, str>,
    /// The cluster it belongs to.
    #[serde(borrow)]
    pub cluster_name: Cow<'a, str>,
    /// 0: master.
    pub broker_id: i64,
}

/// Answer to 322.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueryDataVersionResponse {
    /// Whether the name server knows another version than the broker's.
    pub changed: bool,
}

/// BROKER_HEARTBEAT (904): a sign of life each second, with the figures of the moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BrokerHeartbeatRequest<'a> {
    /// The cluster it belongs to.
    #[serde(borrow)]
    pub cluster_name: Cow<'a, str>,
    /// `host:port` for clients.
    #[serde(borrow)]
    pub broker_addr: Cow<'a, str>,
    /// Name shared by a master and its slaves.
    #[serde(borrow)]
    pub broker_name: Cow<'a, str>,
    /// 0: master.
    #[serde(default)]
    pub broker_id: Option<i64>,
    /// Epoch of the broker group.
    #[serde(default)]
    pub epoch: Option<i32>,
    /// End of the commit log.
    #[serde(default)]
    pub max_offset: Option<i64>,
    /// Confirmed end of the commit log.
    #[serde(default)]
    pub confirm_offset: Option<i64>,
    /// Lease in ms; the spelling is RocketMQ's.
    #[serde(default)]
    pub heartbeat_timeout_mills: Option<i64>,
    /// Priority in elections.
    #[serde(default)]
    pub election_priority: Option<i32>,
    /// OrbitMQ's own: the sender's data version as `stateVersion.timestamp.counter`.
    #[serde(borrow, default)]
    pub data_version: Option<Cow<'a, str>>,
    /// OrbitMQ's own: messages put per second, for people who look at clusters.
    #[serde(default)]
    pub puts_per_second: Option<i64>,
}

/// Answer to 904. RocketMQ's name server sends no fields, which reads as all well.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BrokerHeartbeatResponse {
    /// OrbitMQ's own: the broker is not registered here and has to do it again.
    #[serde(default)]
    pub unknown: Option<bool>,
    /// OrbitMQ's own: another data version is registered here; the broker has to register again.
    #[serde(default)]
    pub stale: Option<bool>,
}

/// GET_BROKER_MEMBER_GROUP (901).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BrokerMemberGroupRequest<'a> {
    /// The cluster.
    #[serde(borrow)]
    pub cluster_name: Cow<'a, str>,
    /// Name shared by a master and its slaves.
    #[serde(borrow)]
    pub broker_name: Cow<'a, str>,
}

/// WIPE_WRITE_PERM_OF_BROKER (205) and ADD_WRITE_PERM_OF_BROKER (327).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WritePermRequest<'a> {
    /// Name shared by a master and its slaves.
    #[serde(borrow)]
    pub broker_name: Cow<'a, str>,
}

/// Answer to 205.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WipeWritePermResponse {
    /// Topics that lost the permission.
    pub wipe_topic_count: i32,
}

/// Answer to 327.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AddWritePermResponse {
    /// Topics that got the permission.
    pub add_topic_count: i32,
}

/// DELETE_TOPIC_IN_NAMESRV (216) and REGISTER_TOPIC_IN_NAMESRV (217).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NameServerTopicRequest<'a> {
    /// The topic.
    #[serde(borrow)]
    pub topic: Cow<'a, str>,
    /// Only in this cluster.
    #[serde(borrow, default)]
    pub cluster_name: Option<Cow<'a, str>>,
}

/// GET_TOPICS_BY_CLUSTER (224).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterRequest<'a> {
    /// The cluster.
    #[serde(borrow)]
    pub cluster: Cow<'a, str>,
}

/// PUT_KV_CONFIG (100).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutKvRequest<'a> {
    /// Name space of the key.
    #[serde(borrow)]
    pub namespace: Cow<'a, str>,
    /// The key.
    #[serde(borrow)]
    pub key: Cow<'a, str>,
    /// Its value.
    #[serde(borrow)]
    pub value: Cow<'a, str>,
}

/// GET_KV_CONFIG (101) and DELETE_KV_CONFIG (102).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvRequest<'a> {
    /// Name space of the key.
    #[serde(borrow)]
    pub namespace: Cow<'a, str>,
    /// The key.
    #[serde(borrow)]
    pub key: Cow<'a, str>,
}

/// GET_KVLIST_BY_NAMESPACE (219).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvListRequest<'a> {
    /// The name space.
    #[serde(borrow)]
    pub namespace: Cow<'a, str>,
}

/// Answer to 101.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvResponse<'a> {
    /// The key's value.
    #[serde(borrow)]
    pub value: Cow<'a, str>,
}

/// HELLO (OrbitMQ's own), request and answer: which encodings a side reads, as a bit set of serialize types, and in a
/// broker's answer which start of which broker it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Bit n: serialize type n is understood.
    pub encodings: u32,
    /// A number that no other running broker has.
    #[serde(default)]
    pub instance: Option<i64>,
}
