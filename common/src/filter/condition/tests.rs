use proptest::prelude::*;

use super::*;

const PROPERTIES: &str = "a\u{1}5\u{2}s\u{1}it's\u{2}ts\u{1}1700000000000\u{2}empty\u{1}\u{2}";

fn result(text: &str) -> String {
    match Condition::parse(text) {
        Ok(condition) => match condition.evaluate(PROPERTIES) {
            Ok(Some(truth)) => truth.to_string(),
            Ok(None) => "unknown".to_owned(),
            Err(unfit) => unfit.to_string(),
        },
        Err(error) => error.to_string(),
    }
}

#[test]
fn errors_name_place_and_cure() {
    let cases = [
        ("", "at character 1: expected a property, a number"),
        ("a > AND b", "at character 5: expected a property, a number"),
        ("a = 1 b", "at character 7: expected AND, OR, a comparison or the end, found 'b'"),
        ("s = 'ü' LIKE 'x'", "at character 9: expected AND, OR, a comparison or the end (there is no LIKE"),
        ("a + 1 > 2", "at character 3: expected AND, OR, a comparison or the end (there is no arithmetic"),
        ("a = 'x", "at character 5: a text begins here that has no closing quote"),
        ("a = \"x\"", "at character 5: '\"' is no part of a condition; put a text in single quotes"),
        ("a != 1", "at character 3: '!' is no part of a condition; 'not equal' is written <>"),
        ("a = NULL", "at character 5: nothing equals NULL; write IS NULL"),
        ("a > 'x'", "at character 5: a text can be compared with = and <> only"),
        ("a BETWEEN 3 AND 1", "at character 11: the first end of BETWEEN is greater"),
        ("a BETWEEN 3 OR 1", "at character 13: expected AND between the two ends of BETWEEN, found 'OR'"),
        ("a IN (1)", "at character 7: expected a text in single quotes, found '1'"),
        ("NOT a IN ('x')", "at character 1: IN wants a property before it"),
        ("a NOT 1", "at character 7: expected BETWEEN, IN, CONTAINS, STARTSWITH or ENDSWITH after NOT, found '1'"),
        ("a IS 1", "at character 6: expected NULL or NOT NULL after IS, found '1'"),
        ("(a = 1", "at character 7: expected AND, OR, a comparison or ), found the end"),
        ("a = 1 AND 5", "at character 11: this is a value and no condition"),
        ("a = 99999999999999999999", "at character 5: '99999999999999999999' is beyond 64 bits"),
        ("a = 1e400", "at character 5: '1e400' is too large"),
        ("a = 1 /* x", "at character 7: a comment begins here that has no end"),
    ];
    for (text, expected) in cases {
        let shown = result(text);
        assert!(shown.starts_with(expected), "{text}: {shown}");
    }
}

#[test]
fn what_cannot_be_compared_says_why() {
    assert_eq!(
        result("ts > 0"),
        "'1700000000000' is compared with a whole number of 32 bits; write the number with a point, such as 5.0, to compare any numbers"
    );
    assert_eq!(result("ts > 0.0"), "true");
    assert_eq!(result("ts > 1699999999999"), "true");
    assert_eq!(result("s = 'it''s' AND a BETWEEN 1 AND 5"), "true");
    assert_eq!(result("a < 5. OR s > 1.5"), "'it's' is compared with a number");
    assert_eq!(result("empty = 'x'"), "unknown");
}

#[test]
fn depth_and_length_have_limits() {
    let nested = |depth: usize| format!("{}a = 5{}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(result(&nested(100)), "true");
    assert_eq!(result(&nested(101)), "at character 101: more than 100 parentheses and signs within one another");
    assert_eq!(result(&format!("{}TRUE", "NOT ".repeat(100))), "true");
    assert!(result(&"(".repeat(60_000)).starts_with("at character 101: more than 100"));
    assert_eq!(result(&format!("a{}", " IS NULL".repeat(399))), "false");
    assert!(result(&format!("a{}", " IS NULL".repeat(5_000))).contains("more than 400 operators"));
    assert_eq!(result(&vec!["a = 5"; 5_000].join(" AND ")), "true", "a long chain is not a deep one");
    assert!(result(&"a = 5 OR ".repeat(8_000)).contains("may have 65536 bytes, this one has 72000"));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in r"(\(|\)|[abs_$]|NOT | AND | or | in |BETWEEN| is |null|true| contains |'[ab']*'|[0-9.]{1,3}|e5|[-+=<>,]| |--|/\*|\*/|\n|ü){0,25}",
        properties in "([abs]\u{1}('|[ab0-9.]){0,3}\u{2}){0,3}") {
        match Condition::parse(&text) {
            Ok(condition) => drop(condition.evaluate(&properties)),
            Err(error) => {
                prop_assert!(error.at >= 1 && error.at <= text.chars().count() + 1);
                prop_assert!(error.complaint.len() < 250, "{}", error);
            }
        }
    }
}
