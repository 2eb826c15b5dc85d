//! `orbitmq bench`: load through our own client libraries, and what it costs the servers.

mod figures;
mod process;
mod produce;
mod schedule;
mod setup;

use clap::Subcommand;

use crate::failure::Failure;
use crate::report::Report;
use crate::session::Session;

/// What can be measured.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Send messages as fast as it goes, or at a rate.
    Produce(produce::Arguments),
}

/// Runs one measurement.
pub async fn run(command: Command, session: Session) -> Result<Report, Failure> {
    match command {
        Command::Produce(arguments) => produce::run(arguments, &session).await,
    }
}
