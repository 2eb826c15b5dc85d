//! Cuts the power of a store at thousands of places, flips bits in its files, and checks what it shows afterwards.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a check that cannot go on has failed"
)]

mod args;
mod check;
mod cuts;
mod disk;
mod flips;
mod history;
mod message;
mod metadata;
mod record;
mod report;
mod workload;

use std::path::Path;
use std::process::ExitCode;

use fastrand::Rng;

use crate::args::{Args, USAGE};
use crate::cuts::Place;
use crate::flips::{Outcome, Rest, Victim};
use crate::metadata::Metadata;
use crate::report::Report;
use crate::workload::{Kind, Recording};

/// What suffers, and how often.
const VICTIMS: [(Victim, &str); 9] = [
    (Victim::Log, "flip, log"),
    (Victim::Log, "flip, log"),
    (Victim::Log, "flip, log"),
    (Victim::Queues, "flip, queues"),
    (Victim::Queues, "flip, queues"),
    (Victim::Index, "flip, index"),
    (Victim::Index, "flip, index"),
    (Victim::Sums, "flip, index checksums"),
    (Victim::Checkpoint, "flip, checkpoint"),
];
/// States that share a recording.
const PER_RECORDING: u64 = 250;
/// What is recorded, in turn.
const KINDS: [Kind; 4] = [Kind::Sync, Kind::Slave, Kind::Async, Kind::Rejoin];

fn main() -> ExitCode {
    let args = match Args::read(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(error) => {
            eprintln!("powercut: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    // In memory where there is such a place: nothing here is about the disk's speed.
    let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory");
    let mut report = Report::new(args.keep.clone());
    cut_everywhere(&args, dir.path(), &mut report);
    if args.only.is_none() {
        flip_everywhere(&args, dir.path(), &mut report);
    }
    report.print();
    if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn cut_everywhere(args: &Args, dir: &Path, report: &mut Report) {
    for first in (0..args.states).step_by(PER_RECORDING as usize) {
        let states = first..args.states.min(first + PER_RECORDING);
        if args.only.is_some_and(|only| !states.contains(&only)) {
            continue;
        }
        let kind = KINDS[(first / PER_RECORDING % KINDS.len() as u64) as usize];
        let work = dir.join("work");
        let recording = workload::record(kind, args.plant, mix(args.seed, first), &work);
        std::fs::remove_dir_all(&work).expect("a directory in memory goes");
        let states = states.filter(|state| args.only.is_none_or(|only| only == *state));
        cut_recording(args.seed, states, kind, &recording, dir, report);
    }
}

fn cut_recording(
    seed: u64,
    states: impl Iterator<Item = u64>,
    kind: Kind,
    recording: &Recording,
    dir: &Path,
    report: &mut Report,
) {
    let mut cuts: Vec<(usize, u64, Rng)> = states
        .map(|state| {
            let mut chance = Rng::with_seed(mix(seed, state ^ 0x5EED));
            (chance.usize(0..=recording.ops.len()), state, chance)
        })
        .collect();
    cuts.sort_by_key(|cut| cut.0);
    let mut place = Place::default();
    for (at, state, mut chance) in cuts {
        place.advance(&recording.ops, at);
        let result = cuts::explore(recording, &place, kind, &mut chance, dir);
        report.cut(kind.name(), state, result.map_err(|failed| (failed.breach, failed.files)));
    }
}

/// Flips bits in the files of stores that were closed, and of others that crashed.
fn flip_everywhere(args: &Args, dir: &Path, report: &mut Report) {
    for first in (0..args.flips).step_by(PER_RECORDING as usize) {
        let work = dir.join("work");
        let recording = workload::record(Kind::Sync, None, mix(args.seed, !first), &work);
        std::fs::remove_dir_all(&work).expect("a directory in memory goes");
        let rest = Rest::of(&recording, dir);
        let metadata = Metadata::write(mix(args.seed, !first), dir);
        for number in first..args.flips.min(first + PER_RECORDING) {
            let mut chance = Rng::with_seed(mix(args.seed, number ^ 0xF11B));
            if chance.u8(0..8) == 0 {
                let (result, files) = metadata.flip(&mut chance, dir);
                report.flip("flip, metadata", number, result.map_err(|breach| (breach, files)));
                continue;
            }
            let (victim, kind) = VICTIMS[chance.usize(0..VICTIMS.len())];
            let (result, files) = rest.flip(victim, &mut chance, dir);
            report.flip(kind, number, result.map(Outcome::name).map_err(|breach| (breach, files)));
        }
    }
}

/// A number that follows from two, and looks like chance.
fn mix(seed: u64, number: u64) -> u64 {
    Rng::with_seed(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ number).u64(..)
}
