//! `faults`: rounds of random faults against a cluster, `cargo run --release --bin faults -- --rounds 200 --seed 1`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test")]

use std::process::ExitCode;

use clap::Parser;
use orbitmq_tests::faults::Run;
use orbitmq_tests::faults::round::Manner;
use orbitmq_tests::faults::schedule::{Kind, Wishes};
use orbitmq_tests::role;

/// Bugs that daemons built with the feature `plant` can have.
const PLANTS: [&str; 5] =
    ["ack-before-flush", "slave-ack-before-flush", "promote-outside-set", "offset-back", "truncate-too-much"];

/// Kills, stops, cuts and starves the daemons of a cluster under load, and checks that every promise is kept.
///
/// Exit code 0: all kept; 1: a breach.
#[derive(Debug, Parser)]
#[command(name = "faults")]
struct Arguments {
    /// Number of rounds.
    #[arg(long, default_value_t = 10)]
    rounds: u64,
    /// Seed of the first round; the others follow from it. A seed of the table repeats its round with `--rounds 1`.
    #[arg(long)]
    seed: Option<u64>,
    /// Rounds at a time. More than the machine can carry show as clusters that do not recover in time.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    jobs: u8,
    /// Length of a round under faults.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Broker groups, 1 or 2 [chosen by the seed].
    #[arg(long)]
    groups: Option<u8>,
    /// Members of a group, up to 3 [chosen by the seed]; 1: plain brokers without a controller.
    #[arg(long)]
    members: Option<u8>,
    /// Only faults of these kinds, separated by commas.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Kind>,
    /// Runs daemons with a bug, which has to be found.
    #[arg(long, value_parser = PLANTS)]
    plant: Option<String>,
    /// Leaves directories and logs of the daemons behind.
    #[arg(long)]
    keep: bool,
    /// Tells every fault as it comes.
    #[arg(long)]
    verbose: bool,
    /// Prints the schedules and runs nothing.
    #[arg(long)]
    schedule: bool,
}

fn main() -> ExitCode {
    // The daemons are this program too, so that they are as new as it is.
    if let Some(code) = role::play() {
        return code;
    }
    let arguments = Arguments::parse();
    if arguments.plant.is_some() && cfg!(not(feature = "plant")) {
        eprintln!(
            "faults: these daemons have no planted bugs; run `cargo run --release -p orbitmq-tests --features plant \
             --bin faults -- --plant {}`",
            arguments.plant.as_deref().unwrap_or_default()
        );
        return ExitCode::from(2);
    }
    let Arguments { rounds, seconds, groups, members, only, .. } = arguments;
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..) >> 24);
    let run = Run { rounds, seed, seconds, wishes: Wishes { groups, members, only } };
    if arguments.schedule {
        run.print();
        return ExitCode::SUCCESS;
    }
    println!("faults: {rounds} rounds of {seconds} s, --seed {seed}, {} at a time", arguments.jobs);
    let program = std::env::current_exe().unwrap().display().to_string();
    let Arguments { plant, keep, verbose, .. } = arguments;
    let manner = Manner { program, plant, keep, verbose };
    // The main thread starts the daemons, which die with it.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let well = runtime.block_on(run.go(&manner, arguments.jobs.into()));
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
