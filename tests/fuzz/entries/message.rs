//! Bytes of messages: properties, batches, records.

use bytes::Bytes;
use orbitmq_common::filter::condition::Condition;
use orbitmq_common::message::entry::{Entry, next_entry, records};
use orbitmq_common::message::message::decode_all;
use orbitmq_common::message::property::{self, Properties};
use orbitmq_common::message::record::{NewRecord, RecordView, seal};
use orbitmq_common::message::{batch, compress, id};

/// Most bytes that a body may unfold to here.
const UNFOLDED: usize = 1 << 20;

/// A properties text and what is done with one.
pub fn properties(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let clean = Properties::parse(&text);
    assert_eq!(Properties::parse(clean.as_str()), clean, "what is written is read as the same");
    for (name, value) in property::iter(&text) {
        assert!(!name.is_empty() && !value.is_empty());
        assert!(property::get(&text, name).is_some());
        assert_eq!(property::get(&property::remove(&text, name), name), None);
        // A broken entry's name may hold a separator, which nobody may set.
        if let Ok(replaced) = property::replace(&text, name, "new") {
            assert_eq!(property::get(&replaced, name), Some("new"));
        }
        let _ = (property::tag_hash(value), property::key_hash(name, value));
    }
    let (name, value) = text.split_at(text.floor_char_boundary(text.len() / 2));
    let mut built = Properties::new();
    if built.push(name, value).is_ok() {
        assert_eq!(built.get(name), Some(value));
    }
    let _ = id::parse_offset_id(&text);
}

/// A condition, and after a zero byte the properties of a message.
pub fn filter(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (text, properties) = text.split_once('\0').unwrap_or((&text, "a\u{1}5\u{2}s\u{1}it's\u{2}"));
    match Condition::parse(text) {
        Ok(condition) => {
            if let Err(unfit) = condition.evaluate(properties) {
                assert!(unfit.to_string().len() < 400, "{unfit}");
            }
        }
        Err(error) => {
            assert!(error.at >= 1 && error.at <= text.chars().count() + 1);
            assert!(error.complaint.len() < 300, "{error}");
        }
    }
}

/// A batch body; what is read is written as the same.
pub fn batch(data: &[u8]) {
    let entries: Vec<_> = batch::decode(data).collect();
    assert!(entries.len() <= data.len() / 22 + 1);
    assert!(entries.iter().rev().skip(1).all(Result::is_ok), "nothing follows an error");
    let sound: Vec<_> = entries.iter().flatten().copied().collect();
    if let Ok(written) = batch::encode(sound.iter().copied()) {
        let read: Vec<_> = batch::decode(&written).map(|entry| entry.ok()).collect();
        assert!(read.iter().flatten().eq(sound.iter()) && read.len() == sound.len());
    }
}

/// Records back to back, as in a log or in the answer to a pull.
pub fn record(data: &[u8]) {
    let mut at = 0;
    for view in records(data) {
        let Ok(view) = view else { break };
        assert!(view.size() >= 4 && at + view.size() <= data.len());
        at += view.size();
        if view.verify().is_ok() {
            write_again(&view);
        }
        let body = Bytes::copy_from_slice(view.body);
        if let Ok(unfolded) = compress::decompress(&body, view.sys_flag, UNFOLDED) {
            assert!(unfolded.len() <= UNFOLDED.max(body.len()));
        }
    }
    match next_entry(data) {
        Ok(Entry::Record(view)) => assert!(view.size() <= data.len()),
        Ok(Entry::Filler { size }) => assert!(size >= 8),
        Ok(Entry::End) => {}
        Err(error) => assert!(error.to_string().len() < 300),
    }
    let _ = RecordView::parse(data).map(|view| view.verify());
    let _ = seal(&mut data.to_vec(), 1, 2, 3);
    for message in decode_all(&Bytes::copy_from_slice(data), UNFOLDED).flatten() {
        let _ = (message.message_id(), message.tag(), message.keys().count(), message.properties().count());
    }
    for kind in 0..8_u32 {
        let _ = compress::decompress(&Bytes::copy_from_slice(data), 1 | kind << 8, UNFOLDED);
    }
}

fn write_again(view: &RecordView<'_>) {
    let record = NewRecord {
        topic: view.topic,
        queue_id: view.queue_id,
        flag: view.flag,
        sys_flag: view.sys_flag,
        born_timestamp: view.born_timestamp,
        born_host: view.born_host,
        store_host: view.store_host,
        reconsume_times: view.reconsume_times,
        prepared_offset: view.prepared_offset,
        body: view.body,
        properties: view.properties.as_bytes(),
    };
    let mut bytes = Vec::new();
    // A record that only just fits has no room for the checksum that ours carry.
    if record.encode_into(&mut bytes).is_ok() {
        seal(&mut bytes, view.queue_offset, view.physical_offset, view.store_timestamp).expect("our own record");
        let again = RecordView::parse(&bytes).expect("what we write");
        again.verify().expect("what we sealed");
        assert_eq!((again.topic, again.body, again.queue_id), (view.topic, view.body, view.queue_id));
        assert_eq!((again.physical_offset, again.queue_offset), (view.physical_offset, view.queue_offset));
    }
}
