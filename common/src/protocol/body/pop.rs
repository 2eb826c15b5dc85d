//! Bodies of popping: acknowledgements of many messages, how a group gets its messages, and who gets which queue.

use std::collections::BTreeMap;

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};

use crate::protocol::body::group::MessageQueue;
use crate::protocol::body::heartbeat::MessageModel;

/// BATCH_ACK_MESSAGE (200151).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BatchAckBody {
    /// The broker that the messages were popped from.
    pub broker_name: Option<String>,
    /// What is acknowledged.
    pub acks: Vec<BatchAck>,
}

/// Messages that were popped together from one queue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BatchAck {
    /// The group.
    #[serde(rename = "c", alias = "consumerGroup")]
    pub group: String,
    /// The topic that the group asked for.
    #[serde(rename = "t", alias = "topic")]
    pub topic: String,
    /// Whether they lie in a retry topic: `0`, `1` or `2`, as in a receipt.
    #[serde(rename = "r", alias = "retry")]
    pub retry: String,
    /// First offset, as in their receipts.
    #[serde(rename = "so", alias = "startOffset")]
    pub start: i64,
    /// The queue.
    #[serde(rename = "q", alias = "queueId")]
    pub queue: i32,
    /// Queue of the revive topic.
    #[serde(rename = "rq", alias = "reviveQueueId")]
    pub revive_queue: i32,
    /// When they were popped.
    #[serde(rename = "pt", alias = "popTime")]
    pub pop_time: i64,
    /// For how long they were invisible.
    #[serde(rename = "it", alias = "invisibleTime")]
    pub invisible: i64,
    /// Bit n, the lowest of the first byte first: the message at `start + n` is acknowledged.
    #[serde(rename = "b", alias = "bitSet", serialize_with = "to_base64", deserialize_with = "bits")]
    pub bits: Vec<u8>,
}

impl BatchAck {
    /// Acknowledges the message that many offsets behind `start`.
    pub fn set(&mut self, distance: usize) {
        let byte = distance / 8;
        if self.bits.len() <= byte {
            self.bits.resize(byte + 1, 0);
        }
        if let Some(byte) = self.bits.get_mut(byte) {
            *byte |= 1 << (distance % 8);
        }
    }

    /// Distances from `start` of the acknowledged messages.
    pub fn distances(&self) -> impl Iterator<Item = i64> + '_ {
        let each = (0_i64..).zip(&self.bits);
        each.flat_map(|(n, byte)| (0..8).filter(move |bit| byte & (1 << bit) != 0).map(move |bit| n * 8 + bit))
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Bits {
    Base64(String),
    Numbers(Vec<i16>),
}

/// Java writes Base64; a list of numbers, signed or not, is understood too.
fn bits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    match Option::<Bits>::deserialize(deserializer)? {
        None => Ok(Vec::new()),
        Some(Bits::Base64(text)) => base64(&text).ok_or_else(|| de::Error::custom("the bit set is not Base64")),
        Some(Bits::Numbers(numbers)) => {
            let byte = |n: i16| u8::try_from(n).or_else(|_| i8::try_from(n).map(i8::cast_unsigned));
            let bytes: Result<_, _> = numbers.into_iter().map(byte).collect();
            bytes.map_err(|_| de::Error::custom("the bit set holds a number that is no byte"))
        }
    }
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut held, mut count) = (0_u32, 0_u32);
    for byte in text.trim_end_matches('=').bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        held = held << 6 | u32::from(digit);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(held >> count & 0xFF).unwrap_or(0));
        }
    }
    Some(out)
}

/// As Java's clients write a bit set.
fn to_base64<S: Serializer>(bits: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    const DIGITS: [u8; 64] = *b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |group: u32, at: u32| DIGITS.get((group >> at & 63) as usize).map_or('=', |digit| char::from(*digit));
    let mut text = String::with_capacity(bits.len().div_ceil(3) * 4);
    for some in bits.chunks(3) {
        let byte = |n: usize| some.get(n).map_or(0, |byte| u32::from(*byte));
        let group = byte(0) << 16 | byte(1) << 8 | byte(2);
        text.push(digit(group, 18));
        text.push(digit(group, 12));
        text.push(if some.len() > 1 { digit(group, 6) } else { '=' });
        text.push(if some.len() > 2 { digit(group, 0) } else { '=' });
    }
    serializer.serialize_str(&text)
}

