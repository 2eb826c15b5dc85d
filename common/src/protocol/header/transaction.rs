//! Headers of transactions: how one ends, the broker's question about one, taking one up again.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// END_TRANSACTION (37), mostly one-way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndTransactionRequest<'a> {
    /// Topic of the message, or that of half messages in an answer to the broker's question.
    #[serde(borrow, default)]
    pub topic: Option<Cow<'a, str>>,
    /// Group that sent the half message.
    #[serde(borrow)]
    pub producer_group: Cow<'a, str>,
    /// Offset of the half message in its queue.
    pub tran_state_table_offset: i64,
    /// Offset of the half message in the commit log.
    pub commit_log_offset: i64,
    /// The transaction bits of a `sysFlag`: 8 commit, 12 rollback, 0 not known.
    pub commit_or_rollback: i32,
    /// Whether the broker had asked.
    #[serde(default)]
    pub from_transaction_check: Option<bool>,
    /// The producer's id of the message.
    #[serde(borrow, default)]
    pub msg_id: Option<Cow<'a, str>>,
    /// The same again.
    #[serde(borrow, default)]
    pub transaction_id: Option<Cow<'a, str>>,
    /// Name of the broker.
    #[serde(borrow, default, rename = "bname")]
    pub broker_name: Option<Cow<'a, str>>,
}

/// CHECK_TRANSACTION_STATE (39), one-way from the broker; its body is the half message's record under its real topic.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckTransactionRequest<'a> {
    /// Topic of half messages.
    #[serde(borrow, default)]
    pub topic: Option<Cow<'a, str>>,
    /// Offset of the half message in its queue.
    pub tran_state_table_offset: i64,
    /// Offset of the half message in the commit log.
    pub commit_log_offset: i64,
    /// The producer's id of the message.
    #[serde(borrow, default)]
    pub msg_id: Option<Cow<'a, str>>,
    /// The same again.
    #[serde(borrow, default)]
    pub transaction_id: Option<Cow<'a, str>>,
    /// The id that tells where the half message is stored.
    #[serde(borrow, default)]
    pub offset_msg_id: Option<Cow<'a, str>>,
    /// Name of the broker.
    #[serde(borrow, default, rename = "bname")]
    pub broker_name: Option<Cow<'a, str>>,
}

/// RESUME_CHECK_HALF_MESSAGE (323).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResumeCheckRequest<'a> {
    /// Topic of the message, for access control only.
    #[serde(borrow, default)]
    pub topic: Option<Cow<'a, str>>,
    /// Offset id of the message that was given up.
    #[serde(borrow)]
    pub msg_id: Cow<'a, str>,
}
