//! Messages as users see them: one to send and one that was received.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::message::compress::{self, CompressError};
use crate::message::entry::{Entry, next_entry};
use crate::message::id;
use crate::message::property::{self, Properties, PropertyError};
use crate::message::record::{RecordError, RecordView};

/// When a message is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// At a time; at once if it is over.
    At(SystemTime),
    /// So long after its broker got it, by the broker's clock.
    After(Duration),
}

/// A message to send.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// Topic to send to.
    pub topic: String,
    /// Body; any bytes.
    pub body: Bytes,
    /// Tag that consumers may filter by.
    pub tag: Option<String>,
    /// Keys to find the message by.
    pub keys: Vec<String>,
    /// Messages with one sharding key go to one queue, in order.
    pub sharding_key: Option<String>,
    /// Delay level 1 to 18; 0 delivers at once.
    pub delay_level: u8,
    /// When to deliver it, to the millisecond; a delay level counts before it.
    pub when: Option<When>,
    /// A number of the user's own.
    pub flag: i32,
    /// Further properties.
    pub properties: Vec<(String, String)>,
}

impl Message {
    /// A message with topic and body.
    pub fn new(topic: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self { topic: topic.into(), body: body.into(), ..Self::default() }
    }

    /// Sets the tag.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tag = Some(tag.into());
        self
    }

    /// Adds a key.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.keys.push(key.into());
        self
    }

    /// Adds a property.
    #[must_use]
    pub fn property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.push((name.into(), value.into()));
        self
    }

    /// Sets the key by which the queue is chosen.
    #[must_use]
    pub fn sharding_key(mut self, key: impl Into<String>) -> Self {
        self.sharding_key = Some(key.into());
        self
    }

    /// Sets the delay level, 1 (one second) to 18 (two hours).
    #[must_use]
    pub fn delay_level(mut self, level: u8) -> Self {
        self.delay_level = level;
        self
    }

    /// Has the message delivered at a time: years ahead, if the broker allows it.
    #[must_use]
    pub fn deliver_at(mut self, time: SystemTime) -> Self {
        self.when = Some(When::At(time));
        self
    }

    /// Has the message delivered so long after its broker got it.
    #[must_use]
    pub fn deliver_after(mut self, delay: Duration) -> Self {
        self.when = Some(When::After(delay));
        self
    }

    /// Sets the user's flag.
    #[must_use]
    pub fn flag(mut self, flag: i32) -> Self {
        self.flag = flag;
        self
    }

    /// The properties as they travel: the user's own, then those that the other fields mean.
    pub fn encode_properties(&self) -> Result<Properties, MessageError> {
        let mut properties = Properties::new();
        for (name, value) in &self.properties {
            if is_reserved(name) {
                return Err(MessageError::Reserved(name.clone()));
            }
            properties.push(name, value)?;
        }
        if let Some(tag) = &self.tag {
            properties.push(property::TAGS, tag)?;
        }
        if !self.keys.is_empty() {
            if let Some(key) = self.keys.iter().find(|key| key.is_empty() || key.contains(' ')) {
                return Err(MessageError::Key(key.clone()));
            }
            properties.push(property::KEYS, &self.keys.join(" "))?;
        }
        if let Some(key) = &self.sharding_key {
            properties.push(property::SHARDING_KEY, key)?;
        }
        if self.delay_level > 0 {
            properties.push(property::DELAY, &self.delay_level.to_string())?;
        }
        match self.when {
            // A time before 1970 is over.
            Some(When::At(time)) => {
                let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
                properties.push(property::TIMER_DELIVER_MS, &since.as_millis().to_string())?;
            }
            Some(When::After(delay)) => {
                properties.push(property::TIMER_DELAY_MS, &delay.as_millis().to_string())?;
            }
            None => {}
        }
        Ok(properties)
    }
}

/// Names that a field of [`Message`] or the broker owns.
fn is_reserved(name: &str) -> bool {
    let owned = [
        property::TAGS,
        property::KEYS,
        property::DELAY,
        property::SHARDING_KEY,
        property::UNIQ_KEY,
        property::CRC32,
        property::REAL_TOPIC,
        property::REAL_QUEUE_ID,
        property::TRANSACTION_PREPARED,
    ];
    owned.contains(&name)
}

