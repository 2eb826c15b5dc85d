//! The table, and the line that a script reads.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::check::Breach;
use crate::disk::{Image, lay_out};

/// Failures that are told in full.
const TOLD: u64 = 20;

/// Counts of one kind of trial.
#[derive(Debug, Clone, Copy, Default)]
struct Row {
    trials: u64,
    lost: u64,
    unopened: u64,
    served: u64,
    unhealed: u64,
}

impl Row {
    fn failures(self) -> u64 {
        self.lost + self.unopened + self.served + self.unhealed
    }

    /// Counts a trial, and gives back why it failed.
    fn count(&mut self, result: Result<(), (Breach, Image)>) -> Option<(String, Image)> {
        self.trials += 1;
        let (breach, files) = result.err()?;
        let (counter, reason) = match breach {
            Breach::Unopened(reason) => (&mut self.unopened, reason),
            Breach::Lost(reason) => (&mut self.lost, reason),
            Breach::Served(reason) => (&mut self.served, reason),
            Breach::Unhealed(reason) => (&mut self.unhealed, reason),
        };
        *counter += 1;
        Some((reason, files))
    }

    fn add(&mut self, other: Self) {
        self.trials += other.trials;
        self.lost += other.lost;
        self.unopened += other.unopened;
        self.served += other.served;
        self.unhealed += other.unhealed;
    }
}

/// What was tried and what failed.
#[derive(Debug)]
pub struct Report {
    cuts: BTreeMap<&'static str, Row>,
    flips: BTreeMap<&'static str, Row>,
    outcomes: BTreeMap<(&'static str, &'static str), u64>,
    keep: Option<PathBuf>,
    told: u64,
}

impl Report {
    /// Nothing yet; the files of failures go into a directory if one is given.
    pub fn new(keep: Option<PathBuf>) -> Self {
        Self { cuts: BTreeMap::new(), flips: BTreeMap::new(), outcomes: BTreeMap::new(), keep, told: 0 }
    }

    /// Counts a power cut.
    pub fn cut(&mut self, kind: &'static str, number: u64, result: Result<(), (Breach, Image)>) {
        let failed = self.cuts.entry(kind).or_default().count(result);
        self.tell(kind, "state", number, failed);
    }

    /// Counts a flip.
    pub fn flip(&mut self, kind: &'static str, number: u64, result: Result<&'static str, (Breach, Image)>) {
        if let Ok(outcome) = &result {
            *self.outcomes.entry((kind, outcome)).or_default() += 1;
        }
        let failed = self.flips.entry(kind).or_default().count(result.map(drop));
        self.tell(kind, "flip", number, failed);
    }

    fn tell(&mut self, kind: &str, what: &str, number: u64, failed: Option<(String, Image)>) {
        let Some((reason, files)) = failed else { return };
        self.told += 1;
        if self.told > TOLD {
            return;
        }
        println!("{kind}, {what} {number}: {reason}");
        if let Some(keep) = &self.keep {
            lay_out(&files, &keep.join(format!("{what}-{number}")));
        }
    }

    /// Whether nothing failed.
    pub fn is_clean(&self) -> bool {
        self.cuts.values().chain(self.flips.values()).all(|row| row.failures() == 0)
    }

    /// The table and the last line.
    pub fn print(&self) {
        println!("{:<24} {:>8} {:>8}", "kind", "states", "failures");
        let (mut cuts, mut all) = (Row::default(), Row::default());
        for (kind, row) in &self.cuts {
            println!("{kind:<24} {:>8} {:>8}", row.trials, row.failures());
            cuts.add(*row);
        }
        let mut flips = Row::default();
        for (kind, row) in &self.flips {
            let outcomes = self.outcomes.iter().filter(|((of, _), _)| of == kind);
            let outcomes: Vec<String> = outcomes.map(|((_, outcome), count)| format!("{outcome} {count}")).collect();
            println!("{kind:<24} {:>8} {:>8}   {}", row.trials, row.failures(), outcomes.join(", "));
            flips.add(*row);
        }
        all.add(cuts);
        all.add(flips);
        println!(
            "states {} lost {} unopened {} flips {} served {} unhealed {}",
            cuts.trials, all.lost, all.unopened, flips.trials, all.served, all.unhealed
        );
    }
}
