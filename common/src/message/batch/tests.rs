//! Batches: round trips and batches that lie about their lengths.

use proptest::prelude::*;

use super::*;

#[test]
fn layout_is_apaches() {
    let bytes = encode([BatchEntry { flag: 7, body: b"xyz", properties: "k\u{1}v\u{2}" }]).unwrap();
    let expected = [
        &29_i32.to_be_bytes()[..],
        &[0; 8],
        &7_i32.to_be_bytes(),
        &3_i32.to_be_bytes(),
        b"xyz",
        &4_i16.to_be_bytes(),
        b"k\x01v\x02",
    ]
    .concat();
    assert_eq!(bytes, expected);
}

#[test]
fn lying_lengths_are_refused() {
    let good = encode([
        BatchEntry { flag: 0, body: b"a", properties: "" },
        BatchEntry { flag: 0, body: b"b", properties: "" },
    ])
    .unwrap();
    for (at, value) in [(0, -1_i32), (0, 0), (0, 22), (0, 24), (0, i32::MAX), (16, -1), (16, 2), (16, i32::MAX)] {
        let mut lying = good.to_vec();
        lying[at..at + 4].copy_from_slice(&value.to_be_bytes());
        let read: Vec<_> = decode(&lying).collect();
        assert_eq!(read, [Err(BatchError::Lengths { index: 0 })], "{value} at {at}");
    }
    let cut: Vec<_> = decode(&good[..good.len() - 1]).collect();
    assert!(matches!(cut[..], [Ok(_), Err(BatchError::Lengths { index: 1 })]));
}

#[test]
fn what_does_not_fit_is_refused() {
    let long = "p".repeat(SHORT_MAX + 1);
    let refused = encode([BatchEntry { flag: 0, body: b"", properties: &long }]);
    assert_eq!(refused, Err(BatchError::TooLarge { index: 0 }));
}

proptest! {
    #[test]
    fn written_is_read(
        list in proptest::collection::vec(
            (any::<i32>(), proptest::collection::vec(any::<u8>(), 0..40), ".{0,20}"), 0..6)
    ) {
        let entries: Vec<_> = list.iter()
            .map(|(flag, body, properties)| BatchEntry { flag: *flag, body, properties }).collect();
        let bytes = encode(entries.iter().copied()).unwrap();
        let read: Result<Vec<_>, _> = decode(&bytes).collect();
        prop_assert_eq!(read.unwrap(), entries);
    }

    #[test]
    fn garbage_is_refused_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(decode(&bytes).count() <= bytes.len());
    }
}
