//! A message as bytes: the record of RocketMQ's commit log, which is also the record of pull and query answers.
//!
//! ```text
//! size 4 | magic 4 | body crc 4 | queue id 4 | flag 4 | queue offset 8 | physical offset 8 | sysFlag 4 | born time 8
//! born host 8 or 20 | store time 8 | store host 8 or 20 | reconsume times 4 | prepared offset 8
//! body length 4, body | topic length 1 (v1) or 2 (v2), topic | properties length 2, properties
//! ```
//! Everything is big endian; the numbers here are on disk and wire and never change. Records written here end with
//! RocketMQ's whole-record checksum, a last property whose ten digits stand least significant first.

use std::net::SocketAddr;

use self::checksum::{CHECKSUM_BLANK, CHECKSUM_HEAD, CHECKSUM_LEN, VALUE_END, stored_checksum};
use self::fields::Fields;
use self::write::{canonical, host_len, limit, put_at, put_host, put_len16, put_len32};
use crate::message::{property, sysflag};

/// First format: topics up to 127 bytes, the only one that C++ and Go clients read.
pub const MAGIC_V1: u32 = 0xDAA3_20A7;
/// Second format: topics up to 32,767 bytes.
pub const MAGIC_V2: u32 = 0xDAA3_20AB;
/// Filler between the last record of a log file and the file's end.
pub const MAGIC_FILLER: u32 = 0xCBD4_3194;
/// Least number of bytes that a filler needs.
pub const FILLER_MIN: usize = 8;
/// Longest topic of the first format.
pub const TOPIC_MAX_V1: usize = 127;
/// Longest topic and longest properties text: readers take the length as a signed 16-bit number.
pub const SHORT_MAX: usize = 32_767;

const SYS_FLAG_AT: usize = 36;
const BORN_HOST_AT: usize = 48;
/// All fixed fields of a v1 record with IPv4 hosts.
const FIXED: usize = 91;
const V6_EXTRA: usize = 12;
/// Why bytes are not a record, or a message cannot become one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// A field does not fit its place in the record.
    #[error("the {field} has {len} bytes, a record holds {max}: shorten it")]
    TooLong {
        /// Which field.
        field: &'static str,
        /// Its length.
        len: usize,
        /// The longest that fits.
        max: usize,
    },
    /// The bytes end before the record does.
    #[error("a record is cut short: {needed} bytes are needed, {available} are there")]
    Truncated {
        /// Bytes that the record claims.
        needed: usize,
        /// Bytes at hand.
        available: usize,
    },
    /// The magic number is unknown.
    #[error("no record starts here: magic number {0:#010x}")]
    Magic(u32),
    /// The stored size does not agree with the lengths inside.
    #[error("a record's size {0} does not agree with the lengths of its parts")]
    Size(u32),
    /// A field holds an impossible value.
    #[error("a record's {0} is not valid")]
    Field(&'static str),
    /// A checksum does not match.
    #[error("a record's {what} checksum is {stored}, its bytes give {computed}: the bytes are damaged")]
    Checksum {
        /// `body` or `whole`.
        what: &'static str,
        /// The value in the record.
        stored: u32,
        /// The value of the bytes.
        computed: u32,
    },
}

/// RocketMQ's checksum: CRC-32 without its top bit.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u32 {
    crc32fast::hash(bytes) & 0x7FFF_FFFF
}

/// A message about to be stored: what is known before the log assigns offsets.
#[derive(Debug, Clone, Copy)]
pub struct NewRecord<'a> {
    /// Topic, 1 to 32,767 bytes.
    pub topic: &'a str,
    /// Queue of the topic.
    pub queue_id: u32,
    /// The user's flag.
    pub flag: i32,
    /// System flag; the two IPv6 bits are set from the hosts, whatever they are here.
    pub sys_flag: u32,
    /// When the producer made the message, in ms.
    pub born_timestamp: i64,
    /// Where the producer is.
    pub born_host: SocketAddr,
    /// Where clients find this broker.
    pub store_host: SocketAddr,
    /// Times the message was delivered before.
    pub reconsume_times: i32,
    /// Offset of the half message that this one ends, else 0.
    pub prepared_offset: i64,
    /// Body as it is stored, compressed or not.
    pub body: &'a [u8],
    /// Properties text; a whole-record checksum in it is replaced by the right one.
    pub properties: &'a [u8],
}

