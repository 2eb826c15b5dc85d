//! An order event that two groups, inventory and notification, each consume once.

use std::collections::HashMap;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use orbitmq_common::telemetry::{self, LogFormat};
use orbitmq_consumer::{Consumer, Delivery, StartFrom};
use orbitmq_examples::clock::{ms_between, now_us};
use orbitmq_examples::cluster::Embedded;
use orbitmq_producer::{Message, Producer};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

const TOPIC: &str = "orders";
const GROUPS: [&str; 2] = ["inventory", "notification"];
const ARTICLES: [&str; 3] = ["orbit chart", "telescope", "star atlas"];
/// How long the groups may take.
const BOUND: Duration = Duration::from_secs(30);
/// How long the groups listen on, to catch an order that comes twice.
const AFTERMATH: Duration = Duration::from_millis(500);

/// Places orders and shows that inventory and notification each get every order once.
#[derive(Debug, Parser)]
#[command(name = "orders", version)]
struct Cli {
    /// Name servers of a running cluster [default: an embedded cluster]
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    nameserver: Vec<String>,
    /// Orders to place
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    orders: u32,
    /// What to log to stderr
    #[arg(long, default_value = "warn", env = "ORBITMQ_LOG")]
    log: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Order {
    id: String,
    article: String,
    pieces: u32,
}

/// What a group did with an order.
#[derive(Debug, Default)]
struct Seen {
    times: u32,
    at_us: i64,
    did: String,
}

/// An order as it was placed.
struct Placed {
    order: Order,
    sent_us: i64,
    stored_us: i64,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("orders: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<bool, Failure> {
    telemetry::start(&cli.log, LogFormat::Text)?;
    if !cli.nameserver.is_empty() {
        return demonstrate(&cli.nameserver, cli.orders).await;
    }
    let data = tempfile::Builder::new().prefix("orders-").tempdir()?;
    let cluster = Embedded::start(data.path(), &[TOPIC]).await?;
    println!("cluster: embedded, name server {}, broker {}", cluster.nameserver(), cluster.broker());
    let result = demonstrate(&[cluster.nameserver().to_string()], cli.orders).await;
    cluster.stop().await;
    result
}

/// Places the orders while both groups listen; true if each group had each order exactly once.
async fn demonstrate(nameservers: &[String], orders: u32) -> Result<bool, Failure> {
    // Orders of this run carry its tag: those of earlier runs on the same cluster are not ours.
    let run = format!("run-{}", Uuid::new_v4().simple());
    let deadline = Instant::now() + BOUND;
    let groups = GROUPS.map(|group| tokio::spawn(consume(nameservers.to_vec(), group, run.clone(), orders, deadline)));
    let placed = place(nameservers, &run, orders).await?;
    let [inventory, notification] = groups;
    let (inventory, notification) = (inventory.await??, notification.await??);
    Ok(print(&placed, &inventory, &notification))
}

/// Sends the orders, each by its id, and keeps the receipts' times.
async fn place(nameservers: &[String], run: &str, orders: u32) -> Result<Vec<Placed>, Failure> {
    let producer = Producer::builder().nameservers(nameservers).group("shop").build().await?;
    let mut placed = Vec::new();
    for (number, article) in (1..=orders).zip(ARTICLES.iter().cycle()) {
        let order = Order { id: format!("order-{number}"), article: (*article).to_owned(), pieces: number % 3 + 1 };
        let sent_us = now_us();
        let message = Message::new(TOPIC, serde_json::to_vec(&order)?).tag(run).key(&order.id).sharding_key(&order.id);
        producer.send(message).await?;
        placed.push(Placed { order, sent_us, stored_us: now_us() });
    }
    producer.close().await;
    Ok(placed)
}

/// What a group does: every order once, told apart by its id.
async fn consume(
    nameservers: Vec<String>,
    group: &'static str,
    run: String,
    orders: u32,
    deadline: Instant,
) -> Result<HashMap<String, Seen>, Failure> {
    let consumer = Consumer::builder()
        .nameservers(nameservers)
        .group(group)
        .subscribe(TOPIC, run)
        .start_from(StartFrom::First)
        .route_refresh(Duration::from_secs(1))
        .rebalance_every(Duration::from_secs(1))
        .build()
        .await?;
    let mut seen: HashMap<String, Seen> = HashMap::new();
    let mut until = deadline;
    let mut complete = false;
    while let Ok(Some(delivery)) = timeout_at(until, consumer.next()).await {
        work(group, delivery, &mut seen).await?;
        if !complete && u32::try_from(seen.len()) == Ok(orders) {
            complete = true;
            until = deadline.min(Instant::now() + AFTERMATH);
        }
    }
    consumer.close().await;
    Ok(seen)
}

async fn work(group: &str, delivery: Delivery, seen: &mut HashMap<String, Seen>) -> Result<(), Failure> {
    let order: Order = serde_json::from_slice(delivery.body())?;
    let entry = seen.entry(order.id).or_default();
    entry.times += 1;
    entry.at_us = now_us();
    entry.did = match group {
        "inventory" => format!("{} x {} reserved", order.pieces, order.article),
        _ => "confirmation sent".to_owned(),
    };
    delivery.ack();
    Ok(())
}

fn print(placed: &[Placed], inventory: &HashMap<String, Seen>, notification: &HashMap<String, Seen>) -> bool {
    let mut all_once = true;
    println!("\nms since the order was sent:\n");
    println!("{:<11} {:>7}   {:<38}   {:<32}", "order", "stored", "inventory", "notification");
    for Placed { order, sent_us, stored_us } in placed {
        let mut column = |seen: Option<&Seen>| {
            let Some(Seen { times, at_us, did }) = seen else {
                all_once = false;
                return "never came".to_owned();
            };
            all_once &= *times == 1;
            let again = if *times == 1 { String::new() } else { format!(", {times} times") };
            format!("{:>6.1} {did}{again}", ms_between(*sent_us, *at_us))
        };
        let (left, right) = (column(inventory.get(&order.id)), column(notification.get(&order.id)));
        println!("{:<11} {:>7.1}   {left:<38}   {right:<32}", order.id, ms_between(*sent_us, *stored_us));
    }
    println!("\n{}", if all_once { "Each group had every order once." } else { "An order is missing or came twice." });
    all_once
}
