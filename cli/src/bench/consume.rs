//! `orbitmq bench consume`: drains what is stored and checks that all of it came, once and without gaps.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use orbitmq_consumer::{Consumer, Delivery, StartFrom};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::bench::figures::{per_second, round};
use crate::bench::process::{Cost, Watched};
use crate::bench::setup;
use crate::failure::Failure;
use crate::group::parse_name;
use crate::report::{Report, pairs};
use crate::session::Session;
use crate::time;

/// Deliveries taken at once.
const TAKEN: usize = 1024;
const POLL: Duration = Duration::from_millis(200);
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// Drain stored messages from the first one on.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Topic to read.
    #[arg(long, default_value = "orbitmq-bench")]
    topic: String,
    /// Messages to wait for.
    #[arg(long, short = 'c', value_name = "MESSAGES", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// Stop after so long although fewer came.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time::parse_length)]
    limit: Duration,
    /// Consumers that share the queues; what one has in hand when the next one joins may come twice.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    consumers: u16,
    /// Group to consume for; left alone afterwards [default: a new one, removed afterwards].
    #[arg(long, value_parser = parse_name)]
    group: Option<String>,
    /// Messages that one request fetches.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(i32).range(1..=1024))]
    pull_batch: i32,
    /// Server processes on this machine, whose CPU time and memory are reported; several separated by commas.
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    server_pid: Vec<u32>,
}

/// Offsets of one queue that came.
#[derive(Debug, Default)]
struct Offsets {
    first: u64,
    seen: Vec<bool>,
}

impl Offsets {
    /// Notes one; tells whether it came before.
    fn note(&mut self, offset: u64) -> bool {
        if self.seen.is_empty() {
            self.first = offset;
        }
        if let Some(earlier) = self.first.checked_sub(offset).filter(|earlier| *earlier > 0) {
            let mut seen = vec![false; usize::try_from(earlier).unwrap_or(0)];
            seen.append(&mut self.seen);
            (self.first, self.seen) = (offset, seen);
        }
        let at = usize::try_from(offset - self.first).unwrap_or(usize::MAX);
        if at >= self.seen.len() {
            self.seen.resize(at.saturating_add(1), false);
        }
        self.seen.get_mut(at).is_some_and(|seen| std::mem::replace(seen, true))
    }

    fn gaps(&self) -> u64 {
        self.seen.iter().filter(|seen| !**seen).count() as u64
    }
}

/// What came.
#[derive(Debug, Default)]
struct Tally {
    /// Each message once.
    received: u64,
    bytes: u64,
    duplicates: u64,
    first: Option<Instant>,
    last: Option<Instant>,
    queues: BTreeMap<(String, u32), Offsets>,
}

impl Tally {
    fn note(&mut self, delivery: &Delivery, now: Instant) {
        let message = delivery.message();
        self.first.get_or_insert(now);
        self.last = Some(now);
        let queue = (delivery.broker().to_owned(), message.queue_id);
        if self.queues.entry(queue).or_default().note(message.queue_offset) {
            self.duplicates += 1;
        } else {
            self.received += 1;
            self.bytes += message.body.len() as u64;
        }
    }
}

/// The report.
#[derive(Debug, Serialize)]
struct Data {
    op: &'static str,
    topic: String,
    consumers: u16,
    wanted: u64,
    received: u64,
    start_to_first_ms: Option<f64>,
    seconds: f64,
    msgs_per_s: f64,
    mb_per_s: f64,
    queues: usize,
    duplicates: u64,
    offset_gaps: u64,
    #[serde(flatten)]
    cost: Option<Cost>,
}

