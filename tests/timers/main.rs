//! What many messages that wait for their time cost, and how exactly they come: memory each, start after a kill, error at delivery.
//!
//! `cargo run --release -p orbitmq-tests --bin timers -- --count 1000000`: a name server is not needed, the broker runs as a process of its
//! own in a temporary directory. The error is taken twice: when the broker stored the message again, and when a reader had it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a program for developers: it reports by panicking"
)]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use orbitmq_common::message::record::RecordView;
use orbitmq_common::message::{entry, property};
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::header::pull::{PullRequest, PullResponse};
use orbitmq_tests::daemon::{Daemon, Place};
use orbitmq_tests::session::{Outgoing, Session};

/// Queues of the topic, each with a reader.
const QUEUES: i32 = 4;
const TOPIC: &str = "Timed";
/// Sends in hand of each sender.
const WINDOW: usize = 64;

#[derive(Debug, Clone, Parser)]
struct Arguments {
    /// Messages that wait.
    #[arg(long, default_value_t = 100_000)]
    count: u64,
    /// Seconds over which their times are spread evenly.
    #[arg(long, default_value_t = 60)]
    spread: u64,
    /// Seconds from the begin of sending to the first time [count / 10,000 + 10].
    #[arg(long)]
    lead: Option<u64>,
    /// Bytes of a body.
    #[arg(long, default_value_t = 100)]
    body: usize,
    /// How the broker flushes: sync or async.
    #[arg(long, default_value = "sync")]
    flush: String,
    /// The program that holds both daemons [beside this one].
    #[arg(long)]
    daemons: Option<PathBuf>,
}

#[tokio::main]
async fn main() {
    let arguments = Arguments::parse();
    let beside = || std::env::current_exe().unwrap().with_file_name("orbitmq-testd");
    let program = arguments.daemons.clone().unwrap_or_else(beside);
    assert!(program.exists(), "{} is missing: cargo build --release -p orbitmq-tests --bins", program.display());
    let place = Place::new(program.to_str().unwrap());
    let mut broker = place.broker("broker").argument("--flush", &arguments.flush).start();
    let session = Session::new(broker.address());
    session.create_topic(TOPIC, QUEUES).await.unwrap();
    let empty = own_memory(&broker);

    let lead = arguments.lead.unwrap_or(arguments.count / 10_000 + 10);
    let first = now_ms() + i64::try_from(lead * 1_000).unwrap();
    let began = Instant::now();
    send_all(&broker, &arguments, first).await;
    let took = began.elapsed().as_secs_f64();
    assert!(now_ms() < first, "sending took {took:.1} s, longer than the lead of {lead} s: give --lead");
    until_waiting(&session, arguments.count).await;
    let full = own_memory(&broker);
    let each = |bytes: u64| bytes as f64 / arguments.count as f64;
    println!("{} messages sent in {took:.1} s, {:.0} a second", arguments.count, arguments.count as f64 / took);
    println!(
        "memory of the broker's own: {:.1} MiB empty, {:.1} MiB full: {:.1} bytes a message",
        mib(empty),
        mib(full),
        each(full.saturating_sub(empty))
    );

    broker.kill();
    let began = Instant::now();
    let ready = broker.start();
    until_waiting(&session, arguments.count).await;
    let loaded = own_memory(&broker);
    println!(
        "after a kill: ready in {} ms, all known after {} ms, {:.1} MiB: {:.1} bytes a message",
        ready.as_millis(),
        began.elapsed().as_millis(),
        mib(loaded),
        each(loaded.saturating_sub(empty))
    );
    assert!(now_ms() < first, "the restart was not over before the first time: give --lead");
    receive_all(&broker, &arguments).await;
    assert!(broker.stop().success(), "{}", broker.tail());
}