impl NewRecord<'_> {
    /// Length of the record that [`Self::encode_into`] writes.
    pub fn encoded_len(&self) -> Result<usize, RecordError> {
        self.measure(self.kept_properties_len())
    }

    /// Appends the record and tells its length. Offsets, store time and checksum wait for [`seal`].
    pub fn encode_into(&self, out: &mut Vec<u8>) -> Result<usize, RecordError> {
        if std::str::from_utf8(self.properties).is_err() {
            return Err(RecordError::Field("properties text (it must be UTF-8)"));
        }
        let kept = self.kept_properties_len();
        let len = self.measure(kept)?;
        let (born, store) = (canonical(self.born_host), canonical(self.store_host));
        let mut sys_flag = self.sys_flag & !(sysflag::BORN_HOST_V6 | sysflag::STORE_HOST_V6);
        sys_flag |= if born.is_ipv6() { sysflag::BORN_HOST_V6 } else { 0 };
        sys_flag |= if store.is_ipv6() { sysflag::STORE_HOST_V6 } else { 0 };
        let v2 = self.topic.len() > TOPIC_MAX_V1;

        out.reserve(len);
        put_len32(out, len);
        out.extend_from_slice(&(if v2 { MAGIC_V2 } else { MAGIC_V1 }).to_be_bytes());
        out.extend_from_slice(&checksum(self.body).to_be_bytes());
        out.extend_from_slice(&self.queue_id.to_be_bytes());
        out.extend_from_slice(&self.flag.to_be_bytes());
        out.extend_from_slice(&[0; 16]);
        out.extend_from_slice(&sys_flag.to_be_bytes());
        out.extend_from_slice(&self.born_timestamp.to_be_bytes());
        put_host(out, born);
        out.extend_from_slice(&[0; 8]);
        put_host(out, store);
        out.extend_from_slice(&self.reconsume_times.to_be_bytes());
        out.extend_from_slice(&self.prepared_offset.to_be_bytes());
        put_len32(out, self.body.len());
        out.extend_from_slice(self.body);
        if v2 {
            put_len16(out, self.topic.len());
        } else {
            out.push(u8::try_from(self.topic.len()).unwrap_or(0));
        }
        out.extend_from_slice(self.topic.as_bytes());
        put_len16(out, kept.saturating_add(CHECKSUM_LEN));
        self.put_properties(out, kept);
        out.extend_from_slice(CHECKSUM_BLANK);
        Ok(len)
    }

    /// Bytes of the properties without a stale checksum and with a last separator.
    fn kept_properties_len(&self) -> usize {
        self.kept_properties().map(|entry| entry.len().saturating_add(1)).sum()
    }

    fn kept_properties(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.properties;
        if let Some((&VALUE_END, head)) = rest.split_last() {
            rest = head;
        }
        let entries = (!rest.is_empty()).then(|| rest.split(|byte| *byte == VALUE_END));
        entries.into_iter().flatten().filter(|entry| !entry.starts_with(CHECKSUM_HEAD))
    }

    fn put_properties(&self, out: &mut Vec<u8>, kept: usize) {
        let whole = self.properties.len();
        let ended = self.properties.last() == Some(&VALUE_END);
        if kept == whole && (ended || whole == 0) {
            out.extend_from_slice(self.properties);
            return;
        }
        for entry in self.kept_properties() {
            out.extend_from_slice(entry);
            out.push(VALUE_END);
        }
    }

    fn measure(&self, kept_properties: usize) -> Result<usize, RecordError> {
        limit("topic", self.topic.len(), SHORT_MAX)?;
        if self.topic.is_empty() {
            return Err(RecordError::Field("topic (it is empty)"));
        }
        limit("properties text", kept_properties, SHORT_MAX - CHECKSUM_LEN)?;
        let fixed = FIXED
            + usize::from(self.topic.len() > TOPIC_MAX_V1)
            + if canonical(self.born_host).is_ipv6() { V6_EXTRA } else { 0 }
            + if canonical(self.store_host).is_ipv6() { V6_EXTRA } else { 0 }
            + CHECKSUM_LEN
            + kept_properties
            + self.topic.len();
        limit("body", self.body.len(), (i32::MAX as usize).saturating_sub(fixed))?;
        Ok(fixed + self.body.len())
    }
}

/// Fills in what the log knows only when it appends, then the whole-record checksum.
pub fn seal(
    record: &mut [u8],
    queue_offset: u64,
    physical_offset: u64,
    store_timestamp: i64,
) -> Result<(), RecordError> {
    let available = record.len();
    let short = RecordError::Truncated { needed: FIXED, available };
    let size = u32::from_be_bytes(*record.first_chunk::<4>().ok_or(short)?);
    if usize::try_from(size) != Ok(available) {
        return Err(RecordError::Size(size));
    }
    put_at(record, 20, queue_offset.to_be_bytes())?;
    put_at(record, 28, physical_offset.to_be_bytes())?;
    let sys_flag =
        record.get(SYS_FLAG_AT..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u32::from_be_bytes(*bytes));
    let store_time_at = BORN_HOST_AT + host_len(sys_flag & sysflag::BORN_HOST_V6 != 0);
    put_at(record, store_time_at, store_timestamp.to_be_bytes())?;
    let Some((covered, tail)) = record.split_last_chunk_mut::<CHECKSUM_LEN>() else {
        return Err(RecordError::Truncated { needed: FIXED, available });
    };
    if stored_checksum(tail).is_none() {
        return Err(RecordError::Field("checksum placeholder"));
    }
    let mut rest = checksum(covered);
    for digit in tail.iter_mut().skip(CHECKSUM_HEAD.len()).take(10) {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
    }
    Ok(())
}

