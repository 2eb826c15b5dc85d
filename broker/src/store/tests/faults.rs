//! Disks that fail and fill up.

use std::sync::Arc;

use crate::store::Store;
use crate::store::error::AppendError;
use crate::store::flush::POISON_NOTE;
use crate::store::io::Io;
use crate::store::options::{Flush, Options};
use crate::store::tests::support::*;

/// Appends one by one until the store refuses; returns how many were acknowledged.
fn send_until_refused(store: &Store) -> u8 {
    for number in 0..200_u8 {
        let stored = store.append(&message("t", 0, &[number], ""));
        let Ok(placed) = stored else {
            assert!(matches!(stored, Err(AppendError::Poisoned(_))), "{stored:?}");
            return number;
        };
        if block(store.durable(placed.end)).is_err() {
            return number;
        }
    }
    panic!("never refused");
}

fn after_the_failure(disk: FaultyDisk, acknowledged: u8) {
    let dir = tempdir().unwrap();
    let disk = Arc::new(disk);
    let store = open_on(dir.path(), &disk);
    assert_eq!(send_until_refused(&store), acknowledged);
    // The disk is well again, the store must not be.
    disk.sync.set(i64::MAX);
    disk.write.set(i64::MAX);
    for _ in 0..5 {
        assert!(matches!(store.append(&message("t", 0, b"x", "")), Err(AppendError::Poisoned(_))));
    }
    assert!(block(store.durable(store.stats().end)).is_err());
    assert!(store.poisoned().unwrap().contains("failed"));
    block(store.built(store.confirmed()));
    assert_eq!(drain(&store, "t", 0).len(), usize::from(acknowledged), "reads go on");
    assert!(store.close().is_err());
    drop(store);
    assert!(dir.path().join(POISON_NOTE).exists());
    let store = open(dir.path());
    let all = drain(&store, "t", 0);
    assert!(all.len() >= usize::from(acknowledged));
    assert!(all.iter().enumerate().all(|(number, (_, body))| body[..] == [number as u8]));
    put(&store, "t", 0, b"goes on");
    settle(&store);
    assert!(!dir.path().join(POISON_NOTE).exists());
}

#[test]
fn after_a_failed_flush_nothing_is_acknowledged() {
    for successes in [1, 2, 7] {
        // Creating the first segment takes one flush.
        let disk = FaultyDisk { sync: Countdown::after(successes), ..FaultyDisk::default() };
        after_the_failure(disk, u8::try_from(successes).unwrap() - 1);
    }
}

/// The disk that has failed may fail again while it is written, and lose what it had.
#[test]
fn what_was_durable_before_a_failed_flush_is_not_written_again() {
    let dir = tempdir().unwrap();
    let disk = Arc::new(FaultyDisk { sync: Countdown::after(7), ..FaultyDisk::default() });
    let store = open_on(dir.path(), &disk);
    send_until_refused(&store);
    let durable = store.flushed();
    store.abandon();
    drop(store);
    let disk = Arc::new(FaultyDisk::recording());
    let _store = open_on(dir.path(), &disk);
    let changes = disk.changes.as_ref().unwrap().lock();
    let offset = |change: &Change| match change {
        Change::Write(path, offset, _) if is_log(path) => Some(*offset),
        _ => None,
    };
    let again: Vec<u64> = changes.iter().filter_map(offset).collect();
    assert!(!again.is_empty() && again.iter().all(|offset| *offset >= durable), "{again:?} and {durable}");
}

#[test]
fn after_a_failed_write_nothing_is_acknowledged() {
    for successes in [0, 1, 5] {
        let disk = FaultyDisk { write: Countdown::after(successes), ..FaultyDisk::default() };
        after_the_failure(disk, u8::try_from(successes).unwrap());
    }
}

#[test]
fn a_failed_background_flush_poisons_too() {
    let dir = tempdir().unwrap();
    let disk = Arc::new(FaultyDisk { sync: Countdown::after(1), ..FaultyDisk::default() });
    let io: Arc<dyn Io> = disk.clone();
    let flush_every = std::time::Duration::from_millis(1);
    let store = Store::open(Options { io, flush: Flush::Async, flush_every, ..small(dir.path()) }).unwrap();
    put(&store, "t", 0, b"x");
    eventually("poisoned", || store.poisoned().is_some());
    assert!(matches!(store.append(&message("t", 0, b"x", "")), Err(AppendError::Poisoned(_))));
}

