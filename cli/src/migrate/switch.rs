//! `orbitmq migrate switch`: makes ours the master while producers and consumers run.
//!
//! ```text
//! look ─> hold back ─> even ─> promote ─> routed ─> offsets ─> probe ─> old master gone
//!        └── what fails here is taken back ──┘
//! ```
//! From `hold back` on the old master takes nothing, until then ours takes nothing: no message can be in one log alone.

use std::time::Duration;

use clap::Args;
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::header::replica::{PromoteRequest, PromoteResponse};
use orbitmq_common::shutdown;
use tokio::time::Instant;

use super::check::{self, State};
use super::copy::Progress;
use super::fence::Fence;
use super::journal::Journal;
use super::metadata::Metadata;
use super::pair::Pair;
use super::{Which, offsets, probe};
use crate::failure::{Failure, Server};
use crate::report::Report;
use crate::session::{Question, Session};
use crate::time;

const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// The old master's log has to stand still for so long: a message that it was taking when it was told to stop is in it then.
const STILL: Duration = Duration::from_millis(500);
/// How long ours may take to become master once it has agreed.
const PROMOTION: Duration = Duration::from_secs(30);
/// How long name servers may take to hear of it.
const ROUTED: Duration = Duration::from_secs(15);
/// Time between two looks at what is still committed at the old master.
const FOLLOW: Duration = Duration::from_millis(500);

/// Make ours the master.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    which: Which,
    /// Do not begin if ours is more bytes behind.
    #[arg(long, value_name = "BYTES", default_value_t = 64 << 20)]
    max_lag: u64,
    /// How long the old master may be kept from taking messages until ours has everything.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time::parse_length)]
    within: Duration,
    /// How long to wait, at the end, for the old master to be stopped; meanwhile offsets committed there are carried over.
    #[arg(long, value_name = "TIME", default_value = "40s", value_parser = time::parse_length)]
    wait_old_gone: Duration,
}

/// Switches.
pub async fn run(arguments: &Arguments, session: &Session, journal: &Journal) -> Result<Report, Failure> {
    let pair = Pair::find(&arguments.which, session).await?;
    let mut stray = None;
    if pair.replication().await?.master {
        journal.step("promoted", &format!("{} is the master already; going on from there", pair.new));
    } else {
        let before = look(arguments, &pair, journal).await?;
        let end = hand_over(arguments, &pair, &before, journal).await?;
        stray = beyond(&pair, end).await;
    }
    let finished = finish(arguments, &pair, journal).await.map(|report| report.failing(stray));
    finished.map_err(|failure| {
        Failure::other(format!(
            "{failure}. Ours at {} is the master and stays it; to go on from here, run 'orbitmq migrate switch --to {} --from {}'",
            pair.new, pair.new, pair.old
        ))
    })
}

/// Whether to begin. Returns how the old master is set.
async fn look(arguments: &Arguments, pair: &Pair<'_>, journal: &Journal) -> Result<Fence, Failure> {
    let progress = Progress::of(pair).await?;
    let bad: Vec<_> = check::findings(pair).await?.into_iter().filter(|found| found.state == State::Bad).collect();
    if let Some(found) = bad.first() {
        return Err(Failure::other(format!("{}: {}; see 'orbitmq migrate check'", found.what, found.detail)));
    }
    if progress.lag() > arguments.max_lag {
        return Err(Failure::other(format!(
            "ours is {} bytes behind, more than --max-lag {}: wait with 'orbitmq migrate watch'",
            progress.lag(),
            arguments.max_lag
        )));
    }
    let before = Fence::of(pair).await?;
    journal.step("look", &format!("ours at {} is {} bytes behind {}", pair.new, progress.lag(), pair.old));
    Ok(if before.is_closed() { Fence::open() } else { before })
}

