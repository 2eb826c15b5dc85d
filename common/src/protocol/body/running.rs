//! What a consumer says about itself (307), and what became of a message that it was given by hand (309).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::protocol::body::heartbeat::SubscriptionData;
use crate::protocol::body::stats::{QueueTable, rows, write_rows};
use crate::protocol::relaxed::{self, BodyError};

/// A queue that a consumer pulls.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProcessQueueInfo {
    /// The offset before which everything is done.
    pub commit_offset: i64,
    /// Messages here and not done.
    pub cached_msg_count: i32,
    /// The first of them.
    pub cached_msg_min_offset: i64,
    /// The last of them.
    pub cached_msg_max_offset: i64,
    /// What they take.
    pub cached_msg_size_in_mi_b: i32,
    /// Delivered and not done, in order.
    pub transaction_msg_count: i32,
    /// A relic.
    pub transaction_msg_min_offset: i64,
    /// A relic.
    pub transaction_msg_max_offset: i64,
    /// Whether the consumer has the broker's lock.
    pub locked: bool,
    /// A relic.
    pub try_unlock_times: i64,
    /// When the lock was confirmed, ms since the epoch.
    pub last_lock_timestamp: i64,
    /// Whether the queue is being let go.
    pub droped: bool,
    /// When it was last asked for messages, ms since the epoch.
    pub last_pull_timestamp: i64,
    /// When a message was last done, ms since the epoch.
    pub last_consume_timestamp: i64,
}

/// A source that a consumer pops from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PopQueueInfo {
    /// Messages popped and not acknowledged.
    pub wait_ack_count: i32,
    /// Whether it is being let go.
    pub droped: bool,
    /// When it was last popped, ms since the epoch.
    pub last_pop_timestamp: i64,
}

/// Means and rates of a topic.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumeStatus {
    /// Mean time of a request that brought messages, ms.
    #[serde(rename = "pullRT")]
    pub pull_rt: f64,
    /// Messages fetched a second.
    #[serde(rename = "pullTPS")]
    pub pull_tps: f64,
    /// Mean time of a message in hand, ms.
    #[serde(rename = "consumeRT")]
    pub consume_rt: f64,
    /// Messages done a second.
    #[serde(rename = "consumeOKTPS")]
    pub consume_ok_tps: f64,
    /// Messages not done a second.
    #[serde(rename = "consumeFailedTPS")]
    pub consume_failed_tps: f64,
    /// Messages not done in the last hour.
    pub consume_failed_msgs: i64,
}

/// Answer to GET_CONSUMER_RUNNING_INFO (307).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunningInfo {
    /// Settings by RocketMQ's names; tools want PROP_CONSUME_TYPE, PROP_CONSUMEORDERLY and PROP_CONSUMER_START_TIMESTAMP.
    pub properties: BTreeMap<String, String>,
    /// What it subscribes to.
    pub subscriptions: Vec<SubscriptionData>,
    /// Queues that it pulls.
    pub pulled: QueueTable<ProcessQueueInfo>,
    /// What it pops from.
    pub popped: QueueTable<PopQueueInfo>,
    /// By topic.
    pub status: BTreeMap<String, ConsumeStatus>,
    /// The application's own.
    pub user: BTreeMap<String, String>,
    /// What each thread does, when that was asked for.
    pub stacks: Option<String>,
}

impl RunningInfo {
    /// The form that RocketMQ's tools read, with queues as keys.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = b"{\"jstack\":".to_vec();
        put(&mut out, &self.stacks);
        out.extend_from_slice(b",\"mqPopTable\":");
        write_rows(&mut out, &self.popped);
        out.extend_from_slice(b",\"mqTable\":");
        write_rows(&mut out, &self.pulled);
        out.extend_from_slice(b",\"properties\":");
        put(&mut out, &self.properties);
        out.extend_from_slice(b",\"statusTable\":");
        put(&mut out, &self.status);
        out.extend_from_slice(b",\"subscriptionSet\":");
        put(&mut out, &self.subscriptions);
        out.extend_from_slice(b",\"userConsumerInfo\":");
        put(&mut out, &self.user);
        out.push(b'}');
        out
    }

    /// Reads what a consumer tells; means and rates, the application's own and stacks are left out.
    ///
    /// # Errors
    /// The body does not parse.
    pub fn decode(body: &[u8]) -> Result<Self, BodyError> {
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "camelCase", default)]
        struct Body {
            mq_table: BTreeMap<String, ProcessQueueInfo>,
            mq_pop_table: BTreeMap<String, PopQueueInfo>,
            properties: BTreeMap<String, String>,
            subscription_set: Vec<SubscriptionData>,
        }
        let body: Body = relaxed::parse(body)?;
        Ok(Self {
            properties: body.properties,
            subscriptions: body.subscription_set,
            pulled: rows(body.mq_table)?,
            popped: rows(body.mq_pop_table)?,
            ..Self::default()
        })
    }
}

