//! `orbitmq dead`: messages that groups gave up, in the topics `%DLQ%` with the group's name.

mod courier;
mod filter;
mod letter;
mod list;
pub mod marks;
mod purge;
mod replay;
pub mod shelf;

use clap::Subcommand;

use crate::failure::Failure;
use crate::report::Report;
use crate::session::Session;

pub use marks::PREFIX;

/// What can be done with dead letters.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the groups that have dead letters, or the dead letters of one group.
    List(list::List),
    /// Show dead letters as a whole: properties, body, where they came from, why they died.
    Peek(list::Peek),
    /// Send dead letters again, each once.
    ///
    /// A dead letter goes to the topic and queue it came from, or to another topic, with its body, keys, tag and own properties,
    /// the property ORBITMQ_REPLAY_OF with the id of the dead letter, and a message id made of the dead letter's place.
    ///
    /// A replay that ends in any way, also by a kill, goes on where it was when it is started again: its progress is kept at the
    /// broker, as offsets of the groups 'orbitmq-dead-begun…' and 'orbitmq-dead-done…', and before a message is sent the target
    /// topic is asked for its id. So a dead letter is sent once to a topic, for as long as that topic's brokers keep the message
    /// and an index of messages (the default). Run one replay of a group at a time.
    Replay(replay::Arguments),
    /// Have 'orbitmq dead' pass over dead letters from now on.
    ///
    /// A log cannot delete single messages: this moves a boundary, the offset of the group 'orbitmq-dead-purged', below which list,
    /// peek and replay do not look. Other tools still see the messages, and their space is freed when the broker's retention
    /// deletes the log they stand in. 'orbitmq group reset orbitmq-dead-purged --topic %DLQ%GROUP --to first' takes a purge back;
    /// 'orbitmq topic delete %DLQ%GROUP' removes all dead letters of a group for everybody.
    Purge(purge::Arguments),
}

/// Runs one command.
pub async fn run(command: Command, session: Session) -> Result<Report, Failure> {
    match command {
        Command::List(arguments) => list::run(&arguments, &session).await,
        Command::Peek(arguments) => list::peek(&arguments, &session).await,
        Command::Replay(arguments) => replay::run(&arguments, &session).await,
        Command::Purge(arguments) => purge::run(&arguments, &session).await,
    }
}
