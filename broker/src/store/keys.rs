//! The keys of a record, in the order in which the index has them.

use orbitmq_common::message::record::RecordView;
use orbitmq_common::message::{property, sysflag};

/// A key of a record on its way into the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Hash of topic and key.
    pub hash: u32,
    /// Where the record is.
    pub physical_offset: u64,
    /// When it was stored, in ms.
    pub store_timestamp: i64,
}

/// The keys of a record whose unique key and list of keys are these: the unique one first.
pub fn keys<'a>(
    record: &'a RecordView<'_>,
    unique: Option<&'a str>,
    listed: Option<&'a str>,
) -> impl Iterator<Item = Key> + use<'a> {
    let (physical_offset, store_timestamp) = (record.physical_offset, record.store_timestamp);
    // The record that ends a half message by a rollback is no message.
    let is_message = sysflag::transaction(record.sys_flag) != sysflag::TRANSACTION_ROLLBACK;
    let listed = listed.into_iter().flat_map(|keys| keys.split(' ')).filter(|key| !key.is_empty());
    let topic = record.topic;
    let key = move |key| Key { hash: property::key_hash(topic, key), physical_offset, store_timestamp };
    unique.into_iter().chain(listed).filter(move |_| is_message).map(key)
}

/// The keys of a record.
pub fn keys_of(record: &RecordView<'_>, visit: &mut dyn FnMut(Key)) {
    let (mut unique, mut listed) = (None, None);
    for (name, value) in property::iter(record.properties) {
        match name {
            property::UNIQ_KEY => unique = Some(value),
            property::KEYS => listed = Some(value),
            _ => {}
        }
    }
    keys(record, unique, listed).for_each(visit);
}
