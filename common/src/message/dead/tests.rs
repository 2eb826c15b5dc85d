use super::*;

const PLACE: Origin<'_> = Origin { broker: "a", queue: 3, offset: 41 };

#[test]
fn the_first_return_tells_the_place_and_the_last_one_the_reason() {
    let mut properties = Properties::parse("KEYS\u{1}k\u{2}");
    note_return(&mut properties, &PLACE, Some("no\nroom\u{2}"));
    assert_eq!(Origin::of(properties.as_str()), Some(PLACE));
    assert_eq!(properties.get(property::RETURN_REASON), Some("no room"));

    properties.set(property::RETRY_TOPIC, "T").unwrap();
    properties.set(property::ORIGIN_MESSAGE_ID, "id").unwrap();
    let elsewhere = Origin { broker: "b", queue: 0, offset: 0 };
    note_return(&mut properties, &elsewhere, None);
    assert_eq!(properties.get(property::RETURN_REASON), Some("no room"));
    note_return(&mut properties, &elsewhere, Some("broken"));
    note_death(&mut properties, "g").unwrap();
    assert_eq!(Origin::of(properties.as_str()), Some(PLACE));
    let names =
        [property::RETURN_REASON, property::DEAD_GROUP, property::DLQ_ORIGIN_TOPIC, property::DLQ_ORIGIN_MESSAGE_ID];
    assert_eq!(names.map(|name| properties.get(name)), [Some("broken"), Some("g"), Some("T"), Some("id")]);
    assert_eq!(properties.get("KEYS"), Some("k"));
}

#[test]
fn a_message_sent_anew_has_another_life() {
    let mut properties = Properties::new();
    note_return(&mut properties, &PLACE, Some("first life"));
    note_return(&mut properties, &Origin { broker: "b", queue: 1, offset: 2 }, None);
    assert_eq!(Origin::of(properties.as_str()), Some(Origin { broker: "b", queue: 1, offset: 2 }));
    assert_eq!(properties.get(property::RETURN_REASON), None);
    forget(&mut properties);
    assert_eq!(properties.as_str(), "");
}

#[test]
fn what_has_no_room_is_left_out() {
    let mut properties = Properties::new();
    properties.set("LONG", &"x".repeat(SHORT_MAX - 1000)).unwrap();
    let before = properties.clone();
    note_return(&mut properties, &PLACE, Some("why"));
    assert_eq!(properties, before);
    assert_eq!(clean(&"ü".repeat(LONGEST_REASON)).len(), LONGEST_REASON);
    assert_eq!(clean("\u{1}\n"), "");
}