/// Runs the measurement.
pub async fn run(arguments: Arguments, session: &Session) -> Result<Report, Failure> {
    session.route(&arguments.topic).await?;
    let own = arguments.group.is_none().then(|| format!("orbitmq-bench-{:016x}", setup::run_id()));
    let group = arguments.group.clone().or_else(|| own.clone()).unwrap_or_default();
    let watched = Watched::start(&arguments.server_pid)?;
    let began = Instant::now();
    let tally = Arc::new(Mutex::new(Tally::default()));
    let mut consumers = Vec::new();
    let mut takers = JoinSet::new();
    for _ in 0..arguments.consumers {
        let builder = Consumer::builder().nameservers(session.nameservers()).group(&group);
        let builder = builder.subscribe(&arguments.topic, "*").start_from(StartFrom::First);
        let consumer = builder.pull_batch(arguments.pull_batch).close_within(CLOSE_WITHIN).build().await?;
        consumers.push(consumer.clone());
        takers.spawn(take(consumer, Arc::clone(&tally), arguments.count, began + arguments.limit));
    }
    while let Some(ended) = takers.join_next().await {
        ended.map_err(|error| Failure::other(format!("a consumer ended early: {error}")))?;
    }
    let cost = watched.cost(tally.lock().received)?;
    for consumer in consumers {
        consumer.close().await;
    }
    if let Some(own) = own {
        setup::forget_group(session, &own).await;
    }
    let tally = tally.lock();
    report(&arguments, &tally, began, cost)
}

/// Takes messages until enough came to all consumers together, or time is up.
async fn take(consumer: Consumer, tally: Arc<Mutex<Tally>>, count: u64, end: Instant) {
    loop {
        let deliveries = consumer.poll(TAKEN, POLL).await;
        let now = Instant::now();
        let mut tally = tally.lock();
        for delivery in deliveries {
            tally.note(&delivery, now);
            delivery.ack();
        }
        if tally.received >= count || now >= end {
            return;
        }
    }
}

fn report(arguments: &Arguments, tally: &Tally, began: Instant, cost: Option<Cost>) -> Result<Report, Failure> {
    let took = tally.first.zip(tally.last).map_or(Duration::ZERO, |(first, last)| last - first);
    let start_to_first = tally.first.map(|first| round((first - began).as_secs_f64() * 1000.0, 1));
    let data = Data {
        op: "consume",
        topic: arguments.topic.clone(),
        consumers: arguments.consumers,
        wanted: arguments.count,
        received: tally.received,
        start_to_first_ms: start_to_first,
        seconds: round(took.as_secs_f64(), 3),
        msgs_per_s: per_second(tally.received, took).round(),
        mb_per_s: round(per_second(tally.bytes, took) / 1e6, 1),
        queues: tally.queues.len(),
        duplicates: tally.duplicates,
        offset_gaps: tally.queues.values().map(Offsets::gaps).sum(),
        cost,
    };
    let failure = (data.received < data.wanted).then(|| {
        let limit = arguments.limit;
        Failure::other(format!("only {} of {} messages came within {limit:?}", data.received, data.wanted))
    });
    let first = start_to_first.map_or_else(|| "never".to_owned(), |ms| format!("after {ms} ms"));
    let consumed = format!("{} messages of '{}' from {} queues", data.received, data.topic, data.queues);
    let mut lines = vec![
        ("consumed", format!("{consumed}, {} consumers", data.consumers)),
        ("first message", first),
        ("throughput", format!("{} msgs/s, {} MB/s in {} s", data.msgs_per_s, data.mb_per_s, data.seconds)),
        ("duplicates", data.duplicates.to_string()),
        ("offset gaps", data.offset_gaps.to_string()),
    ];
    if let Some(cost) = &data.cost {
        lines.extend(cost.lines());
    }
    Ok(Report::new(&data, pairs(lines))?.failing(failure))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_and_duplicates_are_counted() {
        let mut offsets = Offsets::default();
        let again: Vec<bool> = [7, 8, 10, 8, 5].into_iter().map(|offset| offsets.note(offset)).collect();
        assert_eq!(again, [false, false, false, true, false]);
        // 6 and 9.
        assert_eq!((offsets.first, offsets.gaps()), (5, 2));
    }
}
