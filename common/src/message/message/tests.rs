//! Messages from the builder through a record to the receiver.

use proptest::prelude::*;

use super::*;
use crate::message::record::{NewRecord, seal};
use crate::message::sysflag;

fn stored(topic: &str, sys_flag: u32, body: &[u8], properties: &str) -> Vec<u8> {
    let record = NewRecord {
        topic,
        queue_id: 1,
        flag: 5,
        sys_flag,
        born_timestamp: 10,
        born_host: "10.0.0.1:1".parse().unwrap(),
        store_host: "127.0.0.1:10911".parse().unwrap(),
        reconsume_times: 3,
        prepared_offset: 0,
        body,
        properties: properties.as_bytes(),
    };
    let mut bytes = Vec::new();
    record.encode_into(&mut bytes).unwrap();
    seal(&mut bytes, 7, 4096, 20).unwrap();
    bytes
}

#[test]
fn what_is_built_is_received() {
    let message = Message::new("Orders", "paid")
        .tag("TagA")
        .key("k1")
        .key("k2")
        .property("region", "north")
        .sharding_key("user-1")
        .delay_level(3);
    let text = message.encode_properties().unwrap().into_text();
    let bytes = Bytes::from(stored("Orders", 0, &message.body, &text));
    let read: Vec<_> = decode_all(&bytes, 100).map(Result::unwrap).collect();
    let [received] = &read[..] else { panic!("one message was stored") };
    assert_eq!(received.topic, "Orders");
    assert_eq!(received.body, "paid");
    assert_eq!(received.tag(), Some("TagA"));
    assert_eq!(received.keys().collect::<Vec<_>>(), ["k1", "k2"]);
    assert_eq!(received.property("region"), Some("north"));
    assert_eq!(received.property(property::SHARDING_KEY), Some("user-1"));
    assert_eq!(received.property(property::DELAY), Some("3"));
    assert_eq!(received.message_id(), "7F00000100002A9F0000000000001000");
    assert_eq!((received.queue_offset, received.reconsume_times, received.flag), (7, 3, 5));
    assert!(received.properties().all(|(name, _)| name != property::CRC32));
    assert_eq!(received.stored_size, bytes.len());
}

#[test]
fn what_would_be_misread_is_refused() {
    let refused = |message: Message| message.encode_properties().unwrap_err();
    assert!(matches!(refused(Message::new("T", "").property("TAGS", "x")), MessageError::Reserved(_)));
    assert!(matches!(refused(Message::new("T", "").key("a b")), MessageError::Key(_)));
    assert!(matches!(refused(Message::new("T", "").key("")), MessageError::Key(_)));
    assert!(matches!(refused(Message::new("T", "").property("n", "a\u{2}")), MessageError::Property(_)));
}

#[test]
fn a_bad_body_fails_alone_and_a_bad_record_ends_the_list() {
    let mut bytes = stored("T", sysflag::COMPRESSED, b"not zlib", "");
    let packed = compress::compress_zlib(b"unpacked").unwrap();
    bytes.extend(stored("T", sysflag::COMPRESSED, &packed, ""));
    let damaged_at = bytes.len() + 90;
    bytes.extend(stored("T", 0, b"damaged", ""));
    bytes.extend(stored("T", 0, b"never reached", ""));
    bytes[damaged_at] ^= 1;
    let read: Vec<_> = decode_all(&bytes.into(), 100).collect();
    let [Err(MessageError::Body { .. }), Ok(good), Err(MessageError::Record(_))] = &read[..] else {
        panic!("unexpected: {read:?}")
    };
    assert_eq!(good.body, "unpacked");
}

#[test]
fn empty_bodies_are_read() {
    let read: Vec<_> = decode_all(&stored("T", 0, b"", "").into(), 0).map(Result::unwrap).collect();
    assert_eq!(read.len(), 1);
    assert!(read[0].body.is_empty());
}

proptest! {
    #[test]
    fn garbage_is_refused_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let bytes = Bytes::from(bytes);
        prop_assert!(decode_all(&bytes, 1000).count() <= bytes.len());
    }
}

#[test]
fn a_time_becomes_the_property_that_brokers_read() {
    let at = UNIX_EPOCH + Duration::from_millis(1_800_000_000_123);
    let properties = Message::new("T", "x").deliver_at(at).encode_properties().unwrap();
    assert_eq!(properties.get(property::TIMER_DELIVER_MS), Some("1800000000123"));
    let properties = Message::new("T", "x").deliver_after(Duration::from_millis(1_500)).encode_properties().unwrap();
    assert_eq!(properties.get(property::TIMER_DELAY_MS), Some("1500"));
}
