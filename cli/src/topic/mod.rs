//! `orbitmq topic`: what topics there are, where their queues are, what is in them.

pub mod change;
mod dedup;
mod list;
mod show;

use clap::Subcommand;
use orbitmq_common::protocol::body::route::perm;

use crate::failure::Failure;
use crate::report::Report;
use crate::session::Session;

/// What can be done with topics.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the topics of all brokers.
    List(list::Arguments),
    /// Show one topic's settings at each broker.
    Show(show::Topic),
    /// Create a topic, or change its queues and permission.
    Create(change::Create),
    /// Have brokers drop what is sent to a topic twice, or show whether they do.
    Dedup(dedup::Arguments),
    /// Delete a topic with its messages and every group's offsets in it.
    Delete(change::Delete),
    /// Show which broker holds how many of a topic's queues.
    Route(show::Topic),
    /// Show how many messages each queue of a topic holds.
    Stats(show::Topic),
}

/// Runs one command.
pub async fn run(command: Command, session: Session) -> Result<Report, Failure> {
    match command {
        Command::List(arguments) => list::run(&arguments, &session).await,
        Command::Show(topic) => show::settings(&topic, &session).await,
        Command::Create(arguments) => change::create(&arguments, &session).await,
        Command::Dedup(arguments) => dedup::run(&arguments, &session).await,
        Command::Delete(arguments) => change::delete(&arguments, &session).await,
        Command::Route(topic) => show::route(&topic, &session).await,
        Command::Stats(topic) => show::stats(&topic, &session).await,
    }
}

/// `rw`, `r`, `w`, with `i` where automatically created topics inherit; `-` for none.
fn show_perm(bits: i32) -> String {
    let letters = [(perm::READ, 'r'), (perm::WRITE, 'w'), (perm::INHERIT, 'i')];
    let text: String = letters.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, letter)| *letter).collect();
    if text.is_empty() { "-".to_owned() } else { text }
}

/// Reads what [`show_perm`] writes.
fn parse_perm(text: &str) -> Result<i32, String> {
    let bit = |letter| match letter {
        'r' => Some(perm::READ),
        'w' => Some(perm::WRITE),
        'i' => Some(perm::INHERIT),
        _ => None,
    };
    let bits = if text == "-" { Some(0) } else { text.chars().try_fold(0, |bits, letter| Some(bits | bit(letter)?)) };
    bits.filter(|_| !text.is_empty()).ok_or_else(|| "expected r (read), w (write), rw, or - for neither".to_owned())
}

/// Checks the name of a topic as it comes from the command line.
pub fn parse_name(text: &str) -> Result<String, String> {
    orbitmq_common::name::check_topic(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_read_and_shown() {
        for (text, bits) in [("rw", 6), ("r", 4), ("w", 2), ("rwi", 7), ("-", 0)] {
            assert_eq!((parse_perm(text), show_perm(bits).as_str()), (Ok(bits), text));
        }
        for bad in ["", "x", "6", "rw-"] {
            assert!(parse_perm(bad).is_err(), "{bad}");
        }
    }
}
