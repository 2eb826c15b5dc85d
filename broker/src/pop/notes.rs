//! Notes of popped messages in the revive topic, in RocketMQ's form: what was popped, and what of it is acknowledged.
//!
//! A checkpoint (tag `ck`) says what one pop took from one queue; `ack` and `bAck` name messages of it that are done with. Either
//! broker goes on with the notes of the other. Two kinds are ours and mean nothing to RocketMQ's, for they name no message: a
//! checkpoint without messages says where the group goes on, or, with -1, that the lane is forgotten.

use std::borrow::Cow;
use std::net::SocketAddr;

use orbitmq_common::clock::now_ms;
use orbitmq_common::message::property;
use orbitmq_common::message::record::{NewRecord, RecordView};
use serde::{Deserialize, Serialize};

use crate::store::Store;
use crate::store::error::AppendError;
use crate::store::tail::Appended;

const CHECKPOINT: &str = "ck";
const ACK: &str = "ack";
const BATCH_ACK: &str = "bAck";

/// What one pop took from one queue. The names and their order are RocketMQ's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint<'a> {
    /// Messages acknowledged when it was written; none.
    #[serde(rename = "bm", default)]
    pub acked: i32,
    /// The broker.
    #[serde(rename = "bn", default, borrow)]
    pub broker: Cow<'a, str>,
    /// The group.
    #[serde(rename = "c", borrow)]
    pub group: Cow<'a, str>,
    /// Distance of each message from the first offset; nothing: they follow one another.
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    pub distances: Option<Vec<i64>>,
    /// For how long nobody else sees them, ms.
    #[serde(rename = "it", default)]
    pub invisible: i64,
    /// Number of messages.
    #[serde(rename = "n", default)]
    pub count: i64,
    /// When they were popped, ms since the epoch.
    #[serde(rename = "pt", default)]
    pub pop_time: i64,
    /// The queue.
    #[serde(rename = "q", default)]
    pub queue: i32,
    /// Used by RocketMQ in memory.
    #[serde(rename = "ro", default)]
    pub note: i64,
    /// First offset.
    #[serde(rename = "so", default)]
    pub start: i64,
    /// The topic they lie in.
    #[serde(rename = "t", borrow)]
    pub topic: Cow<'a, str>,
}

impl Checkpoint<'_> {
    /// Offsets of its messages.
    pub fn offsets(&self) -> Vec<i64> {
        match self.distances.as_deref().filter(|distances| !distances.is_empty()) {
            Some(distances) => distances.iter().map(|distance| self.start.saturating_add(*distance)).collect(),
            None => (0..self.count.clamp(0, 64)).map(|n| self.start.saturating_add(n)).collect(),
        }
    }
}

/// Messages of a checkpoint that are done with. The names and their order are RocketMQ's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acks<'a> {
    /// The message, when it is one.
    #[serde(rename = "ao", default)]
    pub offset: i64,
    /// The messages, when they are several.
    #[serde(rename = "aol", default, skip_serializing_if = "Option::is_none")]
    pub offsets: Option<Vec<i64>>,
    /// The broker.
    #[serde(rename = "bn", default, borrow)]
    pub broker: Option<Cow<'a, str>>,
    /// The group.
    #[serde(rename = "c", borrow)]
    pub group: Cow<'a, str>,
    /// When they were popped.
    #[serde(rename = "pt", default)]
    pub pop_time: i64,
    /// The queue.
    #[serde(rename = "q", default)]
    pub queue: i32,
    /// First offset of the checkpoint.
    #[serde(rename = "so", default)]
    pub start: i64,
    /// The topic they lie in.
    #[serde(rename = "t", borrow)]
    pub topic: Cow<'a, str>,
}

impl Acks<'_> {
    /// The messages' offsets.
    pub fn all(&self) -> &[i64] {
        self.offsets.as_deref().unwrap_or(std::slice::from_ref(&self.offset))
    }
}

