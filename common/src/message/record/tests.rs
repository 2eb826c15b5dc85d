//! Records: round trips, Apache's layout byte by byte, and bytes that lie.

use proptest::prelude::*;

use super::*;
use crate::message::entry::{Entry, encode_filler, next_entry, records};

fn sample<'a>(topic: &'a str, body: &'a [u8], properties: &'a [u8]) -> NewRecord<'a> {
    NewRecord {
        topic,
        queue_id: 3,
        flag: -7,
        sys_flag: sysflag::COMPRESSED,
        born_timestamp: 1_700_000_000_123,
        born_host: "10.0.0.1:5000".parse().unwrap(),
        store_host: "127.0.0.1:10911".parse().unwrap(),
        reconsume_times: 2,
        prepared_offset: 99,
        body,
        properties,
    }
}

fn sealed(record: &NewRecord<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let len = record.encode_into(&mut bytes).unwrap();
    assert_eq!(len, bytes.len());
    assert_eq!(record.encoded_len().unwrap(), len);
    seal(&mut bytes, 41, 4096, 1_700_000_000_456).unwrap();
    bytes
}

/// A record as RocketMQ writes it by default, without the whole-record checksum.
fn apache_plain(topic: &str, body: &[u8], properties: &[u8]) -> Vec<u8> {
    let mut bytes = sealed(&sample(topic, body, properties));
    bytes.truncate(bytes.len() - CHECKSUM_LEN);
    let at = bytes.len() - properties.len() - 2;
    bytes[at..at + 2].copy_from_slice(&(properties.len() as u16).to_be_bytes());
    let size = bytes.len() as u32;
    bytes[..4].copy_from_slice(&size.to_be_bytes());
    bytes
}

#[test]
fn body_checksum_matches_java() {
    assert_eq!(checksum(b"a"), 1_756_872_259);
}

#[test]
fn fields_stand_where_apache_puts_them() {
    let bytes = sealed(&sample("T", b"a", b"k\x01v\x02"));
    assert_eq!(bytes.len(), 91 + 1 + 1 + 4 + CHECKSUM_LEN);
    assert_eq!(bytes[4..8], MAGIC_V1.to_be_bytes());
    assert_eq!(bytes[8..12], 1_756_872_259_u32.to_be_bytes());
    assert_eq!(bytes[12..16], 3_u32.to_be_bytes());
    assert_eq!(bytes[16..20], (-7_i32).to_be_bytes());
    assert_eq!(bytes[20..28], 41_u64.to_be_bytes());
    assert_eq!(bytes[28..36], 4096_u64.to_be_bytes());
    assert_eq!(bytes[36..40], 1_u32.to_be_bytes());
    assert_eq!(bytes[48..56], [10, 0, 0, 1, 0, 0, 0x13, 0x88]);
    assert_eq!(bytes[56..64], 1_700_000_000_456_i64.to_be_bytes());
    assert_eq!(bytes[64..72], [127, 0, 0, 1, 0, 0, 0x2A, 0x9F]);
    assert_eq!(bytes[84..88], 1_u32.to_be_bytes());
    assert_eq!(bytes[88], b'a');
    assert_eq!(bytes[89..91], [1, b'T']);
    assert_eq!(bytes[91..93], 24_u16.to_be_bytes());
}

#[test]
fn checksum_is_the_last_property_with_reversed_digits() {
    let bytes = sealed(&sample("T", b"body", b"k\x01v"));
    let (covered, tail) = bytes.split_at(bytes.len() - CHECKSUM_LEN);
    let decimal = format!("{:010}", checksum(covered));
    let reversed: String = decimal.chars().rev().collect();
    assert_eq!(tail, format!("__CRC32#\u{1}{reversed}\u{2}").as_bytes());
    assert!(covered.ends_with(b"k\x01v\x02"), "a missing last separator is added");
}

#[test]
fn stale_checksum_property_is_replaced() {
    let text = b"a\x011\x02__CRC32#\x011234567890\x02b\x012\x02";
    let bytes = sealed(&sample("T", b"body", text));
    let view = RecordView::parse(&bytes).unwrap();
    view.verify().unwrap();
    assert!(view.properties.starts_with("a\u{1}1\u{2}b\u{1}2\u{2}__CRC32#\u{1}"));
    assert_eq!(view.properties.matches("__CRC32#").count(), 1);
    // What a consumer hands back round-trips without growing.
    let again = sealed(&sample("T", b"body", view.properties.as_bytes()));
    assert_eq!(again.len(), bytes.len());
}

