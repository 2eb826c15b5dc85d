//! A disk that fails once: nothing is acknowledged after the first failed write or flush, and everything that was is kept.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::sync::Arc;
use std::time::Duration;

use orbitmq_common::protocol::code::response;
use orbitmq_tests::check::Check;
use orbitmq_tests::daemon::{Daemon, Place};
use orbitmq_tests::ledger::{Answered, Ledger};
use orbitmq_tests::load::{Load, Plan};
use orbitmq_tests::session::{Failure, Outgoing, Session, properties};
use orbitmq_tests::shim::Shim;
use orbitmq_tests::wait::until;

const TESTD: &str = env!("CARGO_BIN_EXE_orbitmq-testd");
const TOPIC: &str = "Faulty";
const QUEUES: i32 = 4;
const PATIENCE: Duration = Duration::from_secs(60);

/// What fails, and how.
struct Fault {
    /// The broker's flush mode.
    flush: &'static str,
    /// Kind of call that fails.
    calls: &'static str,
    /// How many of them fail; those that follow would succeed.
    count: u32,
    /// What remark and log name as the cause.
    cause: &'static str,
    /// How the broker ends afterwards.
    end: fn(&mut Daemon),
}

fn stop(broker: &mut Daemon) {
    let _ = broker.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_failed_flush_ends_acknowledgements() {
    check(&Fault { flush: "sync", calls: "sync", count: 1, cause: "flushing", end: stop }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_failed_write_ends_acknowledgements() {
    check(&Fault { flush: "sync", calls: "write", count: 1, cause: "writing", end: Daemon::kill }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_goes_on_failing_changes_nothing() {
    check(&Fault { flush: "sync", calls: "sync,write", count: 1_000_000, cause: "failed", end: Daemon::kill }).await;
}

/// Acknowledged messages are in the page cache only; but once a flush has failed no more are promised.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_failed_flush_ends_acknowledgements_in_async_mode() {
    check(&Fault { flush: "async", calls: "sync", count: 1, cause: "flushing", end: Daemon::kill }).await;
}

async fn check(fault: &Fault) {
    let place = Place::new(TESTD);
    let shim = Shim::compile(place.path());
    // Some calls succeed between the trigger and the fault, so that it comes in the middle of the load.
    let after = if fault.flush == "sync" { fastrand::u32(0..30) } else { 0 };
    let setup = place.broker("broker").argument("--flush", fault.flush);
    let mut broker = shim.on(setup, fault.calls, after, fault.count).start();
    let session = Session::new(broker.address());
    session.create_topic(TOPIC, QUEUES).await.unwrap();

    let ledger = Arc::new(Ledger::default());
    let plan = Plan { topics: vec![(TOPIC.into(), QUEUES)], senders: 16, padding: 1000 };
    let load = Load::start(broker.address(), &plan, &ledger, 0);
    until("the load is under way", PATIENCE, async || (ledger.acknowledged() > 200).then_some(())).await;
    shim.trigger();
    let figures = async || session.figures().await.unwrap()["poisoned"].clone();
    let reason =
        until("figures show the fault", PATIENCE, async || Some(figures().await).filter(|text| !text.is_empty()));
    let reason = reason.await;
    assert!(reason.contains(fault.cause) && reason.contains("error"), "{reason}");

    nothing_is_acknowledged(&broker, &session, &plan).await;
    load.stop().await;
    assert_eq!(ledger.unanswered(), 0, "every sender hears of it");
    let refusals = ledger.refusals();
    assert!(!refusals.is_empty());
    for (code, remark) in refusals.keys() {
        assert_eq!(*code, response::SERVICE_NOT_AVAILABLE, "{remark}");
        assert!(remark.contains("until a restart") && remark.contains(fault.cause), "{remark}");
    }
    assert!(broker.log().contains("the log is poisoned"), "{}", broker.tail());

    // Reads go on, and show what was acknowledged and nothing else.
    let mut readable = Check::default();
    readable.read(&session, &ledger, TOPIC, QUEUES, true).await.unwrap();
    let verdict = readable.verdict(&ledger);
    assert!(verdict.is_clean(), "poisoned: {verdict}");
    assert_eq!(verdict.stored, ledger.acknowledged(), "nothing but what was acknowledged is shown");

    println!(
        "fault: {} fails ({} of them), flush = {}: {} acknowledged, after the fault 0, refused with code 14 {}, all readable",
        fault.calls,
        fault.count,
        fault.flush,
        ledger.acknowledged(),
        refusals.values().sum::<usize>(),
    );
    (fault.end)(&mut broker);
    broker.change(Shim::off);
    broker.start();
    everything_is_back(&broker, &ledger, &plan).await;
}

/// Senders that come after the fault are refused, each time and at once.
async fn nothing_is_acknowledged(broker: &Daemon, session: &Session, plan: &Plan) {
    let late = Arc::new(Ledger::default());
    let load = Load::start(broker.address(), plan, &late, 1000);
    for number in 0..50 {
        let message = Outgoing { body: "late".into(), properties: properties(&format!("late{number}"), 0) };
        match session.send(TOPIC, 0, &[message]).await {
            Err(Failure::Refused { code: response::SERVICE_NOT_AVAILABLE, .. }) => {}
            other => panic!("sent after the fault, and {other:?}"),
        }
    }
    until("late senders are refused", PATIENCE, async || (!late.refusals().is_empty()).then_some(())).await;
    load.stop().await;
    assert_eq!((late.acknowledged(), late.unanswered()), (0, 0));
}

/// After a restart without faults all that was acknowledged is there, once, and sends are acknowledged again.
async fn everything_is_back(broker: &Daemon, ledger: &Arc<Ledger>, plan: &Plan) {
    let session = Session::new(broker.address());
    assert_eq!(session.figures().await.unwrap()["poisoned"], "");
    let before = ledger.acknowledged();
    let load = Load::start(broker.address(), plan, ledger, 100);
    until("sends work again", PATIENCE, async || (ledger.acknowledged() > before + 100).then_some(())).await;
    load.stop().await;
    let mut check = Check::default();
    check.read(&session, ledger, TOPIC, QUEUES, true).await.unwrap();
    let verdict = check.verdict(ledger);
    assert!(verdict.is_clean(), "after the restart: {verdict}");
    let all = ledger.all_acknowledged();
    let (id, entry) = all.first().unwrap();
    let found = session.query_unique(TOPIC, &id.key()).await.unwrap();
    let offsets: Vec<i64> = found.iter().map(|stored| stored.offset).collect();
    assert!(matches!(entry.answered, Answered::Stored { offset } if offsets == [offset]), "{entry:?}, and {offsets:?}");
}
