//! Checks of half messages and notes as they are on the disk.

use super::*;

const HOST: &str = "127.0.0.1:10911";

fn parsed<T>(record: &NewRecord<'_>, look: impl FnOnce(RecordView<'_>) -> T) -> T {
    let mut bytes = Vec::new();
    record.encode_into(&mut bytes).unwrap();
    record::seal(&mut bytes, 7, 4_096, 1_000).unwrap();
    look(RecordView::parse(&bytes).unwrap())
}

fn half(properties: &str, body: &[u8], look: impl FnOnce(&Half<'_>)) {
    let own = "TRAN_MSG\u{1}true\u{2}PGROUP\u{1}P\u{2}REAL_TOPIC\u{1}orders\u{2}REAL_QID\u{1}3\u{2}UNIQ_KEY\u{1}K\u{2}TAGS\u{1}a\u{2}";
    let text = format!("{own}{properties}");
    let record = NewRecord {
        topic: name::HALF_TOPIC,
        body,
        properties: text.as_bytes(),
        sys_flag: sysflag::COMPRESSED,
        ..note("", 5, HOST.parse().unwrap())
    };
    parsed(&record, |view| look(&Half::of(view).unwrap()));
}

#[test]
fn a_note_is_read_as_it_is_written_and_as_rocketmq_writes_it() {
    let host = HOST.parse().unwrap();
    let body = note_body(123);
    parsed(&note(&body, 5, host), |view| assert_eq!(noted(&view).collect::<Vec<_>>(), [123]));
    for (body, offsets) in [("1,22,333,", vec![1, 22, 333]), ("9", vec![9]), ("", vec![]), ("x,-1,5,", vec![5])] {
        parsed(&note(body, 5, host), |view| assert_eq!(noted(&view).collect::<Vec<_>>(), offsets, "{body}"));
    }
    let stranger = NewRecord { properties: b"TAGS\x01e\x02", ..note("1,", 5, host) };
    parsed(&stranger, |view| assert_eq!(noted(&view).count(), 0));
}

#[test]
fn a_committed_message_is_the_half_message_under_its_own_topic() {
    half("", b"body", |half| {
        let place = half.place(18, 0).unwrap();
        parsed(&half.committed(&place, HOST.parse().unwrap()), |message| {
            assert_eq!((message.topic, message.queue_id, message.body), ("orders", 3, &b"body"[..]));
            assert_eq!(message.prepared_offset, 4_096);
            assert_eq!(message.sys_flag, sysflag::COMPRESSED | sysflag::TRANSACTION_COMMIT);
            let gone = [property::TRANSACTION_PREPARED, property::REAL_TOPIC, property::REAL_QUEUE_ID];
            assert!(gone.iter().all(|name| message.property(name).is_none()), "{}", message.properties);
            assert_eq!((message.property("UNIQ_KEY"), message.property("TAGS")), (Some("K"), Some("a")));
            message.verify().unwrap();
        });
    });
}

#[test]
fn a_delay_begins_with_the_commit() {
    half("DELAY\u{1}99\u{2}", b"", |half| {
        let place = half.place(18, 0).unwrap();
        parsed(&half.committed(&place, HOST.parse().unwrap()), |message| {
            assert_eq!((message.topic, message.queue_id), (name::SCHEDULE_TOPIC, 17));
            assert_eq!((message.property("REAL_TOPIC"), message.property("REAL_QID")), (Some("orders"), Some("3")));
        });
    });
}

#[test]
fn a_message_for_a_time_waits_for_it_once_committed() {
    half("TIMER_DELIVER_MS\u{1}7000\u{2}", b"", |half| {
        let place = half.place(18, 6_000).unwrap();
        parsed(&half.committed(&place, HOST.parse().unwrap()), |message| {
            assert_eq!((message.topic, message.queue_id), (name::TIMER_TOPIC, 0));
            assert_eq!((message.property("REAL_TOPIC"), message.property("REAL_QID")), (Some("orders"), Some("3")));
            assert_eq!(message.property("TIMER_OUT_MS"), Some("7000"));
        });
        assert_eq!(half.place(18, 8_000).unwrap().topic, "orders", "its time is over");
    });
}

#[test]
fn a_question_shows_the_half_message_under_its_own_topic() {
    half("CHECK_IMMUNITY_TIME_IN_SECONDS\u{1}5\u{2}", b"body", |half| {
        assert_eq!(half.immunity(), Some(5_000));
        let bytes = half.question(&half.properties_after(2).unwrap()).unwrap();
        let shown = RecordView::parse(&bytes).unwrap();
        shown.verify().unwrap();
        assert_eq!((shown.topic, shown.queue_id, shown.body), ("orders", 3, &b"body"[..]));
        assert_eq!((shown.queue_offset, shown.physical_offset, shown.store_timestamp), (7, 4_096, 1_000));
        assert_eq!((shown.prepared_offset, shown.sys_flag), (0, sysflag::COMPRESSED));
        assert_eq!((shown.property("TRANSACTION_CHECK_TIMES"), shown.property("PGROUP")), (Some("2"), Some("P")));
    });
}

#[test]
fn what_is_no_half_message_is_refused_with_the_reason() {
    let host = HOST.parse().unwrap();
    let of = |topic: &str, properties: &str| {
        let record = NewRecord { topic, properties: properties.as_bytes(), ..note("", 5, host) };
        parsed(&record, |view| Half::of(view).map(drop).unwrap_err())
    };
    assert_eq!(of("orders", ""), HalfError::Topic("orders".to_owned()));
    assert_eq!(of(name::HALF_TOPIC, ""), HalfError::Lacks("REAL_QID"));
    let text = "REAL_QID\u{1}x\u{2}REAL_TOPIC\u{1}t\u{2}PGROUP\u{1}P\u{2}";
    assert_eq!(of(name::HALF_TOPIC, text), HalfError::Lacks("REAL_QID"));
    assert_eq!(of(name::HALF_TOPIC, "REAL_QID\u{1}1\u{2}REAL_TOPIC\u{1}t\u{2}"), HalfError::Lacks("PGROUP"));
}
