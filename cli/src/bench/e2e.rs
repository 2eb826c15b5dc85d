//! `orbitmq bench e2e`: from when a message was due until a consumer has it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use orbitmq_consumer::{Consumer, StartFrom};
use orbitmq_producer::Producer;
use parking_lot::Mutex;
use serde::Serialize;

use crate::bench::drive::{Mode, Plan, Tally, drive};
use crate::bench::figures::{Latencies, Named, round};
use crate::bench::process::{Cost, Watched};
use crate::bench::produce::rate;
use crate::bench::schedule::Schedule;
use crate::bench::setup::{self, Bodies, Common, Durability};
use crate::failure::Failure;
use crate::report::{Report, pairs};
use crate::session::Session;
use crate::time;
use crate::topic::change;

/// How long the consumer may take to get its queues.
const ASSIGNED_WITHIN: Duration = Duration::from_secs(15);
/// How long the last messages may take to arrive.
const LATE: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(5);
const WINDOW: u32 = 100_000;

/// Send at a fixed rate and measure until each message is received.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Topic to use [default: a new one, removed afterwards].
    #[arg(long)]
    topic: Option<String>,
    /// Messages a second, due at fixed times whatever the servers do.
    #[arg(long, value_name = "PER_SECOND", default_value = "2000", value_parser = rate)]
    rate: f64,
    /// How long to send.
    #[arg(long = "for", value_name = "TIME", default_value = "10s", value_parser = time::parse_length)]
    length: Duration,
    /// How long to send beforehand without measuring.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = time::parse_length)]
    warmup: Duration,
    #[command(flatten)]
    common: Common,
}

/// What a consumer received of one run.
#[derive(Debug)]
struct Received {
    bodies: Bodies,
    latencies: Latencies,
    seen: Vec<bool>,
    received: u64,
    duplicates: u64,
}

impl Received {
    fn note(&mut self, body: &[u8]) {
        let Some((number, age)) = self.bodies.age(body) else { return };
        let at = usize::try_from(number).unwrap_or(usize::MAX);
        let Some(seen) = self.seen.get_mut(at) else { return };
        if std::mem::replace(seen, true) {
            self.duplicates += 1;
        } else {
            self.received += 1;
            self.latencies.record(age);
        }
    }
}

/// The report.
#[derive(Debug, Serialize)]
struct Data {
    op: &'static str,
    topic: String,
    rate: f64,
    size: u32,
    durability: Vec<Durability>,
    sent: u64,
    failed: u64,
    received: u64,
    lost: u64,
    duplicates: u64,
    seconds: f64,
    #[serde(flatten)]
    e2e: Named,
    #[serde(flatten)]
    send: Named,
    #[serde(flatten)]
    cost: Option<Cost>,
}

/// Runs the measurement.
pub async fn run(arguments: Arguments, session: &Session) -> Result<Report, Failure> {
    let durability = setup::durability(session).await?;
    let name = format!("orbitmq-e2e-{:016x}", setup::run_id());
    let topic = arguments.topic.clone().unwrap_or_else(|| name.clone());
    change::ensure(session, &topic, arguments.common.queues).await?;
    let start = if arguments.topic.is_some() { StartFrom::Last } else { StartFrom::First };
    let builder = Consumer::builder().nameservers(session.nameservers()).group(&name).subscribe(&topic, "*");
    let consumer = builder.start_from(start).build().await?;
    let outcome = measure(&arguments, session, &topic, &consumer).await;
    consumer.close().await;
    setup::forget_group(session, &name).await;
    if arguments.topic.is_none() {
        change::remove(session, &topic).await?;
    }
    let measured = outcome?;
    report(&arguments, topic, durability, measured)
}

/// What was measured.
struct Measured {
    wanted: u64,
    sent: Tally,
    received: Received,
    took: Duration,
    cost: Option<Cost>,
}

