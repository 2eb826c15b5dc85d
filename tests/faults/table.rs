//! What a run prints: a line for each round, breaches in words, the figures of failovers, the totals.

use std::time::Duration;

use super::round::{Cost, Report};

/// Adds up rounds and prints them.
#[derive(Debug, Default)]
pub struct Table {
    rounds: usize,
    breaches: usize,
    lost: usize,
    reordered: usize,
    double_masters: usize,
    duplicates: usize,
    acknowledged: usize,
    /// With the number of members of the group: of two, one alone acknowledges nothing until the other is back.
    failovers: Vec<(u8, Cost)>,
}

impl Table {
    /// A table with its head printed.
    #[must_use]
    pub fn open() -> Self {
        println!(
            "{:>5} {:>18} {:>7} {:>6} {:>12} {:>5} {:>9} {:>7} {:>10} {:>6} {:>6} {:>7}  found",
            "round",
            "seed",
            "members",
            "faults",
            "acknowledged",
            "lost",
            "reordered",
            "double",
            "duplicates",
            "again",
            "popped",
            "gap ms"
        );
        Self::default()
    }

    /// Prints a round.
    pub fn enter(&mut self, round: u64, report: &Report) {
        let (plan, verdict) = (&report.plan, &report.verdict);
        println!(
            "{round:>5} {:>18} {:>7} {:>6} {:>12} {:>5} {:>9} {:>7} {:>10} {:>6} {:>6} {:>7}  {}",
            plan.seed,
            format!("{}x{}", plan.groups, plan.members),
            plan.faults.len(),
            verdict.acknowledged,
            verdict.lost,
            verdict.reordered,
            verdict.double_masters,
            verdict.duplicates,
            verdict.redelivered,
            verdict.repopped,
            report.gap.as_millis(),
            if report.is_breach() { "BREACH" } else { "well" }
        );
        if report.is_breach() {
            self.breaches += 1;
            println!("      {}", verdict.counts());
            verdict.told.iter().chain(&report.trouble).for_each(|text| println!("      {text}"));
            plan.faults.iter().for_each(|fault| println!("      {fault}"));
        }
        self.rounds += 1;
        self.lost += verdict.lost;
        self.reordered += verdict.reordered;
        self.double_masters += verdict.double_masters;
        self.duplicates += verdict.duplicates;
        self.acknowledged += verdict.acknowledged;
        self.failovers.extend(report.failovers.iter().map(|cost| (plan.members, *cost)));
    }

    /// Prints the figures and the totals; tells whether every round was well.
    #[must_use]
    pub fn close(self) -> bool {
        let Self { rounds, breaches, lost, reordered, double_masters, duplicates, acknowledged, failovers } = self;
        let of = |members: u8| -> Vec<Cost> { failovers.iter().filter(|of| of.0 == members).map(|of| of.1).collect() };
        let alone: Vec<Cost> = of(3).into_iter().filter(|cost| cost.is_alone).collect();
        print_failovers("kills of a master of two", &of(2));
        print_failovers("kills of a master of three", &of(3));
        print_failovers("kills of a master of three with nothing else wrong", &alone);
        println!("{acknowledged} messages acknowledged, {breaches} rounds with breaches");
        println!(
            "rounds {rounds} lost {lost} reordered {reordered} double-masters {double_masters} duplicates {duplicates}"
        );
        breaches == 0
    }
}

fn print_failovers(what: &str, costs: &[Cost]) {
    let gaps: Vec<Duration> = costs.iter().map(|cost| cost.gap).collect();
    let resumed: Vec<Duration> = costs.iter().filter_map(|cost| cost.resumed).collect();
    if gaps.is_empty() {
        return;
    }
    let row = |times: Vec<Duration>| {
        let of = |percent| percentile(&times, percent).as_millis();
        format!("p50 {} ms, p99 {} ms, longest {} ms", of(50), of(99), of(100))
    };
    println!("{} {what}: without acknowledgements {}; consumers go on after {}", costs.len(), row(gaps), row(resumed));
}

/// The smallest value that so many per cent do not exceed; zero of none.
fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(rank).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let times: Vec<Duration> = (1..=200).map(Duration::from_millis).rev().collect();
        let of = |percent| percentile(&times, percent).as_millis();
        assert_eq!((of(50), of(99), of(100)), (100, 198, 200));
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }
}
