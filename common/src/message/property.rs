//! Message properties: their names, their text form `name 0x01 value 0x02 …`, and the hashes taken of tags and keys.

/// Ends a property's name.
pub const NAME_END: char = '\u{1}';
/// Ends a property's value.
pub const VALUE_END: char = '\u{2}';

/// Declares property names that travel in records.
macro_rules! names {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        $($(#[$doc])* pub const $name: &str = $text;)*
    };
}

names! {
    /// The id that the producer gave the message.
    UNIQ_KEY = "UNIQ_KEY";
    /// Blank-separated keys to query by.
    KEYS = "KEYS";
    /// Tag to filter by.
    TAGS = "TAGS";
    /// `false`: answer before the message is flushed and replicated.
    WAIT = "WAIT";
    /// Delay level, 1 to 18.
    DELAY = "DELAY";
    /// Topic to which a delayed or half message belongs.
    REAL_TOPIC = "REAL_TOPIC";
    /// Queue to which a delayed or half message belongs.
    REAL_QUEUE_ID = "REAL_QID";
    /// `true` marks a half message.
    TRANSACTION_PREPARED = "TRAN_MSG";
    /// Producer group.
    PRODUCER_GROUP = "PGROUP";
    /// Topic of a message that came back for retry.
    RETRY_TOPIC = "RETRY_TOPIC";
    /// Offset id of a message that came back for retry.
    ORIGIN_MESSAGE_ID = "ORIGIN_MESSAGE_ID";
    /// Times the message was delivered before.
    RECONSUME_TIME = "RECONSUME_TIME";
    /// Deliveries after which the message is dead.
    MAX_RECONSUME_TIMES = "MAX_RECONSUME_TIMES";
    /// Region of the broker.
    MSG_REGION = "MSG_REGION";
    /// Whether the message is traced.
    TRACE_ON = "TRACE_ON";
    /// Cluster of the broker.
    CLUSTER = "CLUSTER";
    /// Smallest offset of the queue when the message was pulled; the client adds it.
    MIN_OFFSET = "MIN_OFFSET";
    /// Greatest offset of the queue when the message was pulled; the client adds it.
    MAX_OFFSET = "MAX_OFFSET";
    /// When the consumer began with the message; the client adds it.
    CONSUME_START_TIME = "CONSUME_START_TIME";
    /// Transaction id.
    TRANSACTION_ID = "__transactionId__";
    /// Times the broker asked the producer about a half message.
    TRANSACTION_CHECK_TIMES = "TRANSACTION_CHECK_TIMES";
    /// Seconds before the first such question.
    CHECK_IMMUNITY_SECONDS = "CHECK_IMMUNITY_TIME_IN_SECONDS";
    /// Queue offset of the half message that an operation message concerns.
    PREPARED_QUEUE_OFFSET = "TRAN_PREPARED_QUEUE_OFFSET";
    /// Id that pairs a reply with its request.
    CORRELATION_ID = "CORRELATION_ID";
    /// Client that waits for the reply.
    REPLY_TO_CLIENT = "REPLY_TO_CLIENT";
    /// Milliseconds for which a request is worth an answer.
    TTL = "TTL";
    /// When a reply reached the broker.
    ARRIVE_TIME = "ARRIVE_TIME";
    /// When a reply was pushed to its client.
    PUSH_REPLY_TIME = "PUSH_REPLY_TIME";
    /// Kind of message, `reply` for replies.
    MSG_TYPE = "MSG_TYPE";
    /// Handle of a popped message.
    POP_CK = "POP_CK";
    /// Offset within the handle of a popped message.
    POP_CK_OFFSET = "POP_CK_OFFSET";
    /// When a message was popped first.
    FIRST_POP_TIME = "1ST_POP_TIME";
    /// Key by which a queue was chosen.
    SHARDING_KEY = "__SHARDINGKEY";
    /// Messages within an inner batch.
    INNER_NUM = "INNER_NUM";
    /// Base offset of an inner batch.
    INNER_BASE = "INNER_BASE";
    /// Light queues that the message is dispatched to.
    INNER_MULTI_DISPATCH = "INNER_MULTI_DISPATCH";
    /// Offsets in those light queues.
    INNER_MULTI_QUEUE_OFFSET = "INNER_MULTI_QUEUE_OFFSET";
    /// Delay in seconds.
    TIMER_DELAY_SEC = "TIMER_DELAY_SEC";
    /// Delay in milliseconds.
    TIMER_DELAY_MS = "TIMER_DELAY_MS";
    /// Time of delivery in milliseconds.
    TIMER_DELIVER_MS = "TIMER_DELIVER_MS";
    /// Time at which a timer message is due.
    TIMER_OUT_MS = "TIMER_OUT_MS";
    /// When the timer took the message in.
    TIMER_ENQUEUE_MS = "TIMER_ENQUEUE_MS";
    /// When the timer let the message out.
    TIMER_DEQUEUE_MS = "TIMER_DEQUEUE_MS";
    /// Times the timer rolled the message over.
    TIMER_ROLL_TIMES = "TIMER_ROLL_TIMES";
    /// Unique id of the timer message to cancel.
    TIMER_DEL_UNIQKEY = "TIMER_DEL_UNIQKEY";
    /// Delay level that a timer message was given.
    TIMER_DELAY_LEVEL = "TIMER_DELAY_LEVEL";
    /// Topic that a dead letter came from.
    DLQ_ORIGIN_TOPIC = "DLQ_ORIGIN_TOPIC";
    /// Id that a dead letter had.
    DLQ_ORIGIN_MESSAGE_ID = "DLQ_ORIGIN_MESSAGE_ID";
    /// OrbitMQ's own: broker at which a message that was given back was delivered first.
    ORIGIN_BROKER = "ORBITMQ_ORIGIN_BROKER";
    /// OrbitMQ's own: its queue there.
    ORIGIN_QUEUE = "ORBITMQ_ORIGIN_QUEUE";
    /// OrbitMQ's own: its position in that queue.
    ORIGIN_OFFSET = "ORBITMQ_ORIGIN_OFFSET";
    /// OrbitMQ's own: why it was given back the last time.
    RETURN_REASON = "ORBITMQ_REASON";
    /// OrbitMQ's own: the group whose dead letter a message is.
    DEAD_GROUP = "ORBITMQ_GROUP";
    /// OrbitMQ's own: message id of the dead letter that was sent again as this message.
    REPLAY_OF = "ORBITMQ_REPLAY_OF";
    /// Host on which the message was born.
    BORN_HOST = "__BORNHOST";
    /// When the message was born.
    BORN_TIMESTAMP = "BORN_TIMESTAMP";
    /// Checksum of the whole record, always the last property.
    CRC32 = "__CRC32#";
    /// Instance of a namespace.
    INSTANCE_ID = "INSTANCE_ID";
    /// Buyer, used by filters of old clients.
    BUYER_ID = "BUYER_ID";
    /// Names with this beginning are never stored.
    TRANSIENT_PREFIX = "__RMQ.TRANSIENT.";
}

/// Why a property cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PropertyError {
    /// The name is empty.
    #[error("a property name is empty: give it at least one character")]
    EmptyName,
    /// The value is empty; every reader would drop the entry.
    #[error("property '{0}' has an empty value, which readers drop: leave the property out")]
    EmptyValue(String),
    /// Name or value contains a separator.
    #[error("property '{0}' contains a separator character (0x01 or 0x02): remove it from name and value")]
    Separator(String),
}