async fn measure(
    arguments: &Arguments,
    session: &Session,
    topic: &str,
    consumer: &Consumer,
) -> Result<Measured, Failure> {
    assigned(session, topic, consumer).await?;
    let producer = setup::producer(session, usize::try_from(WINDOW).unwrap_or(usize::MAX)).await?;
    let mut watched = Watched::start(&arguments.common.server_pid)?;
    let received = listen(consumer, arguments.common.size)?;
    send(arguments, &producer, topic, &received, arguments.warmup).await?;
    watched.restart()?;
    let (schedule, sent) = send(arguments, &producer, topic, &received, arguments.length).await?;
    let end = Instant::now() + LATE;
    while received.lock().received < sent.acked && Instant::now() < end {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let took = schedule.began().elapsed();
    let cost = watched.cost(sent.acked)?;
    producer.close().await;
    let received = std::mem::replace(&mut *received.lock(), empty(arguments.common.size, 0)?);
    Ok(Measured { wanted: schedule.count(), sent, received, took, cost })
}

/// Waits until the consumer knows where to begin in every queue of the topic.
async fn assigned(session: &Session, topic: &str, consumer: &Consumer) -> Result<(), Failure> {
    let queues: i32 = session.route(topic).await?.queue_datas.iter().map(|data| data.read_queue_nums).sum();
    let begun = || {
        let held = consumer.queues();
        held.iter().filter(|queue| queue.topic == topic && queue.position.is_some()).count()
    };
    let end = Instant::now() + ASSIGNED_WITHIN;
    while i32::try_from(begun()).unwrap_or(i32::MAX) < queues {
        if Instant::now() >= end {
            let begun = begun();
            return Err(Failure::other(format!(
                "the consumer reads only {begun} of {queues} queues after {ASSIGNED_WITHIN:?}"
            )));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

fn empty(size: u32, count: u64) -> Result<Received, Failure> {
    Ok(Received {
        bodies: Bodies::new(setup::run_id(), size),
        latencies: Latencies::new()?,
        seen: vec![false; usize::try_from(count).unwrap_or(0)],
        received: 0,
        duplicates: 0,
    })
}

/// Notes in the background what comes, until the consumer is closed.
fn listen(consumer: &Consumer, size: u32) -> Result<Arc<Mutex<Received>>, Failure> {
    let received = Arc::new(Mutex::new(empty(size, 0)?));
    let (consumer, noted) = (consumer.clone(), Arc::clone(&received));
    tokio::spawn(async move {
        while let Some(delivery) = consumer.next().await {
            noted.lock().note(delivery.body());
            delivery.ack();
        }
    });
    Ok(received)
}

/// Sends at the rate for a time; what is received is counted anew.
async fn send(
    arguments: &Arguments,
    producer: &Producer,
    topic: &str,
    received: &Mutex<Received>,
    length: Duration,
) -> Result<(Arc<Schedule>, Tally), Failure> {
    // The schedule begins to hand out as soon as it is there, so what it needs comes first.
    let count = Schedule::within(length, arguments.rate);
    let fresh = empty(arguments.common.size, count)?;
    let bodies = fresh.bodies.clone();
    *received.lock() = fresh;
    let plan =
        Plan { topic: topic.to_owned(), mode: Mode::Async, senders: 1, window: WINDOW, batch: 1, bodies, paced: true };
    let schedule = Schedule::start(count, 1, length, Some(arguments.rate));
    let tally = drive(producer, &plan, &schedule).await?;
    Ok((schedule, tally))
}

fn report(
    arguments: &Arguments,
    topic: String,
    durability: Vec<Durability>,
    measured: Measured,
) -> Result<Report, Failure> {
    let Measured { wanted, sent, received, took, cost } = measured;
    let data = Data {
        op: "e2e",
        topic,
        rate: arguments.rate,
        size: arguments.common.size,
        durability,
        sent: sent.acked,
        failed: wanted.saturating_sub(sent.acked),
        received: received.received,
        lost: sent.acked.saturating_sub(received.received),
        duplicates: received.duplicates,
        seconds: round(took.as_secs_f64(), 3),
        e2e: Named { name: "e2e", percentiles: received.latencies.percentiles() },
        send: Named { name: "send", percentiles: sent.latencies.percentiles() },
        cost,
    };
    let failure = (data.failed + data.lost > 0).then(|| {
        let cause = sent.first_failure.map(|cause| format!(": {cause}")).unwrap_or_default();
        Failure::other(format!("{} messages were not sent, {} did not arrive{cause}", data.failed, data.lost))
    });
    let mut lines = vec![
        ("end to end", format!("{} messages of {} B at {} a second", data.sent, data.size, data.rate)),
        ("durability", setup::durability_text(&data.durability)),
        ("received", format!("{}, {} lost, {} twice", data.received, data.lost, data.duplicates)),
        ("due to received", data.e2e.percentiles.text()),
        ("due to stored", data.send.percentiles.text()),
    ];
    if let Some(cost) = &data.cost {
        lines.extend(cost.lines());
    }
    Ok(Report::new(&data, pairs(lines))?.failing(failure))
}
