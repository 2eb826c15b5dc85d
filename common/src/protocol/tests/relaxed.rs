//! JSON as RocketMQ's library writes it: the liberties are read, bombs and broken texts are refused.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::Value;

use super::fill::odd_text;
use crate::protocol::relaxed::{parse, to_strict};

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zA-Z_][a-zA-Z0-9_]{0,6}", vec(any::<u8>(), 0..6).prop_map(|bytes| odd_text(&bytes))]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i32>().prop_map(|number| Value::from(f64::from(number) / 4.0)),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::from),
            btree_map(text(), inner, 0..5).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Writes with liberties that `choice` picks.
fn write(value: &Value, choice: &mut impl Iterator<Item = u8>, out: &mut String) {
    let mut liberty = || choice.next().unwrap_or(0);
    match value {
        Value::String(text) => write_text(text, liberty(), out),
        Value::Array(all) => {
            out.push('[');
            for (at, one) in all.iter().enumerate() {
                out.push_str(if at > 0 { "," } else { "" });
                write(one, choice, out);
            }
            out.push(']');
        }
        Value::Object(all) => {
            out.push('{');
            for (at, (name, one)) in all.iter().enumerate() {
                let mut liberty = || choice.next().unwrap_or(0);
                out.push_str(if at > 0 { "," } else { "" });
                out.push_str(if liberty() % 4 == 1 { " \n" } else { "" });
                let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
                match liberty() {
                    pick if pick % 2 == 1 && plain => out.push_str(name),
                    pick => write_text(name, pick, out),
                }
                out.push_str(if liberty() % 4 == 1 { " : " } else { ":" });
                write(one, choice, out);
            }
            out.push('}');
        }
        other => out.push_str(&other.to_string()),
    }
}

fn write_text(text: &str, pick: u8, out: &mut String) {
    let quoted = serde_json::to_string(text).unwrap();
    if pick % 4 < 2 {
        return out.push_str(&quoted);
    }
    let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap();
    out.push('\'');
    out.push_str(&if pick % 8 < 4 {
        inner.replace('\'', "\\'").replace("\\\"", "\"")
    } else {
        inner.replace('\'', "\\'")
    });
    out.push('\'');
}

proptest! {
    #[test]
    fn liberties_do_not_change_the_value(value in value(), choices in vec(any::<u8>(), 0..60)) {
        let mut written = String::new();
        write(&value, &mut choices.into_iter(), &mut written);
        let read: Value = parse(written.as_bytes()).map_err(|error| TestCaseError::fail(format!("{written}: {error}")))?;
        prop_assert_eq!(&read, &value, "{}", written);
        let strict = to_strict(written.as_bytes()).unwrap();
        prop_assert_eq!(serde_json::from_slice::<Value>(&strict).unwrap(), value, "{}", written);
    }

    #[test]
    fn an_object_as_a_key_becomes_its_text(key in btree_map("[a-z]{1,4}", text(), 0..4), value in any::<i32>()) {
        let key = serde_json::to_string(&key).unwrap();
        let read: Value = parse(format!("{{{key}:{value}}}").as_bytes()).unwrap();
        prop_assert_eq!(read, serde_json::json!({ key: value }));
    }

    #[test]
    fn any_bytes_are_strict_json_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        check(&bytes)?;
    }

    #[test]
    fn any_marks_are_strict_json_or_refused(marks in vec(0_usize..16, 0..200)) {
        let bytes: Vec<u8> = marks.into_iter().map(|mark| b"{}[],:\"'\\ a1-\n\x01\xff"[mark]).collect();
        check(&bytes)?;
    }
}

fn check(bytes: &[u8]) -> Result<(), TestCaseError> {
    match parse::<Value>(bytes) {
        Ok(_) => {}
        Err(error) => prop_assert!(error.to_string().len() < 250, "{}", error),
    }
    if let Ok(strict) = to_strict(bytes) {
        prop_assert!(strict.len() <= 3 * bytes.len() + 2, "{} bytes grow to {}", bytes.len(), strict.len());
    }
    Ok(())
}

#[test]
fn deep_nesting_is_refused_before_it_costs() {
    for open in ["[", "{a:", "{\"a\":", "{{", "{[", "[{a:", "[[{b:{"] {
        let text = open.repeat((1 << 20) / open.len());
        assert!(parse::<Value>(text.as_bytes()).is_err(), "{open}");
        assert!(to_strict(text.as_bytes()).is_err(), "{open}");
    }
}

#[test]
fn objects_as_keys_of_objects_as_keys_do_not_explode() {
    // Each level of quoting would double the text.
    for depth in [2, 10, 40, 60] {
        let text = format!("{}{{\"a\":\"\\\\\"}}{}", "{".repeat(depth), ":1}".repeat(depth));
        let error = parse::<Value>(text.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("key"), "{error}");
    }
}

#[test]
fn broken_texts_say_where() {
    for (text, place) in [("", "0"), ("{a:1", "4"), ("{a 1}", "3"), ("[1]]", "3"), ("{'a", "3"), ("{:1}", "1")] {
        let error = to_strict(text.as_bytes()).unwrap_err().to_string();
        assert!(error.ends_with(&format!("at byte {place}")), "{text}: {error}");
    }
}

#[test]
fn values_of_another_type_are_refused_in_few_words() {
    let long = serde_json::to_vec(&"x".repeat(1 << 20)).unwrap();
    let error = parse::<u32>(&long).unwrap_err().to_string();
    assert!(error.len() < 250, "{} bytes", error.len());
}