/// How the members of a group get the messages of a topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum RequestMode {
    /// They pull from the queues that are theirs.
    #[default]
    #[serde(rename = "PULL")]
    Pull,
    /// They pop from queues that they share.
    #[serde(rename = "POP")]
    Pop,
}

/// SET_MESSAGE_REQUEST_MODE (401).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestModeBody {
    /// The group.
    #[serde(default)]
    pub consumer_group: String,
    /// How it gets its messages.
    #[serde(default)]
    pub mode: RequestMode,
    /// How many other members' queues each member pops from as well; 0 or less: all queues.
    #[serde(default)]
    pub pop_share_queue_num: i32,
    /// The topic.
    #[serde(default)]
    pub topic: String,
}

/// Answer to GET_ALL_MESSAGE_REQUEST_MODE (402), and RocketMQ's file of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestModeTable {
    /// By topic and group.
    #[serde(default)]
    pub message_request_mode_map: BTreeMap<String, BTreeMap<String, RequestModeBody>>,
}

/// QUERY_ASSIGNMENT (400).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AssignmentRequest {
    /// The member that asks.
    #[serde(default)]
    pub client_id: String,
    /// Its group.
    #[serde(default)]
    pub consumer_group: String,
    /// Whether members share the messages.
    #[serde(default)]
    pub message_model: MessageModel,
    /// How queues are shared out: `AVG` or `AVG_BY_CIRCLE`.
    #[serde(default)]
    pub strategy_name: Option<String>,
    /// The topic.
    #[serde(default)]
    pub topic: String,
}

/// Answer to it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AssignmentResponse {
    /// The member's queues; none at all: it keeps what it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_queue_assignments: Option<Vec<Assignment>>,
}

/// A queue of a member.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Assignment {
    /// The queue; -1: all of the topic's at that broker.
    pub message_queue: MessageQueue,
    /// How messages are got from it.
    #[serde(default)]
    pub mode: RequestMode,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::relaxed;

    #[test]
    fn a_bit_set_is_read_in_every_form() {
        // As the Java client 5.5 writes BitSet {0, 2, 9}: Base64 of 05 02.
        let base64 = br#"{"acks":[{"b":"BQI=","c":"g","it":60000,"pt":7,"q":1,"r":"1","rq":3,"so":40,"t":"T"}],"brokerName":"b"}"#;
        let body: BatchAckBody = relaxed::parse(base64).unwrap();
        let ack = &body.acks[0];
        assert_eq!(ack.distances().collect::<Vec<_>>(), [0, 2, 9]);
        assert_eq!((ack.start, ack.queue, ack.revive_queue, ack.retry.as_str()), (40, 1, 3, "1"));
        let numbers: BatchAck = relaxed::parse(br#"{"b":[-128,1]}"#).unwrap();
        assert_eq!(numbers.distances().collect::<Vec<_>>(), [7, 8]);
        assert!(relaxed::parse::<BatchAck>(br#"{"b":"*"}"#).is_err());
        assert!(relaxed::parse::<BatchAck>(br#"{"b":[300]}"#).is_err());
        assert!(relaxed::parse::<BatchAck>(br#"{"b":null}"#).unwrap().bits.is_empty());
    }

    #[test]
    fn a_bit_set_is_written_as_java_reads_it() {
        for distances in [&[0, 2, 9][..], &[0], &[7, 8, 16, 31], &[63, 100]] {
            let mut ack = BatchAck::default();
            distances.iter().for_each(|distance| ack.set(*distance));
            let text = serde_json::to_string(&ack).unwrap();
            assert!(distances != [0, 2, 9] || text.contains(r#""b":"BQI=""#), "{text}");
            let read: BatchAck = relaxed::parse(text.as_bytes()).unwrap();
            assert_eq!(read, ack);
            let wanted: Vec<i64> = distances.iter().map(|distance| i64::try_from(*distance).unwrap()).collect();
            assert_eq!(read.distances().collect::<Vec<_>>(), wanted);
        }
    }
}
