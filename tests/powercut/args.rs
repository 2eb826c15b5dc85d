//! The command line.

use std::path::PathBuf;

use crate::workload::Plant;

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Args {
    /// Power cuts to explore.
    pub states: u64,
    /// Bits to flip.
    pub flips: u64,
    /// From which everything follows by chance.
    pub seed: u64,
    /// The only state to look at.
    pub only: Option<u64>,
    /// Where files that failed are kept.
    pub keep: Option<PathBuf>,
    /// A bug put in on purpose.
    pub plant: Option<Plant>,
}

/// What is said to those who ask.
pub const USAGE: &str = "\
powercut [--states N] [--flips N] [--seed N] [--state N] [--keep DIR] [--plant NAME]
  --states N   power cuts to explore (10000)
  --flips N    bits to flip in files at rest (10000)
  --seed N     the same seed gives the same work and the same cuts (1)
  --state N    only this power cut
  --keep DIR   files of failed states go there
  --plant NAME ack-before-flush or no-directory-flush: a bug that must be found";

impl Args {
    /// Reads the command line.
    pub fn read(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut args = Self { states: 10_000, flips: 10_000, seed: 1, only: None, keep: None, plant: None };
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("{word} takes a value, or is unknown"))?;
            let number = || value.parse::<u64>().map_err(|error| format!("{word} {value}: {error}"));
            match word.as_str() {
                "--states" => args.states = number()?,
                "--flips" => args.flips = number()?,
                "--seed" => args.seed = number()?,
                "--state" => args.only = Some(number()?),
                "--keep" => args.keep = Some(PathBuf::from(value)),
                "--plant" => args.plant = Some(plant(&value)?),
                _ => return Err(format!("{word} is unknown")),
            }
        }
        Ok(args)
    }
}

fn plant(name: &str) -> Result<Plant, String> {
    match name {
        "ack-before-flush" => Ok(Plant::AckBeforeFlush),
        "no-directory-flush" => Ok(Plant::NoDirectoryFlush),
        _ => Err(format!("there is no bug named {name}")),
    }
}
