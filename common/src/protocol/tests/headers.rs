//! Every header in every encoding: there and back, in foreign spellings, of other ages, and with fields that are not right.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::fill::Kind;
use super::table::{HEADERS, Header};
use crate::protocol::fields::FieldError;
use crate::protocol::frame::{Encoding, Frame};

const ALL: [Encoding; 3] = [Encoding::Json, Encoding::Binary, Encoding::MessagePack];

/// The whole value of a header, whatever encoding it came in: MessagePack leaves nothing out.
fn value(header: &Header, frame: &Frame) -> Result<Bytes, FieldError> {
    (header.again)(frame, Encoding::MessagePack).map(|frame| frame.raw_fields)
}

fn object(frame: &Frame) -> Map<String, Value> {
    serde_json::from_slice(&frame.raw_fields).unwrap()
}

fn json_frame(fields: &Map<String, Value>) -> Frame {
    let mut frame = Frame::request(1, Encoding::Json);
    frame.raw_fields = serde_json::to_vec(fields).unwrap().into();
    frame
}

fn binary_frame(fields: &Map<String, Value>) -> Frame {
    let mut raw = Vec::new();
    for (key, value) in fields {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        raw.extend_from_slice(&(key.len() as i16).to_be_bytes());
        raw.extend_from_slice(key.as_bytes());
        raw.extend_from_slice(&(text.len() as i32).to_be_bytes());
        raw.extend_from_slice(text.as_bytes());
    }
    let mut frame = Frame::request(1, Encoding::Binary);
    frame.raw_fields = raw.into();
    frame
}

fn array(frame: &Frame) -> Vec<Value> {
    rmp_serde::from_slice(&frame.raw_fields).unwrap()
}

fn array_frame(fields: &[Value]) -> Frame {
    let mut frame = Frame::request(1, Encoding::MessagePack);
    frame.raw_fields = rmp_serde::to_vec(fields).unwrap().into();
    frame
}

/// A refusal that names the field in words short enough for a remark.
fn names(refused: Result<Bytes, FieldError>, header: &Header, field: &str) {
    let text = refused.expect_err(field).to_string();
    assert!(text.contains(&format!("'{field}'")), "{}: '{text}' does not name '{field}'", header.name);
    assert!(text.len() < 200, "{text}");
}

/// Every field present.
fn whole(header: &Header, encoding: Encoding) -> Frame {
    (header.filled)(&[1; 256], encoding)
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_the_same(bytes in vec(any::<u8>(), 0..300)) {
        for header in HEADERS {
            let first = (header.filled)(&bytes, Encoding::MessagePack).raw_fields;
            for encoding in ALL {
                let frame = (header.filled)(&bytes, encoding);
                prop_assert_eq!(value(header, &frame), Ok(first.clone()), "{} {:?}", header.name, encoding);
            }
        }
    }

    #[test]
    fn numbers_and_truth_values_may_stand_without_quotes(bytes in vec(any::<u8>(), 0..300), one in any::<bool>()) {
        for header in HEADERS {
            let frame = (header.filled)(&bytes, Encoding::Json);
            let mut fields = object(&frame);
            for field in (header.fields)() {
                let Some(value) = fields.get_mut(field.name) else { continue };
                let text = value.as_str().unwrap().to_owned();
                match field.kind {
                    Kind::Number => *value = serde_json::from_str(&text).unwrap(),
                    Kind::Truth if one => *value = json!(i32::from(text == "true")),
                    Kind::Truth => *value = json!(text == "true"),
                    Kind::Text => {}
                }
            }
            prop_assert_eq!(value(header, &json_frame(&fields)), value(header, &frame), "{}", header.name);
        }
    }

    #[test]
    fn unknown_fields_of_any_form_are_skipped(bytes in vec(any::<u8>(), 0..200), name in "[a-z_]{6,9}") {
        for header in HEADERS {
            let frame = (header.filled)(&bytes, Encoding::Json);
            let mut fields = object(&frame);
            fields.insert(format!("x{name}"), json!({"nested": [1, {"deeper": null}]}));
            fields.insert(format!("y{name}"), json!(null));
            prop_assert_eq!(value(header, &json_frame(&fields)), value(header, &frame), "{}", header.name);
            fields.insert(format!("x{name}"), json!("text"));
            prop_assert_eq!(value(header, &binary_frame(&fields)), value(header, &frame), "{}", header.name);
        }
    }

    #[test]
    fn newer_senders_may_append(bytes in vec(any::<u8>(), 0..300), more in vec(0_u8..4, 1..5)) {
        for header in HEADERS {
            let frame = (header.filled)(&bytes, Encoding::MessagePack);
            let mut fields = array(&frame);
            fields.extend(more.iter().map(|kind| match kind {
                0 => json!(null),
                1 => json!("more"),
                2 => json!([1, [2, "three"]]),
                _ => json!({"a": 1}),
            }));
            prop_assert_eq!(value(header, &array_frame(&fields)), value(header, &frame), "{}", header.name);
        }
    }

    #[test]
    fn any_bytes_are_refused_in_few_words(bytes in vec(any::<u8>(), 0..200), kind in 0_usize..3) {
        let mut frame = Frame::request(1, ALL[kind]);
        frame.raw_fields = bytes.into();
        for header in HEADERS {
            if let Err(error) = value(header, &frame) {
                let text = error.to_string();
                prop_assert!(!text.is_empty() && text.len() < 200, "{}", text);
            }
        }
    }

    #[test]
    fn damaged_fields_do_no_harm(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        for header in HEADERS {
            for encoding in ALL {
                let mut frame = whole(header, encoding);
                let mut raw = frame.raw_fields.to_vec();
                let place = at.index(raw.len().max(1));
                if cut { raw.truncate(place) } else if let Some(target) = raw.get_mut(place) { *target = byte }
                frame.raw_fields = raw.into();
                let _ = value(header, &frame);
            }
        }
    }
}

