//! Registrations in RocketMQ's deflated form: as Apache writes them, cut anywhere, and unfolding without end.

use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::protocol::body::register::RegisterBody;
use crate::protocol::body::topic::{DataVersion, TopicConfig, TopicTable};

fn piece(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as i32).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// As a broker of RocketMQ 5 writes it, before it is deflated.
fn written(table: &TopicTable, filters: &[String]) -> Vec<u8> {
    let mut out = Vec::new();
    piece(&mut out, &serde_json::to_string(&table.data_version).unwrap());
    out.extend_from_slice(&(table.topic_config_table.len() as i32).to_be_bytes());
    for topic in table.topic_config_table.values() {
        let (read, write, perm) = (topic.read_queue_nums, topic.write_queue_nums, topic.perm);
        let attributes = serde_json::to_string(&topic.attributes).unwrap();
        piece(
            &mut out,
            &format!("{} {read} {write} {perm} {} {attributes}", topic.topic_name, topic.topic_filter_type),
        );
    }
    piece(&mut out, &serde_json::to_string(filters).unwrap());
    // Mappings of static topics, from 5.0 on.
    out.extend_from_slice(&0_i32.to_be_bytes());
    out
}

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn table() -> impl Strategy<Value = TopicTable> {
    let version = (any::<i64>(), any::<i64>(), any::<i64>());
    let topic =
        ("[a-zA-Z0-9%_-]{1,12}", any::<[i32; 3]>(), prop::collection::btree_map("[a-z.]{1,6}", "[a-z +]{0,6}", 0..3));
    (version, vec(topic, 0..6)).prop_map(|((counter, state_version, timestamp), topics)| {
        let topics = topics.into_iter().map(|(name, [read, write, perm], attributes)| {
            let config = TopicConfig::new(name.clone(), read, perm);
            (name, TopicConfig { write_queue_nums: write, attributes, ..config })
        });
        TopicTable {
            data_version: DataVersion { counter, state_version, timestamp },
            topic_config_table: topics.collect(),
            ..TopicTable::default()
        }
    })
}

proptest! {
    #[test]
    fn both_forms_hold_the_same(table in table(), filters in vec("[a-z:0-9]{1,9}", 0..3)) {
        let body = RegisterBody { filter_server_list: filters.clone(), topic_config_serialize_wrapper: table.clone() };
        let plain = serde_json::to_vec(&body).unwrap();
        prop_assert_eq!(RegisterBody::decode(&plain, false), Ok(body.clone()));
        prop_assert_eq!(RegisterBody::decode(&deflated(&written(&table, &filters)), true), Ok(body));
    }

    #[test]
    fn any_bytes_are_refused_in_few_words(bytes in vec(any::<u8>(), 1..200), inside in any::<bool>()) {
        let body = if inside { deflated(&bytes) } else { bytes };
        for compressed in [true, false] {
            if let Err(error) = RegisterBody::decode(&body, compressed) {
                prop_assert!(error.to_string().len() < 250, "{}", error);
            }
        }
    }
}

fn sample() -> Vec<u8> {
    let mut table = TopicTable::default();
    for name in ["first", "second"] {
        table.topic_config_table.insert(name.to_owned(), TopicConfig::new(name, 4, 6));
    }
    written(&table, &[])
}

#[test]
fn a_registration_cut_anywhere_is_refused() {
    let whole = sample();
    // The filter servers and what follows them are a relic; everything before has to be there.
    let needed = whole.len() - 4 - "[]".len() - 4;
    for length in 0..needed {
        let cut = deflated(&whole[..length]);
        assert!(RegisterBody::decode(&cut, true).is_err(), "{length} of {}", whole.len());
    }
    let stream = deflated(&whole);
    for length in 1..stream.len() - 4 {
        assert!(RegisterBody::decode(&stream[..length], true).is_err(), "{length} bytes of the stream");
    }
}

#[test]
fn counts_and_lengths_that_lie_are_refused_at_once() {
    for (version, count, length) in [("{}", i32::MAX, 4), ("{}", -1, 4), ("{}", 1, i32::MAX), ("{}", 1, -4), ("", 0, 0)]
    {
        let mut body = Vec::new();
        piece(&mut body, version);
        body.extend_from_slice(&count.to_be_bytes());
        body.extend_from_slice(&length.to_be_bytes());
        assert!(RegisterBody::decode(&deflated(&body), true).is_err(), "{version} {count} {length}");
    }
}

#[test]
fn a_bomb_is_refused_by_its_size() {
    let bomb = deflated(&vec![0; 65 << 20]);
    assert!(bomb.len() < 100 << 10);
    let error = RegisterBody::decode(&bomb, true).unwrap_err().to_string();
    assert!(error.contains("more than"), "{error}");
}

#[test]
fn topics_that_do_not_parse_are_shown_in_part() {
    for text in ["", "T", "T 1 2", "T 1 2 x SINGLE_TAG {}", " 4 4 6", "T 4 4 6 SINGLE_TAG {", &"x".repeat(1 << 20)] {
        let mut body = Vec::new();
        piece(&mut body, "{}");
        body.extend_from_slice(&1_i32.to_be_bytes());
        piece(&mut body, text);
        piece(&mut body, "[]");
        let error = RegisterBody::decode(&deflated(&body), true).unwrap_err().to_string();
        assert!(error.len() < 250, "{} bytes", error.len());
    }
}
