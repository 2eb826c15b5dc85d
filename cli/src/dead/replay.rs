//! `orbitmq dead replay`: sends dead letters again, each once, also when it is interrupted.

use std::time::Duration;

use clap::Args;
use orbitmq_common::name;
use serde::Serialize;
use tokio::time::Instant;

use crate::dead::courier::{Courier, Destination};
use crate::dead::filter::Filter;
use crate::dead::letter::{Letter, Row};
use crate::dead::marks::Mark;
use crate::dead::shelf::{self, Shelf};
use crate::failure::Failure;
use crate::group::parse_name;
use crate::report::{Report, Table};
use crate::session::Session;

/// What a killed replay has sent reaches its broker within this time, or never.
const SETTLED: Duration = Duration::from_secs(3);

/// Send dead letters again, each once.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The group whose dead letters they are.
    #[arg(value_parser = parse_name)]
    group: String,
    /// To this topic, not to where each came from; '%RETRY%GROUP' delivers them to that group alone.
    #[arg(long, value_name = "TOPIC", value_parser = parse_target)]
    to: Option<String>,
    /// Messages a second; 0: as fast as the brokers take them.
    #[arg(long, default_value_t = 100, value_name = "N")]
    rate: u32,
    /// Send at most so many now.
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true, value_parser = clap::value_parser!(u64).range(1..))]
    max: u64,
    /// Only show what would be sent where.
    #[arg(long)]
    dry_run: bool,
    /// Which ones.
    #[command(flatten)]
    filter: Filter,
}

fn parse_target(text: &str) -> Result<String, String> {
    if text.starts_with(name::DEAD_LETTER_PREFIX) {
        return Err("dead letters are not sent to dead letters".to_owned());
    }
    name::check_topic(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
}

#[derive(Debug, Serialize)]
struct Summary {
    group: String,
    to: Option<String>,
    dry_run: bool,
    /// Sent now; with `dry_run`, what would be.
    sent: u64,
    /// Sent by an earlier replay.
    sent_before: u64,
    /// Not chosen by the filter.
    not_wanted: u64,
    /// What would be sent where.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    plan: Vec<Planned>,
}

#[derive(Debug, Serialize)]
struct Planned {
    #[serde(flatten)]
    letter: Row,
    to_topic: String,
    to_broker: String,
    to_queue: i32,
}

struct Replay<'s> {
    arguments: &'s Arguments,
    session: &'s Session,
    courier: Courier<'s>,
    summary: Summary,
    /// When the next message may be sent.
    due: Instant,
    /// Whether what an interrupted replay may have sent had its time to arrive.
    settled: bool,
}

/// Replays and tells what was done, also when it could not be done to the end.
pub async fn run(arguments: &Arguments, session: &Session) -> Result<Report, Failure> {
    let shelves = shelf::open(&arguments.group, session).await?;
    let mut replay = Replay {
        arguments,
        session,
        courier: Courier::new(session, arguments.to.as_deref()),
        summary: Summary {
            group: arguments.group.clone(),
            to: arguments.to.clone(),
            dry_run: arguments.dry_run,
            sent: 0,
            sent_before: 0,
            not_wanted: 0,
            plan: Vec::new(),
        },
        due: Instant::now(),
        settled: false,
    };
    let mut failure = None;
    for shelf in &shelves {
        if replay.is_over() {
            break;
        }
        if let Err(cause) = replay.empty(shelf).await {
            failure = Some(cause);
            break;
        }
    }
    let summary = replay.summary;
    Ok(Report::new(&summary, text(&summary))?.failing(failure))
}

fn text(summary: &Summary) -> String {
    let mut table = Table::new(&["MESSAGE ID", "CAME FROM", "GOES TO"]);
    for one in &summary.plan {
        let to = format!("{} at {}, queue {}", one.to_topic, one.to_broker, one.to_queue);
        table.row([one.letter.message_id.clone(), one.letter.origin(), to]);
    }
    let (table, verb) = if summary.dry_run { (table.text(), "would be sent") } else { (String::new(), "sent") };
    format!(
        "{table}{} dead letters of '{}' {verb}, {} were sent before, {} were not wanted",
        summary.sent, summary.group, summary.sent_before, summary.not_wanted
    )
}