#[test]
fn exactly_the_required_fields_are_missed_by_name() {
    for header in HEADERS {
        let known: Vec<_> = (header.fields)().iter().map(|field| field.name).collect();
        assert!(header.required.iter().all(|name| known.contains(name)), "{}: {known:?}", header.name);
        let all = object(&whole(header, Encoding::Json));
        assert_eq!(all.len(), known.len(), "{}", header.name);
        for name in known {
            let mut fields = all.clone();
            fields.remove(name);
            for frame in [json_frame(&fields), binary_frame(&fields)] {
                let read = value(header, &frame);
                if header.required.contains(&name) {
                    names(read, header, name);
                } else {
                    assert!(read.is_ok(), "{}: '{name}' is optional: {read:?}", header.name);
                }
            }
        }
    }
}

#[test]
fn older_senders_may_leave_optional_fields_off_the_end() {
    for header in HEADERS {
        let known = (header.fields)();
        let all = array(&whole(header, Encoding::MessagePack));
        for length in 0..=all.len() {
            let read = value(header, &array_frame(&all[..length]));
            let missing = known[length..].iter().find(|field| header.required.contains(&field.name));
            match missing {
                Some(field) => names(read, header, field.name),
                None => assert!(read.is_ok(), "{} with {length}: {read:?}", header.name),
            }
        }
    }
}

#[test]
fn a_header_without_any_fields_reads_as_one_with_none() {
    for header in HEADERS {
        for (encoding, raw) in [(0, ""), (0, "null"), (0, "{}"), (1, ""), (2, ""), (2, "\u{0}")] {
            let mut frame = Frame::request(1, ALL[encoding]);
            frame.raw_fields = if raw == "\0" { Bytes::from_static(&[0x90]) } else { raw.into() };
            let read = value(header, &frame);
            match header.required.first() {
                Some(field) => names(read, header, field),
                None => assert!(read.is_ok(), "{}: {read:?}", header.name),
            }
        }
    }
}

#[test]
fn ill_typed_fields_are_named_in_text_encodings() {
    let long = "9".repeat(100_000);
    for header in HEADERS {
        for field in (header.fields)() {
            let wrong: &[Value] = match field.kind {
                Kind::Number => {
                    &[json!("many"), json!("1.5"), json!(1.5), json!(true), json!([]), json!({"a": 1}), json!(long)]
                }
                Kind::Truth => &[json!("maybe"), json!(2), json!([true]), json!({})],
                Kind::Text => &[json!([]), json!({"a": "b"})],
            };
            for bad in wrong {
                let mut fields = object(&whole(header, Encoding::Json));
                fields.insert(field.name.to_owned(), bad.clone());
                names(value(header, &json_frame(&fields)), header, field.name);
                if !bad.is_array() && !bad.is_object() {
                    names(value(header, &binary_frame(&fields)), header, field.name);
                }
            }
        }
    }
}