#[test]
fn record_without_checksum_parses_and_verifies() {
    for properties in [&b""[..], b"k\x01v\x02"] {
        let mut bytes = apache_plain("Topic", b"hello", properties);
        let view = RecordView::parse(&bytes).unwrap();
        assert_eq!((view.topic, view.body, view.properties.as_bytes()), ("Topic", &b"hello"[..], properties));
        view.verify().unwrap();
        bytes[88] ^= 1;
        let damaged = RecordView::parse(&bytes).unwrap().verify();
        assert!(matches!(damaged, Err(RecordError::Checksum { what: "body", .. })));
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let bytes = sealed(&sample("Topic", b"some body", b"k\x01v\x02"));
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            let outcome = RecordView::parse(&damaged).and_then(|view| view.verify());
            assert!(outcome.is_err(), "byte {at} bit {bit}");
        }
    }
}

#[test]
fn ipv6_hosts_set_their_bits_and_mapped_ones_do_not() {
    let mut record = sample("T", b"b", b"");
    record.sys_flag = sysflag::STORE_HOST_V6;
    record.born_host = "[2001:db8::1]:9".parse().unwrap();
    record.store_host = "[::ffff:10.1.2.3]:10".parse().unwrap();
    let bytes = sealed(&record);
    let view = RecordView::parse(&bytes).unwrap();
    view.verify().unwrap();
    assert_eq!(view.sys_flag, sysflag::BORN_HOST_V6);
    assert_eq!(view.born_host, record.born_host);
    assert_eq!(view.store_host, "10.1.2.3:10".parse().unwrap());
    assert_eq!(view.store_timestamp, 1_700_000_000_456);
}

#[test]
fn long_topics_use_the_second_format() {
    for (len, magic) in [(127, MAGIC_V1), (128, MAGIC_V2), (300, MAGIC_V2)] {
        let topic = "t".repeat(len);
        let bytes = sealed(&sample(&topic, b"b", b""));
        assert_eq!(bytes[4..8], magic.to_be_bytes());
        let view = RecordView::parse(&bytes).unwrap();
        view.verify().unwrap();
        assert_eq!(view.topic, topic);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut out = Vec::new();
    let long = vec![b'p'; SHORT_MAX];
    assert!(matches!(sample("T", b"", &long).encode_into(&mut out), Err(RecordError::TooLong { .. })));
    let topic = "t".repeat(SHORT_MAX + 1);
    assert!(matches!(sample(&topic, b"", b"").encode_into(&mut out), Err(RecordError::TooLong { .. })));
    assert!(matches!(sample("", b"", b"").encode_into(&mut out), Err(RecordError::Field(_))));
    assert!(matches!(sample("T", b"", b"k\x01\xFF\x02").encode_into(&mut out), Err(RecordError::Field(_))));
    assert!(out.is_empty(), "nothing is written when nothing fits");
}

#[test]
fn fillers_and_ends_are_told_apart() {
    assert_eq!(next_entry(&[]), Ok(Entry::End));
    assert_eq!(next_entry(&[0; 3]), Ok(Entry::End));
    assert_eq!(next_entry(&[0; 100]), Ok(Entry::End));
    assert_eq!(next_entry(&encode_filler(500).unwrap()), Ok(Entry::Filler { size: 500 }));
    assert_eq!(encode_filler(7), None);
    let mut lying = encode_filler(8).unwrap();
    lying[3] = 7;
    assert_eq!(next_entry(&lying), Err(RecordError::Size(7)));
    assert!(next_entry(&[1, 2, 3]).is_err());
}

#[test]
fn records_are_walked_to_filler_or_error() {
    let mut bytes = sealed(&sample("A", b"1", b""));
    bytes.extend(sealed(&sample("B", b"2", b"")));
    let walked: Vec<_> = records(&bytes).map(|view| view.unwrap().topic.to_owned()).collect();
    assert_eq!(walked, ["A", "B"]);
    let whole = bytes.len();
    bytes.extend(encode_filler(64).unwrap());
    assert_eq!(records(&bytes).count(), 2);
    bytes.truncate(whole - 1);
    let cut: Vec<_> = records(&bytes).collect();
    assert!(matches!(cut[..], [Ok(_), Err(RecordError::Truncated { .. })]));
}

#[test]
fn seal_refuses_foreign_bytes() {
    assert!(seal(&mut [], 0, 0, 0).is_err());
    assert!(seal(&mut [0, 0, 0, 4], 0, 0, 0).is_err());
    let mut plain = apache_plain("T", b"b", b"");
    assert!(seal(&mut plain, 0, 0, 0).is_err());
}

fn host() -> impl Strategy<Value = SocketAddr> {
    prop_oneof![
        (any::<[u8; 4]>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::from((ip, port))),
        (any::<[u16; 8]>(), any::<u16>()).prop_map(|(ip, port)| SocketAddr::from((ip, port))),
    ]
}

proptest! {
    #[test]
    fn written_is_read(
        topic in "[a-zA-Z0-9%_|-]{1,200}",
        (born_host, store_host) in (host(), host()),
        body in proptest::collection::vec(any::<u8>(), 0..300),
        properties in "([a-zA-Z]{1,8}\u{1}[a-z0-9é]{1,8}\u{2}){0,6}",
        (queue_id, flag, sys_flag) in (any::<u32>(), any::<i32>(), any::<u32>()),
        (queue_offset, physical_offset, store_timestamp) in (any::<u64>(), any::<u64>(), any::<i64>()),
    ) {
        let record = NewRecord {
            topic: &topic, queue_id, flag, sys_flag, born_timestamp: 1, born_host, store_host,
            reconsume_times: 0, prepared_offset: 0, body: &body, properties: properties.as_bytes(),
        };
        let mut bytes = vec![0xEE; 5];
        let len = record.encode_into(&mut bytes).unwrap();
        let bytes = &mut bytes[5..];
        prop_assert_eq!(bytes.len(), len);
        seal(bytes, queue_offset, physical_offset, store_timestamp).unwrap();
        let view = RecordView::parse(bytes).unwrap();
        prop_assert!(view.verify().is_ok());
        prop_assert_eq!(view.topic, topic.as_str());
        prop_assert_eq!(view.body, body.as_slice());
        prop_assert_eq!(view.properties.len(), properties.len() + CHECKSUM_LEN);
        prop_assert!(view.properties.starts_with(properties.as_str()));
        prop_assert_eq!((view.queue_id, view.flag), (queue_id, flag));
        prop_assert_eq!((view.queue_offset, view.physical_offset), (queue_offset, physical_offset));
        prop_assert_eq!(view.store_timestamp, store_timestamp);
        prop_assert_eq!((view.born_host, view.store_host), (canonical(born_host), canonical(store_host)));
    }

    #[test]
    fn garbage_is_refused_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = RecordView::parse(&bytes).map(|view| view.verify());
        prop_assert!(records(&bytes).count() <= bytes.len());
        let _ = seal(&mut bytes.clone(), 1, 2, 3);
    }

    #[test]
    fn damaged_records_are_refused_without_harm(at in 0_usize..140, value in any::<[u8; 4]>(), cut in 0_usize..140) {
        let mut bytes = sealed(&sample("Topic", b"some body here", b"k\x01v\x02"));
        for (place, byte) in bytes.iter_mut().skip(at).zip(value) {
            *place = byte;
        }
        let _ = RecordView::parse(&bytes).map(|view| view.verify());
        bytes.truncate(cut);
        prop_assert!(RecordView::parse(&bytes).is_err() || cut >= 134);
    }
}

