//! A log that is copied from another one, and one of which the end is taken back.

use proptest::prelude::*;

use crate::store::Store;
use crate::store::error::{AppendError, CopyError};
use crate::store::options::Options;
use crate::store::tests::support::*;
use crate::store::truncate;

/// Everything a log holds.
fn log(store: &Store) -> Vec<u8> {
    let (mut bytes, mut at) = (Vec::new(), store.min_physical());
    while let Some(piece) = store.log_bytes(at, store.local(), u64::MAX) {
        at += piece.len() as u64;
        bytes.extend_from_slice(&piece);
    }
    bytes
}

/// A log of several small segments.
fn written(dir: &std::path::Path, messages: usize) -> Store {
    let store = open(dir);
    for number in 0..messages {
        let body = format!("{number} {}", "x".repeat(number * 37 % 2_000));
        put(&store, if number % 3 == 0 { "a" } else { "b" }, u32::try_from(number % 2).unwrap(), body.as_bytes());
    }
    settle(&store);
    store
}

/// Feeds `bytes` in pieces of these sizes, as a connection would bring them.
fn feed(store: &Store, bytes: &[u8], sizes: &[usize]) -> Result<(), CopyError> {
    let (mut carry, mut at, mut rest) = (Vec::new(), store.end(), bytes);
    for size in sizes.iter().cycle() {
        let (piece, behind) = rest.split_at((*size).min(rest.len()));
        rest = behind;
        carry.extend_from_slice(piece);
        let taken = store.replicate(at, &carry)?;
        carry.drain(..taken);
        at += taken as u64;
        if rest.is_empty() {
            return Ok(());
        }
    }
    Ok(())
}

#[test]
fn a_piece_that_ends_with_a_segment_needs_no_next_one() {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    let master = written(from.path(), 150);
    // No space is reserved ahead, hence no segment made before it is needed.
    let slave = Store::open(Options { reserve_ahead: 0, ..small(to.path()) }).unwrap();
    let segment = usize::try_from(master.segment_size()).unwrap();
    feed(&slave, &log(&master)[..segment], &[segment]).unwrap();
    settle(&slave);
    assert_eq!((slave.flushed(), slave.poisoned()), (master.segment_size(), None));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn a_copy_is_equal_however_it_is_cut_into_pieces(sizes in proptest::collection::vec(1_usize..5_000, 1..8)) {
        let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
        let master = written(from.path(), 150);
        let slave = open(to.path());
        feed(&slave, &log(&master), &sizes).unwrap();
        settle(&slave);
        prop_assert_eq!(log(&slave), log(&master));
        for (topic, queue) in [("a", 0), ("a", 1), ("b", 0), ("b", 1)] {
            prop_assert_eq!(drain(&slave, topic, queue), drain(&master, topic, queue));
        }
    }
}

#[test]
fn a_copy_goes_on_as_a_log_of_its_own() {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    let master = written(from.path(), 20);
    let slave = open(to.path());
    feed(&slave, &log(&master), &[usize::MAX]).unwrap();
    settle(&slave);
    slave.renumber();
    let (on_master, on_slave) = (put(&master, "a", 0, b"next"), put(&slave, "a", 0, b"next"));
    assert_eq!(on_slave.queue_offset, on_master.queue_offset);
    assert_eq!(on_slave.physical_offset, on_master.physical_offset);
}

#[test]
fn bytes_that_are_no_log_are_refused_and_nothing_of_them_is_stored() {
    let (from, to) = (tempdir().unwrap(), tempdir().unwrap());
    let bytes = log(&written(from.path(), 30));
    for (at, what) in [(0_usize, "length"), (4, "magic"), (30, "log offset"), (100, "body")] {
        let slave = open(to.path());
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x40;
        let refused = slave.replicate(0, &damaged).unwrap_err();
        assert!(matches!(refused, CopyError::Unsound { at: 0, .. }), "{what}: {refused}");
        assert_eq!(slave.end(), 0, "{what}");
        slave.close().unwrap();
    }
    let slave = open(to.path());
    let elsewhere = slave.replicate(1_000, &bytes[1_000..]).unwrap_err();
    assert!(matches!(elsewhere, CopyError::Unsound { at: 1_000, .. }), "{elsewhere}");
    let first = slave.replicate(0, &bytes[..3_000]).unwrap();
    assert!(first > 0 && first < 3_000, "half a record is not taken");
    let again = slave.replicate(0, &bytes).unwrap_err();
    assert!(matches!(again, CopyError::Append(AppendError::Elsewhere { .. })), "{again}");
}

#[test]
fn an_empty_store_may_begin_behind_offset_zero() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let base = store.segment_size() * 3;
    assert!(store.begin_at(base));
    let placed = put(&store, "a", 0, b"first");
    settle(&store);
    assert_eq!((placed.physical_offset, store.min_physical()), (base, base));
    assert_eq!(drain(&store, "a", 0), [(0, b"first".to_vec())]);
    assert!(!store.begin_at(0), "it is not empty any more");
    store.close().unwrap();
    let store = open(dir.path());
    assert_eq!(drain(&store, "a", 0), [(0, b"first".to_vec())]);
}

