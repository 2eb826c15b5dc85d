//! SIGKILL of a broker under load, again and again: nothing acknowledged is lost, nothing is stored twice, order holds.
//!
//! `ORBITMQ_CRASH_ROUNDS=100 cargo test --release -p orbitmq-tests --test crash -- --nocapture` runs a hundred rounds;
//! `ORBITMQ_CRASH_SEED` repeats the moments of an earlier run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

mod bystanders;

use std::sync::Arc;
use std::time::Duration;

use bystanders::{Committer, Creator, Delayer};
use orbitmq_tests::check::{Check, Verdict};
use orbitmq_tests::daemon::{Daemon, Place};
use orbitmq_tests::ledger::{Answered, Ledger};
use orbitmq_tests::load::{Load, Plan};
use orbitmq_tests::session::Session;

const TESTD: &str = env!("CARGO_BIN_EXE_orbitmq-testd");
const SENDERS: u32 = 16;
const NORMAL_ROUNDS: u32 = 10;
/// Queues of every topic of the load.
const QUEUES: i32 = 4;
/// The topic that goes through all rounds; each round has one of its own beside it.
const LASTING: &str = "Lasting";

/// Tests of both modes run one after the other, so that each has the machine and its table in one piece.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sync_flush_loses_nothing_when_killed() {
    let rounds = number("ORBITMQ_CRASH_ROUNDS").map_or(NORMAL_ROUNDS, |rounds| u32::try_from(rounds).unwrap());
    Killing::run("sync", rounds).await;
}

/// In async mode an acknowledged message is in the page cache, which outlives the process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn async_flush_loses_nothing_when_killed() {
    let rounds = number("ORBITMQ_CRASH_ROUNDS").map_or(NORMAL_ROUNDS / 2, |rounds| u32::try_from(rounds).unwrap());
    Killing::run("async", rounds).await;
}

/// One broker, killed over and over on the same directory.
struct Killing {
    flush: &'static str,
    moments: fastrand::Rng,
    broker: Daemon,
    session: Session,
    ledger: Arc<Ledger>,
    check: Check,
    committer: Committer,
    creator: Creator,
    delayer: Delayer,
}

impl Killing {
    async fn run(flush: &'static str, rounds: u32) {
        let _turn = ONE_AT_A_TIME.lock().await;
        let seed = number("ORBITMQ_CRASH_SEED").unwrap_or_else(|| fastrand::u64(..));
        println!("\nSIGKILL under load, flush = {flush}, {rounds} rounds, ORBITMQ_CRASH_SEED={seed}");
        println!(
            "{:>5} {:>8} {:>12} {:>10} {:>9} {:>8}  found",
            "round", "load", "acknowledged", "in doubt", "ready in", "killed"
        );
        let place = Place::new(TESTD);
        let setup = place.broker("broker").argument("--flush", flush).set("delay_levels", "300ms 1s 2s");
        // Files small enough to be changed for the next one under load.
        let setup = setup.set("segment_size", "4MiB").set("queue_file_entries", "1000");
        let broker = setup.start();
        let session = Session::new(broker.address());
        let ledger = Arc::new(Ledger::default());
        let mut killing = Self {
            flush,
            moments: fastrand::Rng::with_seed(seed),
            committer: Committer::new(LASTING),
            creator: Creator::default(),
            delayer: Delayer::new(),
            broker,
            session,
            ledger,
            check: Check::default(),
        };
        killing.session.create_topic(LASTING, QUEUES).await.unwrap();
        for round in 0..rounds {
            killing.round(round).await;
        }
        killing.finish(rounds).await;
    }

