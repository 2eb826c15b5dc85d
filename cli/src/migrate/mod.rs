//! `orbitmq migrate`: from a running Apache RocketMQ master to a broker of ours that copies it, and the way back.
//!
//! See `docs/migration.md`.

mod back;
mod check;
mod copy;
mod fence;
mod journal;
mod metadata;
mod offsets;
mod pair;
mod probe;
mod switch;
mod watch;

use clap::{Args, Subcommand};

use crate::failure::Failure;
use crate::report::{Output, Report};
use crate::session::Session;

use self::journal::Journal;
use self::pair::Pair;

/// The steps of a migration. Ours copies the old master as its slave before the first of them.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Look whether ours is a true copy of the old master, and what is not carried over. Changes nothing.
    Check(Which),
    /// Wait until ours has caught up. Changes nothing.
    Watch(watch::Arguments),
    /// Make ours the master, with producers and consumers running.
    Switch(switch::Arguments),
    /// Let the old master take messages again after a switch that was broken off before ours became master.
    Release(Which),
    /// Tell how to go back from ours to Apache RocketMQ. Changes nothing.
    Back(Which),
}

/// Which two brokers.
#[derive(Debug, Args)]
pub struct Which {
    /// Our broker, host:port.
    #[arg(long, value_name = "HOST:PORT", value_parser = pair::parse_address)]
    to: String,
    /// The old master, host:port [default: the master that is registered under the name of our broker].
    #[arg(long, value_name = "HOST:PORT", value_parser = pair::parse_address)]
    from: Option<String>,
    /// The name that both brokers must have [default: whatever name ours has].
    #[arg(long)]
    name: Option<String>,
}

/// Runs one command.
pub async fn run(command: Command, session: Session, output: Output) -> Result<Report, Failure> {
    let journal = Journal::new(output);
    match command {
        Command::Check(which) => check::run(&Pair::find(&which, &session).await?).await,
        Command::Watch(arguments) => watch::run(&arguments, &session, &journal).await,
        Command::Switch(arguments) => switch::run(&arguments, &session, &journal).await,
        Command::Release(which) => fence::release(&Pair::find(&which, &session).await?).await,
        Command::Back(which) => back::run(&which, &session).await,
    }
}