fn put<V: Serialize>(out: &mut Vec<u8>, value: &V) {
    if let Err(error) = serde_json::to_writer(out, value) {
        tracing::error!(%error, "a part of ours has no JSON form");
    }
}

/// What became of a message given by hand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It was done.
    #[default]
    #[serde(rename = "CR_SUCCESS")]
    Success,
    /// It was given back.
    #[serde(rename = "CR_LATER")]
    Later,
    /// It was given back in order.
    #[serde(rename = "CR_ROLLBACK")]
    Rollback,
    /// It was done in order, explicitly.
    #[serde(rename = "CR_COMMIT")]
    Commit,
    /// The application failed.
    #[serde(rename = "CR_THROW_EXCEPTION")]
    Failed,
    /// The application said nothing.
    #[serde(rename = "CR_RETURN_NULL")]
    Nothing,
}

/// Answer to CONSUME_MESSAGE_DIRECTLY (309).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DirectResult {
    /// Whether the group acknowledges by itself.
    #[serde(default)]
    pub auto_commit: bool,
    /// What became of it.
    #[serde(default)]
    pub consume_result: Option<Outcome>,
    /// Whether the group consumes in order.
    #[serde(default)]
    pub order: bool,
    /// Why, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
    /// How long it took, ms.
    #[serde(default)]
    pub spent_time_mills: i64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::body::group::MessageQueue;

    #[test]
    fn queues_are_keys_as_tools_want_them() {
        let queue = MessageQueue { broker_name: "b".into(), queue_id: -1, topic: "T".into() };
        let info = RunningInfo {
            popped: vec![(queue, PopQueueInfo { wait_ack_count: 3, ..PopQueueInfo::default() })],
            pulled: vec![(MessageQueue::default(), ProcessQueueInfo::default())],
            status: [("T".to_owned(), ConsumeStatus { pull_rt: 1.5, ..ConsumeStatus::default() })].into(),
            ..RunningInfo::default()
        };
        let text = String::from_utf8(info.encode()).unwrap();
        let popped = r#""mqPopTable":{{"brokerName":"b","queueId":-1,"topic":"T"}:{"waitAckCount":3,"droped":false,"lastPopTimestamp":0}}"#;
        assert!(text.starts_with(r#"{"jstack":null,"#) && text.contains(popped), "{text}");
        assert!(text.contains(r#""cachedMsgSizeInMiB":0"#) && text.contains(r#""pullRT":1.5"#), "{text}");
    }

    #[test]
    fn what_is_told_is_read() {
        let queue = MessageQueue { broker_name: "b".into(), queue_id: 3, topic: "T".into() };
        let info = RunningInfo {
            properties: [("PROP_CONSUME_TYPE".to_owned(), "CONSUME_PASSIVELY".to_owned())].into(),
            subscriptions: vec![SubscriptionData {
                topic: "T".into(),
                sub_string: "*".into(),
                expression_type: "TAG".into(),
                ..SubscriptionData::default()
            }],
            pulled: vec![(queue.clone(), ProcessQueueInfo { commit_offset: 7, locked: true, ..Default::default() })],
            popped: vec![(queue, PopQueueInfo { wait_ack_count: 3, ..Default::default() })],
            ..RunningInfo::default()
        };
        assert_eq!(RunningInfo::decode(&info.encode()).unwrap(), info);
        assert!(RunningInfo::decode(b"nonsense").is_err());
    }
}
