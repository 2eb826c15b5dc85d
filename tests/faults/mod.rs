//! Random faults against a cluster of real daemons, and the proof that it keeps its promises.

pub mod check;
pub mod cluster;
pub mod consume;
pub mod disk;
pub mod history;
pub mod later;
pub mod load;
pub mod machine;
pub mod masters;
pub mod observe;
pub mod proxy;
pub mod round;
pub mod schedule;
pub mod table;

use std::pin::pin;

use futures_util::{StreamExt, stream};
use schedule::{Plan, Wishes, plan, round_seed};
use table::Table;

/// A run.
#[derive(Debug, Clone)]
pub struct Run {
    /// Number of rounds.
    pub rounds: u64,
    /// Seed of the first round, from which the others follow.
    pub seed: u64,
    /// Time of a round under faults, seconds.
    pub seconds: u64,
    /// What the schedules have in common.
    pub wishes: Wishes,
}

impl Run {
    /// Its rounds.
    pub fn plans(&self) -> impl Iterator<Item = (u64, Plan)> {
        let of = |round| (round, plan(round_seed(self.seed, round), self.seconds * 1_000, &self.wishes));
        (0..self.rounds).map(of)
    }

    /// Prints the schedules.
    pub fn print(&self) {
        for (round, plan) in self.plans() {
            println!("round {round}, seed {}, {} groups of {}", plan.seed, plan.groups, plan.members);
            plan.faults.iter().for_each(|fault| println!("{fault}"));
        }
    }

    /// Runs all rounds, so many at a time, and prints what they came to; tells whether all were well. A planted bug has
    /// to be found once. Daemons die with the calling thread.
    pub async fn go(&self, manner: &round::Manner, at_a_time: usize) -> bool {
        let mut table = Table::open();
        let rounds = self.plans().map(|(round, plan)| async move { (round, round::run(&plan, manner).await) });
        let mut reports = pin!(stream::iter(rounds).buffered(at_a_time));
        while let Some((round, report)) = reports.next().await {
            table.enter(round, &report);
            if report.is_breach() && manner.plant.is_some() {
                break;
            }
        }
        table.close()
    }
}