    async fn round(&mut self, round: u32) {
        let own: Arc<str> = format!("Round{round}").into();
        // Created by the first send, while the load runs.
        let topics = vec![(Arc::from(LASTING), QUEUES), (Arc::clone(&own), QUEUES)];
        let plan = Plan { topics, senders: SENDERS, padding: 2000 };
        let before = self.ledger.acknowledged();
        let address = self.broker.address().to_owned();
        let load = Load::start(&address, &plan, &self.ledger, round * SENDERS);
        self.committer.start(&address);
        self.creator.start(&address);
        self.delayer.start(&address);

        let length = Duration::from_millis(self.moments.u64(30..600));
        tokio::time::sleep(length).await;
        // Some die on their way to a clean stop.
        if self.moments.u32(0..4) == 0 {
            self.broker.ask_to_stop();
            tokio::time::sleep(Duration::from_millis(self.moments.u64(0..50))).await;
        }
        self.broker.kill();
        load.stop().await;
        self.committer.stop().await;
        self.creator.stop().await;
        self.delayer.stop().await;
        let acknowledged = self.ledger.acknowledged() - before;

        let mut killed = 1;
        // A broker may also die while it recovers.
        while self.moments.u32(0..4) == 0 {
            self.broker.spawn();
            tokio::time::sleep(Duration::from_millis(self.moments.u64(0..150))).await;
            self.broker.kill();
            killed += 1;
        }
        let ready = self.broker.start();
        let own_queues = self.session.topic(&own).await.map_or(0, |topic| topic.read_queue_nums);
        for (topic, queues) in [(LASTING, QUEUES), (own.as_ref(), own_queues)] {
            self.check.read(&self.session, &self.ledger, topic, queues, true).await.unwrap();
        }
        let verdict = self.check.verdict(&self.ledger);
        let doubtful = verdict.stored - self.ledger.acknowledged().min(verdict.stored);
        println!(
            "{round:>5} {length:>8?} {acknowledged:>12} {doubtful:>10} {:>6} ms {killed:>8}  {}",
            ready.as_millis(),
            brief(&verdict)
        );
        assert!(verdict.is_clean(), "round {round}: {verdict}; {}", self.broker.tail());
        self.keys_are_found().await;
        self.committer.check(&self.session).await;
        self.creator.check(&self.session).await;
    }

    /// The index leads to messages whether they were in it before the kill or not.
    async fn keys_are_found(&self) {
        for (id, entry) in self.ledger.all_acknowledged().into_iter().take(10) {
            let found = self.session.query_unique(&entry.topic, &id.key()).await.unwrap();
            let offsets: Vec<i64> = found.iter().map(|stored| stored.offset).collect();
            let right = matches!(entry.answered, Answered::Stored { offset } if offsets == [offset]);
            assert!(right, "{id:?}, {entry:?}, is found at {offsets:?}");
        }
    }

    /// Reads everything once more, through a broker that was stopped cleanly.
    async fn finish(mut self, rounds: u32) {
        let delivered = self.delayer.check(&self.session).await;
        assert!(self.broker.stop().success(), "{}", self.broker.tail());
        self.broker.start();
        let mut check = Check::default();
        check.read(&self.session, &self.ledger, LASTING, QUEUES, true).await.unwrap();
        for round in 0..rounds {
            let own = format!("Round{round}");
            let queues = self.session.topic(&own).await.map_or(0, |topic| topic.read_queue_nums);
            check.read(&self.session, &self.ledger, &own, queues, true).await.unwrap();
        }
        let verdict = check.verdict(&self.ledger);
        self.committer.check(&self.session).await;
        self.creator.check(&self.session).await;
        let Verdict { lost, duplicated, order_breaks, .. } = &verdict;
        println!(
            "flush = {}: {} offsets stored, {} topics created, {delivered} delayed messages delivered once",
            self.flush,
            self.committer.acknowledged(),
            self.creator.acknowledged()
        );
        println!(
            "rounds {rounds} acknowledged {} lost {lost} duplicated {duplicated} order-breaks {order_breaks}",
            self.ledger.acknowledged()
        );
        assert!(verdict.is_clean(), "{verdict}");
        assert!(self.ledger.acknowledged() > 0);
        // A broker that stops may say so; nothing else is a reason to refuse.
        let refusals = self.ledger.refusals();
        assert!(refusals.keys().all(|(_, remark)| remark.contains("closed")), "{refusals:?}");
    }
}

fn brief(verdict: &Verdict) -> String {
    if verdict.is_clean() { format!("all of {} well", verdict.stored) } else { verdict.to_string() }
}
