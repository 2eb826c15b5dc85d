//! Stopping, with and without a farewell, and starting again.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::store::Store;
use crate::store::error::OpenError;
use crate::store::io::Disk;
use crate::store::options::{OnHole, Options};
use crate::store::tests::support::*;

#[test]
fn a_closed_store_opens_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = Expected::new();
    for round in 0..4 {
        let store = Store::open(Options { io: Arc::new(Disk), ..small(dir.path()) }).unwrap();
        assert_holds(&store, &expected);
        fill(&store, 300 * round, &mut expected);
        store.close().unwrap();
        assert_holds(&store, &expected);
        assert!(store.append(&message("t", 0, b"", "")).is_err());
    }
    assert!(!dir.path().join("abort").exists());
}

#[test]
fn a_crashed_store_opens_again() {
    let dir = tempdir().unwrap();
    let mut expected = Expected::new();
    for round in 0..4 {
        let store = open(dir.path());
        assert_holds(&store, &expected);
        fill(&store, 300 * round, &mut expected);
        settle(&store);
        drop(store);
        assert!(dir.path().join("abort").exists());
    }
}

#[test]
fn what_one_recovery_has_read_the_next_does_not() {
    let dir = tempdir().unwrap();
    let mut expected = Expected::new();
    let store = open(dir.path());
    fill(&store, 500, &mut expected);
    settle(&store);
    drop(store);
    let store = open(dir.path());
    let end = store.stats().end;
    assert_eq!(store.shared.checked_from, 0, "the first crash left no checkpoint");
    let deadline = Instant::now() + Duration::from_secs(20);
    while store.stats().checkpoints == 0 {
        assert!(Instant::now() < deadline, "no checkpoint after a recovery");
        std::thread::yield_now();
    }
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.shared.checked_from, end);
    assert_holds(&store, &expected);
}

#[test]
fn a_copy_of_a_running_store_opens() {
    let dir = tempdir().unwrap();
    let store = open(&dir.path().join("a"));
    let mut expected = Expected::new();
    fill(&store, 1_000, &mut expected);
    settle(&store);
    copy_dir(&dir.path().join("a"), &dir.path().join("b"));
    assert_holds(&open(&dir.path().join("b")), &expected);
}

#[test]
fn offsets_go_on_after_a_crash() {
    let dir = tempdir().unwrap();
    for round in 0..5 {
        let store = open(dir.path());
        let placed = put(&store, "t", 0, b"x");
        assert_eq!(placed.queue_offset, round);
        settle(&store);
    }
}

#[test]
fn a_torn_end_is_cut_at_the_last_whole_record() {
    let dir = tempdir().unwrap();
    let origin = dir.path().join("origin");
    let store = open(&origin);
    put(&store, "t", 0, b"first");
    let last = put(&store, "t", 0, b"second");
    settle(&store);
    drop(store);
    let log = "commitlog/00000000000000000000";
    let whole = std::fs::read(origin.join(log)).unwrap();
    for cut in last.physical_offset..last.end {
        let copy = dir.path().join(format!("cut-{cut}"));
        copy_dir(&origin, &copy);
        let mut torn = whole.clone();
        torn[usize::try_from(cut).unwrap()..].fill(0);
        std::fs::write(copy.join(log), torn).unwrap();
        let store = open(&copy);
        // A record's last byte may be the zero that the cut made it; then nothing is missing.
        assert_eq!(drain(&store, "t", 0), [(0, b"first".to_vec())], "cut at {cut}");
        let again = put(&store, "t", 0, b"third");
        assert_eq!((again.queue_offset, again.physical_offset), (1, last.physical_offset));
        settle(&store);
        assert_eq!(drain(&store, "t", 0).len(), 2);
        drop(store);
        std::fs::remove_dir_all(copy).unwrap();
    }
}

fn damage(dir: &Path, segment: u64, at: u64, bytes: &[u8]) {
    let path = dir.join(format!("commitlog/{segment:020}"));
    OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, at - segment).unwrap();
}