/// Why a message cannot be sent or read.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// A property cannot be written.
    #[error(transparent)]
    Property(#[from] PropertyError),
    /// A property belongs to a field of the message.
    #[error("property '{0}' is reserved: use the field of the message that means it")]
    Reserved(String),
    /// A key would be read as none or as several.
    #[error("key '{0}' is empty or contains a blank, which separates keys: add keys one by one")]
    Key(String),
    /// The bytes are not a record.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The body cannot be decompressed.
    #[error("message {id} of topic {topic}: {cause}")]
    Body {
        /// Offset id of the message.
        id: String,
        /// Its topic.
        topic: String,
        /// What is wrong with the body.
        cause: CompressError,
    },
}

/// A message that a broker stored, as a consumer receives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    /// Topic.
    pub topic: String,
    /// Queue of the topic.
    pub queue_id: u32,
    /// Position within the queue.
    pub queue_offset: u64,
    /// Position in the broker's log.
    pub physical_offset: u64,
    /// Body as the sender had it. It shares the memory of the answer that brought it.
    pub body: Bytes,
    /// Properties text; see [`Self::property`].
    pub properties: String,
    /// The user's flag.
    pub flag: i32,
    /// System flag.
    pub sys_flag: u32,
    /// When the producer made the message, in ms.
    pub born_timestamp: i64,
    /// Where the producer was.
    pub born_host: SocketAddr,
    /// When the broker stored the message, in ms.
    pub store_timestamp: i64,
    /// The broker that stored the message.
    pub store_host: SocketAddr,
    /// Times the message was delivered before.
    pub reconsume_times: i32,
    /// Offset of the half message that this one ends, else 0.
    pub prepared_offset: i64,
    /// Bytes of the record in the log.
    pub stored_size: usize,
}

impl StoredMessage {
    /// The message of a record; `body` holds the record's body bytes.
    fn from_view(view: &RecordView<'_>, body: &Bytes, body_limit: usize) -> Result<Self, MessageError> {
        let body = compress::decompress(body, view.sys_flag, body_limit).map_err(|cause| MessageError::Body {
            id: id::offset_id(view.store_host, view.physical_offset),
            topic: view.topic.to_owned(),
            cause,
        })?;
        Ok(Self::with_body(view, body))
    }

    /// The message of a record, with a body of the caller's: the record's own may not be readable.
    #[must_use]
    pub fn with_body(view: &RecordView<'_>, body: Bytes) -> Self {
        Self {
            topic: view.topic.to_owned(),
            queue_id: view.queue_id,
            queue_offset: view.queue_offset,
            physical_offset: view.physical_offset,
            body,
            properties: view.properties.to_owned(),
            flag: view.flag,
            sys_flag: view.sys_flag,
            born_timestamp: view.born_timestamp,
            born_host: view.born_host,
            store_timestamp: view.store_timestamp,
            store_host: view.store_host,
            reconsume_times: view.reconsume_times,
            prepared_offset: view.prepared_offset,
            stored_size: view.size(),
        }
    }

    /// Value of a property.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&str> {
        property::get(&self.properties, name)
    }

    /// All properties but the record's checksum, in order.
    pub fn properties(&self) -> impl Iterator<Item = (&str, &str)> {
        property::iter(&self.properties).filter(|(name, _)| *name != property::CRC32)
    }

    /// The tag.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.property(property::TAGS)
    }

    /// The keys.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.property(property::KEYS).unwrap_or_default().split(' ').filter(|key| !key.is_empty())
    }

    /// The id that the producer gave the message.
    #[must_use]
    pub fn unique_id(&self) -> Option<&str> {
        self.property(property::UNIQ_KEY)
    }

    /// The id that tells where the message is stored.
    #[must_use]
    pub fn offset_id(&self) -> String {
        id::offset_id(self.store_host, self.physical_offset)
    }

    /// The producer's id where there is one, else the offset id.
    #[must_use]
    pub fn message_id(&self) -> String {
        self.unique_id().map_or_else(|| self.offset_id(), str::to_owned)
    }
}

/// The messages in an answer's body. A body that cannot be decompressed fails alone; a broken record ends the list.
pub fn decode_all(answer: &Bytes, body_limit: usize) -> impl Iterator<Item = Result<StoredMessage, MessageError>> {
    let mut rest = answer.clone();
    std::iter::from_fn(move || {
        let here = rest.clone();
        let view = match next_entry(&here) {
            Ok(Entry::Record(view)) => view,
            Ok(Entry::Filler { .. } | Entry::End) => return None,
            Err(error) => {
                rest.clear();
                return Some(Err(error.into()));
            }
        };
        if let Err(error) = view.verify() {
            rest.clear();
            return Some(Err(error.into()));
        }
        let record = rest.split_to(view.size().min(rest.len()));
        Some(StoredMessage::from_view(&view, &record.slice_ref(view.body), body_limit))
    })
}

#[cfg(test)]
mod tests;
