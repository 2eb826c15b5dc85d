//! Headers of looking single messages up.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// QUERY_MESSAGE (12).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueryRequest<'a> {
    /// Topic to search.
    #[serde(borrow)]
    pub topic: Cow<'a, str>,
    /// Key, or unique key, of the messages looked for.
    #[serde(borrow)]
    pub key: Cow<'a, str>,
    /// At most so many.
    pub max_num: i32,
    /// Earliest store time, ms.
    pub begin_timestamp: i64,
    /// Latest store time, ms.
    pub end_timestamp: i64,
    /// Whether `key` is a unique key.
    #[serde(default, rename = "_UNIQUE_KEY_QUERY")]
    pub unique: Option<bool>,
}

/// Answer to 12.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueryResponse {
    /// Store time of the last indexed message, ms.
    pub index_last_update_timestamp: i64,
    /// Its offset in the commit log.
    pub index_last_update_phyoffset: i64,
}

/// VIEW_MESSAGE_BY_ID (33).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewRequest<'a> {
    /// Topic, which old clients leave out.
    #[serde(borrow, default)]
    pub topic: Option<Cow<'a, str>>,
    /// Offset in the commit log.
    pub offset: i64,
}
