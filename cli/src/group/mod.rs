//! `orbitmq group`: who consumes, and how far they have come.

pub mod change;
mod lag;
pub mod list;
mod reset;

use clap::Subcommand;

use crate::failure::Failure;
use crate::report::Report;
use crate::session::Session;

/// What can be done with groups.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the groups of all brokers with their connected members.
    List(list::Arguments),
    /// Create a group, or change its settings.
    Create(change::Create),
    /// Delete a group and its offsets.
    Delete(change::Delete),
    /// Show how many messages, and how much time, a group is behind in each queue.
    Lag(lag::Arguments),
    /// Show the connected members of a group and what they subscribe to.
    Members(list::Members),
    /// Set the offsets of a group in a topic: it goes on there.
    Reset(reset::Arguments),
}

/// Runs one command.
pub async fn run(command: Command, session: Session) -> Result<Report, Failure> {
    match command {
        Command::List(arguments) => list::run(&arguments, &session).await,
        Command::Create(arguments) => change::create(&arguments, &session).await,
        Command::Delete(arguments) => change::delete(&arguments, &session).await,
        Command::Lag(arguments) => lag::run(&arguments, &session).await,
        Command::Members(arguments) => list::members(&arguments, &session).await,
        Command::Reset(arguments) => reset::run(&arguments, &session).await,
    }
}

/// Checks the name of a group as it comes from the command line.
pub fn parse_name(text: &str) -> Result<String, String> {
    orbitmq_common::name::check_group(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
}
