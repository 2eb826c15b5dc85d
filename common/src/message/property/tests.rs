//! Properties against RocketMQ's reading rules and values seen from it.

use proptest::prelude::*;

use super::*;

#[test]
fn hashes_match_java() {
    assert_eq!(tag_hash("TagA"), 2_598_919);
    assert_eq!(tag_hash(""), 0);
    assert_eq!(tag_hash("polygenelubricants"), i64::from(i32::MIN), "a known string whose Java hash is the minimum");
    assert_eq!(key_hash("T", "k"), u32::try_from(("T#k").bytes().fold(0_i32, |h, b| h * 31 + i32::from(b))).unwrap());
    assert_eq!(key_hash("", ""), 35);
}

#[test]
fn hash_uses_utf16_units() {
    // U+1F600 is the pair D83D DE00.
    assert_eq!(tag_hash("\u{1F600}"), 0xD83D * 31 + 0xDE00);
}

#[test]
fn reads_as_java_reads() {
    let text = "a\u{1}1\u{2}b\u{1}\u{2}\u{1}x\u{2}noise\u{2}c\u{1}3\u{1}4\u{2}a\u{1}2";
    let entries: Vec<_> = iter(text).collect();
    assert_eq!(entries, [("a", "1"), ("c", "3\u{1}4"), ("a", "2")]);
    assert_eq!(get(text, "a"), Some("2"), "the last entry counts, and needs no last separator");
    assert_eq!(get(text, "b"), None);
}

#[test]
fn refuses_what_readers_would_misread() {
    let mut properties = Properties::new();
    assert_eq!(properties.push("", "v"), Err(PropertyError::EmptyName));
    assert!(matches!(properties.push("n", ""), Err(PropertyError::EmptyValue(_))));
    assert!(matches!(properties.push("n", "a\u{1}b"), Err(PropertyError::Separator(_))));
    assert!(matches!(properties.push("n\u{2}", "b"), Err(PropertyError::Separator(_))));
    assert_eq!(properties.as_str(), "");
}

#[test]
fn removes_and_replaces() {
    let text = "a\u{1}1\u{2}b\u{1}2\u{2}a\u{1}3\u{2}";
    assert_eq!(remove(text, "a"), "b\u{1}2\u{2}");
    assert_eq!(replace(text, "a", "9").unwrap(), "b\u{1}2\u{2}a\u{1}9\u{2}");
    assert_eq!(replace("", "n", "v").unwrap(), "n\u{1}v\u{2}");
}

proptest! {
    #[test]
    fn written_is_read(entries in proptest::collection::vec(("[^\u{1}\u{2}]{1,8}", "[^\u{1}\u{2}]{1,16}"), 0..12)) {
        let mut properties = Properties::new();
        for (name, value) in &entries {
            properties.push(name, value).unwrap();
        }
        let read: Vec<_> = iter(properties.as_str()).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        prop_assert_eq!(read, entries);
        prop_assert_eq!(Properties::parse(properties.as_str()), properties);
    }

    #[test]
    fn any_text_is_read_without_harm(text in any::<String>(), name in any::<String>()) {
        let _ = get(&text, &name);
        let clean = Properties::parse(&text);
        prop_assert!(iter(&text).eq(iter(clean.as_str())));
        let _ = remove(&text, &name);
    }
}
