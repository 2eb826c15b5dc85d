//! Tables of names and values.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Names and values, as settings and runtime figures are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvTable {
    /// The entries.
    #[serde(default)]
    pub table: BTreeMap<String, String>,
}