/// A note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note<'a> {
    /// Something was popped.
    Checkpoint(Checkpoint<'a>),
    /// Messages are done with.
    Acks(Acks<'a>),
}

impl<'a> Note<'a> {
    /// Reads a note from its record. `None`: it is none.
    pub fn parse(record: &RecordView<'a>) -> Option<Self> {
        match record.property(property::TAGS)? {
            CHECKPOINT => serde_json::from_slice(record.body).ok().map(Self::Checkpoint),
            ACK | BATCH_ACK => serde_json::from_slice(record.body).ok().map(Self::Acks),
            _ => None,
        }
    }
}

/// Where notes are written.
#[derive(Debug, Clone, Copy)]
pub struct Notebook<'a> {
    /// The log.
    pub store: &'a Store,
    /// The revive topic.
    pub topic: &'a str,
    /// This broker.
    pub host: SocketAddr,
}

impl Notebook<'_> {
    /// Appends a checkpoint.
    ///
    /// # Errors
    /// The log takes no message now.
    pub fn checkpoint(&self, queue: u32, checkpoint: &Checkpoint<'_>) -> Result<Appended, AppendError> {
        self.append(queue, CHECKPOINT, &serde_json::to_vec(checkpoint).unwrap_or_default())
    }

    /// Appends that messages are done with.
    ///
    /// # Errors
    /// The log takes no message now.
    pub fn acks(&self, queue: u32, acks: &Acks<'_>) -> Result<Appended, AppendError> {
        let tag = if acks.offsets.is_some() { BATCH_ACK } else { ACK };
        self.append(queue, tag, &serde_json::to_vec(acks).unwrap_or_default())
    }

    fn append(&self, queue: u32, tag: &str, body: &[u8]) -> Result<Appended, AppendError> {
        let now = now_ms();
        let (name, value, deliver) = (property::NAME_END, property::VALUE_END, property::TIMER_DELIVER_MS);
        // RocketMQ's broker takes the newest of these times for the time up to which it has read.
        let properties = format!("{}{name}{tag}{value}{deliver}{name}{now}{value}", property::TAGS);
        self.store.append(&NewRecord {
            topic: self.topic,
            queue_id: queue,
            flag: 0,
            sys_flag: 0,
            born_timestamp: now,
            born_host: self.host,
            store_host: self.host,
            reconsume_times: 0,
            prepared_offset: 0,
            body,
            properties: properties.as_bytes(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As RocketMQ 5.5 writes them (PopCheckPoint, AckMsg, BatchAckMsg through its JSON library).
    const CK: &str = r#"{"bm":0,"bn":"broker-a","c":"g","d":[0,1,4],"it":60000,"n":3,"pt":1764247836123,"q":2,"ro":0,"so":100,"t":"T"}"#;
    const ONE: &str = r#"{"ao":101,"bn":"broker-a","c":"g","pt":1764247836123,"q":2,"so":100,"t":"T"}"#;
    const SOME: &str = r#"{"ao":-1,"aol":[100,104],"bn":"broker-a","c":"g","pt":1764247836123,"q":2,"so":100,"t":"T"}"#;

    #[test]
    fn notes_are_those_of_rocketmq() {
        let ck: Checkpoint<'_> = serde_json::from_str(CK).unwrap();
        assert_eq!(ck.offsets(), [100, 101, 104]);
        assert_eq!(serde_json::to_string(&ck).unwrap(), CK);
        let one: Acks<'_> = serde_json::from_str(ONE).unwrap();
        assert_eq!(one.all(), [101]);
        assert_eq!(serde_json::to_string(&one).unwrap(), ONE);
        let some: Acks<'_> = serde_json::from_str(SOME).unwrap();
        assert_eq!(some.all(), [100, 104]);
        assert_eq!(serde_json::to_string(&some).unwrap(), SOME);
        // Older ones list no distances, and batches no broker.
        let old: Checkpoint<'_> = serde_json::from_str(r#"{"so":7,"n":2,"t":"T","c":"g"}"#).unwrap();
        assert_eq!(old.offsets(), [7, 8]);
        let batch: Acks<'_> = serde_json::from_str(r#"{"aol":[7],"so":7,"t":"T","c":"g"}"#).unwrap();
        assert_eq!((batch.all(), batch.broker.as_deref()), (&[7][..], None));
    }
}
