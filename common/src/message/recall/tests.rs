#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use proptest::prelude::*;

use super::{RecallHandle, decode, encode};

#[test]
fn a_handle_is_that_of_rocketmq() {
    // `v1 T broker-a 1700000000001 KEY`, encoded by java.util.Base64.getUrlEncoder().
    let text = "djEgVCBicm9rZXItYSAxNzAwMDAwMDAwMDAxIEtFWQ==";
    let handle = RecallHandle {
        topic: "T".to_owned(),
        broker: "broker-a".to_owned(),
        due: 1_700_000_000_000,
        key: "KEY".to_owned(),
    };
    assert_eq!(handle.encode(), text);
    assert_eq!(RecallHandle::decode(text).unwrap(), handle);
    assert_eq!(RecallHandle::decode(text.trim_end_matches('=')).unwrap(), handle);
}

#[test]
fn what_is_no_handle_is_refused() {
    let encoded = |text: &str| encode(text.as_bytes());
    let long = "A".repeat(10_000);
    for bad in ["", "%", "A", "djEg", &long, &encoded("v2 T b 5 K"), &encoded("v1 T b x K"), &encoded("v1 T b -5 K")] {
        assert!(RecallHandle::decode(bad).is_err(), "{bad}");
    }
    assert!(RecallHandle::decode(&encoded("v1 T b 5")).is_err());
    assert!(RecallHandle::decode(&encoded("v1  b 5 K")).is_err());
}

proptest! {
    #[test]
    fn base64_comes_back(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
    }

    #[test]
    fn handles_come_back(topic in "[a-zA-Z%_-]{1,40}", broker in "[a-z-]{0,9}", due in 0..i64::MAX - 1, key in "[A-F0-9]{1,32}") {
        let handle = RecallHandle { topic, broker, due, key };
        prop_assert_eq!(RecallHandle::decode(&handle.encode()).unwrap(), handle);
    }

    #[test]
    fn garbage_does_no_harm(text in "\\PC{0,60}") {
        let _ = RecallHandle::decode(&text);
    }
}
