//! Three name servers and two brokers, killed, paused and restarted under load: sends go on, routes are right.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use orbitmq_producer::{Message, Producer, SendError, SendReceipt};
use orbitmq_tests::daemon::{Daemon, Place};
use orbitmq_tests::session::Session;
use orbitmq_tests::wait::{time_until, until};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

const TESTD: &str = env!("CARGO_BIN_EXE_orbitmq-testd");
const TOPIC: &str = "Routed";
const QUEUES: i32 = 4;
const PATIENCE: Duration = Duration::from_secs(60);
/// How soon routes have to be right.
const PROMPT: Duration = Duration::from_secs(2);
/// The brokers' lease.
const LEASE: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn name_servers_die_and_return_under_load() {
    let place = Place::new(TESTD);
    let mut cluster = Cluster::start(&place).await;
    let load = Load::start(&cluster).await;
    for dead in [0, 1] {
        cluster.nameservers[dead].kill();
        load.goes_on().await;
        cluster.nameservers[dead].start();
        let back = cluster.time_until_known(&[dead], &["a", "b"], PROMPT).await;
        println!("name server {dead} killed and restarted: both brokers known again after {back:?}");
        load.goes_on().await;
    }

    // Routes last known are good enough when nobody can be asked; longer than the time after which clients ask anew.
    for nameserver in &mut cluster.nameservers {
        nameserver.kill();
    }
    load.goes_on_for(4 * ROUTE_REFRESH).await;
    for nameserver in &mut cluster.nameservers {
        nameserver.start();
    }
    let back = cluster.time_until_known(&[0, 1, 2], &["a", "b"], PROMPT).await;
    println!("all name servers killed and restarted: both brokers known to all after {back:?}");
    load.goes_on().await;
    load.finish(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_brokers_leave_the_routes() {
    let place = Place::new(TESTD);
    let mut cluster = Cluster::start(&place).await;
    let load = Load::start(&cluster).await;

    cluster.brokers[1].kill();
    let gone = cluster.time_until_known(&[0, 1, 2], &["a"], PROMPT).await;
    println!("broker killed: out of all routes after {gone:?}");
    load.goes_on().await;
    cluster.brokers[1].start();
    let back = cluster.time_until_known(&[0, 1, 2], &["a", "b"], PROMPT).await;
    println!("broker restarted: in all routes after {back:?}");
    load.goes_on().await;

    // Its connections stay open, so only the lease tells.
    cluster.brokers[1].pause();
    let gone = cluster.time_until_known(&[0, 1, 2], &["a"], LEASE + PROMPT).await;
    println!("broker paused: out of all routes after {gone:?} (lease {LEASE:?})");
    load.goes_on().await;
    cluster.brokers[1].resume();
    let back = cluster.time_until_known(&[0, 1, 2], &["a", "b"], PROMPT).await;
    println!("broker resumed: in all routes after {back:?}");
    load.goes_on().await;

    // A clean stop says so, and those that live do not wait for a name server that does not.
    cluster.nameservers[0].kill();
    assert!(cluster.brokers[1].stop().success());
    let gone = cluster.time_until_known(&[1, 2], &["a"], PROMPT).await;
    println!("broker stopped: out of the routes of living name servers after {gone:?}");
    load.goes_on().await;
    cluster.brokers[1].start();
    cluster.time_until_known(&[1, 2], &["a", "b"], PROMPT).await;
    load.finish(&cluster).await;
}

struct Cluster {
    nameservers: Vec<Daemon>,
    brokers: Vec<Daemon>,
}

impl Cluster {
    async fn start(place: &Place) -> Self {
        let nameservers: Vec<Daemon> = ["n1", "n2", "n3"].iter().map(|name| place.nameserver(name).start()).collect();
        let lease = format!("{}s", LEASE.as_secs());
        let broker = |name: &&str| place.broker(name).nameservers(&nameservers).set("lease", &lease).start();
        let brokers: Vec<Daemon> = ["a", "b"].iter().map(broker).collect();
        for broker in &brokers {
            Session::new(broker.address()).create_topic(TOPIC, QUEUES).await.unwrap();
        }
        let cluster = Self { nameservers, brokers };
        cluster.time_until_known(&[0, 1, 2], &["a", "b"], PATIENCE).await;
        cluster
    }

    /// Waits until the routes of these name servers hold exactly these brokers.
    async fn time_until_known(&self, nameservers: &[usize], brokers: &[&str], within: Duration) -> Duration {
        let what = format!("name servers {nameservers:?} know {brokers:?}");
        let sessions: Vec<Session> =
            nameservers.iter().map(|at| Session::new(self.nameservers[*at].address())).collect();
        time_until(&what, within, async || {
            for session in &sessions {
                let route = session.route(TOPIC).await.unwrap().unwrap_or_default();
                let mut known: Vec<&str> = route.broker_datas.iter().map(|data| data.broker_name.as_str()).collect();
                known.sort_unstable();
                if known != brokers {
                    return false;
                }
            }
            true
        })
        .await
    }
}

/// How often the producers ask for routes.
const ROUTE_REFRESH: Duration = Duration::from_millis(500);
const PRODUCERS: usize = 3;
const SENDERS: usize = 4;

#[derive(Default)]
struct Outcome {
    sent: AtomicUsize,
    receipts: Mutex<Vec<(String, SendReceipt)>>,
    failures: Mutex<Vec<SendError>>,
}

/// Producers with their usual retries; any send that fails in spite of them is a fault.
struct Load {
    outcome: Arc<Outcome>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Load {
    async fn start(cluster: &Cluster) -> Self {
        let (outcome, stop, mut tasks) = (Arc::<Outcome>::default(), CancellationToken::new(), JoinSet::new());
        for number in 0..PRODUCERS {
            let nameservers = cluster.nameservers.iter().map(Daemon::address);
            let producer = Producer::builder().nameservers(nameservers).group("routed").route_refresh(ROUTE_REFRESH);
            let producer = producer.build().await.unwrap();
            for sender in 0..SENDERS {
                let name = format!("{number}-{sender}");
                tasks.spawn(send_until(producer.clone(), name, Arc::clone(&outcome), stop.clone()));
            }
        }
        let load = Self { outcome, stop, tasks };
        load.goes_on().await;
        load
    }

    /// Waits until every sender may have sent a few more; none may have failed.
    async fn goes_on(&self) {
        self.goes_on_for(ROUTE_REFRESH).await;
    }

    /// The same, and at least so long.
    async fn goes_on_for(&self, time: Duration) {
        let before = self.outcome.sent.load(Ordering::Relaxed);
        tokio::time::sleep(time).await;
        let more = before + 10 * PRODUCERS * SENDERS;
        until("sends go on", PATIENCE, async || {
            self.none_failed();
            (self.outcome.sent.load(Ordering::Relaxed) > more).then_some(())
        })
        .await;
    }

    fn none_failed(&self) {
        let failures = self.outcome.failures.lock();
        assert!(failures.is_empty(), "sends failed: {failures:?}");
    }

    /// Everything acknowledged is at its place.
    async fn finish(mut self, cluster: &Cluster) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        self.none_failed();
        let mut places = HashMap::new();
        for (broker, name) in cluster.brokers.iter().zip(["a", "b"]) {
            let session = Session::new(broker.address());
            for queue in 0..QUEUES {
                for stored in session.read_queue(TOPIC, queue, 0).await.unwrap() {
                    places.insert((name.to_owned(), queue, stored.offset), stored.body);
                }
            }
        }
        let receipts = self.outcome.receipts.lock();
        for (text, receipt) in receipts.iter() {
            let place = (receipt.broker.clone(), receipt.queue_id, receipt.queue_offset);
            let found = places.get(&place);
            assert!(found.is_some_and(|body| body == text.as_bytes()), "{text} is not at {place:?}, but {found:?}");
        }
        let bodies: HashSet<_> = places.values().collect();
        let repeated = places.len() - bodies.len();
        println!("{} sends, none failed, all there; {repeated} stored a second time by a retry", receipts.len());
    }
}

async fn send_until(producer: Producer, name: String, outcome: Arc<Outcome>, stop: CancellationToken) {
    let mut number = 0;
    while !stop.is_cancelled() {
        number += 1;
        let text = format!("{name} {number}");
        match producer.send(Message::new(TOPIC, text.clone())).await {
            Ok(receipt) => outcome.receipts.lock().push((text, receipt)),
            Err(error) => outcome.failures.lock().push(error),
        }
        outcome.sent.fetch_add(1, Ordering::Relaxed);
    }
}
