//! Consumes from a cluster that is already running, OrbitMQ's or Apache RocketMQ's: `ORBITMQ_NAMESERVER=host:port`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::time::Duration;

use orbitmq_common::net::client::{Client, ClientOptions};
use orbitmq_common::protocol::code::request;
use orbitmq_common::protocol::frame::Encoding;
use orbitmq_common::protocol::header::admin::CreateTopicRequest;
use orbitmq_common::route::finder::{FinderOptions, RouteFinder, split_nameservers};
use orbitmq_common::route::links::Links;
use orbitmq_consumer::{Consumer, ConsumerBuilder, Delivery, StartFrom};
use orbitmq_producer::{Message, Producer};

fn server() -> String {
    std::env::var("ORBITMQ_NAMESERVER").expect("ORBITMQ_NAMESERVER=host:port")
}

async fn producer() -> Producer {
    Producer::builder().nameservers([server()]).group("live_producers").build().await.unwrap()
}

fn consumer(topic: &str) -> ConsumerBuilder {
    Consumer::builder()
        .nameservers([server()])
        .group(format!("g_{topic}"))
        .subscribe(topic, "*")
        .start_from(StartFrom::First)
        .route_refresh(Duration::from_secs(1))
}

fn fresh(name: &str) -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("{name}_{}", since.as_millis())
}

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(40), future).await.unwrap_or_else(|_| panic!("{what} took too long"))
}

