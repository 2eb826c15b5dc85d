//! Conditions evaluated by Apache RocketMQ (`filters/table`, written by `tests/peer/Filters.java`) and by us.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use orbitmq_common::filter::condition::Condition;

/// Where ours differs on purpose. RocketMQ takes text behind a condition for none, and so a condition that nobody wrote.
const TRAILING: &str = "text behind a condition is refused, for it was meant to do something";
const ZERO: &str = "0.0 is a number like others";
const DIFFERENCES: [(&str, &str); 13] = [
    ("(a = 1))", TRAILING),
    ("a = 'it's'", TRAILING),
    ("a-b = 1", TRAILING),
    ("a = 1 b = 2", TRAILING),
    ("a = 1 2", TRAILING),
    ("a LIKE 'x%'", TRAILING),
    ("a + 1 > 2", TRAILING),
    ("a = 007", TRAILING),
    ("a = 0L", TRAILING),
    ("a = 0x10", TRAILING),
    ("a = 5d", TRAILING),
    ("a = 12abc", TRAILING),
    ("price > 1.5f", TRAILING),
];
const ZEROES: [&str; 3] = ["a > 0.0", "a >= 0.0", "price = 0.0"];

fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/filters").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Properties as records carry them, one text a line of the file.
fn messages() -> Vec<String> {
    let line = |line: &str| {
        line.split('\t').filter_map(|entry| entry.split_once('=')).fold(String::new(), |mut text, (name, value)| {
            write!(text, "{name}\u{1}{value}\u{2}").unwrap();
            text
        })
    };
    file("properties").lines().map(line).collect()
}

fn unescape(line: &str) -> String {
    line.replace("\\n", "\n").replace("\\r", "\r").replace("\\t", "\t").replace("\\f", "\u{c}").replace("\\\\", "\\")
}

/// What ours says, in the letters of the table.
fn ours(expression: &str, messages: &[String]) -> String {
    let Ok(condition) = Condition::parse(&unescape(expression)) else { return "refused".to_owned() };
    let letter = |properties: &String| match condition.evaluate(properties) {
        Ok(Some(true)) => 'T',
        Ok(Some(false)) => 'F',
        Ok(None) => 'N',
        Err(_) => 'E',
    };
    messages.iter().map(letter).collect()
}

/// A table other than the golden one, such as one of random conditions, is taken from ORBITMQ_FILTER_TABLE.
#[test]
fn conditions_say_what_they_say_in_rocketmq() {
    let given = std::env::var_os("ORBITMQ_FILTER_TABLE");
    let table = given.as_ref().map_or_else(|| file("table"), |path| std::fs::read_to_string(path).unwrap());
    let messages = messages();
    let mut differences: BTreeMap<&str, (&str, String)> = BTreeMap::new();
    let mut compared = 0;
    for line in table.lines() {
        let (reference, expression) = line.split_once('\t').unwrap();
        let ours = ours(expression, &messages);
        compared += 1;
        if ours != reference {
            differences.insert(expression, (reference, ours));
        }
    }
    if given.is_none() {
        assert!(compared >= 200, "{compared}");
        for (expression, why) in DIFFERENCES {
            assert_eq!(
                differences.remove(expression).map(|(_, ours)| ours).as_deref(),
                Some("refused"),
                "{expression}: {why}"
            );
        }
        for expression in ZEROES {
            assert_eq!(
                differences.remove(expression).map(|(reference, _)| reference),
                Some("refused"),
                "{expression}: {ZERO}"
            );
        }
    }
    println!("{compared} conditions on {} messages", messages.len());
    assert!(differences.is_empty(), "reference, ours: {differences:#?}");
}
