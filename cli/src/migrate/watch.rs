//! `orbitmq migrate watch`: waits until ours has caught up.

use std::time::Duration;

use clap::Args;
use orbitmq_common::plain;

use super::Which;
use super::copy::Progress;
use super::journal::Journal;
use super::metadata::Metadata;
use super::pair::Pair;
use crate::failure::Failure;
use crate::report::Report;
use crate::session::Session;
use crate::time;

/// Wait until ours has caught up.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    which: Which,
    /// Time between two looks.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = time::parse_length)]
    every: Duration,
    /// Caught up means: at most so many bytes behind, with the same topics and groups.
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 20)]
    within: u64,
    /// Give up after this time [default: never].
    #[arg(long, value_name = "TIME", value_parser = time::parse_length)]
    r#for: Option<Duration>,
}

/// Waits, and tells how far it is.
pub async fn run(arguments: &Arguments, session: &Session, journal: &Journal) -> Result<Report, Failure> {
    let pair = Pair::find(&arguments.which, session).await?;
    let mut before: Option<(u64, u64)> = None;
    loop {
        let progress = Progress::of(&pair).await?;
        if progress.master {
            return Err(Failure::other(format!("{} is a master: it copies nobody", pair.new)));
        }
        let differences = Metadata::of(session, &pair.old).await?.differences(&Metadata::of(session, &pair.new).await?);
        let now = (journal.at_ms(), progress.new_end);
        let detail = format!(
            "{} bytes behind{}, {} topics and {} groups differ{}",
            progress.lag(),
            before.map(|before| pace(before, now, progress.lag())).unwrap_or_default(),
            differences.topics.len(),
            differences.groups.len(),
            if progress.connected { "" } else { "; not connected to the old master, see the log of ours" }
        );
        let equal = differences.topics.is_empty() && differences.groups.is_empty();
        let done = progress.connected && progress.lag() <= arguments.within && equal;
        journal.step(if done { "caught up" } else { "copying" }, &detail);
        if done {
            return Ok(Report::nothing());
        }
        if let Some(limit) = arguments.r#for
            && u128::from(journal.at_ms()) > limit.as_millis()
        {
            return Err(Failure::other(format!("ours has not caught up within {limit:?}")));
        }
        before = Some(now);
        tokio::time::sleep(arguments.every).await;
    }
}

/// What was copied since the last look, a second, and how long the rest takes at that pace.
fn pace((at, end): (u64, u64), (now, new_end): (u64, u64), lag: u64) -> String {
    let (copied, elapsed) = (new_end.saturating_sub(end), now.saturating_sub(at).max(1));
    if copied == 0 {
        return String::new();
    }
    let rest = lag.saturating_mul(elapsed) / copied;
    let left = plain::length(i64::try_from(rest).unwrap_or(i64::MAX));
    format!(" ({} bytes/s, {left} left)", copied.saturating_mul(1000) / elapsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pace_tells_what_is_left() {
        assert_eq!(pace((0, 0), (1000, 500), 5000), " (500 bytes/s, 10s left)");
        assert_eq!(pace((0, 500), (1000, 500), 5000), "");
    }
}
