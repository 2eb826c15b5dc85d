//! What a consumer tells of itself (307): the queues that it holds, its subscriptions, its settings.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::protocol::body::heartbeat::SubscriptionData;
use crate::protocol::body::stats::{QueueTable, rows, table};
use crate::protocol::relaxed::{self, BodyError};

/// A queue that a consumer holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HeldQueue {
    /// Offset up to which all is done.
    pub commit_offset: i64,
    /// Offset of the first message that is held.
    pub cached_msg_min_offset: i64,
    /// Offset of the last message that is held.
    pub cached_msg_max_offset: i64,
    /// Messages held.
    pub cached_msg_count: i64,
    /// Their size.
    #[serde(rename = "cachedMsgSizeInMiB")]
    pub cached_msg_size_in_mib: i64,
    /// Of an ordered consumer, which delivers the next message when the one before is done: the first message in hand.
    pub transaction_msg_min_offset: i64,
    /// The last message in hand.
    pub transaction_msg_max_offset: i64,
    /// Messages in hand.
    pub transaction_msg_count: i64,
    /// Whether the broker's lock is held.
    pub locked: bool,
    /// Attempts to give the lock back.
    pub try_unlock_times: i64,
    /// When the lock was renewed, ms.
    pub last_lock_timestamp: i64,
    /// Whether the queue is being let go.
    pub droped: bool,
    /// When messages were asked for last, ms.
    pub last_pull_timestamp: i64,
    /// When a message was delivered last, ms.
    pub last_consume_timestamp: i64,
}

/// All of it, without what is relayed unread.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunningInfo {
    /// The queues that are pulled.
    pub queues: QueueTable<HeldQueue>,
    /// Whether queues are popped, which nobody holds.
    pub pops: bool,
    /// Settings by RocketMQ's names.
    pub properties: BTreeMap<String, String>,
    /// What it subscribes to.
    pub subscriptions: Vec<SubscriptionData>,
}

impl RunningInfo {
    /// The form that RocketMQ's tools read.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = table("mqTable", &self.queues);
        for (name, value) in [
            ("properties", serde_json::to_value(&self.properties)),
            ("subscriptionSet", serde_json::to_value(&self.subscriptions)),
        ] {
            let value = value.unwrap_or_default();
            out.extend_from_slice(format!(",\"{name}\":{value}").as_bytes());
        }
        out.extend_from_slice(b",\"mqPopTable\":{},\"statusTable\":{},\"userConsumerInfo\":{}}");
        out
    }

    /// Reads what a consumer of either kind tells.
    ///
    /// # Errors
    /// The body does not parse.
    pub fn decode(body: &[u8]) -> Result<Self, BodyError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        #[derive(Default)]
        struct Body {
            mq_table: BTreeMap<String, HeldQueue>,
            mq_pop_table: BTreeMap<String, serde::de::IgnoredAny>,
            properties: BTreeMap<String, String>,
            subscription_set: Vec<SubscriptionData>,
        }
        let body: Body = relaxed::parse(body)?;
        Ok(Self {
            queues: rows(body.mq_table)?,
            pops: !body.mq_pop_table.is_empty(),
            properties: body.properties,
            subscriptions: body.subscription_set,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::body::group::MessageQueue;

    #[test]
    fn what_is_told_is_read() {
        let queue = MessageQueue { broker_name: "b".into(), queue_id: 3, topic: "T".into() };
        let info = RunningInfo {
            queues: vec![(queue, HeldQueue { commit_offset: 7, locked: true, ..HeldQueue::default() })],
            pops: false,
            properties: [("PROP_CONSUME_TYPE".to_owned(), "CONSUME_PASSIVELY".to_owned())].into(),
            subscriptions: vec![SubscriptionData {
                topic: "T".into(),
                sub_string: "*".into(),
                expression_type: "TAG".into(),
                ..SubscriptionData::default()
            }],
        };
        assert_eq!(RunningInfo::decode(&info.encode()).unwrap(), info);
        let text = String::from_utf8(info.encode()).unwrap();
        assert!(
            text.starts_with(r#"{"mqTable":{{"brokerName":"b","queueId":3,"topic":"T"}:{"commitOffset":7,"#),
            "{text}"
        );
        let popping = br#"{"mqPopTable":{{"brokerName":"b","queueId":-1,"topic":"T"}:{"waitAckCount":0}}}"#;
        assert!(RunningInfo::decode(popping).unwrap().pops);
        assert!(RunningInfo::decode(b"nonsense").is_err());
    }
}
