//! What is kept, what goes, and finding messages by time.

use std::time::Duration;

use orbitmq_common::clock::now_ms;

use crate::store::Store;
use crate::store::options::{Options, Retention};
use crate::store::read::ReadStatus;
use crate::store::retention::expire;
use crate::store::search::Boundary;
use crate::store::tests::support::*;

const NEVER: Retention = Retention { max_age: None, max_bytes: None, check_every: Duration::from_secs(3_600) };

#[test]
fn retention_by_bytes_moves_the_smallest_offsets() {
    let dir = tempdir().unwrap();
    let retention = Retention { max_bytes: Some(200_000), ..NEVER };
    let options = Options { retention, ..small(dir.path()) };
    let store = Store::open(options.clone()).unwrap();
    put(&store, "early", 0, b"goes");
    let body = vec![1; 1_000];
    for _ in 0..400 {
        put(&store, "t", 0, &body);
    }
    settle(&store);
    store.shared.derived.write_out(u64::MAX).unwrap();
    let held = read(&store, "t", 0, 0);
    assert!(expire(&store.shared).unwrap() > 2);
    assert_eq!(contents(&held).len(), 400, "who reads a deleted segment may go on");
    let min = store.min_offset("t", 0);
    assert!(min > 150 && min < 300, "{min}");
    assert!(store.min_physical() > 0);
    assert_eq!(read(&store, "t", 0, 0).status, ReadStatus::OffsetTooSmall);
    assert_eq!(read(&store, "t", 0, 0).next_offset, min);
    assert_eq!(drain(&store, "t", 0).len() as i64, 400 - min);
    assert_eq!((store.min_offset("early", 0), store.max_offset("early", 0)), (1, 1));
    let oldest = files(dir.path(), "consumequeue/t/0/");
    assert!(!oldest[0].ends_with("00000000000000000000"), "queue files follow");
    store.close().unwrap();
    drop(store);
    for without_checkpoint in [false, true] {
        if without_checkpoint {
            forget_checkpoint(dir.path());
        }
        let store = Store::open(options.clone()).unwrap();
        assert_eq!((store.min_offset("t", 0), store.max_offset("t", 0)), (min, 400));
        assert_eq!(drain(&store, "t", 0).len() as i64, 400 - min);
        assert_eq!((store.min_offset("early", 0), store.max_offset("early", 0)), (1, 1));
        assert_eq!(store.shared.derived.queues.get("early", 0).unwrap().next(), 1, "offsets never repeat");
    }
}

#[test]
fn retention_by_age_spares_the_segment_in_use() {
    let dir = tempdir().unwrap();
    let retention = Retention { max_age: Some(Duration::ZERO), ..NEVER };
    let store = Store::open(Options { retention, ..small(dir.path()) }).unwrap();
    let body = vec![1; 1_000];
    for _ in 0..200 {
        put(&store, "t", 0, &body);
    }
    settle(&store);
    let last = store.store_timestamp("t", 0, 199).unwrap();
    eventually("time passes", || now_ms() > last);
    expire(&store.shared).unwrap();
    assert_eq!(store.shared.log.segments.base_of(store.confirmed()), store.min_physical());
    assert!(!drain(&store, "t", 0).is_empty());
}

#[test]
fn the_keeper_makes_checkpoints_and_deletes() {
    let dir = tempdir().unwrap();
    let retention = Retention { max_bytes: Some(1), check_every: Duration::ZERO, ..NEVER };
    let options = Options { retention, checkpoint_every: Duration::ZERO, ..small(dir.path()) };
    let store = Store::open(options).unwrap();
    let body = vec![1; 1_000];
    for _ in 0..200 {
        put(&store, "t", 0, &body);
    }
    eventually("deleted", || store.stats().deleted_segments > 0);
    eventually("checkpoint", || store.stats().checkpoints > 0);
}

#[test]
fn times_lead_to_offsets() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let mut times = Vec::new();
    for number in 0..10_u8 {
        let placed = put(&store, "t", 0, &[number]);
        times.push(placed.store_timestamp);
        if number == 4 {
            eventually("time passes", || now_ms() > placed.store_timestamp + 1);
        }
    }
    settle(&store);
    let at = |time, boundary| store.offset_by_time("t", 0, time, boundary);
    assert_eq!(at(0, Boundary::Lower), 0);
    assert_eq!(at(0, Boundary::Upper), 0);
    assert_eq!(at(i64::MAX, Boundary::Lower), 10);
    assert_eq!(at(i64::MAX, Boundary::Upper), 9);
    assert_eq!(at(times[4] + 1, Boundary::Lower), 5);
    assert_eq!(at(times[4] + 1, Boundary::Upper), 4);
    for time in &times {
        let first = times.iter().position(|other| other >= time).unwrap() as i64;
        let last = times.iter().rposition(|other| other <= time).unwrap() as i64;
        assert_eq!((at(*time, Boundary::Lower), at(*time, Boundary::Upper)), (first, last));
    }
    assert_eq!(store.offset_by_time("unknown", 0, 0, Boundary::Lower), 0);
    assert_eq!(store.store_timestamp("t", 0, 3), Some(times[3]));
    assert_eq!(store.store_timestamp("t", 0, 10), None);
    assert_eq!(store.earliest_timestamp(), Some(times[0]));
}

#[test]
fn many_queues_share_few_descriptors() {
    let dir = tempdir().unwrap();
    let store = Store::open(Options { segment_size: 1 << 20, ..small(dir.path()) }).unwrap();
    let topics: Vec<String> = (0..500).map(|number| format!("topic-{number}")).collect();
    for round in 0..2_u8 {
        for topic in &topics {
            put(&store, topic, 0, &[round]);
        }
        settle(&store);
        store.shared.derived.write_out(u64::MAX).unwrap();
    }
    let open_files = std::fs::read_dir("/proc/self/fd").unwrap().count();
    assert!(open_files < 600, "{open_files}");
    for queue in store.shared.derived.queues.all() {
        queue.rest();
        queue.rest();
    }
    for topic in &topics {
        assert_eq!(drain(&store, topic, 0).len(), 2);
    }
    store.close().unwrap();
    drop(store);
    let store = Store::open(small(dir.path())).unwrap();
    assert_eq!(store.topics().len(), 500);
    assert_eq!(drain(&store, "topic-77", 0), [(0, vec![0]), (1, vec![1])]);
}

#[test]
fn a_wrong_entry_does_not_hide_the_messages_before_it() {
    let dir = tempdir().unwrap();
    let options = Options { retention: Retention { max_bytes: Some(200_000), ..NEVER }, ..small(dir.path()) };
    let store = Store::open(options.clone()).unwrap();
    let body = vec![1; 1_000];
    for _ in 0..400 {
        put(&store, "t", 0, &body);
    }
    settle(&store);
    expire(&store.shared).unwrap();
    let (min, max) = (store.min_offset("t", 0), store.max_offset("t", 0));
    assert!(min > 0);
    store.close().unwrap();
    drop(store);
    // Every entry in turn leads before the log's beginning; of the first message nothing could tell.
    for offset in (min + 1..max).step_by(7) {
        let file = dir.path().join(format!("consumequeue/t/0/{:020}", offset / 50 * 50 * 20));
        let file = std::fs::OpenOptions::new().write(true).open(file).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &[0; 8], (offset as u64 % 50) * 20).unwrap();
        let store = Store::open(options.clone()).unwrap();
        assert_eq!(store.min_offset("t", 0), min, "entry {offset}");
        store.close().unwrap();
    }
}
