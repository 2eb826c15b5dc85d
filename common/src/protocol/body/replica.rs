//! Figures of replication as RocketMQ's tools read them (907).

use serde::{Deserialize, Serialize};

/// What a broker tells of its slaves, or of its master.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HaStatus {
    /// Whether it is master.
    pub master: bool,
    /// End of a master's log.
    pub master_commit_log_max_offset: u64,
    /// Slaves of the in-sync set.
    pub in_sync_slave_nums: usize,
    /// A master's slaves.
    pub ha_connection_info: Vec<HaConnection>,
    /// A slave's master.
    pub ha_client_runtime_info: HaClient,
}

/// A slave as its master sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HaConnection {
    /// Where it connects from.
    pub addr: String,
    /// Log offset up to which it has everything.
    pub slave_ack_offset: u64,
    /// Bytes that it has yet to store.
    pub diff: u64,
    /// Whether it is in the in-sync set.
    pub in_sync: bool,
    /// Not counted.
    pub transferred_byte_in_second: u64,
    /// Log offset of what is sent to it next.
    pub transfer_from_where: u64,
}

/// A master as its slave sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HaClient {
    /// `host:port` of its replication port.
    pub master_addr: String,
    /// Not counted.
    pub transferred_byte_in_second: u64,
    /// End of the slave's log.
    pub max_offset: u64,
    /// Not counted.
    pub last_read_timestamp: i64,
    /// Not counted.
    pub last_write_timestamp: i64,
    /// Log offset up to which the slave knows the master's log to be confirmed.
    pub master_flush_offset: u64,
    /// Whether the slave hears from it.
    pub is_activated: bool,
}