/// The log files of a captured store, each with its name, which is the log offset of its first byte.
fn captured(store: &str) -> Vec<(u64, Vec<u8>)> {
    let dir = format!("{}/../tests/golden/records/{store}/commitlog", env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().parse().unwrap(), std::fs::read(path).unwrap()))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

#[test]
fn apaches_logs_are_read_and_written_back_byte_for_byte() {
    for store in ["plain", "checked"] {
        let mut count = 0;
        for (first, bytes) in captured(store) {
            let mut at = 0;
            while let Entry::Record(view) = next_entry(&bytes[at..]).unwrap() {
                view.verify().unwrap();
                assert_eq!(view.physical_offset, first + at as u64);
                let has_checksum = view.property(property::CRC32).is_some();
                assert_eq!(has_checksum, store == "checked");
                let ours = sealed_again(&view);
                if has_checksum {
                    assert_eq!(ours, view.bytes, "{}", view.topic);
                } else {
                    let fixed = 91 - 2 + view.body.len() + view.topic.len();
                    assert_eq!(ours[8..fixed], view.bytes[8..fixed], "{}", view.topic);
                    assert!(RecordView::parse(&ours).unwrap().properties.starts_with(view.properties));
                }
                at += view.size();
                count += 1;
            }
            let rest = next_entry(&bytes[at..]).unwrap();
            assert!(rest == Entry::End || rest == Entry::Filler { size: bytes.len() - at }, "{rest:?}");
        }
        assert!(count > 20, "{store} holds {count} records");
    }
}

fn sealed_again(view: &RecordView<'_>) -> Vec<u8> {
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
    record.encode_into(&mut bytes).unwrap();
    seal(&mut bytes, view.queue_offset, view.physical_offset, view.store_timestamp).unwrap();
    bytes
}
