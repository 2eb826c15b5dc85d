//! Headers about clients and the groups they form.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// Answer to HEART_BEAT (34).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatResponse {
    /// Whether the fingerprint form of heartbeats is understood.
    #[serde(rename = "IS_SUPPORT_HEART_BEAT_V2")]
    pub supports_v2: bool,
    /// Whether the subscription known here differs from the fingerprint sent.
    #[serde(rename = "IS_SUB_CHANGE")]
    pub subscription_changed: bool,
}

/// UNREGISTER_CLIENT (35).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnregisterClientRequest<'a> {
    /// Id of the client that leaves.
    #[serde(borrow, rename = "clientID")]
    pub client_id: Cow<'a, str>,
    /// The producer group it leaves.
    #[serde(borrow, default)]
    pub producer_group: Option<Cow<'a, str>>,
    /// The consumer group it leaves.
    #[serde(borrow, default)]
    pub consumer_group: Option<Cow<'a, str>>,
}

/// GET_CONSUMER_LIST_BY_GROUP (38), GET_CONSUMER_CONNECTION_LIST (203) and the notice NOTIFY_CONSUMER_IDS_CHANGED (40).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerGroupRequest<'a> {
    /// The group.
    #[serde(borrow)]
    pub consumer_group: Cow<'a, str>,
}

/// GET_PRODUCER_CONNECTION_LIST (204).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProducerGroupRequest<'a> {
    /// The group.
    #[serde(borrow)]
    pub producer_group: Cow<'a, str>,
}
