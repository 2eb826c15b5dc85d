//! Messages that wait for their time: what storing, keeping and firing them costs, how exactly they come, and a kill in the midst of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use orbitmq_common::clock::now_ms;
use orbitmq_common::message::entry;
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::header::pull::{PullRequest, PullResponse};
use orbitmq_tests::session::Session;
use tokio::task::JoinSet;

use crate::Figures;
use crate::send::{self, Shipment};
use crate::servers::{Daemon, Servers};
use crate::values::{note, note_spread, per_million};

const TOPIC: &str = "Timed";
/// Queues of the topic, each with a reader.
const QUEUES: i32 = 4;
/// Messages of this time before the kill are not counted among the undisturbed ones, ms.
const MARGIN: i64 = 2000;
/// How long a reader goes on after the last message, for one that comes twice.
const GRACE: Duration = Duration::from_secs(3);
/// How long nothing may come before the rest is given up.
const PATIENCE: Duration = Duration::from_secs(40);

#[derive(Debug, Clone, Args)]
pub struct Plan {
    /// Messages that wait.
    #[arg(long, default_value_t = 1_000_000)]
    count: u64,
    /// Seconds over which their times are spread.
    #[arg(long, default_value_t = 60)]
    spread: u64,
    /// Seconds from the begin of storing to the first time [by the rate of a few sent before].
    #[arg(long)]
    lead: Option<u64>,
    /// Bytes of a body.
    #[arg(long, default_value_t = 100)]
    body: usize,
}

/// A message that came, all in ms since the epoch.
struct Came {
    number: u64,
    due: i64,
    stored: i64,
    seen: i64,
}

/// Runs the scenario.
pub async fn run(servers: &Servers, plan: &Plan) -> Figures {
    let mut figures = Figures::new();
    figures.insert("count".into(), plan.count.into());
    let session = servers.broker();
    session.create_topic(TOPIC, QUEUES).await.unwrap();
    let rate = warm(servers, plan).await;
    servers.note_memory(&mut figures, "before", Daemon::Broker);

    let lead = plan.lead.map_or_else(|| 8.0 + 1.3 * plan.count as f64 / rate, |lead| lead as f64);
    #[expect(clippy::cast_possible_truncation, reason = "some seconds")]
    let first = now_ms() + (lead * 1000.0) as i64;
    let span = i64::try_from(plan.spread * 1000).unwrap();
    let shipment = Shipment { due: Some((first, plan.spread * 1000)), ..shipment(plan, TOPIC, plan.count) };
    let cpu = servers.cpu(Daemon::Broker);
    let took = send::all(servers, &shipment).await;
    assert!(now_ms() < first, "storing took {took:.1} s, longer than the lead of {lead:.0} s: give --lead");
    let known = until_waiting(&session, plan.count, first - 1000).await;
    figures.insert("all_waiting_before_first".into(), known.into());
    note(&mut figures, "stored_per_s", plan.count as f64 / took);
    note(&mut figures, "store_cpu_s_per_million", per_million(servers.cpu(Daemon::Broker) - cpu, plan.count));
    servers.note_memory(&mut figures, "waiting", Daemon::Broker);

    let received = Arc::new(AtomicU64::new(0));
    let mut readers = JoinSet::new();
    for queue in 0..QUEUES {
        let give_up = first + span;
        readers.spawn(read(servers.broker(), queue, Arc::clone(&received), plan.count, give_up));
    }
    sleep_until(first - 500).await;
    let cpu = servers.cpu(Daemon::Broker);
    sleep_until(first + span / 2).await;
    let (fired, spent, kill) = (received.load(Ordering::Relaxed), servers.cpu(Daemon::Broker) - cpu, now_ms());
    figures.insert("received_before_kill".into(), fired.into());
    note(&mut figures, "fire_cpu_s_per_million", per_million(spent, fired));
    servers.kill_broker().await;
    let (ready, serves) = servers.start_broker(async || received.load(Ordering::Relaxed) > fired).await;
    note(&mut figures, "restart_ready_ms", ready);
    note(&mut figures, "restart_first_delivery_ms", serves);
    let back = now_ms();

    let mut came = Vec::new();
    while let Some(some) = readers.join_next().await {
        came.extend(some.unwrap());
    }
    servers.note_memory(&mut figures, "after", Daemon::Broker);
    note_errors(&mut figures, &came, kill, back, first + span * 3 / 4);
    note_fate(&mut figures, &came, plan.count);
    figures
}

fn shipment(plan: &Plan, topic: &'static str, count: u64) -> Shipment {
    Shipment { topic, queues: 4, count, batch: 1, body: plan.body, due: None }
}

