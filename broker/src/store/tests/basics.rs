//! Appending and reading, by one and by many.

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use orbitmq_common::message::property;
use orbitmq_common::message::record::RecordView;

use crate::store::Store;
use crate::store::error::{AppendError, OpenError, ReadError};
use crate::store::io::Disk;
use crate::store::options::{Flush, Options};
use crate::store::read::{ReadLimit, ReadStatus};
use crate::store::tests::support::*;

#[test]
fn what_is_appended_is_read() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let first = put(&store, "orders", 3, b"one");
    let second = put(&store, "orders", 3, b"two");
    assert_eq!((first.queue_offset, second.queue_offset, first.physical_offset), (0, 1, 0));
    assert_eq!(second.physical_offset, first.end);
    settle(&store);
    let got = read(&store, "orders", 3, 0);
    assert_eq!(got.status, ReadStatus::Found);
    assert_eq!(contents(&got), [(0, b"one".to_vec()), (1, b"two".to_vec())]);
    assert_eq!(got.chunks.len(), 1, "neighbours share a slice");
    assert_eq!((got.next_offset, got.min_offset, got.max_offset), (2, 0, 2));
    assert_eq!(got.last_physical, second.physical_offset);
    assert_eq!(store.confirmed(), second.end);
    let record = store.record_at(second.physical_offset).unwrap();
    assert_eq!(RecordView::parse(&record).unwrap().body, b"two");
    assert_eq!(store.queues("orders"), [3]);
    assert_eq!(store.topics(), ["orders"]);
}

#[test]
fn offsets_outside_a_queue_say_where_they_are() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    assert_eq!(read(&store, "t", 0, 0).status, ReadStatus::QueueMissing);
    put(&store, "t", 0, b"x");
    settle(&store);
    assert_eq!(read(&store, "t", 0, 1).status, ReadStatus::OffsetAtEnd);
    assert_eq!(read(&store, "t", 0, 2).status, ReadStatus::OffsetTooLarge);
    assert_eq!(read(&store, "t", 0, 2).next_offset, 1);
    assert_eq!(read(&store, "t", 0, -1).status, ReadStatus::OffsetTooSmall);
    let end = store.confirmed();
    assert!(matches!(store.record_at(end), Err(ReadError::OutOfRange { .. })));
    assert!(matches!(store.record_at(1), Err(ReadError::NoRecord { .. } | ReadError::Damaged { .. })));
}

#[test]
fn limits_and_filters_hold() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    for number in 0..10 {
        let tags = format!("TAGS\u{1}{}\u{2}", if number % 2 == 0 { "even" } else { "odd" });
        store.append(&message("t", 0, &[number], &tags)).unwrap();
    }
    settle(&store);
    let two = store.read("t", 0, 0, ReadLimit { max_messages: 2, max_bytes: usize::MAX }, &mut |_, _| true);
    assert_eq!((two.count, two.next_offset), (2, 2));
    let one = store.read("t", 0, 5, ReadLimit { max_messages: 9, max_bytes: 1 }, &mut |_, _| true);
    assert_eq!((one.count, one.next_offset), (1, 6));
    let odd = property::tag_hash("odd");
    let odds = store.read("t", 0, 0, ALL, &mut |tag, _| tag == odd);
    let offsets: Vec<u64> = contents(&odds).iter().map(|found| found.0).collect();
    assert_eq!(offsets, [1, 3, 5, 7, 9]);
    assert_eq!(odds.chunks.len(), 5);
    let none = store.read("t", 0, 0, ALL, &mut |_, _| false);
    assert_eq!((none.status, none.next_offset, none.count), (ReadStatus::NoMatch, 10, 0));
    let by_body = store.read("t", 0, 0, ALL, &mut |_, record| RecordView::parse(record).unwrap().body == [4]);
    assert_eq!(contents(&by_body), [(4, vec![4])]);
}

#[test]
fn segments_roll_and_records_stay_whole() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let mut expected = Expected::new();
    fill(&store, 1_500, &mut expected);
    settle(&store);
    assert!(store.stats().segments > 5);
    assert_holds(&store, &expected);
}