async fn send_all(broker: &Daemon, arguments: &Arguments, first: i64) {
    let next = Arc::new(AtomicU64::new(0));
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..4 * WINDOW {
        let (session, next, arguments) = (Session::new(broker.address()), Arc::clone(&next), arguments.clone());
        senders.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= arguments.count {
                    return;
                }
                let due = first + i64::try_from(fastrand::u64(0..arguments.spread * 1_000)).unwrap();
                let properties = format!("UNIQ_KEY\u{1}N{number:015}\u{2}TIMER_DELIVER_MS\u{1}{due}\u{2}");
                let message = Outgoing { body: vec![b'x'; arguments.body].into(), properties };
                let queue = i32::try_from(number % 4).unwrap() % QUEUES;
                session.send(TOPIC, queue, &[message]).await.unwrap();
            }
        });
    }
    while let Some(done) = senders.join_next().await {
        done.unwrap();
    }
}

async fn until_waiting(session: &Session, count: u64) {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let figures = session.figures().await.unwrap();
        if figures["timerCongestNum"] == count.to_string() {
            return;
        }
        assert!(Instant::now() < deadline, "{} of {count} wait", figures["timerCongestNum"]);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// How late messages were stored again, and how late a reader had them, ms.
#[derive(Default)]
struct Errors {
    stored: Vec<i64>,
    read: Vec<i64>,
}

async fn receive_all(broker: &Daemon, arguments: &Arguments) {
    let mut readers = tokio::task::JoinSet::new();
    let received = Arc::new(AtomicU64::new(0));
    for queue in 0..QUEUES {
        let (session, received) = (Session::new(broker.address()), Arc::clone(&received));
        readers.spawn(read(session, queue, received, arguments.count));
    }
    let (mut all, mut keys) = (Errors::default(), std::collections::HashSet::new());
    while let Some(done) = readers.join_next().await {
        let (errors, found) = done.unwrap();
        all.stored.extend(errors.stored);
        all.read.extend(errors.read);
        for key in found {
            assert!(keys.insert(key.clone()), "{key} came twice");
        }
    }
    assert_eq!(keys.len() as u64, arguments.count, "all came");
    println!("all came, none twice; {} MiB", mib(own_memory(broker)).round());
    for (what, mut errors) in [("stored again", all.stored), ("at the reader", all.read)] {
        errors.sort_unstable();
        let part = |part: f64| errors[((errors.len() - 1) as f64 * part) as usize];
        println!(
            "error {what}, ms: min {} p50 {} p99 {} p99.9 {} max {}",
            part(0.0),
            part(0.5),
            part(0.99),
            part(0.999),
            part(1.0)
        );
    }
}

async fn read(session: Session, queue: i32, received: Arc<AtomicU64>, count: u64) -> (Errors, Vec<String>) {
    let (mut errors, mut keys, mut offset) = (Errors::default(), Vec::new(), 0);
    let deadline = Instant::now() + Duration::from_secs(600);
    while received.load(Ordering::Relaxed) < count {
        assert!(Instant::now() < deadline, "{} of {count} came", received.load(Ordering::Relaxed));
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
        let link = session.link().await.unwrap();
        let asked = link.call(link.request(request::PULL_MESSAGE).with_fields(&fields), Duration::from_secs(10));
        let answer = asked.await.unwrap();
        let now = now_ms();
        if answer.code == response::SUCCESS {
            for record in entry::records(&answer.body) {
                let record: RecordView<'_> = record.unwrap();
                let due: i64 = record.property(property::TIMER_OUT_MS).unwrap().parse().unwrap();
                errors.stored.push(record.store_timestamp - due);
                errors.read.push(now - due);
                keys.push(record.property(property::UNIQ_KEY).unwrap().to_owned());
                received.fetch_add(1, Ordering::Relaxed);
            }
        }
        offset = answer.fields::<PullResponse>().unwrap().next_begin_offset;
    }
    (errors, keys)
}

/// Bytes of memory that are the process's own, without what it has mapped.
fn own_memory(broker: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", broker.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() << 10
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}