/// Stores some timers that are due soon, so that programs are warm; returns the rate of the second half, messages a second.
async fn warm(servers: &Servers, plan: &Plan) -> f64 {
    let count = (plan.count / 30).clamp(1000, 30_000);
    servers.broker().create_topic("Warm", 4).await.unwrap();
    let mut took = 1.0;
    for _ in 0..2 {
        let shipment = Shipment { due: Some((now_ms() + 2000, 2000)), ..shipment(plan, "Warm", count) };
        took = send::all(servers, &shipment).await;
    }
    tokio::time::sleep(Duration::from_secs(6)).await;
    count as f64 / took
}

/// Waits until the broker says that so many wait, or it is time; tells whether it did.
async fn until_waiting(session: &Session, count: u64, until: i64) -> bool {
    loop {
        let figures = session.figures().await.unwrap();
        let waiting = figures.get("timerCongestNum").and_then(|text| text.parse::<u64>().ok());
        if waiting.is_some_and(|waiting| waiting >= count) || now_ms() >= until {
            return now_ms() < until;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn sleep_until(time: i64) {
    tokio::time::sleep(Duration::from_millis(u64::try_from(time - now_ms()).unwrap_or(0))).await;
}

/// Reads a queue until all of all queues came and a while after, or nothing comes any more after `give_up`.
async fn read(session: Session, queue: i32, received: Arc<AtomicU64>, count: u64, give_up: i64) -> Vec<Came> {
    let (mut came, mut offset) = (Vec::new(), 0);
    let (mut last, mut before) = (Instant::now(), 0);
    loop {
        let all = received.load(Ordering::Relaxed);
        if all != before || now_ms() < give_up {
            (last, before) = (Instant::now(), all);
        }
        if last.elapsed() > if all >= count { GRACE } else { PATIENCE } {
            return came;
        }
        let Some((next, some)) = pull(&session, queue, offset).await else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        received.fetch_add(u64::try_from(some.len()).unwrap(), Ordering::Relaxed);
        came.extend(some);
        offset = next;
    }
}

/// Where to go on, and what came; `None`: the broker is not there.
async fn pull(session: &Session, queue: i32, offset: i64) -> Option<(i64, Vec<Came>)> {
    let fields = PullRequest {
        consumer_group: "timers".into(),
        topic: TOPIC.into(),
        queue_id: queue,
        queue_offset: offset,
        max_msg_nums: 256,
        sys_flag: 6,
        suspend_timeout_millis: 500,
        subscription: Some("*".into()),
        ..PullRequest::default()
    };
    let link = session.link().await.ok()?;
    let asked = link.call(link.request(request::PULL_MESSAGE).with_fields(&fields), Duration::from_secs(10));
    let (answer, seen) = (asked.await.ok()?, now_ms());
    let mut came = Vec::new();
    if answer.code == response::SUCCESS {
        for record in entry::records(&answer.body) {
            let record = record.unwrap();
            let (number, due) = send::parse(record.body);
            came.push(Came { number, due, stored: record.store_timestamp, seen });
        }
    }
    let next = answer.fields::<PullResponse>().ok()?.next_begin_offset;
    // A broker that has just started may not know yet what its queues hold.
    Some((if came.is_empty() { offset.max(next) } else { next }, came))
}

/// How far from its time each message was stored again, and had by a reader; until the kill, and after the backlog was worked off.
fn note_errors(figures: &mut Figures, came: &[Came], kill: i64, back: i64, late: i64) {
    let spread = |wanted: &dyn Fn(&Came) -> bool, error: fn(&Came) -> i64| -> Vec<i64> {
        came.iter().filter(|message| wanted(message)).map(error).collect()
    };
    let before = |message: &Came| message.due < kill - MARGIN;
    let after = |message: &Came| message.due >= late;
    note_spread(figures, "error_signed", spread(&before, |message| message.stored - message.due));
    note_spread(figures, "error_stored", spread(&before, |message| (message.stored - message.due).abs()));
    note_spread(figures, "error_read", spread(&before, |message| (message.seen - message.due).abs()));
    note_spread(figures, "error_last_quarter", spread(&after, |message| (message.stored - message.due).abs()));
    let overdue = came.iter().filter(|message| message.due < back).map(|message| message.stored).max();
    figures.insert("backlog_ms".into(), overdue.map_or(0, |last| (last - back).max(0)).into());
}

fn note_fate(figures: &mut Figures, came: &[Came], count: u64) {
    let mut times = vec![0_u32; usize::try_from(count).unwrap()];
    came.iter().for_each(|message| times[usize::try_from(message.number).unwrap()] += 1);
    figures.insert("lost".into(), times.iter().filter(|times| **times == 0).count().into());
    figures.insert("twice".into(), times.iter().filter(|times| **times > 1).count().into());
}
