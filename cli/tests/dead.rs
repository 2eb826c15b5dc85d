//! Dead letters, run as an operator runs them: given up by a consumer, found, sent again each once although the tool is killed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[allow(dead_code, reason = "each test uses its part")]
mod support;

use std::collections::HashMap;
use std::process::{Command, Stdio};
use std::time::Duration;

use orbitmq_consumer::{Consumer, StartFrom};
use orbitmq_producer::{Message, Producer};
use serde_json::{Value, json};
use support::Cluster;

const DEADLINE: Duration = Duration::from_secs(120);
const LETTERS: usize = 80;
const TOPIC: &str = "mail";

/// Sends `letters` to a topic and has a group give them up. By key: the queue and offset of each.
async fn die(cluster: &Cluster, letters: usize) -> HashMap<String, (i32, i64)> {
    cluster.run(&format!("topic create {TOPIC} --queues 4")).await.ok();
    let producer = Producer::builder().nameservers([cluster.nameserver()]).group("p").build().await.unwrap();
    let mut places = HashMap::new();
    for n in 0..letters {
        let tag = if n % 2 == 0 { "even" } else { "odd" };
        let message =
            Message::new(TOPIC, format!("body {n}")).key(format!("k{n}")).tag(tag).property("n", n.to_string());
        let receipt = producer.send(message).await.unwrap();
        places.insert(format!("k{n}"), (receipt.queue_id, receipt.queue_offset));
    }
    producer.close().await;
    let consumer = Consumer::builder().nameservers([cluster.nameserver()]).group("g").subscribe(TOPIC, "*");
    let consumer = consumer.start_from(StartFrom::First).build().await.unwrap();
    let give_up = async {
        for _ in 0..letters {
            let delivery = consumer.next().await.unwrap();
            let reason = format!("no mailbox\nfor {}", delivery.key().unwrap());
            delivery.because(reason).reject().await.unwrap();
        }
    };
    tokio::time::timeout(DEADLINE, give_up).await.unwrap();
    consumer.close().await;
    places
}

/// How often each dead letter was sent to a topic, by key, and how many other messages the topic has.
async fn replayed(cluster: &Cluster, topic: &str, expected: usize) -> (HashMap<String, usize>, usize) {
    let group = format!("check-{topic}-{}", fastrand::u32(..));
    let consumer = Consumer::builder().nameservers([cluster.nameserver()]).group(group).subscribe(topic, "*");
    let consumer = consumer.start_from(StartFrom::First).build().await.unwrap();
    let (mut times, mut others) = (HashMap::new(), 0);
    for _ in 0..expected {
        let delivery = tokio::time::timeout(DEADLINE, consumer.next()).await.unwrap().unwrap();
        if delivery.property("ORBITMQ_REPLAY_OF").is_some() {
            let spent = ["ORBITMQ_REASON", "ORBITMQ_ORIGIN_QUEUE", "RETRY_TOPIC", "DLQ_ORIGIN_TOPIC"];
            assert_eq!(spent.map(|name| delivery.property(name)), [None; 4]);
            let n = delivery.property("n").unwrap();
            assert_eq!(delivery.body(), format!("body {n}").as_bytes());
            *times.entry(delivery.key().unwrap().to_owned()).or_default() += 1;
        } else {
            others += 1;
        }
        delivery.ack();
    }
    consumer.close().await;
    (times, others)
}

