//! Messages popped and not acknowledged: what holding their receipts costs, a start with all of them open, and acknowledging them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use orbitmq_common::clock::now_ms;
use orbitmq_common::message::entry;
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::header::pop::{PopRequest, PopResponse};
use orbitmq_tests::session::Session;
use tokio::task::JoinSet;

use crate::Figures;
use crate::send::{self, Shipment};
use crate::servers::{Daemon, Servers};
use crate::values::{note, per_million};

const TOPIC: &str = "Popped";
const GROUP: &str = "poppers";
/// Queues of the topic.
const QUEUES: i32 = 16;
/// Readers of each queue.
const READERS: i32 = 2;
/// How long nobody else sees what was popped, ms: longer than a run.
const INVISIBLE: i64 = 30 * 60 * 1000;
/// Pops that one request acknowledges, and such requests in hand.
const ACKS: usize = 32;
const ACKS_IN_HAND: usize = 8;
/// How long nothing may come before the rest is given up.
const PATIENCE: Duration = Duration::from_secs(20);
const DEADLINE: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Args)]
pub struct Plan {
    /// Messages popped.
    #[arg(long, default_value_t = 1_000_000)]
    count: u64,
    /// Messages one pop asks for, up to 32.
    #[arg(long, default_value_t = 1)]
    batch: i32,
    /// Seconds for popping; what is missing then is not popped.
    #[arg(long, default_value_t = 120)]
    patience: u64,
    /// Bytes of a body.
    #[arg(long, default_value_t = 100)]
    body: usize,
}

/// What one pop took from one queue.
struct Popped {
    queue: i32,
    start: i64,
    pop_time: i64,
    revive_queue: i32,
    offsets: Vec<i64>,
}

/// Runs the scenario.
pub async fn run(servers: &Servers, plan: &Plan) -> Figures {
    let mut figures = Figures::new();
    figures.insert("count".into(), plan.count.into());
    figures.insert("batch".into(), plan.batch.into());
    servers.broker().create_topic(TOPIC, QUEUES).await.unwrap();
    let queues = u64::from(QUEUES.cast_unsigned());
    let shipment = Shipment { topic: TOPIC, queues, count: plan.count, batch: 32, body: plan.body, due: None };
    send::all(servers, &shipment).await;
    servers.note_memory(&mut figures, "before", Daemon::Broker);

    let (cpu, began) = (servers.cpu(Daemon::Broker), Instant::now());
    let mut open = pop_all(servers, plan, plan.count).await;
    let (popped, took) = (messages(&open), began.elapsed().as_secs_f64());
    figures.insert("popped".into(), popped.into());
    note(&mut figures, "popped_per_s", popped as f64 / took);
    note(&mut figures, "pop_cpu_s_per_million", per_million(servers.cpu(Daemon::Broker) - cpu, popped));
    servers.note_memory(&mut figures, "open", Daemon::Broker);

    servers.kill_broker().await;
    let (session, again) = (servers.broker(), Arc::new(AtomicU64::new(0)));
    let (ready, serves) = servers
        .start_broker(async || {
            let Some(some) = pop(&session, 0, plan.batch).await else { return false };
            again.fetch_add(some.iter().map(|one| one.offsets.len() as u64).sum(), Ordering::Relaxed);
            open.extend(some);
            true
        })
        .await;
    note(&mut figures, "restart_ready_ms", ready);
    note(&mut figures, "restart_pops_ms", serves);
    servers.note_memory(&mut figures, "reopened", Daemon::Broker);
    let more = pop_all(servers, &Plan { batch: 32, ..plan.clone() }, 0).await;
    figures.insert("popped_again".into(), (again.load(Ordering::Relaxed) + messages(&more)).into());
    open.extend(more);

    let (cpu, began) = (servers.cpu(Daemon::Broker), Instant::now());
    let refused = ack_all(servers, &open).await;
    figures.insert("acks_refused".into(), refused.into());
    let acked = messages(&open);
    note(&mut figures, "acked_per_s", acked as f64 / began.elapsed().as_secs_f64());
    note(&mut figures, "ack_cpu_s_per_million", per_million(servers.cpu(Daemon::Broker) - cpu, acked));
    servers.note_memory(&mut figures, "after", Daemon::Broker);
    figures
}

fn messages(popped: &[Popped]) -> u64 {
    popped.iter().map(|one| one.offsets.len() as u64).sum()
}

/// Pops from all queues at once until `wanted` messages came, or nothing comes for a while (0: a moment).
async fn pop_all(servers: &Servers, plan: &Plan, wanted: u64) -> Vec<Popped> {
    let (came, end) = (Arc::new(AtomicU64::new(0)), Instant::now() + Duration::from_secs(plan.patience));
    let mut readers = JoinSet::new();
    for link in 0..4 {
        let session = Arc::new(servers.broker());
        for number in (link..QUEUES * READERS).step_by(4) {
            let (session, came, batch) = (Arc::clone(&session), Arc::clone(&came), plan.batch);
            readers.spawn(pop_some(session, number % QUEUES, batch, came, wanted, end));
        }
    }
    let mut all = Vec::new();
    while let Some(some) = readers.join_next().await {
        all.extend(some.unwrap());
    }
    all
}

