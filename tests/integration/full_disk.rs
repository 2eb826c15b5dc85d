//! A full disk: acknowledged messages stay, senders are told, reads go on, writes come back by themselves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use orbitmq_common::protocol::code::response;
use orbitmq_tests::check::Check;
use orbitmq_tests::daemon::{Daemon, Place};
use orbitmq_tests::disk::SmallDisk;
use orbitmq_tests::ledger::Ledger;
use orbitmq_tests::load::{Load, Plan};
use orbitmq_tests::session::{Failure, Session};
use orbitmq_tests::wait::{time_until, until};

const TESTD: &str = env!("CARGO_BIN_EXE_orbitmq-testd");
const MIB: u64 = 1 << 20;
const DISK: u64 = 96 * MIB;
const BALLAST: u64 = 40 * MIB;
const TOPIC: &str = "Full";
const GROUP: &str = "READER_OF_FULL";
const QUEUES: i32 = 4;
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_loses_nothing_and_writes_return_with_the_space() {
    for flush in ["sync", "async"] {
        fill_and_free(flush).await;
    }
}

async fn fill_and_free(flush: &str) {
    let place = Place::new(TESTD);
    let disk = match SmallDisk::new(place.path(), DISK) {
        Ok(disk) => disk,
        Err(reason) => return println!("SKIPPED: no small file system can be mounted here: {reason}"),
    };
    let ballast = disk.from_outside().join("ballast");
    write_ballast(&ballast, BALLAST);
    let setup = place.broker_in("broker", &disk.mount().join("store")).argument("--flush", flush);
    let mut broker = setup.through(&disk.enter()).start();
    let session = Session::new(broker.address());
    session.create_topic(TOPIC, QUEUES).await.unwrap();
    session.commit(GROUP, TOPIC, 1, 7).await.unwrap();

    let ledger = Arc::new(Ledger::default());
    let plan = Plan { topics: vec![(TOPIC.into(), QUEUES)], senders: 16, padding: 30_000 };
    let load = Load::start(broker.address(), &plan, &ledger, 0);
    let refused = async || (ledger.refusals().values().sum::<usize>() > 500).then_some(());
    until("the disk is full", PATIENCE, refused).await;
    let full_at = ledger.acknowledged();
    assert_eq!(session.figures().await.unwrap()["diskFull"], "true");
    only_the_disk_was_named(&ledger);

    // Reads go on, and so do requests that store nothing in the log.
    let mut check = Check::default();
    check.read(&session, &ledger, TOPIC, QUEUES, true).await.unwrap();
    // Somebody else takes the last byte, which the broker had left for its metadata.
    let rest = disk.from_outside().join("rest");
    fill_up(&rest);
    offsets_are_refused(&session, &broker).await;
    check.read(&session, &ledger, TOPIC, QUEUES, true).await.unwrap();
    let full_at = full_at.max(ledger.acknowledged());

    // Space returns, and nobody restarts anything.
    std::fs::remove_file(&rest).unwrap();
    std::fs::remove_file(&ballast).unwrap();
    let back = time_until("writes return", PATIENCE, async || ledger.acknowledged() > full_at + 100).await;
    load.stop().await;
    assert_eq!(ledger.unanswered(), 0, "every sender was answered");
    only_the_disk_was_named(&ledger);
    assert_eq!(session.figures().await.unwrap()["poisoned"], "");
    assert!(broker.is_running());
    until("offsets are stored again", PATIENCE, async || session.commit(GROUP, TOPIC, 0, 2).await.ok()).await;
    check.read(&session, &ledger, TOPIC, QUEUES, true).await.unwrap();
    let verdict = check.verdict(&ledger);
    assert!(verdict.is_clean(), "{verdict}");

    // Full again, and then the process dies.
    let load = Load::start(broker.address(), &plan, &ledger, 100);
    let before = ledger.refusals().values().sum::<usize>();
    let refused = async || (ledger.refusals().values().sum::<usize>() > before + 100).then_some(());
    until("the disk is full again", PATIENCE, refused).await;
    broker.kill();
    load.stop().await;
    broker.start();
    let mut check = Check::default();
    check.read(&session, &ledger, TOPIC, QUEUES, true).await.unwrap();
    let verdict = check.verdict(&ledger);
    assert!(verdict.is_clean(), "after a restart: {verdict}");
    assert_eq!(session.committed(GROUP, TOPIC, 0).await.unwrap(), Some(2));
    assert_eq!(session.committed(GROUP, TOPIC, 1).await.unwrap(), Some(7));
    println!(
        "full disk ({}, flush = {flush}): {} acknowledged, lost {}, {} refused with code 14, writes back {back:?} after the space",
        disk.kind(),
        ledger.acknowledged(),
        verdict.lost,
        ledger.refusals().values().sum::<usize>(),
    );
}

/// Offsets are answered one way or the other, up to the first refusal: then the metadata have no room left either.
async fn offsets_are_refused(session: &Session, broker: &Daemon) {
    for group in 0..5000 {
        match session.commit(&format!("{GROUP}_{group}"), TOPIC, 0, 1).await {
            Ok(()) => {}
            Err(Failure::Refused { remark, .. }) => {
                assert!(remark.contains("could not be stored"), "{remark}");
                return;
            }
            Err(lost) => panic!("an offset on a full disk: {lost:?}; {}", broker.tail()),
        }
    }
    panic!("offsets are stored on a full disk");
}

fn write_ballast(path: &Path, length: u64) {
    let mut file = std::fs::File::create(path).unwrap();
    let piece = vec![7; usize::try_from(MIB).unwrap()];
    for _ in 0..length / MIB {
        file.write_all(&piece).unwrap();
    }
    file.sync_all().unwrap();
}

/// Takes every block that is left.
fn fill_up(path: &Path) {
    let mut file = std::fs::File::create(path).unwrap();
    for length in [1 << 20, 4096, 1] {
        while file.write_all(&vec![7; length]).and_then(|()| file.sync_all()).is_ok() {}
    }
}

fn only_the_disk_was_named(ledger: &Ledger) {
    for (code, remark) in ledger.refusals().keys() {
        assert_eq!(*code, response::SERVICE_NOT_AVAILABLE, "{remark}");
        assert!(remark.contains("the disk is full") && remark.contains("delete files"), "{remark}");
    }
}