async fn stored(cluster: &Cluster, topic: &str) -> u64 {
    let stats = cluster.run(&format!("topic stats {topic} -o json")).await.json();
    stats.as_array().unwrap().iter().map(|row| row["messages"].as_u64().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_tell_where_from_and_why() {
    let cluster = Cluster::start().await;
    let none = cluster.run("dead list g").await.failed(1);
    assert!(none.contains("group 'g' has no dead letters"), "{none}");
    let places = die(&cluster, 6).await;

    let groups = cluster.run("dead list -o json").await.json();
    assert_eq!((&groups[0]["group"], &groups[0]["dead_letters"]), (&json!("g"), &json!(6)), "{groups}");
    let letters = cluster.run("dead list g -o json").await.json();
    assert_eq!(letters.as_array().unwrap().len(), 6);
    for letter in letters.as_array().unwrap() {
        let key = letter["keys"][0].as_str().unwrap();
        let place = (letter["origin_queue"].as_i64().unwrap(), letter["origin_offset"].as_i64().unwrap());
        assert_eq!(place, (i64::from(places[key].0), places[key].1), "{letter}");
        assert_eq!((&letter["origin_topic"], &letter["origin_broker"]), (&json!(TOPIC), &json!("broker-a")));
        assert_eq!(letter["reason"], json!(format!("no mailbox for {key}")));
    }
    let count =
        async |words: &str| cluster.run(&format!("dead list g -o json{words}")).await.json().as_array().unwrap().len();
    for (words, expected) in [
        (" --tag even", 3),
        (" --key k3", 1),
        (" --reason k5", 1),
        (" --property n=2", 1),
        (" --from-topic other", 0),
        (" --since 1h", 6),
        (" --until 1h", 0),
        (" --tag even --key k3", 0),
        (" --max 2", 2),
    ] {
        assert_eq!(count(words).await, expected, "{words}");
    }
    let peeked = cluster.run("dead peek g --key k4").await.ok();
    for part in ["mail at broker-a, queue", "no mailbox for k4", "body 4", "DLQ_ORIGIN_TOPIC=mail", "ORBITMQ_GROUP=g"] {
        assert!(peeked.contains(part), "{part}: {peeked}");
    }

    let would = cluster.run("dead purge g --all --dry-run").await.ok();
    assert!(would.contains("6 dead letters of 'g' would be passed over"), "{would}");
    cluster.run("dead purge g --until 1h").await.ok();
    assert_eq!(count("").await, 6);
    cluster.run("dead purge g --all").await.ok();
    assert_eq!(count("").await, 0);
    die(&cluster, 2).await;
    assert!(count("").await >= 2, "those that died later are seen");
    cluster.run("group reset orbitmq-dead-purged --topic %DLQ%g --to first").await.ok();
    assert!(count("").await >= 8, "a purge can be taken back");
    let listed = cluster.run("group list -o json").await.json();
    assert!(listed.as_array().unwrap().iter().all(|row| row["group"] == "g"), "{listed}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_replay_goes_on_and_sends_each_once() {
    let cluster = Cluster::start().await;
    let places = die(&cluster, LETTERS).await;
    let before = u64::try_from(LETTERS).unwrap();
    let plan = cluster.run("dead replay g --dry-run -o json").await.json();
    assert_eq!((&plan["sent"], plan["plan"].as_array().unwrap().len()), (&json!(LETTERS), LETTERS));
    for one in plan["plan"].as_array().unwrap() {
        assert_eq!(one["to_queue"], json!(places[one["keys"][0].as_str().unwrap()].0), "{one}");
    }
    assert_eq!(stored(&cluster, TOPIC).await, before);

    // Wherever the kill strikes: before, between and after a send and what is kept about it.
    for until in [5, 17, 40, 66] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_orbitmq"));
        command.args(["dead", "replay", "g", "--rate", "200"]).env("ORBITMQ_NAMESERVER", cluster.nameserver());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let reached = async { while stored(&cluster, TOPIC).await < before + until {} };
        let reached = tokio::time::timeout(DEADLINE, reached).await;
        child.kill().unwrap();
        child.wait().unwrap();
        reached.unwrap();
    }
    let rest = cluster.run("dead replay g --rate 0 -o json").await.json();
    let (times, others) = replayed(&cluster, TOPIC, 2 * LETTERS).await;
    assert_eq!((times.len(), others), (LETTERS, LETTERS), "{rest}");
    assert!(times.values().all(|times| *times == 1), "{times:?}");
    assert_eq!(stored(&cluster, TOPIC).await, 2 * before);

    let again = cluster.run("dead replay g -o json").await.json();
    assert_eq!(again["sent"], 0, "{again}");
    let groups = cluster.run("dead list -o json").await.json();
    assert_eq!(groups[0]["replayed"], json!(LETTERS), "{groups}");
    cluster.run("dead purge g --replayed").await.ok();
    assert_eq!(cluster.run("dead list g -o json").await.json(), Value::Array(Vec::new()));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn part_of_the_dead_letters_go_to_another_topic() {
    let cluster = Cluster::start().await;
    die(&cluster, 10).await;
    let nowhere = cluster.run("dead replay g --to elsewhere").await.failed(1);
    assert!(nowhere.contains("TOPIC_NOT_EXIST"), "{nowhere}");
    cluster.run("topic create elsewhere --queues 2").await.ok();
    let part = cluster.run("dead replay g --to elsewhere --tag odd --max 3 -o json").await.json();
    assert_eq!((&part["sent"], &part["sent_before"]), (&json!(3), &json!(0)), "{part}");
    let all = cluster.run("dead replay g --to elsewhere -o json").await.json();
    assert_eq!(all["sent"], 7, "{all}");
    let (times, others) = replayed(&cluster, "elsewhere", 10).await;
    assert_eq!((times.len(), others), (10, 0));

    // To the group alone: its consumer sees the topic that the message was sent to.
    let alone = cluster.run("dead replay g --to %RETRY%g --key k7 -o json").await.json();
    assert_eq!(alone["sent"], 1, "{alone}");
    let consumer = Consumer::builder().nameservers([cluster.nameserver()]).group("g").subscribe(TOPIC, "*");
    let consumer = consumer.build().await.unwrap();
    let delivery = tokio::time::timeout(DEADLINE, consumer.next()).await.unwrap().unwrap();
    assert_eq!((delivery.topic(), delivery.key()), (TOPIC, Some("k7")));
    delivery.ack();
    consumer.close().await;

    let closed = cluster.run("dead replay g --to %DLQ%g").await.failed(2);
    assert!(closed.contains("not sent to dead letters"), "{closed}");
    cluster.stop().await;
}
