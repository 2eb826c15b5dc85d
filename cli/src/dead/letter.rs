//! A dead letter: the message, where it came from and why it died.

use bytes::Bytes;
use orbitmq_common::message::compress;
use orbitmq_common::message::dead::Origin;
use orbitmq_common::message::entry;
use orbitmq_common::message::message::StoredMessage;
use orbitmq_common::message::property;
use orbitmq_common::message::record::{RecordError, RecordView};
use orbitmq_common::plain;
use serde::Serialize;

use crate::shown::Shown;

/// Largest body after decompression.
const LARGEST_BODY: usize = 64 << 20;

/// One dead letter.
#[derive(Debug, Clone)]
pub struct Letter {
    /// The message, its body unpacked if that is possible.
    pub message: StoredMessage,
    /// The body as it is stored.
    pub stored_body: Bytes,
    broker: String,
}

/// A dead letter as it is listed. What is not known is left out.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Message id, as its producer gave it.
    pub message_id: String,
    /// The broker that holds it.
    pub broker: String,
    /// Its queue there.
    pub queue: u32,
    /// Its offset in that queue.
    pub offset: i64,
    /// When it died, ms.
    pub died_ms: i64,
    /// How often it was given back.
    pub deliveries: i32,
    /// The topic it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin_topic: Option<String>,
    /// The broker it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin_broker: Option<String>,
    /// The queue it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin_queue: Option<u32>,
    /// Its offset in that queue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin_offset: Option<u64>,
    /// Its id by place in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin_id: Option<String>,
    /// Its tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Its keys.
    pub keys: Vec<String>,
    /// The last reason that a consumer gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A dead letter as a whole.
#[derive(Debug, Serialize)]
pub struct Whole {
    /// Where from and why.
    #[serde(flatten)]
    pub row: Row,
    /// The message.
    pub message: Shown,
}

/// The dead letters in a broker's answer. A body that cannot be unpacked is left as it is: it may be why the letter is dead.
///
/// # Errors
/// The answer is damaged.
pub fn read(answer: &Bytes, broker: &str) -> Result<Vec<Letter>, RecordError> {
    entry::records(answer).map(|view| Ok(Letter::new(&view?, answer, broker))).collect()
}

impl Letter {
    fn new(view: &RecordView<'_>, answer: &Bytes, broker: &str) -> Self {
        let stored_body = answer.slice_ref(view.body);
        let body = compress::decompress(&stored_body, view.sys_flag, LARGEST_BODY);
        let message = StoredMessage::with_body(view, body.unwrap_or_else(|_| stored_body.clone()));
        Self { message, stored_body, broker: broker.to_owned() }
    }

    /// Its offset among the dead letters of its queue.
    pub fn offset(&self) -> i64 {
        i64::try_from(self.message.queue_offset).unwrap_or(i64::MAX)
    }

    /// The topic it came from, if that was noted.
    pub fn origin_topic(&self) -> Option<&str> {
        let message = &self.message;
        message.property(property::DLQ_ORIGIN_TOPIC).or_else(|| message.property(property::RETRY_TOPIC))
    }

    /// The queue it came from, if that was noted.
    pub fn origin(&self) -> Option<Origin<'_>> {
        Origin::of(&self.message.properties)
    }

    /// The last reason that a consumer gave.
    pub fn reason(&self) -> Option<&str> {
        self.message.property(property::RETURN_REASON)
    }

    /// It as a row of a list.
    pub fn row(&self) -> Row {
        let (message, origin) = (&self.message, self.origin());
        let origin_id = message.property(property::DLQ_ORIGIN_MESSAGE_ID);
        let origin_id = origin_id.or_else(|| message.property(property::ORIGIN_MESSAGE_ID));
        Row {
            message_id: message.message_id(),
            broker: self.broker.clone(),
            queue: message.queue_id,
            offset: self.offset(),
            died_ms: message.store_timestamp,
            deliveries: message.reconsume_times,
            origin_topic: self.origin_topic().map(str::to_owned),
            origin_broker: origin.map(|origin| origin.broker.to_owned()),
            origin_queue: origin.map(|origin| origin.queue),
            origin_offset: origin.map(|origin| origin.offset),
            origin_id: origin_id.map(str::to_owned),
            tag: message.tag().map(str::to_owned),
            keys: message.keys().map(str::to_owned).collect(),
            reason: self.reason().map(str::to_owned),
        }
    }

    /// Everything about it.
    pub fn whole(&self) -> Whole {
        Whole { row: self.row(), message: Shown::new(&self.message) }
    }
}

impl Row {
    /// Where it came from: `orders at broker-a, queue 3 offset 17`.
    pub fn origin(&self) -> String {
        let topic = self.origin_topic.as_deref().unwrap_or("-");
        match (&self.origin_broker, self.origin_queue, self.origin_offset) {
            (Some(broker), Some(queue), Some(offset)) => format!("{topic} at {broker}, queue {queue} offset {offset}"),
            _ => topic.to_owned(),
        }
    }

    /// The cells of a table with the columns of [`COLUMNS`].
    pub fn cells(&self) -> [String; 8] {
        let text = |text: Option<&str>| text.map_or_else(|| "-".to_owned(), crate::shown::visible);
        [
            format!("{}/{}/{}", self.broker, self.queue, self.offset),
            plain::date(self.died_ms),
            self.deliveries.to_string(),
            self.message_id.clone(),
            self.origin(),
            text(self.tag.as_deref()),
            text(Some(self.keys.join(" ").as_str()).filter(|keys| !keys.is_empty())),
            text(self.reason.as_deref()),
        ]
    }
}

/// Columns of a list.
pub const COLUMNS: [&str; 8] = ["PLACE", "DIED", "RETURNS", "MESSAGE ID", "CAME FROM", "TAG", "KEYS", "REASON"];