/// A record read in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// The whole record.
    pub bytes: &'a [u8],
    /// Stored checksum of the body.
    pub body_crc: u32,
    /// Queue of the topic.
    pub queue_id: u32,
    /// The user's flag.
    pub flag: i32,
    /// Position within the queue.
    pub queue_offset: u64,
    /// Position of the record in the log.
    pub physical_offset: u64,
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
    /// Body as stored.
    pub body: &'a [u8],
    /// Topic.
    pub topic: &'a str,
    /// Properties text.
    pub properties: &'a str,
}

impl<'a> RecordView<'a> {
    /// Reads the record at the start of the bytes; more may follow it.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let available = bytes.len();
        let mut fields = Fields { rest: bytes, available };
        let size = fields.u32()?;
        let needed = usize::try_from(size).map_err(|_| RecordError::Size(size))?;
        let magic = fields.u32()?;
        if magic != MAGIC_V1 && magic != MAGIC_V2 {
            return Err(RecordError::Magic(magic));
        }
        if needed < FIXED || i32::try_from(size).is_err() {
            return Err(RecordError::Size(size));
        }
        let (bytes, _) = bytes.split_at_checked(needed).ok_or(RecordError::Truncated { needed, available })?;
        let (_, rest) = bytes.split_at_checked(8).ok_or(RecordError::Size(size))?;
        Self::parse_fields(bytes, Fields { rest, available: needed }, magic).map_err(|error| match error {
            RecordError::Truncated { .. } => RecordError::Size(size),
            other => other,
        })
    }

    fn parse_fields(bytes: &'a [u8], mut fields: Fields<'a>, magic: u32) -> Result<Self, RecordError> {
        let body_crc = fields.u32()?;
        let queue_id = fields.u32()?;
        let flag = fields.i32()?;
        let queue_offset = fields.u64()?;
        let physical_offset = fields.u64()?;
        let sys_flag = fields.u32()?;
        let born_timestamp = fields.i64()?;
        let born_host = fields.host(sys_flag & sysflag::BORN_HOST_V6 != 0, "born host")?;
        let store_timestamp = fields.i64()?;
        let store_host = fields.host(sys_flag & sysflag::STORE_HOST_V6 != 0, "store host")?;
        let reconsume_times = fields.i32()?;
        let prepared_offset = fields.i64()?;
        let body_len = fields.u32()?;
        let body = fields.take(usize::try_from(body_len).map_err(|_| RecordError::Field("body length"))?)?;
        let topic_len = if magic == MAGIC_V2 { fields.short("topic length")? } else { usize::from(fields.u8()?) };
        let topic = std::str::from_utf8(fields.take(topic_len)?).map_err(|_| RecordError::Field("topic"))?;
        let properties_len = fields.short("properties length")?;
        let properties =
            std::str::from_utf8(fields.take(properties_len)?).map_err(|_| RecordError::Field("properties text"))?;
        if !fields.rest.is_empty() {
            return Err(RecordError::Size(u32::try_from(bytes.len()).unwrap_or(u32::MAX)));
        }
        Ok(Self {
            bytes,
            body_crc,
            queue_id,
            flag,
            queue_offset,
            physical_offset,
            sys_flag,
            born_timestamp,
            born_host,
            store_timestamp,
            store_host,
            reconsume_times,
            prepared_offset,
            body,
            topic,
            properties,
        })
    }

    /// Length of the record.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Checks the body's checksum and, where the record carries it, that of the whole record.
    pub fn verify(&self) -> Result<(), RecordError> {
        checksum::check_whole(self.bytes, self.properties)?;
        // RocketMQ leaves the field of an empty body as it comes, hence no check of nothing.
        if self.body.is_empty() { Ok(()) } else { checksum::agree("body", self.body_crc, checksum(self.body)) }
    }

    /// The same message at another place, with other properties; it counts as delivered as often as before.
    #[must_use]
    pub fn copy_to<'b>(
        &self,
        topic: &'b str,
        queue_id: u32,
        store_host: SocketAddr,
        properties: &'b str,
    ) -> NewRecord<'b>
    where
        'a: 'b,
    {
        NewRecord {
            topic,
            queue_id,
            flag: self.flag,
            sys_flag: self.sys_flag,
            born_timestamp: self.born_timestamp,
            born_host: self.born_host,
            store_host,
            reconsume_times: self.reconsume_times,
            prepared_offset: 0,
            body: self.body,
            properties: properties.as_bytes(),
        }
    }

    /// Value of a property.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&'a str> {
        property::get(self.properties, name)
    }
}

mod checksum;
mod fields;
#[cfg(test)]
mod tests;
mod write;