/// How far replays have come in one queue.
struct Progress {
    begun_mark: Mark,
    done_mark: Mark,
    /// Below it, messages may have been sent.
    begun: i64,
    /// Below it, all messages were.
    done: i64,
    /// Whether everything from `done` to the letter in hand was sent.
    unbroken: bool,
}

impl Replay<'_> {
    fn is_over(&self) -> bool {
        self.summary.sent >= self.arguments.max
    }

    /// Goes through one queue. `begun` is kept before the first message of a page is sent, `done` after the last one: between
    /// the two lies what nobody knows after a kill, and is looked up.
    async fn empty(&mut self, shelf: &Shelf) -> Result<(), Failure> {
        let to = self.arguments.to.as_deref();
        let (begun_mark, done_mark) = (Mark::begun(to), Mark::done(to));
        if !self.arguments.dry_run {
            begun_mark.prepare(shelf, self.session).await?;
            done_mark.prepare(shelf, self.session).await?;
        }
        let (begun, done) = (begun_mark.get(shelf, self.session).await?, done_mark.get(shelf, self.session).await?);
        let mut at = shelf.first.max(done);
        let mut progress = Progress { begun_mark, done_mark, begun, done: at, unbroken: true };
        while at < shelf.end && !self.is_over() {
            let page = shelf.read(at, self.session).await?;
            let in_doubt = progress.begun;
            if page.next > progress.begun && !self.arguments.dry_run {
                self.announce(shelf, &mut progress, page.next).await?;
            }
            self.courier.forget_routes();
            let before = progress.done;
            let mut ended = Ok(());
            for letter in &page.letters {
                if self.is_over() {
                    break;
                }
                ended = self.take(letter, &mut progress, in_doubt).await;
                if ended.is_err() {
                    break;
                }
            }
            let through = ended.is_ok() && !self.is_over();
            if through && progress.unbroken {
                progress.done = page.next;
            }
            if progress.done > before && !self.arguments.dry_run {
                let kept = progress.done_mark.set(shelf, progress.done, self.session).await;
                ended = ended.and(kept);
            }
            ended?;
            at = page.next;
        }
        Ok(())
    }

    /// Says durably up to where messages may be sent from now on.
    async fn announce(&self, shelf: &Shelf, progress: &mut Progress, end: i64) -> Result<(), Failure> {
        if progress.begun_mark.get(shelf, self.session).await? != progress.begun {
            return Err(Failure::other(format!(
                "another replay of the dead letters of '{}' is going on: let it end, then start this one again",
                self.arguments.group
            )));
        }
        progress.begun_mark.set(shelf, end, self.session).await?;
        progress.begun = end;
        Ok(())
    }

    /// Deals with one letter. Those below `in_doubt` may be on their way from an interrupted replay.
    async fn take(&mut self, letter: &Letter, progress: &mut Progress, in_doubt: i64) -> Result<(), Failure> {
        if !self.arguments.filter.wants(letter) {
            self.summary.not_wanted += 1;
            progress.unbroken = false;
            return Ok(());
        }
        let to = self.courier.destination(letter).await?;
        if self.was_sent(letter, &to, in_doubt).await? {
            self.summary.sent_before += 1;
        } else if self.arguments.dry_run {
            self.summary.sent += 1;
            self.summary.plan.push(Planned {
                letter: letter.row(),
                to_topic: to.topic,
                to_broker: to.queue.broker.as_ref().to_owned(),
                to_queue: to.queue.id,
            });
        } else {
            self.await_turn().await;
            self.courier.send(letter, &to).await?;
            self.summary.sent += 1;
        }
        if progress.unbroken {
            progress.done = letter.offset() + 1;
        }
        Ok(())
    }

    async fn was_sent(&mut self, letter: &Letter, to: &Destination, in_doubt: i64) -> Result<bool, Failure> {
        if self.courier.has_sent(letter, to).await? {
            return Ok(true);
        }
        if letter.offset() >= in_doubt || self.settled || self.arguments.dry_run {
            return Ok(false);
        }
        tokio::time::sleep(SETTLED).await;
        self.settled = true;
        self.courier.has_sent(letter, to).await
    }

    /// Waits until the rate allows one more.
    async fn await_turn(&mut self) {
        if self.arguments.rate == 0 {
            return;
        }
        tokio::time::sleep_until(self.due).await;
        // Time in which nothing was sent is not made up for.
        self.due = self.due.max(Instant::now()) + Duration::from_secs(1) / self.arguments.rate;
    }
}
