//! Checks of cutting batches.

use orbitmq_common::message::property;
use proptest::prelude::*;

use super::*;

fn config(limit: usize) -> Config {
    Config { max_message_size: limit, ..Config::default() }
}

fn ids() -> impl FnMut() -> String {
    let mut n = 0;
    move || {
        n += 1;
        format!("{n:032}")
    }
}

proptest! {
    #[test]
    fn parts_hold_all_messages_in_order_and_keep_the_limit(sizes in proptest::collection::vec(0..400_usize, 0..40)) {
        let messages: Vec<Message> = sizes.iter().map(|size| Message::new("t", vec![7; *size])).collect();
        let parcels = split(&messages, &config(1000), ids()).unwrap();
        let mut bodies = Vec::new();
        let mut names = Vec::new();
        for parcel in &parcels {
            prop_assert!(parcel.body.len() <= 1000);
            for (entry, id) in batch::decode(&parcel.body).map(Result::unwrap).zip(&parcel.ids) {
                bodies.push(entry.body.len());
                prop_assert_eq!(property::get(entry.properties, property::UNIQ_KEY), Some(id.as_str()));
                names.push(id.clone());
            }
        }
        prop_assert_eq!(&bodies, &sizes);
        let expected: Vec<String> = (1..=sizes.len()).map(|n| format!("{n:032}")).collect();
        prop_assert_eq!(names, expected);
    }
}

#[test]
fn what_cannot_be_a_batch_is_refused_with_a_reason() {
    let fails = |messages: &[Message]| split(messages, &config(1000), ids()).unwrap_err().to_string();
    assert!(fails(&[Message::new("a", ""), Message::new("b", "")]).contains("one topic"));
    assert!(fails(&[Message::new("a", "").delay_level(3)]).contains("delayed"));
    assert!(fails(&[Message::new("a", "").sharding_key("k")]).contains("sharding"));
    assert!(fails(&[Message::new("a", vec![0; 2000])]).contains("at most 1000"));
    assert!(fails(&[Message::new("a b", "")]).contains("a b"));
}
