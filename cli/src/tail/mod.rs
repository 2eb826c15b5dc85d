//! `orbitmq tail`: prints messages as they come.

mod group;
pub mod watch;

use std::time::Duration;

use clap::{Args, ValueEnum};
use orbitmq_common::message::message::StoredMessage;

use crate::failure::Failure;
use crate::group::parse_name;
use crate::report::{Output, Report, line};
use crate::session::Session;
use crate::shown::Shown;
use crate::time;

/// Print messages as they come.
///
/// Without --group nobody notices: no offset is stored, and no consumer gets fewer messages for it.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The topic.
    topic: String,
    /// Consume as a member of this group: what is printed counts as consumed.
    #[arg(long, value_parser = parse_name)]
    group: Option<String>,
    /// How messages come to a member of a group: pull, pop, or by-group: as its request mode at the brokers says.
    #[arg(long, value_name = "WAY", default_value = "pull", requires = "group", value_enum)]
    fetch: Way,
    /// Also write traces where "mqadmin queryMsgTraceById" looks for them.
    #[arg(long, requires = "group")]
    trace: bool,
    /// Where to begin: first, last, or a time (2026-11-21T12:30:00Z, or 10m for ten minutes ago). A group that has stored
    /// offsets begins there.
    #[arg(long, value_name = "PLACE", default_value = "last", value_parser = Start::parse)]
    from: Start,
    /// Only messages with these tags: "TagA || TagB".
    #[arg(long, default_value = "*")]
    tags: String,
    /// Stop after so many messages.
    #[arg(long, short = 'c', value_name = "MESSAGES", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Stop after so long.
    #[arg(long = "for", value_name = "TIME", value_parser = time::parse_length)]
    limit: Option<Duration>,
}

/// How messages come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Way {
    Pull,
    Pop,
    ByGroup,
}

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    First,
    Last,
    Time(i64),
}

impl Start {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "first" => Ok(Self::First),
            "last" => Ok(Self::Last),
            _ => time::parse(text).map(Self::Time).map_err(|expected| format!("first, last, or {expected}")),
        }
    }
}

/// Prints until it is stopped.
pub async fn run(arguments: Arguments, session: Session, output: Output) -> Result<Report, Failure> {
    let stop = orbitmq_common::shutdown::on_signals().map_err(Failure::Runtime)?;
    let limit = arguments.limit;
    let over = async move {
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    let end = async move {
        tokio::select! { () = stop.cancelled() => {}, () = over => {} }
    };
    let printer = Printer { output, left: arguments.count };
    if arguments.group.is_some() {
        group::run(arguments, &session, printer, end).await
    } else {
        watch::run(arguments, session, printer, end).await
    }
}

/// Prints messages and counts them.
pub struct Printer {
    output: Output,
    left: Option<u64>,
}

impl Printer {
    /// Prints one; tells whether there is room for another one.
    fn print(&mut self, message: &StoredMessage) -> Result<bool, Failure> {
        let shown = Shown::new(message);
        match self.output {
            Output::Table => line(&shown.line())?,
            Output::Json => {
                let json = serde_json::to_string(&shown).map_err(|error| Failure::other(error.to_string()))?;
                line(&json)?;
            }
        }
        self.left = self.left.map(|left| left.saturating_sub(1));
        Ok(self.left != Some(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_to_begin_are_read() {
        assert_eq!(Start::parse("first"), Ok(Start::First));
        assert_eq!(Start::parse("2000-02-29"), Ok(Start::Time(951_782_400_000)));
        assert!(Start::parse("offset:1").is_err());
    }
}