#[test]
fn records_behind_a_torn_one_do_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    put(&store, "t", 0, b"kept");
    let torn = put(&store, "t", 0, b"torn away");
    let behind = put(&store, "t", 0, b"never acknowledged");
    settle(&store);
    drop(store);
    forget_checkpoint(dir.path());
    damage(dir.path(), 0, torn.physical_offset + 100, b"\xff\xff");
    let store = open(dir.path());
    assert_eq!(store.max_offset("t", 0), 1);
    // A record of the same length takes the torn one's place; the one behind it must stay gone.
    let again = put(&store, "t", 0, b"new there");
    assert_eq!((again.physical_offset, again.end), (torn.physical_offset, torn.end));
    settle(&store);
    drop(store);
    let store = open(dir.path());
    assert_eq!(drain(&store, "t", 0), [(0, b"kept".to_vec()), (1, b"new there".to_vec())]);
    let lost = files(dir.path(), "orbitmq.lost");
    let aside = std::fs::read(&lost[0]).unwrap();
    assert!(aside.len() as u64 >= behind.end - torn.physical_offset - 8, "{}", aside.len());
}

#[test]
fn a_hole_before_sound_segments_is_refused_or_skipped() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let body = vec![7; 1_000];
    let mut places = Vec::new();
    for _ in 0..200 {
        places.push(put(&store, "t", 0, &body));
    }
    settle(&store);
    drop(store);
    let hit = places[10];
    damage(dir.path(), 0, hit.physical_offset + 500, b"damage");
    let refused = Store::open(small(dir.path()));
    assert!(
        matches!(&refused, Err(OpenError::Hole { at, next, .. })
            if *at == hit.physical_offset && *next == places[11].physical_offset),
        "{refused:?}"
    );
    let store = Store::open(Options { on_hole: OnHole::Skip, ..small(dir.path()) }).unwrap();
    assert_eq!(store.max_offset("t", 0), 200);
    let offsets: Vec<u64> = drain(&store, "t", 0).iter().map(|found| found.0).collect();
    assert!(offsets.iter().copied().eq((0..200).filter(|offset| *offset != 10)));
    assert_eq!(put(&store, "t", 0, b"x").queue_offset, 200);
}

#[test]
fn a_hole_hides_no_older_messages() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let body = vec![7; 1_000];
    let places: Vec<_> = (0..200).map(|_| put(&store, "t", 0, &body)).collect();
    settle(&store);
    drop(store);
    // Half of the queue, so that a search for its first message meets blank offsets first.
    for place in &places[60..140] {
        damage(
            dir.path(),
            place.physical_offset - place.physical_offset % 65_536,
            place.physical_offset + 500,
            b"damage",
        );
    }
    let store = Store::open(Options { on_hole: OnHole::Skip, ..small(dir.path()) }).unwrap();
    assert_eq!(store.min_offset("t", 0), 0);
    assert_eq!(drain(&store, "t", 0).len(), 120);
}

#[test]
fn foreign_and_wrong_files_are_named() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let mut expected = Expected::new();
    fill(&store, 700, &mut expected);
    settle(&store);
    store.close().unwrap();
    drop(store);
    std::fs::write(dir.path().join("commitlog/notes.txt"), "hello").unwrap();
    std::fs::write(dir.path().join("consumequeue/notes.txt"), "hello").unwrap();
    assert_holds(&open(dir.path()), &expected);
    let log = files(dir.path(), "commitlog/0");
    let second = log[1].clone();
    std::fs::rename(&second, dir.path().join("aside")).unwrap();
    let missing = Store::open(small(dir.path()));
    assert!(matches!(missing, Err(OpenError::MissingSegment { missing: 65_536, .. })), "{missing:?}");
    std::fs::write(&second, "short").unwrap();
    let short = Store::open(small(dir.path()));
    assert!(matches!(short, Err(OpenError::SegmentLength { len: 5, .. })), "{short:?}");
}

#[test]
fn segments_of_another_size_are_kept() {
    let dir = tempdir().unwrap();
    let mut expected = Expected::new();
    let store = open(dir.path());
    fill(&store, 600, &mut expected);
    settle(&store);
    drop(store);
    let store = Store::open(Options { segment_size: 1 << 20, ..small(dir.path()) }).unwrap();
    fill(&store, 600, &mut Expected::new());
    settle(&store);
    assert!(files(dir.path(), "commitlog/0").iter().all(|path| path.metadata().unwrap().len() == 64 << 10));
}
