//! Many topics: making them, a broker and a name server at rest with them, routes asked for, and a start after a kill.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use orbitmq_common::protocol::body::topic::{TopicConfig, TopicConfigList};
use orbitmq_common::protocol::code::request;
use orbitmq_tests::session::Session;
use tokio::task::JoinSet;

use crate::Figures;
use crate::servers::{Daemon, Servers};
use crate::values::{note, note_spread, per_million};

/// Requests in hand while topics are made, and while routes are asked for.
const WINDOW: u64 = 16;
/// Topics of one request that makes many.
const LIST: u64 = 1000;
/// Longest time until a route is known.
const ROUTED: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Args)]
pub struct Plan {
    /// Topics.
    #[arg(long, default_value_t = 10_000)]
    count: u64,
    /// Queues of each.
    #[arg(long, default_value_t = 4)]
    queues: i32,
    /// Seconds for making topics one by one; what is missing then is made by lists of 1,000.
    #[arg(long, default_value_t = 40)]
    patience: u64,
    /// Seconds for which both daemons are watched at rest.
    #[arg(long, default_value_t = 30)]
    rest: u64,
    /// Routes asked for.
    #[arg(long, default_value_t = 100_000)]
    asks: u64,
}

/// Runs the scenario.
pub async fn run(servers: &Servers, plan: &Plan) -> Figures {
    let mut figures = Figures::new();
    figures.insert("count".into(), plan.count.into());
    for (name, daemon) in [("broker", Daemon::Broker), ("namesrv", Daemon::Nameserver)] {
        servers.note_memory(&mut figures, &format!("{name}_before"), daemon);
    }
    make(servers, plan, &mut figures).await;
    // What making them needed is given back, and the name server has heard of the last.
    tokio::time::sleep(Duration::from_secs(5)).await;
    rest(servers, plan, &mut figures).await;
    ask(servers, plan, &mut figures).await;
    restart(servers, plan, &mut figures).await;
    figures
}

fn topic(number: u64) -> String {
    format!("scale-topic-{number:05}")
}

async fn make(servers: &Servers, plan: &Plan, figures: &mut Figures) {
    let (broker, began) = (Arc::new(servers.broker()), Instant::now());
    let cpu = |daemon| servers.cpu(daemon);
    let before = (cpu(Daemon::Broker), cpu(Daemon::Nameserver));
    let next = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for _ in 0..WINDOW {
        let (broker, next, plan) = (Arc::clone(&broker), Arc::clone(&next), plan.clone());
        tasks.spawn(async move {
            while began.elapsed().as_secs() < plan.patience {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= plan.count {
                    return;
                }
                broker.create_topic(&topic(number), plan.queues).await.unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    let made = next.load(Ordering::Relaxed).min(plan.count);
    figures.insert("made_one_by_one".into(), made.into());
    note(figures, "made_per_s", made as f64 / began.elapsed().as_secs_f64());
    make_lists(&broker, plan, made).await;
    until_routed(&servers.nameserver(), plan).await;
    note(figures, "make_s", began.elapsed().as_secs_f64());
    note(figures, "make_cpu_s", cpu(Daemon::Broker) + cpu(Daemon::Nameserver) - before.0 - before.1);
}

async fn make_lists(broker: &Session, plan: &Plan, mut from: u64) {
    while from < plan.count {
        let to = (from + LIST).min(plan.count);
        let topic_config_list = (from..to).map(|number| TopicConfig::new(topic(number), plan.queues, 6)).collect();
        let list = TopicConfigList { topic_config_list };
        broker.call(request::UPDATE_AND_CREATE_TOPIC_LIST, |frame| frame.with_json(&list)).await.unwrap();
        from = to;
    }
}

async fn until_routed(nameserver: &Session, plan: &Plan) {
    let end = Instant::now() + ROUTED;
    while !matches!(nameserver.route(&topic(plan.count - 1)).await, Ok(Some(_))) {
        assert!(Instant::now() < end, "the last topic has no route after {ROUTED:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Nobody asks for anything: what is left are the broker's heartbeats and registrations, and the work of its own.
async fn rest(servers: &Servers, plan: &Plan, figures: &mut Figures) {
    let daemons = [("broker", Daemon::Broker), ("namesrv", Daemon::Nameserver)];
    let before = daemons.map(|(_, daemon)| servers.cpu(daemon));
    tokio::time::sleep(Duration::from_secs(plan.rest)).await;
    for ((name, daemon), before) in daemons.into_iter().zip(before) {
        let spent = (servers.cpu(daemon) - before) * 60.0 / plan.rest.max(1) as f64;
        note(figures, &format!("{name}_rest_cpu_s_per_minute"), spent);
        servers.note_memory(figures, &format!("{name}_rest"), daemon);
    }
}

async fn ask(servers: &Servers, plan: &Plan, figures: &mut Figures) {
    let (left, began) = (Arc::new(AtomicU64::new(plan.asks)), Instant::now());
    let cpu = servers.cpu(Daemon::Nameserver);
    let mut tasks = JoinSet::new();
    for _ in 0..4 {
        let session = Arc::new(servers.nameserver());
        for _ in 0..WINDOW / 4 {
            let (session, left, count) = (Arc::clone(&session), Arc::clone(&left), plan.count);
            tasks.spawn(async move {
                let mut times = Vec::new();
                while left.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                    let (name, asked) = (topic(fastrand::u64(0..count)), Instant::now());
                    let route = session.route(&name).await.unwrap().expect("a route of each topic");
                    times.push(i64::try_from(asked.elapsed().as_micros()).unwrap());
                    assert!(!route.queue_datas.is_empty(), "{name} has no queues");
                }
                times
            });
        }
    }
    let mut times = Vec::new();
    while let Some(some) = tasks.join_next().await {
        times.extend(some.unwrap());
    }
    note(figures, "routes_per_s", plan.asks as f64 / began.elapsed().as_secs_f64());
    note(figures, "routes_cpu_s_per_100k", per_million(servers.cpu(Daemon::Nameserver) - cpu, plan.asks) / 10.0);
    note_spread(figures, "route_us", times);
}

async fn restart(servers: &Servers, plan: &Plan, figures: &mut Figures) {
    servers.kill_broker().await;
    let nameserver = servers.nameserver();
    let (last, end) = (topic(plan.count - 1), Instant::now() + ROUTED);
    while !matches!(nameserver.route(&last).await, Ok(None)) {
        assert!(Instant::now() < end, "the route of a dead broker is still there");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let routed = async || matches!(nameserver.route(&last).await, Ok(Some(_)));
    let (ready, served) = servers.start_broker(routed).await;
    note(figures, "restart_ready_ms", ready);
    note(figures, "restart_routed_ms", served);
    servers.note_memory(figures, "broker_restarted", Daemon::Broker);
}