/// From the old master to ours; or back, as if nothing had been. Returns where the old log ends and ours goes on.
async fn hand_over(arguments: &Arguments, pair: &Pair<'_>, before: &Fence, journal: &Journal) -> Result<u64, Failure> {
    let stop = shutdown::on_signals().map_err(Failure::Runtime)?;
    let prepared = tokio::select! {
        prepared = prepare(arguments, pair, journal) => prepared,
        () = stop.cancelled() => Err(Failure::other("broken off by a signal")),
    };
    let failure = match prepared {
        Ok(end) => match promote(pair, end, journal).await {
            Ok(()) => return Ok(end),
            Err(Promotion::Unclear(failure)) => return Err(failure),
            Err(Promotion::Refused(failure)) => failure,
        },
        Err(failure) => failure,
    };
    match before.set(pair).await {
        Ok(()) => {
            journal.step("taken back", &format!("{} takes messages again; nothing has changed", pair.old));
            Err(failure)
        }
        Err(second) => Err(Failure::other(format!(
            "{failure}. And the old master could not be let go: {second}. It takes no messages until 'orbitmq migrate release \
             --from {} --to {}' succeeds, or until it is set by hand to {before:?}",
            pair.old, pair.new
        ))),
    }
}

/// Holds back messages at the old master and waits until ours is even with it. Returns the end of the log.
async fn prepare(arguments: &Arguments, pair: &Pair<'_>, journal: &Journal) -> Result<u64, Failure> {
    Fence::closed().set(pair).await?;
    journal.step("hold back", &format!("{} takes no messages any more; consumers go on there", pair.old));
    let deadline = Instant::now() + arguments.within;
    let mut still: Option<(u64, Instant)> = None;
    loop {
        let progress = Progress::of(pair).await?;
        let (end, since) = *still.get_or_insert((progress.old_end, Instant::now()));
        if end != progress.old_end {
            still = None;
            continue;
        }
        let mut open = format!("{} bytes behind", progress.lag());
        if progress.new_end == end && since.elapsed() >= STILL {
            let differences =
                Metadata::of(pair.session, &pair.old).await?.differences(&Metadata::of(pair.session, &pair.new).await?);
            if differences.only_offsets() {
                journal.step("even", &format!("both logs end at {end}; topics, groups, delay levels are equal"));
                return Ok(end);
            }
            open = format!("metadata differ: {differences:?}");
        }
        if Instant::now() >= deadline {
            return Err(Failure::other(format!("ours is not even after {:?}: {open}", arguments.within)));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// What the old master has stored after its log stood still: a thread of its that slept for so long with a message in hand.
async fn beyond(pair: &Pair<'_>, end: u64) -> Option<Failure> {
    let now = pair.old_end().await.ok()?;
    (now > end).then(|| {
        Failure::other(format!(
            "the old master at {} stored {} more bytes after its log had stood still at {end}: these messages are not in ours; read \
             them there and send them again before you remove its store",
            pair.old,
            now - end
        ))
    })
}

/// Why a promotion has not come about.
enum Promotion {
    /// Ours is a slave as before.
    Refused(Failure),
    /// Ours may be master now, or become it: the old one must not take messages.
    Unclear(Failure),
}

async fn promote(pair: &Pair<'_>, end: u64, journal: &Journal) -> Result<(), Promotion> {
    let fields = PromoteRequest { log_end: i64::try_from(end).unwrap_or(i64::MAX) };
    let question = Question::new(request::PROMOTE, &fields);
    let answer = pair.session.exchange(Server::Broker, &pair.new, &question, PROMOTION).await;
    let unclear = |failure: Failure| {
        Promotion::Unclear(Failure::other(format!(
            "{failure}. Whether ours at {} became master is not known, so {} is still kept from taking messages: see the log of \
             ours and run the same command again; if ours is gone for good, set it with RocketMQ's updateBrokerConfig to {:?}",
            pair.new,
            pair.old,
            Fence::open()
        )))
    };
    let answer = answer.map_err(unclear)?;
    match answer.code {
        response::SUCCESS => {}
        response::SYSTEM_ERROR => {
            return Err(unclear(Failure::other(answer.remark.unwrap_or_default())));
        }
        code => {
            let remark = answer.remark.unwrap_or_default();
            return Err(Promotion::Refused(Failure::Refused {
                address: pair.new.clone(),
                kind: request::PROMOTE,
                code,
                remark,
            }));
        }
    }
    let told: PromoteResponse = answer.fields().unwrap_or_default();
    let detail = format!("{} is the master of '{}' in epoch {}, from offset {end} on", pair.new, pair.name, told.epoch);
    journal.step("promoted", &detail);
    Ok(())
}

/// Everything that follows once ours is the master; may be done again.
async fn finish(arguments: &Arguments, pair: &Pair<'_>, journal: &Journal) -> Result<Report, Failure> {
    routed(pair).await?;
    journal.step("routed", &format!("every name server has {} as the master of '{}'", pair.new, pair.name));
    let mut refused = Vec::new();
    carry_over(pair, &mut refused, journal).await?;
    probe::run(pair).await?;
    journal.step("probe", "a message was sent and read through the name servers");
    if pair.session.settings(&pair.old).await.is_ok() {
        let stop = format!("stop {} now; what groups still commit there is carried over until it is gone", pair.old);
        journal.step("stop the old master", &stop);
    }
    let gone = follow_old(arguments, pair, &mut refused, journal).await?;
    let last = pair.routed().await?;
    if let Some((server, holder)) = last.iter().find(|(_, holder)| holder.as_deref() != Some(pair.new.as_str())) {
        return Err(Failure::other(format!(
            "the name server {server} has {holder:?} as the master of '{}'",
            pair.name
        )));
    }
    let still = if gone { "is gone" } else { "still runs and takes nothing: stop it" };
    let detail = format!(
        "{} {still}. Before ours at {} is started again, set role = master and id = 0 in its settings",
        pair.old, pair.new
    );
    journal.step("done", &detail);
    Ok(Report::nothing())
}

async fn routed(pair: &Pair<'_>) -> Result<(), Failure> {
    let deadline = Instant::now() + ROUTED;
    loop {
        let other = pair.routed().await?.into_iter().find(|(_, holder)| holder.as_deref() != Some(pair.new.as_str()));
        let Some((server, holder)) = other else { return Ok(()) };
        if Instant::now() >= deadline {
            return Err(Failure::other(format!(
                "the name server {server} has {} as the master of '{}' after {ROUTED:?}, not {}: is it in the settings of ours?",
                holder.as_deref().unwrap_or("nobody"),
                pair.name,
                pair.new
            )));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Carries offsets over if the old master still answers. Returns whether it does. `refused`: what was told before.
async fn carry_over(pair: &Pair<'_>, refused: &mut Vec<String>, journal: &Journal) -> Result<bool, Failure> {
    let moved = match offsets::forward(pair).await {
        Ok(moved) => moved,
        Err(_) if pair.session.settings(&pair.old).await.is_err() => return Ok(false),
        Err(failure) => return Err(failure),
    };
    if moved.moved > 0 {
        journal.step("offsets", &format!("{} were carried over from {}", moved.moved, pair.old));
    }
    if moved.refused != *refused {
        journal.step("offsets", &format!("not taken by ours: {}", moved.refused.join("; ")));
        *refused = moved.refused;
    }
    Ok(true)
}

/// Follows the offsets at the old master until it is gone; tells whether it is.
async fn follow_old(
    arguments: &Arguments,
    pair: &Pair<'_>,
    refused: &mut Vec<String>,
    journal: &Journal,
) -> Result<bool, Failure> {
    let deadline = Instant::now() + arguments.wait_old_gone;
    loop {
        if !carry_over(pair, refused, journal).await? {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        tokio::time::sleep(FOLLOW).await;
    }
}
