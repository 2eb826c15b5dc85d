//! `orbitmq bench`: load through our own client libraries, and what it costs the servers.

mod consume;
mod drive;
mod e2e;
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
    /// Drain stored messages from the first one on.
    Consume(consume::Arguments),
    /// Send at a fixed rate and measure until each message is received.
    E2e(e2e::Arguments),
}

/// Runs one measurement.
pub async fn run(command: Command, session: Session) -> Result<Report, Failure> {
    match command {
        Command::Produce(arguments) => produce::run(arguments, &session).await,
        Command::Consume(arguments) => consume::run(arguments, &session).await,
        Command::E2e(arguments) => e2e::run(arguments, &session).await,
    }
}