#[test]
fn a_cut_log_ends_at_the_cut_with_queues_and_keys_to_match() {
    for clean in [true, false] {
        let dir = tempdir().unwrap();
        let store = written(dir.path(), 150);
        let whole = log(&store);
        let places: Vec<_> = (0..20).map(|number| put(&store, "c", 0, format!("late {number}").as_bytes())).collect();
        settle(&store);
        let keep = places[5].end;
        if clean {
            store.close().unwrap();
        }
        drop(store);
        assert!(truncate::truncate(&small(dir.path()), keep).unwrap() > 0);
        let store = open(dir.path());
        assert_eq!(store.end(), keep);
        assert_eq!(drain(&store, "c", 0).len(), 6);
        assert_eq!(log(&store)[..whole.len()], whole);
        let next = put(&store, "c", 0, b"anew");
        assert_eq!((next.queue_offset, next.physical_offset), (6, keep));
        settle(&store);
        assert_eq!(drain(&store, "c", 0).last().unwrap().1, b"anew");
    }
}

#[test]
fn a_cut_may_take_whole_segments() {
    let dir = tempdir().unwrap();
    let store = written(dir.path(), 200);
    let early = drain(&store, "a", 0);
    let size = store.segment_size();
    assert!(store.end() > 3 * size);
    store.close().unwrap();
    // The end of the first segment's last record is where the second one begins.
    truncate::truncate(&small(dir.path()), size).unwrap();
    let store = open(dir.path());
    assert!(store.end() <= size);
    let kept = drain(&store, "a", 0);
    assert!(!kept.is_empty() && kept.len() < early.len());
    assert_eq!(kept, early[..kept.len()]);
}

#[test]
fn a_cut_forgets_neither_where_empty_queues_go_on_nor_which_topics_are_deleted() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    for _ in 0..5 {
        put(&store, "old", 0, b"expired");
    }
    let size = store.segment_size();
    while store.end() < size {
        put(&store, "kept", 0, &[b'x'; 3_000]);
    }
    put(&store, "gone", 0, b"deleted");
    settle(&store);
    store.delete_topic("gone");
    let keep = put(&store, "kept", 0, b"last").end;
    put(&store, "old", 0, b"cut");
    put(&store, "gone", 0, b"cut");
    settle(&store);
    store.close().unwrap();
    drop(store);
    std::fs::remove_file(&files(dir.path(), "commitlog/")[0]).unwrap();
    truncate::truncate(&small(dir.path()), keep).unwrap();
    // The names of queue files may be lost too.
    std::fs::remove_dir_all(dir.path().join("consumequeue")).unwrap();
    let store = open(dir.path());
    assert_eq!((store.min_physical(), store.end()), (size, keep));
    assert_eq!((store.max_offset("old", 0), store.max_offset("gone", 0)), (5, 0));
    assert!(drain(&store, "old", 0).is_empty());
    assert_eq!(drain(&store, "kept", 0).last().unwrap().1, b"last");
    assert_eq!(put(&store, "old", 0, b"anew").queue_offset, 5);
    assert_eq!(put(&store, "gone", 0, b"anew").queue_offset, 0);
    settle(&store);
    drop(store);
    let store = open(dir.path());
    assert_eq!(drain(&store, "old", 0), [(5, b"anew".to_vec())]);
    assert_eq!(drain(&store, "gone", 0), [(0, b"anew".to_vec())]);
}

#[test]
fn a_log_that_is_set_aside_leaves_room_for_another() {
    let dir = tempdir().unwrap();
    let store = written(dir.path(), 20);
    store.close().unwrap();
    let old = truncate::set_aside(&small(dir.path())).unwrap();
    assert!(old.join("commitlog").join("00000000000000000000").exists());
    let store = open(dir.path());
    assert_eq!(store.end(), 0);
    assert!(drain(&store, "a", 0).is_empty());
}

#[test]
fn a_ceiling_holds_back_readers_and_never_takes_back_what_they_saw() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let first = put(&store, "a", 0, b"one");
    settle(&store);
    store.set_ceiling(first.end);
    let second = put(&store, "a", 0, b"two");
    store.nudge();
    eventually("it is flushed", || store.flushed() >= second.end);
    assert_eq!(store.confirmed(), first.end);
    assert_eq!(drain(&store, "a", 0).len(), 1);
    store.set_ceiling(0);
    assert_eq!(store.confirmed(), first.end);
    assert_eq!(drain(&store, "a", 0).len(), 1);
    store.set_ceiling(u64::MAX);
    store.show_confirmed();
    eventually("it is shown", || drain(&store, "a", 0).len() == 2);
}

#[test]
fn senders_wait_for_slaves_in_the_order_of_the_log() {
    let dir = tempdir().unwrap();
    let store = Store::open(crate::store::options::Options { replicated: true, ..small(dir.path()) }).unwrap();
    store.freeze();
    let places: Vec<_> = (0..100).map(|number| put(&store, "a", 0, format!("{number}").as_bytes())).collect();
    let confirm = places[40].end;
    block(async {
        let mut waiting: Vec<_> = places.iter().map(|place| Box::pin(store.durable(place.end))).collect();
        for wait in &mut waiting {
            assert!(futures_util::poll!(wait.as_mut()).is_pending());
        }
        while store.flushed() < places[99].end {
            tokio::task::yield_now().await;
        }
        store.set_ceiling(confirm);
        store.show_confirmed();
        for (number, wait) in waiting.iter_mut().enumerate() {
            assert_eq!(futures_util::poll!(wait.as_mut()).is_ready(), number <= 40, "{number}");
        }
        store.fence("another broker is master now");
        for wait in waiting.iter_mut().skip(41) {
            assert!(wait.await.is_err());
        }
    });
}
