//! Headers about master and slave.

use serde::{Deserialize, Serialize};

/// PROMOTE (60031): an administrator makes a slave without a controller the master.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PromoteRequest {
    /// Log offset that the slave must have reached: the old master's end after it stopped taking messages.
    pub log_end: i64,
}

/// Answer to PROMOTE.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PromoteResponse {
    /// Epoch of the new mastership.
    pub epoch: i32,
    /// Log offset at which it begins.
    pub log_end: i64,
}