#[test]
fn many_threads_keep_order_and_contiguity() {
    let dir = tempdir().unwrap();
    let store = Arc::new(Store::open(Options { segment_size: 1 << 20, ..small(dir.path()) }).unwrap());
    let threads: Vec<_> = (0..4_u32)
        .map(|thread| {
            let store = Arc::clone(&store);
            std::thread::spawn(move || {
                let mut last = None;
                for number in 0..500_u32 {
                    let body = [thread.to_be_bytes(), number.to_be_bytes()].concat();
                    let placed = put(&store, "t", number % 3, &body);
                    assert!(last < Some(placed.physical_offset));
                    last = Some(placed.physical_offset);
                    if number % 50 == 0 {
                        block(store.durable(placed.end)).unwrap();
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    settle(&store);
    let mut seen = 0;
    for queue in 0..3 {
        let all = drain(&store, "t", queue);
        assert!(all.iter().map(|found| found.0).eq(0..all.len() as u64));
        for thread in 0..4_u32 {
            let numbers: Vec<&[u8]> =
                all.iter().filter(|(_, body)| body[..4] == thread.to_be_bytes()).map(|(_, body)| &body[4..]).collect();
            assert!(numbers.is_sorted(), "a thread's messages stay in order");
        }
        seen += all.len();
    }
    assert_eq!(seen, 2_000);
}

#[test]
fn batches_are_contiguous_or_refused_whole() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let bodies: Vec<Vec<u8>> = (0..300_usize).map(|number| vec![b'x'; number]).collect();
    let batch: Vec<_> = bodies.iter().map(|body| message("t", 1, body, "")).collect();
    let placed = store.append_batch(&batch).unwrap();
    assert!(placed.iter().map(|place| place.queue_offset).eq(0..300));
    let mixed = [message("t", 1, b"a", ""), message("t", 2, b"b", "")];
    assert_eq!(store.append_batch(&mixed), Err(AppendError::MixedBatch));
    let huge = vec![0; 70 << 10];
    let broken = [message("t", 1, b"a", ""), message("t", 1, &huge, "")];
    assert!(matches!(store.append_batch(&broken), Err(AppendError::TooLarge { .. })));
    assert_eq!(put(&store, "t", 1, b"next").queue_offset, 300);
    settle(&store);
    assert_eq!(drain(&store, "t", 1).len(), 301);
}

#[test]
fn illegal_messages_are_refused() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    for topic in ["", "..", "a/b", "x\0y"] {
        let refused = store.append(&message(topic, 0, b"", ""));
        assert!(matches!(refused, Err(AppendError::IllegalTopic { .. } | AppendError::IllegalRecord(_))), "{topic:?}");
    }
    let long = "p".repeat(40_000);
    assert!(matches!(store.append(&message("t", 0, b"", &long)), Err(AppendError::IllegalRecord(_))));
    assert_eq!(store.stats().end, 0);
}

#[test]
fn appended_is_not_readable_before_it_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    for flush in [Flush::Sync, Flush::Async] {
        let dir = dir.path().join(format!("{flush:?}"));
        let store = Store::open(Options { flush, io: Arc::new(Disk), ..small(&dir) }).unwrap();
        for number in 0..50_u8 {
            let placed = put(&store, "t", 0, &[number]);
            block(store.durable(placed.end)).unwrap();
            assert!(store.confirmed() >= placed.end);
            block(store.built(placed.end));
            assert_eq!(store.max_offset("t", 0), i64::from(number) + 1);
        }
        eventually("the background flush", || store.flushed() == store.confirmed());
    }
}

#[test]
fn waiting_ends_when_a_message_arrives() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    block(async {
        let waits: Vec<_> = (0..1_000).map(|_| tokio::spawn(store.wait("t", 0, 0))).collect();
        let later = tokio::spawn(store.wait("t", 0, 1));
        tokio::task::yield_now().await;
        put(&store, "t", 0, b"x");
        for wait in waits {
            wait.await.unwrap();
        }
        assert!(!later.is_finished());
        put(&store, "t", 0, b"y");
        later.await.unwrap();
        tokio::time::timeout(Duration::from_secs(5), store.wait("t", 0, 1)).await.unwrap();
    });
}

#[test]
fn cancelled_waits_leave_nothing_behind() {
    let dir = tempdir().unwrap();
    let store = Arc::new(open(dir.path()));
    block(async {
        for round in 0..200_u32 {
            let placed = put(&store, "t", 0, &round.to_be_bytes());
            let mut waits: Vec<_> = (0..5).map(|_| Box::pin(store.durable(placed.end))).collect();
            waits.retain_mut(|wait| wait.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            waits.truncate(2);
            for wait in waits {
                wait.await.unwrap();
            }
        }
    });
}

#[test]
fn a_second_store_on_the_directory_is_refused() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    assert!(matches!(Store::open(small(dir.path())), Err(OpenError::Locked { .. })));
    store.close().unwrap();
    drop(store);
    open(dir.path());
}

#[test]
fn half_messages_of_the_old_form_and_rollbacks_take_no_queue_offset() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    for sys_flag in [4, 12] {
        let record = orbitmq_common::message::record::NewRecord { sys_flag, ..message("t", 0, b"half", "") };
        assert_eq!(store.append(&record).unwrap().queue_offset, 0);
    }
    let commit = orbitmq_common::message::record::NewRecord { sys_flag: 8, ..message("t", 0, b"whole", "") };
    assert_eq!(store.append(&commit).unwrap().queue_offset, 0);
    settle(&store);
    assert_eq!(drain(&store, "t", 0), [(0, b"whole".to_vec())]);
}

#[test]
fn delayed_messages_carry_their_time_of_delivery() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let placed = store.append(&message("SCHEDULE_TOPIC_XXXX", 2, b"later", "DELAY\u{1}3\u{2}TAGS\u{1}a\u{2}")).unwrap();
    settle(&store);
    let mut seen = Vec::new();
    store.read("SCHEDULE_TOPIC_XXXX", 2, 0, ALL, &mut |tag, _| {
        seen.push(tag);
        true
    });
    assert_eq!(seen, [placed.store_timestamp + 10_000]);
}
