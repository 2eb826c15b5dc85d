//! Checks of receipts and of what they are made of.

use proptest::prelude::*;

use super::*;

#[test]
fn the_text_is_that_of_rocketmq() {
    // Put together by the Java client 5.5 (ExtraInfoUtil.buildExtraInfo) for a message of the retry topic.
    let text = "17 1764247836123 60000 3 1 broker-a 0 19";
    let receipt = Receipt {
        start: 17,
        pop_time: 1_764_247_836_123,
        invisible: 60_000,
        revive_queue: 3,
        origin: Origin::Retry,
        broker: "broker-a",
        queue: 0,
        offset: 19,
    };
    assert_eq!(Receipt::parse(text), Ok(receipt));
    assert_eq!(receipt.to_string(), text);
}

#[test]
fn an_answer_lists_queues_as_rocketmq_does() {
    let mut info = PopInfo::default();
    info.push(Origin::Retry, 0, 5, &[5]);
    info.push(Origin::Topic, 3, 100, &[100, 101, 104]);
    info.push_count(Origin::Topic, 3, 100, 2);
    info.push_queue_count(Origin::Topic, 3, 0);
    assert_eq!(info.start, "1 0 5;0 3 100");
    assert_eq!(info.offsets, "1 0 5;0 3 100,101,104");
    assert_eq!(info.counts, "0 qo3%100 2;0 3 0");
}

#[test]
fn origins_name_their_topics() {
    assert_eq!(Origin::of("T"), Origin::Topic);
    assert_eq!(Origin::of("%RETRY%g_T"), Origin::Retry);
    assert_eq!(Origin::of("%RETRY%g+T"), Origin::RetryV2);
    assert_eq!(Origin::real_topic("1", "T", "g").as_deref(), Some("%RETRY%g_T"));
    assert_eq!(Origin::real_topic("2", "T", "g").as_deref(), Some("%RETRY%g+T"));
    assert_eq!(Origin::real_topic("3", "T", "g"), None);
    for topic in ["T", "%RETRY%g_T", "%RETRY%g+T"] {
        assert_eq!(name::popped_topic(topic, "g"), "T");
    }
    assert_eq!(name::popped_topic("%RETRY%g", "g"), "%RETRY%g");
}

proptest! {
    #[test]
    fn receipts_come_back_as_they_were(
        (start, pop_time, invisible, revive_queue, queue, offset) in any::<(i64, i64, i64, i32, i32, i64)>(),
        origin in prop_oneof![Just(Origin::Topic), Just(Origin::Retry), Just(Origin::RetryV2)],
        broker in "[a-z][a-z0-9-]{0,20}",
    ) {
        let receipt = Receipt { start, pop_time, invisible, revive_queue, origin, broker: &broker, queue, offset };
        let text = receipt.to_string();
        prop_assert_eq!(Receipt::parse(&text), Ok(receipt));
    }

    #[test]
    fn garbage_is_refused(text in "[0-9a-z -]{0,60}") {
        if let Ok(receipt) = Receipt::parse(&text) {
            prop_assert_eq!(text.split(' ').count(), 8);
            prop_assert!(receipt.origin as u8 <= 2);
        }
    }
}
