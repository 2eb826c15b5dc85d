//! Every family of commands, run as a user runs them against a cluster.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use rustix::process::Signal;
use serde_json::json;
use support::{Cluster, Dev, orbitmq};

#[tokio::test(flavor = "multi_thread")]
async fn topics() {
    let cluster = Cluster::start().await;
    let created = cluster.run("topic create orders --queues 4").await.ok();
    assert_eq!(created, "topic 'orders' has 4 queues at each of: broker-a\n");
    let orders = json!([{
        "topic": "orders", "kind": "user", "read_queues": 4, "write_queues": 4, "perm": "rw", "brokers": ["broker-a"]
    }]);
    assert_eq!(cluster.run("topic list -o json").await.json(), orders);
    let all = cluster.run("topic list --all").await.ok();
    assert!(all.lines().any(|line| line.starts_with("TBW102") && line.contains("system")), "{all}");

    cluster.run("topic create orders --queues 6 --perm r").await.ok();
    let shown = cluster.run("topic show orders -o json").await.json();
    assert_eq!((&shown[0]["read_queues"], &shown[0]["perm"]), (&json!(6), &json!("r")));
    let route = cluster.run("topic route orders -o json").await.json();
    assert_eq!((&route[0]["broker"], &route[0]["master"]), (&json!("broker-a"), &json!(cluster.broker())));
    let stats = cluster.run("topic stats orders").await.ok();
    assert!(stats.ends_with("0 messages in 6 queues\n"), "{stats}");

    cluster.run("topic delete orders").await.ok();
    let gone = cluster.run("topic delete orders").await.failed(1);
    assert!(
        gone.contains("TOPIC_NOT_EXIST") && gone.contains("it was deleted") && gone.contains("create it again"),
        "{gone}"
    );
    let nowhere = cluster.run("topic create x --broker broker-b").await.failed(1);
    assert!(nowhere.contains("no broker 'broker-b'") && nowhere.contains("broker-a"), "{nowhere}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages() {
    let cluster = Cluster::start().await;
    cluster.run("topic create mail --queues 2").await.ok();
    let sent = cluster.run("send mail hello --key k-1 --tag A --property color=red -o json").await.json();
    assert_eq!((&sent["status"], &sent["offset"]), (&json!("stored"), &json!(0)));
    let text = cluster.run("send mail again --tag B").await.ok();
    assert!(text.contains("status") && text.contains("stored"), "{text}");

    let by_key = cluster.run("message --key k-1 --topic mail -o json").await.json();
    assert_eq!((&by_key[0]["body"], &by_key[0]["properties"]["color"]), (&json!("hello"), &json!("red")));
    assert_eq!(by_key[0]["message_id"], sent["message_id"]);
    for (id, topic) in [(&sent["message_id"], " --topic mail"), (&sent["offset_id"], "")] {
        let found = cluster.run(&format!("message {}{topic}", id.as_str().unwrap())).await.ok();
        assert!(found.contains("hello") && found.contains("k-1"), "{found}");
    }
    let nothing = cluster.run("message --key nobody --topic mail").await.failed(1);
    assert!(nothing.contains("no message of 'mail' has the key 'nobody'"), "{nothing}");
    let unknown = cluster.run("message 7F00000100000001000000000000000A").await.failed(1);
    assert!(unknown.contains("--topic"), "{unknown}");

    let both = cluster.run("tail mail --from first -c 2 --for 60s").await.ok();
    assert!(both.contains("[A]  {k-1}  hello") && both.contains("[B]  again"), "{both}");
    let tagged = cluster.run("tail mail --from 1h --tags B -c 1 --for 60s -o json").await.json();
    assert_eq!((&tagged["body"], &tagged["tag"]), (&json!("again"), &json!("B")));
    let none = cluster.run("tail mail --for 200ms").await.ok();
    assert_eq!(none, "", "the end of the queues is where nothing is yet");
    cluster.run("tail nowhere").await.failed(1);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups() {
    let cluster = Cluster::start().await;
    cluster.run("topic create jobs --queues 2").await.ok();
    for body in ["one", "two", "three"] {
        cluster.run(&format!("send jobs {body}")).await.ok();
    }
    cluster.run("group create workers --retries 3").await.ok();
    let listed = cluster.run("group list -o json").await.json();
    let workers = json!([{
        "group": "workers", "members": 0, "retries": 3, "consume_enabled": true, "brokers": ["broker-a"]
    }]);
    assert_eq!(listed, workers);

    let consumed = cluster.run("tail jobs --group workers --from first -c 3 --for 60s").await.ok();
    assert_eq!(consumed.lines().count(), 3, "{consumed}");
    let lag = cluster.run("group lag workers --topic jobs").await.ok();
    assert!(lag.ends_with("0 messages behind in 2 queues\n"), "{lag}");
    let nobody = cluster.run("group members workers").await.ok();
    assert_eq!(nobody, "no consumer of group 'workers' is connected\n");

    let consumer = orbitmq_consumer::Consumer::builder().nameservers([cluster.nameserver()]).group("workers");
    let consumer = consumer.subscribe("jobs", "*").build().await.unwrap();
    let connected = async {
        loop {
            let members = cluster.run("group members workers -o json").await.json();
            if members["clients"][0]["client"] == consumer.client_id() {
                return members;
            }
        }
    };
    let members = tokio::time::timeout(std::time::Duration::from_secs(60), connected).await.unwrap();
    assert_eq!((&members["model"], &members["subscriptions"]["jobs"]), (&json!("clustering"), &json!("*")));
    consumer.close().await;

    let reset = cluster.run("group reset workers --topic jobs --to first -o json").await.json();
    let before: i64 = reset.as_array().unwrap().iter().map(|row| row["before"].as_i64().unwrap()).sum();
    assert_eq!((before, &reset[0]["after"], &reset[1]["after"]), (3, &json!(0), &json!(0)));
    let lag = cluster.run("group lag workers --topic jobs").await.ok();
    assert!(lag.ends_with("3 messages behind in 2 queues\n"), "{lag}");
    cluster.run("group reset workers --topic jobs --to offset:1").await.failed(2);

    cluster.run("group delete workers").await.ok();
    let gone = cluster.run("group lag workers").await.failed(1);
    assert!(gone.contains("no broker knows group 'workers'"), "{gone}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_and_name_servers() {
    let cluster = Cluster::start().await;
    let brokers = cluster.run("cluster -o json").await.json();
    let broker = &brokers[0];
    assert_eq!((&broker["state"], &broker["flush"]), (&json!("ok"), &json!("SYNC_FLUSH")));
    assert_eq!((&broker["role"], &broker["address"]), (&json!("master"), &json!(cluster.broker())));
    let figures = cluster.run("broker figures broker-a -o json").await.json();
    assert_eq!(figures[0]["figures"]["brokerActive"], "true");
    let settings = cluster.run(&format!("broker settings {}", cluster.broker())).await.ok();
    assert!(settings.lines().any(|line| line == "flushDiskType                SYNC_FLUSH"), "{settings}");
    let unknown = cluster.run("broker figures broker-b").await.failed(1);
    assert!(unknown.contains("these have: broker-a"), "{unknown}");

    cluster.run("namesrv kv put SPACE key value").await.ok();
    assert_eq!(cluster.run("namesrv kv get SPACE key").await.ok(), "value\n");
    let list = cluster.run("namesrv kv list SPACE -o json").await.json();
    assert_eq!(list, json!([{"namespace": "SPACE", "key": "key", "value": "value"}]));
    cluster.run("namesrv kv delete SPACE key").await.ok();
    let gone = cluster.run("namesrv kv get SPACE key").await.failed(1);
    assert!(gone.contains("QUERY_NOT_FOUND"), "{gone}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn load() {
    let cluster = Cluster::start().await;
    let pid = std::process::id();
    let modes = [("sync", 200_u64), ("async --window 50", 300), ("batch --batch 20", 500)];
    for (mode, count) in modes {
        let run = format!("bench produce --mode {mode} -c {count} --warmup 0 --size 100 --server-pid {pid} -o json");
        let data = cluster.run(&run).await.json();
        assert_eq!((&data["acked"], &data["failed"]), (&json!(count), &json!(0)), "{data}");
        assert_eq!(data["durability"][0]["flush"], "SYNC_FLUSH");
        let (p50, max) = (data["send_p50_ms"].as_f64().unwrap(), data["send_max_ms"].as_f64().unwrap());
        assert!(p50 > 0.0 && p50 <= max && data["server_cpu_s_per_million"].as_f64().is_some(), "{data}");
    }
    let paced = cluster.run("bench produce --rate 400 -c 40 --warmup 0 -o json").await.json();
    assert_eq!(paced["acked"], 40);
    assert!(paced["seconds"].as_f64().unwrap() >= 39.0 / 400.0, "{paced}");

    let shared = cluster.run("bench consume -c 1040 --consumers 2 -o json").await.json();
    assert_eq!((&shared["received"], &shared["offset_gaps"]), (&json!(1040), &json!(0)), "{shared}");
    let drained = cluster.run("bench consume -c 1040 -o json").await.json();
    let found = (&drained["received"], &drained["duplicates"], &drained["offset_gaps"]);
    assert_eq!(found, (&json!(1040), &json!(0), &json!(0)), "{drained}");
    let late = cluster.run("bench consume -c 9999 --limit 500ms").await.failed(1);
    assert!(late.contains("only 1040 of 9999 messages came"), "{late}");

    let text = cluster.run("bench e2e --rate 200 --for 1s --warmup 200ms").await.ok();
    assert!(text.contains("200 messages of 1024 B") && text.contains("0 lost, 0 twice"), "{text}");
    let topics = cluster.run("topic list -o json").await.json();
    assert_eq!(topics.as_array().unwrap().len(), 1, "only the topic of bench produce stays: {topics}");
    assert_eq!(cluster.run("group list -o json").await.json(), json!([]));
    let dead = cluster.run("bench produce --server-pid 4294967295").await.failed(1);
    assert!(dead.contains("running process"), "{dead}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_for_development() {
    let dev = Dev::start(&[]);
    let data = dev.ready["data"].as_str().unwrap().to_owned();
    assert!(std::path::Path::new(&data).is_dir() && dev.ready["ready_ms"].is_u64());
    orbitmq(&dev.nameserver(), &["send", "hello", "world"]).await.ok();
    let cost = ["bench", "produce", "-c", "100", "--warmup", "0", "-o", "json", "--server-pid", &dev.pid().to_string()];
    let measured = orbitmq(&dev.nameserver(), &cost).await.json();
    assert!(measured["server_rss_anon_mib"][0].as_f64().unwrap() > 0.0, "{measured}");
    assert_eq!(dev.stop(Signal::TERM), Some(0));
    assert!(!std::path::Path::new(&data).exists(), "the temporary directory is gone");

    let dir = tempfile::tempdir().unwrap();
    let arguments = ["--dir", dir.path().to_str().unwrap(), "--flush", "async"];
    let dev = Dev::start(&arguments);
    assert!(dev.ready["flush"].as_str().unwrap().starts_with("async"));
    orbitmq(&dev.nameserver(), &["send", "kept", "still here"]).await.ok();
    assert_eq!(dev.stop(Signal::INT), Some(0));
    let dev = Dev::start(&arguments);
    let found = orbitmq(&dev.nameserver(), &["tail", "kept", "--from", "first", "-c", "1", "--for", "60s"]).await.ok();
    assert!(found.contains("still here"), "{found}");
    let taken = dev.nameserver();
    let port = taken.rsplit_once(':').unwrap().1;
    let refused = orbitmq("", &["dev", "--port", port]).await.failed(1);
    assert!(refused.contains("another one goes with --port"), "{refused}");
    assert_eq!(dev.stop(Signal::TERM), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_told() {
    let nowhere = orbitmq("127.0.0.1:1", &["cluster"]).await.failed(1);
    assert!(nowhere.contains("cannot connect to 127.0.0.1:1") && nowhere.contains("orbitmq dev"), "{nowhere}");
    let odd = orbitmq("nonsense", &["cluster"]).await.failed(2);
    assert!(odd.contains("is not host:port"), "{odd}");
    for arguments in [
        &["topic", "create", "a b"][..],
        &["send", "t"],
        &["message"],
        &["message", "--key", "k"],
        &["bench", "produce", "--rate", "0"],
        &["tail", "t", "--from", "soon"],
        &["nothing"],
    ] {
        let wrong = orbitmq("127.0.0.1:1", arguments).await.failed(2);
        assert!(wrong.contains("error:"), "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn migration_wants_two_brokers() {
    let cluster = Cluster::start().await;
    let broker = cluster.broker();
    for command in ["check", "watch", "switch", "release"] {
        let alone = cluster.run(&format!("migrate {command} --to {broker}")).await.failed(1);
        assert!(alone.contains("registered as the master of 'broker-a' already"), "{alone}");
        cluster.run(&format!("migrate {command} --to nowhere")).await.failed(2);
    }
    let other = cluster.run(&format!("migrate check --to {broker} --name broker-b")).await.failed(1);
    assert!(other.contains("has the name 'broker-a', not 'broker-b'"), "{other}");
    let back = cluster.run(&format!("migrate back --to {broker}")).await.ok();
    assert!(back.contains("brokerName=broker-a\nbrokerId=1\nbrokerRole=SLAVE\n"), "{back}");
    cluster.stop().await;
}
