//! `orbitmq bench produce`: sends one by one, with a window, or in batches.

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::bench::drive::{Mode, Plan, Tally, drive};
use crate::bench::figures::{Named, per_second, round};
use crate::bench::process::{Cost, Watched};
use crate::bench::schedule::Schedule;
use crate::bench::setup::{self, Bodies, Common, Durability};
use crate::failure::Failure;
use crate::report::{Report, pairs};
use crate::session::Session;
use crate::time;
use crate::topic::change;

/// Send messages as fast as it goes, or at a rate.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Topic to send to; created if it is not there.
    #[arg(long, default_value = "orbitmq-bench")]
    topic: String,
    /// How to send.
    #[arg(long, value_enum, default_value_t)]
    mode: Mode,
    /// Messages to send, warm-up not counted.
    #[arg(long, short = 'c', value_name = "MESSAGES", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// Stop after so long although fewer were sent.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = time::parse_length)]
    limit: Duration,
    /// Messages to send beforehand, at full speed, without measuring.
    #[arg(long, value_name = "MESSAGES", default_value_t = 10_000)]
    warmup: u64,
    /// Senders at the same time [default: 16, or 4 in async mode].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    senders: Option<u16>,
    /// Messages in hand in async mode.
    #[arg(long, value_name = "MESSAGES", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    window: u32,
    /// Messages of a batch in batch mode.
    #[arg(long, value_name = "MESSAGES", default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    batch: u64,
    /// Messages a second, due at fixed times whatever the servers do; latency counts from when a message was due.
    #[arg(long, value_name = "PER_SECOND", value_parser = rate)]
    rate: Option<f64>,
    #[command(flatten)]
    common: Common,
}

/// Reads a rate.
///
/// # Errors
/// What is expected.
pub fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| (0.001..=100_000_000.0).contains(rate));
    rate.ok_or_else(|| "expected messages a second, above 0".to_owned())
}

/// The report.
#[derive(Debug, Serialize)]
struct Data {
    op: &'static str,
    mode: Mode,
    topic: String,
    senders: u16,
    size: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    batch: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    window: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<f64>,
    durability: Vec<Durability>,
    wanted: u64,
    acked: u64,
    failed: u64,
    seconds: f64,
    msgs_per_s: f64,
    mb_per_s: f64,
    #[serde(flatten)]
    send: Named,
    longest_pause_ms: f64,
    #[serde(flatten)]
    cost: Option<Cost>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_failure: Option<String>,
}

/// Runs the measurement.
pub async fn run(arguments: Arguments, session: &Session) -> Result<Report, Failure> {
    let durability = setup::durability(session).await?;
    change::ensure(session, &arguments.topic, arguments.common.queues).await?;
    let senders = arguments.senders.unwrap_or(if arguments.mode == Mode::Async { 4 } else { 16 });
    let batch = if arguments.mode == Mode::Batch { arguments.batch } else { 1 };
    let plan = Plan {
        topic: arguments.topic.clone(),
        mode: arguments.mode,
        senders,
        window: arguments.window,
        batch,
        bodies: Bodies::new(setup::run_id(), arguments.common.size),
        paced: false,
    };
    let in_hand = usize::from(senders).max(usize::try_from(arguments.window).unwrap_or(usize::MAX));
    let producer = setup::producer(session, in_hand).await?;
    let mut watched = Watched::start(&arguments.common.server_pid)?;
    if arguments.warmup > 0 {
        drive(&producer, &plan, &Schedule::start(arguments.warmup, batch, arguments.limit, None)).await?;
        watched.restart()?;
    }
    let plan = Plan { paced: arguments.rate.is_some(), ..plan };
    let schedule = Schedule::start(arguments.count, batch, arguments.limit, arguments.rate);
    let tally = drive(&producer, &plan, &schedule).await?;
    let took = schedule.began().elapsed();
    let cost = watched.cost(tally.acked)?;
    producer.close().await;
    report(&arguments, &plan, durability, Ended { tally, took, cost, wanted: schedule.count() })
}

/// The end of a run.
struct Ended {
    tally: Tally,
    took: Duration,
    cost: Option<Cost>,
    /// Messages that should have been sent.
    wanted: u64,
}

fn report(arguments: &Arguments, plan: &Plan, durability: Vec<Durability>, ended: Ended) -> Result<Report, Failure> {
    let Ended { tally, took, cost, wanted } = ended;
    let rate = per_second(tally.acked, took);
    let data = Data {
        op: "produce",
        mode: plan.mode,
        topic: plan.topic.clone(),
        senders: plan.senders,
        size: arguments.common.size,
        batch: (plan.mode == Mode::Batch).then_some(plan.batch),
        window: (plan.mode == Mode::Async).then_some(plan.window),
        rate: arguments.rate,
        durability,
        wanted,
        acked: tally.acked,
        failed: tally.failed,
        seconds: round(took.as_secs_f64(), 3),
        msgs_per_s: rate.round(),
        mb_per_s: round(rate * f64::from(arguments.common.size) / 1e6, 1),
        send: Named { name: "send", percentiles: tally.latencies.percentiles() },
        longest_pause_ms: round(tally.longest_pause.as_secs_f64() * 1000.0, 1),
        cost,
        first_failure: tally.first_failure,
    };
    let failure = (data.failed > 0).then(|| {
        let cause = data.first_failure.clone().unwrap_or_default();
        Failure::other(format!("{} messages were not acknowledged, the first one because: {cause}", data.failed))
    });
    Ok(Report::new(&data, text(&data))?.failing(failure))
}

fn text(data: &Data) -> String {
    let how = match data.mode {
        Mode::Sync => "sync".to_owned(),
        Mode::Async => format!("async, window {}", data.window.unwrap_or_default()),
        Mode::Batch => format!("batches of {}", data.batch.unwrap_or_default()),
    };
    let from = if data.rate.is_some() { "latency from due" } else { "latency" };
    let unsent = match data.wanted.saturating_sub(data.acked + data.failed) {
        0 => String::new(),
        unsent => format!("; time was up before {unsent} more were sent"),
    };
    let mut lines = vec![
        (
            "produced",
            format!("{} messages of {} B to '{}', {how}, {} senders", data.acked, data.size, data.topic, data.senders),
        ),
        ("durability", setup::durability_text(&data.durability)),
        ("failed", format!("{}{unsent}", data.failed)),
        ("throughput", format!("{} msgs/s, {} MB/s in {} s", data.msgs_per_s, data.mb_per_s, data.seconds)),
        (from, data.send.percentiles.text()),
        ("longest pause", format!("{} ms without an acknowledgement", data.longest_pause_ms)),
    ];
    if let Some(cost) = &data.cost {
        lines.extend(cost.lines());
    }
    pairs(lines)
}