async fn take(consumer: &Consumer, count: usize) -> Vec<Delivery> {
    let mut all = Vec::new();
    while all.len() < count {
        all.push(soon("the next delivery", consumer.next()).await.unwrap());
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a running cluster"]
async fn what_is_sent_is_received_once_and_offsets_survive() {
    let (producer, topic) = (producer().await, fresh("live_once"));
    producer.send(Message::new(&topic, "0").key("k0").tag("A")).await.unwrap();
    let first = consumer(&topic).build().await.unwrap();
    let delivery = take(&first, 1).await.pop().unwrap();
    assert_eq!((delivery.body().as_ref(), delivery.key(), delivery.topic()), (&b"0"[..], Some("k0"), topic.as_str()));
    delivery.ack();
    for n in 1..500 {
        producer.send(Message::new(&topic, n.to_string())).await.unwrap();
    }
    let mut bodies = HashSet::new();
    for delivery in take(&first, 499).await {
        assert!(bodies.insert(delivery.body().clone()));
        delivery.ack();
    }
    soon("closing", first.close()).await;
    assert!(first.next().await.is_none());

    for n in 500..600 {
        producer.send(Message::new(&topic, n.to_string())).await.unwrap();
    }
    let second = consumer(&topic).build().await.unwrap();
    for delivery in take(&second, 100).await {
        assert!(bodies.insert(delivery.body().clone()), "{:?} came again", delivery.body());
        delivery.ack();
    }
    assert!(second.poll(1, Duration::from_millis(500)).await.is_empty());
    soon("closing", second.close()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a running cluster"]
async fn members_share_and_take_over() {
    let (producer, topic) = (producer().await, fresh("live_share"));
    producer.send(Message::new(&topic, "first")).await.unwrap();
    let one = consumer(&topic).build().await.unwrap();
    take(&one, 1).await.into_iter().for_each(Delivery::ack);
    let two = consumer(&topic).build().await.unwrap();
    let shared = async {
        loop {
            let own = |consumer: &Consumer| consumer.queues().iter().filter(|queue| queue.topic == topic).count();
            let (a, b) = (own(&one), own(&two));
            if a > 0 && b > 0 && (a + b == 4 || a + b == 8) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    soon("sharing", shared).await;
    for n in 0..80 {
        producer.send(Message::new(&topic, n.to_string())).await.unwrap();
    }
    let mut seen: HashMap<String, usize> = HashMap::new();
    while seen.len() < 80 {
        for consumer in [&one, &two] {
            for delivery in consumer.poll(100, Duration::from_millis(100)).await {
                *seen.entry(String::from_utf8_lossy(delivery.body()).into_owned()).or_default() += 1;
                delivery.ack();
            }
        }
    }
    soon("closing", two.close()).await;
    for n in 80..120 {
        producer.send(Message::new(&topic, n.to_string())).await.unwrap();
    }
    for delivery in take(&one, 40).await {
        delivery.ack();
    }
    soon("closing", one.close()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a running cluster"]
async fn retries_come_again_and_end_as_dead_letters() {
    let (producer, topic) = (producer().await, fresh("live_retry"));
    producer.send(Message::new(&topic, "again").tag("T")).await.unwrap();
    let consumer = consumer(&topic).max_deliveries(1).build().await.unwrap();
    let delivery = take(&consumer, 1).await.pop().unwrap();
    let id = delivery.message_id();
    soon("giving back", delivery.retry_at_level(1)).await.unwrap();
    let delivery = take(&consumer, 1).await.pop().unwrap();
    assert_eq!((delivery.topic(), delivery.attempts_before(), delivery.message_id()), (topic.as_str(), 1, id));
    soon("giving back", delivery.retry_at_level(1)).await.unwrap();
    assert!(consumer.poll(1, Duration::from_secs(3)).await.is_empty());
    soon("closing", consumer.close()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a running cluster"]
async fn ordered_queues_give_one_at_a_time_in_order() {
    let (producer, topic) = (producer().await, fresh("live_order"));
    for n in 0..50 {
        producer.send(Message::new(&topic, n.to_string()).sharding_key(format!("k{}", n % 3))).await.unwrap();
    }
    let consumer = consumer(&topic).ordered().suspend_queue(Duration::from_millis(100)).build().await.unwrap();
    let mut last: HashMap<i32, i32> = HashMap::new();
    let mut left = 50;
    let mut given_back = false;
    while left > 0 {
        let delivery = take(&consumer, 1).await.pop().unwrap();
        let n: i32 = String::from_utf8_lossy(delivery.body()).parse().unwrap();
        if n == 20 && !given_back {
            given_back = true;
            delivery.retry_later().await.unwrap();
            continue;
        }
        assert!(last.insert(n % 3, n).is_none_or(|before| before < n), "{n} came late");
        delivery.ack();
        left -= 1;
    }
    soon("closing", consumer.close()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a running cluster"]
async fn broadcasting_tags_and_run() {
    let (producer, topic) = (producer().await, fresh("live_cast"));
    producer.send(Message::new(&topic, "x").tag("no")).await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let build = |n: u8| {
        let directory = directory.path().join(n.to_string());
        let group = format!("g_{topic}");
        Consumer::builder()
            .nameservers([server()])
            .group(group)
            .subscribe(&topic, "yes || maybe")
            .start_from(StartFrom::First)
            .broadcasting(Some(directory))
            .build()
    };
    let (one, two) = (build(1).await.unwrap(), build(2).await.unwrap());
    for n in 0..20 {
        producer.send(Message::new(&topic, n.to_string()).tag(["yes", "no"][n % 2])).await.unwrap();
    }
    for consumer in [&one, &two] {
        let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let running = consumer.clone();
        let run = tokio::spawn(async move {
            running
                .run(move |message| {
                    told.send(message.body.clone()).unwrap();
                    async { Ok::<_, std::convert::Infallible>(()) }
                })
                .await;
        });
        let mut bodies = HashSet::new();
        while bodies.len() < 10 {
            bodies.insert(soon("a message", heard.recv()).await.unwrap());
        }
        soon("closing", consumer.close()).await;
        soon("running", run).await.unwrap();
    }
    assert!(directory.path().join("1").join(format!("g_{topic}.offsets.json")).exists());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a running cluster"]
async fn the_encodings_of_rocketmq_are_spoken_on_request() {
    for (encoding, name) in [(Encoding::Json, "live_json"), (Encoding::Binary, "live_binary")] {
        let topic = fresh(name);
        let producer = Producer::builder().nameservers([server()]).encoding(encoding).build().await.unwrap();
        for n in 0..20 {
            producer.send(Message::new(&topic, n.to_string()).tag("ü")).await.unwrap();
        }
        let consumer = consumer(&topic).encoding(encoding).build().await.unwrap();
        take(&consumer, 20).await.into_iter().for_each(Delivery::ack);
        soon("closing", consumer.close()).await;
    }
}

/// Creates a topic at every broker, as an administrator would.
async fn create(topic: &str) {
    let links = Links::new(std::sync::Arc::new(Client::new(ClientOptions::default())));
    let links = std::sync::Arc::new(links);
    let servers = split_nameservers([server()]);
    let finder = RouteFinder::new(std::sync::Arc::clone(&links), servers, FinderOptions::default()).unwrap();
    let route = finder.find("TBW102").await.unwrap();
    for broker in route.brokers() {
        let link = links.get(broker.master().unwrap(), Duration::from_secs(3)).await.unwrap();
        let fields = CreateTopicRequest {
            topic: topic.into(),
            default_topic: "TBW102".into(),
            read_queue_nums: 4,
            write_queue_nums: 4,
            perm: 6,
            topic_filter_type: Some("SINGLE_TAG".into()),
            ..CreateTopicRequest::default()
        };
        let creation = link.request(request::UPDATE_AND_CREATE_TOPIC).with_fields(&fields);
        assert_eq!(link.call(creation, Duration::from_secs(3)).await.unwrap().code, 0);
    }
}

/// Sends and consumes for `ORBITMQ_SECONDS` (10) while somebody stops and starts daemons: every acknowledged message has to
/// be seen, and every send has to succeed within its deadline.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a running cluster"]
async fn nothing_is_lost_while_daemons_come_and_go() {
    let filter = std::env::var("ORBITMQ_LOG").unwrap_or_else(|_| "warn".to_owned());
    orbitmq_common::telemetry::start(&filter, orbitmq_common::telemetry::LogFormat::Text).unwrap();
    let seconds = std::env::var("ORBITMQ_SECONDS").map_or(10, |text| text.parse().unwrap());
    let (producer, topic) = (producer().await, fresh("live_soak"));
    create(&topic).await;
    let consumers = [consumer(&topic).build().await.unwrap(), consumer(&topic).build().await.unwrap()];
    let seen = std::sync::Arc::new(parking_lot::Mutex::new(HashMap::<String, usize>::new()));
    for consumer in consumers.clone() {
        let seen = std::sync::Arc::clone(&seen);
        tokio::spawn(async move {
            while let Some(delivery) = consumer.next().await {
                *seen.lock().entry(delivery.message_id()).or_default() += 1;
                delivery.ack();
            }
        });
    }
    let until = std::time::Instant::now() + Duration::from_secs(seconds);
    let senders: Vec<_> = (0..8)
        .map(|_| {
            let (producer, topic) = (producer.clone(), topic.clone());
            tokio::spawn(async move {
                let (mut sent, mut failed, mut slowest) = (Vec::new(), Vec::new(), Duration::ZERO);
                while std::time::Instant::now() < until {
                    let began = std::time::Instant::now();
                    match producer.send(Message::new(&topic, "soak")).await {
                        Ok(receipt) => sent.push(receipt.message_id),
                        Err(error) => failed.push(error.to_string()),
                    }
                    if began.elapsed() > Duration::from_secs(1) {
                        println!("a send took {:?}: {:?}", began.elapsed(), sent.last());
                    }
                    slowest = slowest.max(began.elapsed());
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                (sent, failed, slowest)
            })
        })
        .collect();
    let (mut sent, mut failed, mut slowest) = (Vec::new(), Vec::new(), Duration::ZERO);
    for sender in senders {
        let (more, bad, slow) = sender.await.unwrap();
        sent.extend(more);
        failed.extend(bad);
        slowest = slowest.max(slow);
    }
    let missing = || sent.iter().filter(|id| !seen.lock().contains_key(*id)).count();
    let waited = std::time::Instant::now();
    while missing() > 0 && waited.elapsed() < Duration::from_secs(60) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let again: usize = seen.lock().values().map(|times| times - 1).sum();
    println!(
        "sent {} failed {} missing {} again {again} slowest send {slowest:?}",
        sent.len(),
        failed.len(),
        missing()
    );
    assert_eq!((missing(), failed), (0, Vec::new()));
    for consumer in consumers {
        soon("closing", consumer.close()).await;
    }
}

/// How fast both libraries are at one topic: prints messages a second and the CPU seconds that this process spent.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a running cluster"]
async fn how_fast() {
    let (producer, topic) = (producer().await, fresh("live_fast"));
    create(&topic).await;
    let count = 200_000_usize;
    let body = vec![7_u8; 1024];
    let (began, cpu) = (std::time::Instant::now(), own_cpu());
    let mut pending = std::collections::VecDeque::new();
    for _ in 0..count {
        pending.push_back(producer.start(Message::new(&topic, body.clone())).await.unwrap());
        if pending.len() > 2048 {
            pending.pop_front().unwrap().await.unwrap();
        }
    }
    for one in pending {
        one.await.unwrap();
    }
    report("started sends", count, began, cpu);

    let (began, cpu) = (std::time::Instant::now(), own_cpu());
    let senders: Vec<_> = (0..64)
        .map(|_| {
            let (producer, topic, body) = (producer.clone(), topic.clone(), body.clone());
            tokio::spawn(async move {
                for _ in 0..count / 64 / 2 {
                    producer.send(Message::new(&topic, body.clone())).await.unwrap();
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.unwrap();
    }
    report("64 awaiting senders", count / 2, began, cpu);

    let (began, cpu) = (std::time::Instant::now(), own_cpu());
    let consumer = consumer(&topic).build().await.unwrap();
    for _ in 0..count {
        consumer.next().await.unwrap().ack();
    }
    report("next and ack", count, began, cpu);
    soon("closing", consumer.close()).await;
}

fn report(what: &str, count: usize, began: std::time::Instant, cpu: f64) {
    let (seconds, count) = (began.elapsed().as_secs_f64(), count as f64);
    println!("{what}: {:.0}/s, {:.2} own CPU s per million", count / seconds, (own_cpu() - cpu) / count * 1e6);
}

/// CPU seconds of this process: user and system, in ticks of 10 ms.
fn own_cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit_once(") ").unwrap().1;
    let fields: Vec<&str> = after_name.split(' ').collect();
    fields[11..13].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}