/// Entries of a properties text, in order; broken entries are skipped as every RocketMQ client does.
pub fn iter(text: &str) -> impl DoubleEndedIterator<Item = (&str, &str)> + Clone {
    text.split(VALUE_END)
        .filter_map(|entry| entry.split_once(NAME_END).filter(|(name, value)| !name.is_empty() && !value.is_empty()))
}

/// Value of a property; of several entries with one name the last counts, as in RocketMQ.
#[must_use]
pub fn get<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    iter(text).rev().find(|(entry, _)| *entry == name).map(|(_, value)| value)
}

/// The text without a property.
#[must_use]
pub fn remove(text: &str, name: &str) -> String {
    let mut properties = Properties::parse(text);
    properties.remove(name);
    properties.into_text()
}

/// The text with a property set to a value, whether it was there or not.
pub fn replace(text: &str, name: &str, value: &str) -> Result<String, PropertyError> {
    let mut properties = Properties::parse(text);
    properties.set(name, value)?;
    Ok(properties.into_text())
}

/// A properties text under construction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties {
    text: String,
}

impl Properties {
    /// No properties.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The well-formed entries of a text.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut clean = String::with_capacity(text.len().saturating_add(1));
        for (name, value) in iter(text) {
            append_unchecked(&mut clean, name, value);
        }
        Self { text: clean }
    }

    /// Appends an entry without looking for one of that name.
    pub fn push(&mut self, name: &str, value: &str) -> Result<&mut Self, PropertyError> {
        check(name, value)?;
        append_unchecked(&mut self.text, name, value);
        Ok(self)
    }

    /// Replaces every entry of that name by one at the end.
    pub fn set(&mut self, name: &str, value: &str) -> Result<&mut Self, PropertyError> {
        check(name, value)?;
        self.remove(name);
        append_unchecked(&mut self.text, name, value);
        Ok(self)
    }

    /// Removes every entry of that name.
    pub fn remove(&mut self, name: &str) -> &mut Self {
        if self.get(name).is_some() {
            let mut rest = String::with_capacity(self.text.len());
            for (entry, value) in iter(&self.text).filter(|(entry, _)| *entry != name) {
                append_unchecked(&mut rest, entry, value);
            }
            self.text = rest;
        }
        self
    }

    /// Value of a property.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        get(&self.text, name)
    }

    /// The text as it travels.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The text as it travels, owned.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }
}

fn check(name: &str, value: &str) -> Result<(), PropertyError> {
    if name.is_empty() {
        return Err(PropertyError::EmptyName);
    }
    let separators = [NAME_END, VALUE_END];
    if name.contains(separators) || value.contains(separators) {
        return Err(PropertyError::Separator(name.replace(separators, "?")));
    }
    if value.is_empty() {
        return Err(PropertyError::EmptyValue(name.to_owned()));
    }
    Ok(())
}

fn append_unchecked(text: &mut String, name: &str, value: &str) {
    text.push_str(name);
    text.push(NAME_END);
    text.push_str(value);
    text.push(VALUE_END);
}

/// Java's `String.hashCode` over a sequence of UTF-16 units.
fn java_hash(units: impl Iterator<Item = u16>) -> i32 {
    units.fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// Hash of a tag as consume queues and subscriptions hold it; 0 when there is no tag.
#[must_use]
pub fn tag_hash(tag: &str) -> i64 {
    i64::from(java_hash(tag.encode_utf16()))
}

/// Hash of a key of a topic as the key index holds it.
#[must_use]
pub fn key_hash(topic: &str, key: &str) -> u32 {
    let hash = java_hash(topic.encode_utf16().chain(std::iter::once(u16::from(b'#'))).chain(key.encode_utf16()));
    hash.checked_abs().unwrap_or(0).unsigned_abs()
}

#[cfg(test)]
mod tests;