#[test]
fn everybody_who_waits_hears_of_a_failure() {
    let dir = tempdir().unwrap();
    let disk = Arc::new(FaultyDisk { sync: Countdown::after(1), ..FaultyDisk::default() });
    let store = Arc::new(open_on(dir.path(), &disk));
    block(async {
        let mut waits = Vec::new();
        for _ in 0..100 {
            let Ok(placed) = store.append(&message("t", 0, b"x", "")) else { break };
            let store = Arc::clone(&store);
            waits.push(tokio::spawn(async move { store.durable(placed.end).await }));
        }
        assert!(!waits.is_empty());
        for wait in waits {
            assert!(wait.await.unwrap().is_err());
        }
    });
}

#[test]
fn short_writes_are_completed() {
    let dir = tempdir().unwrap();
    let disk = Arc::new(FaultyDisk { short: Some(37), ..FaultyDisk::default() });
    let store = open_on(dir.path(), &disk);
    let mut expected = Expected::new();
    fill(&store, 200, &mut expected);
    settle(&store);
    drop(store);
    assert_holds(&open(dir.path()), &expected);
}

#[test]
fn a_full_disk_refuses_until_there_is_space() {
    let dir = tempdir().unwrap();
    let disk = Arc::new(FaultyDisk { reserve: Countdown::after(1), ..FaultyDisk::default() });
    let store = open_on(dir.path(), &disk);
    let mut stored = 0_u64;
    let refused = loop {
        match store.append(&message("t", 0, &stored.to_be_bytes(), "")) {
            Ok(placed) => block(store.durable(placed.end)).unwrap(),
            Err(refused) => break refused,
        }
        stored += 1;
    };
    assert!(matches!(refused, AppendError::DiskFull { needed: 1.., .. }), "{refused:?}");
    assert!(stored > 100 && store.stats().disk_full && store.poisoned().is_none());
    settle(&store);
    assert_eq!(drain(&store, "t", 0).len() as u64, stored, "reads go on");
    disk.reserve.set(i64::MAX);
    eventually("space again", || store.append(&message("t", 0, &stored.to_be_bytes(), "")).is_ok());
    eventually("no longer full", || !store.stats().disk_full);
    settle(&store);
    drop(store);
    let all = drain(&open(dir.path()), "t", 0);
    assert!(all.iter().map(|(_, body)| body.clone()).eq((0..=stored).map(|number| number.to_be_bytes().to_vec())));
}

#[test]
fn derived_files_that_cannot_be_written_hinder_nobody() {
    let dir = tempdir().unwrap();
    let disk = Arc::new(FaultyDisk { derived: Countdown::after(0), ..FaultyDisk::default() });
    let store = open_on(dir.path(), &disk);
    let mut expected = Expected::new();
    fill(&store, 900, &mut expected);
    settle(&store);
    assert!(store.shared.derived.write_out(u64::MAX).is_err());
    eventually("counted", || store.stats().derived_failures > 0);
    assert_holds(&store, &expected);
    disk.derived.set(20);
    for _ in 0..30 {
        let _chores = store.shared.chores.lock();
        let _ = store.shared.derived.write_out(u64::MAX);
        disk.derived.set(20);
    }
    disk.derived.set(i64::MAX);
    store.close().unwrap();
    drop(store);
    let store = open(dir.path());
    assert_holds(&store, &expected);
    assert_eq!(store.stats().repaired, 0);
}

#[test]
fn appends_beyond_the_unflushed_bound_are_busy() {
    let dir = tempdir().unwrap();
    let store = Store::open(Options { max_unflushed: 4_000, ..small(dir.path()) }).unwrap();
    let body = vec![0; 1_000];
    let mut busy = 0;
    for _ in 0..2_000 {
        match store.append(&message("t", 0, &body, "")) {
            Ok(_) => {}
            Err(AppendError::Busy { unflushed, .. }) => {
                assert!(unflushed <= 4_000);
                busy += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(busy > 0);
    assert_eq!(store.stats().refused_busy, busy);
}
