//! Ten rounds of random faults; `ORBITMQ_FAULTS_SEED` repeats the rounds of an earlier run.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use orbitmq_tests::faults::Run;
use orbitmq_tests::faults::round::Manner;
use orbitmq_tests::faults::schedule::Wishes;

const TESTD: &str = env!("CARGO_BIN_EXE_orbitmq-testd");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_keeps_its_promises() {
    let seed =
        std::env::var("ORBITMQ_FAULTS_SEED").map_or_else(|_| fastrand::u64(..) >> 24, |text| text.parse().unwrap());
    println!("ORBITMQ_FAULTS_SEED={seed}");
    let run = Run { rounds: 10, seed, seconds: 12, wishes: Wishes::default() };
    let manner = Manner { program: TESTD.to_owned(), ..Manner::default() };
    assert!(run.go(&manner, 1).await, "a promise was broken; ORBITMQ_FAULTS_SEED={seed}");
}