async fn pop_some(
    session: Arc<Session>,
    queue: i32,
    batch: i32,
    came: Arc<AtomicU64>,
    wanted: u64,
    end: Instant,
) -> Vec<Popped> {
    let patience = if wanted == 0 { Duration::from_secs(2) } else { PATIENCE };
    let (mut all, mut last, mut before) = (Vec::new(), Instant::now(), 0);
    loop {
        let now = came.load(Ordering::Relaxed);
        if now != before {
            (last, before) = (Instant::now(), now);
        }
        if wanted > 0 && now >= wanted || last.elapsed() > patience || Instant::now() > end {
            return all;
        }
        let some = pop(&session, queue, batch).await.unwrap_or_default();
        if some.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        came.fetch_add(messages(&some), Ordering::Relaxed);
        all.extend(some);
    }
}

/// What was popped, perhaps nothing; `None`: the broker is not ready.
async fn pop(session: &Session, queue: i32, batch: i32) -> Option<Vec<Popped>> {
    let fields = PopRequest {
        consumer_group: GROUP.into(),
        topic: TOPIC.into(),
        queue_id: queue,
        max_msg_nums: batch,
        invisible_time: INVISIBLE,
        born_time: now_ms(),
        ..PopRequest::default()
    };
    let link = session.link().await.ok()?;
    let answer = link.call(link.request(request::POP_MESSAGE).with_fields(&fields), DEADLINE).await.ok()?;
    match answer.code {
        response::SUCCESS => {}
        response::POLLING_TIMEOUT | response::POLLING_FULL | response::PULL_NOT_FOUND => return Some(Vec::new()),
        _ => return None,
    }
    let fields: PopResponse<'_> = answer.fields().unwrap();
    let offsets: Vec<i64> =
        entry::records(&answer.body).map(|record| record.unwrap().queue_offset.cast_signed()).collect();
    // `0 queue first`, of one queue.
    let start = fields.start_offset_info.as_deref().unwrap_or_default().rsplit(' ').next().unwrap().parse();
    let (pop_time, revive_queue) = (fields.pop_time, fields.revive_qid);
    Some(vec![Popped { queue, start: start.expect("where the pop begins"), pop_time, revive_queue, offsets }])
}

/// Acknowledges all; returns how many requests were refused.
async fn ack_all(servers: &Servers, open: &[Popped]) -> u64 {
    let bodies: Vec<String> = open.chunks(ACKS).map(body).collect();
    let (bodies, next, session) = (Arc::new(bodies), Arc::new(AtomicU64::new(0)), Arc::new(servers.broker()));
    let mut tasks = JoinSet::new();
    for _ in 0..ACKS_IN_HAND {
        let (bodies, next, session) = (Arc::clone(&bodies), Arc::clone(&next), Arc::clone(&session));
        tasks.spawn(async move {
            let mut refused = 0;
            while let Some(body) = bodies.get(usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap()) {
                let body = body.clone().into_bytes();
                let done = session.call(request::BATCH_ACK_MESSAGE, |frame| frame.with_body(body)).await;
                refused += u64::from(done.is_err());
            }
            refused
        });
    }
    let mut refused = 0;
    while let Some(some) = tasks.join_next().await {
        refused += some.unwrap();
    }
    refused
}

/// As RocketMQ's client writes it: bit n of `b`, in Base64, stands for the message at `so + n`.
fn body(popped: &[Popped]) -> String {
    let ack = |one: &Popped| {
        let mut bits = vec![0_u8];
        for offset in &one.offsets {
            let distance = usize::try_from(offset - one.start).unwrap();
            bits.resize(bits.len().max(distance / 8 + 1), 0);
            bits[distance / 8] |= 1 << (distance % 8);
        }
        let Popped { queue, start, pop_time, revive_queue, .. } = one;
        let bits = base64(&bits);
        format!(
            r#"{{"b":"{bits}","c":"{GROUP}","it":{INVISIBLE},"pt":{pop_time},"q":{queue},"r":"0","rq":{revive_queue},"so":{start},"t":"{TOPIC}"}}"#
        )
    };
    let acks: Vec<String> = popped.iter().map(ack).collect();
    format!(r#"{{"acks":[{}],"brokerName":"broker-a"}}"#, acks.join(","))
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let all = three.iter().fold(0_u32, |all, byte| all << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for digit in 0..4 {
            let value = all >> (18 - 6 * digit) & 63;
            text.push(if digit <= three.len() { char::from(DIGITS[value as usize]) } else { '=' });
        }
    }
    text
}