#[test]
fn ill_typed_fields_are_named_in_messagepack() {
    let long = "x".repeat(100_000);
    for header in HEADERS {
        for (at, field) in (header.fields)().iter().enumerate() {
            let wrong: &[Value] = match field.kind {
                Kind::Number => &[json!("5"), json!(1.5), json!([1]), json!(true), json!(long), json!(u64::MAX)],
                Kind::Truth => &[json!("true"), json!(1), json!([]), json!(long)],
                Kind::Text => &[json!(5), json!(["a"]), json!({"a": 1}), json!(false)],
            };
            for bad in wrong {
                let mut fields = array(&whole(header, Encoding::MessagePack));
                fields[at] = bad.clone();
                names(value(header, &array_frame(&fields)), header, field.name);
            }
            if header.required.contains(&field.name) {
                let mut fields = array(&whole(header, Encoding::MessagePack));
                fields[at] = Value::Null;
                names(value(header, &array_frame(&fields)), header, field.name);
            }
        }
    }
}

#[test]
fn empty_texts_of_optional_fields_count_as_absent_in_text_encodings() {
    for header in HEADERS {
        let all = object(&whole(header, Encoding::Json));
        for field in (header.fields)().iter().filter(|field| !header.required.contains(&field.name)) {
            let (mut without, mut empty, mut null) = (all.clone(), all.clone(), all.clone());
            without.remove(field.name);
            empty.insert(field.name.to_owned(), json!(""));
            null.insert(field.name.to_owned(), json!(null));
            let Ok(expected) = value(header, &json_frame(&without)) else { panic!("{}", header.name) };
            for frame in [json_frame(&empty), json_frame(&null), binary_frame(&empty)] {
                assert_eq!(value(header, &frame).as_ref(), Ok(&expected), "{}: {}", header.name, field.name);
            }
        }
    }
}

#[test]
fn cpp_clients_send_numbers_for_texts_and_texts_for_numbers() {
    let mut frame = Frame::request(310, Encoding::Json);
    frame.raw_fields = Bytes::from_static(
        br#"{"a":7,"b":"t\u0001\u00e9\ud83d\ude00","c":"TBW102","d":4,"e":-1,"f":0,"g":" 1700000000000 ","h":0,"i":"","j":"0","k":"false","l":0,"m":false}"#,
    );
    let header: crate::protocol::header::send::SendRequestV2<'_> = frame.fields().unwrap();
    assert_eq!((header.producer_group.as_ref(), header.topic.as_ref()), ("7", "t\u{1}é😀"));
    assert_eq!((header.queue_id, header.born_timestamp, header.properties), (-1, 1_700_000_000_000, None));
    assert_eq!((header.unit_mode, header.batch, header.broker_name), (Some(false), Some(false), None));
}

#[test]
fn our_answers_carry_texts_only() {
    for header in HEADERS {
        let fields = object(&whole(header, Encoding::Json));
        assert!(fields.values().all(Value::is_string), "C++ clients read nothing else: {fields:?}");
    }
}

#[test]
fn deep_nesting_in_unknown_fields_is_refused_without_harm() {
    let header = HEADERS.iter().find(|header| header.name.contains("RouteRequest")).unwrap();
    let mut frame = Frame::request(1, Encoding::Json);
    frame.raw_fields = format!(r#"{{"topic":"t","x":{}}}"#, "[".repeat(1 << 20)).into();
    assert!(value(header, &frame).is_err());
    for bomb in [vec![0x91; 1 << 20], [&[0x92, 0xa1, b't'][..], &vec![0x91; 1 << 20]].concat(), vec![0x81; 1 << 20]] {
        frame = Frame::request(1, Encoding::MessagePack);
        frame.raw_fields = bomb.into();
        let _ = value(header, &frame);
    }
}

#[test]
fn lying_lengths_take_no_memory() {
    // Texts, arrays and maps that claim 4 GiB each.
    for bomb in
        [&[0x91, 0xdb, 0xff, 0xff, 0xff, 0xff][..], &[0xdd, 0xff, 0xff, 0xff, 0xff], &[0xdf, 0xff, 0xff, 0xff, 0xff]]
    {
        for header in HEADERS {
            let mut frame = Frame::request(1, Encoding::MessagePack);
            frame.raw_fields = Bytes::copy_from_slice(bomb);
            assert!(value(header, &frame).is_err() || header.required.is_empty(), "{}", header.name);
        }
    }
}
