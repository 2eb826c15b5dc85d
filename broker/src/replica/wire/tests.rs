//! Heads and greetings survive the way, and garbage is refused.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn heads_survive(offset in any::<u64>(), size in any::<u32>(), epoch in any::<i32>(), confirmed in any::<u64>()) {
        let head = Head { offset, size, epoch, confirmed };
        prop_assert_eq!(Head::decode(&head.encode()), head);
        let classic = Head::decode_classic(&head.encode_classic());
        prop_assert_eq!((classic.offset, classic.size), (offset, size));
    }

    #[test]
    fn garbage_is_no_greeting(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let read = futures_util::FutureExt::now_or_never(read_message::<Hello>(&mut bytes.as_slice()));
        prop_assert!(read.is_some_and(|hello| hello.is_err()));
    }
}

#[tokio::test]
async fn greetings_survive() {
    let hello = Hello {
        cluster: "c".to_owned(),
        broker: "b".to_owned(),
        member: 2,
        highest_epoch: 7,
        end: 1 << 40,
        segment_size: 1 << 30,
        epochs: vec![(1, 0), (7, 99)],
        witness: Some((90, 0xDEAD_BEEF)),
    };
    let mut bytes = Vec::new();
    write_message(&mut bytes, &hello).await.unwrap();
    assert_eq!(read_message::<Hello>(&mut bytes.as_slice()).await.unwrap(), hello);
    const { assert!(MAGIC < 0, "a log offset is never negative") };
}
