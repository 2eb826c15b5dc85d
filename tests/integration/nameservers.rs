//! Three name servers and two brokers, killed, paused and restarted under load: sends go on, routes are right.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::time::Duration;

use orbitmq_common::protocol::body::topic::{TopicConfig, TopicConfigList};
use orbitmq_common::protocol::code::{request, response};
use orbitmq_tests::daemon::{Daemon, Place};
use orbitmq_tests::producers::{Producers, ROUTE_REFRESH};
use orbitmq_tests::session::{Outgoing, Session, properties};
use orbitmq_tests::wait::time_until;

const TESTD: &str = env!("CARGO_BIN_EXE_orbitmq-testd");
const TOPIC: &str = "Routed";
const QUEUES: i32 = 4;
const PATIENCE: Duration = Duration::from_secs(60);
/// How soon routes have to be right.
const PROMPT: Duration = Duration::from_secs(2);
/// How soon a slave has to copy: well before brokers register again by themselves.
const FOUND: Duration = Duration::from_secs(15);
/// The brokers' lease.
const LEASE: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn name_servers_die_and_return_under_load() {
    let place = Place::new(TESTD);
    let mut cluster = Cluster::start(&place).await;
    let load = Producers::start(&cluster.nameservers, TOPIC).await;
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
    load.finish(&cluster.brokers, QUEUES).await;
}

/// Whoever has made a topic can look for it at once, at each name server that lives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_made_is_routed_when_the_answer_comes() {
    let place = Place::new(TESTD);
    let mut cluster = Cluster::start(&place).await;
    let broker = Session::new(cluster.brokers[0].address());
    // So many that it takes its time to tell of them.
    let many = TopicConfigList {
        topic_config_list: (0..1_000).map(|n| TopicConfig::new(format!("Other{n}"), 4, 6)).collect(),
    };
    let made = broker.call(request::UPDATE_AND_CREATE_TOPIC_LIST, |frame| frame.with_json(&many)).await.unwrap();
    assert_eq!(made.code, response::SUCCESS, "{:?}", made.remark);
    let knows = async |nameserver: &Daemon, topic: &str| {
        let route = Session::new(nameserver.address()).route(topic).await.unwrap();
        assert!(route.is_some_and(|route| !route.queue_datas.is_empty()), "{topic} has no route");
    };
    for round in 0..10 {
        // The one that dies is waited for no longer than a client waits for an answer.
        if round == 5 {
            cluster.nameservers[2].kill();
        }
        let living = &cluster.nameservers[..if round < 5 { 3 } else { 2 }];
        let (made, sent) = (format!("Made{round}"), format!("Sent{round}"));
        broker.create_topic(&made, 2).await.unwrap();
        for nameserver in living {
            knows(nameserver, &made).await;
        }
        let message = Outgoing { body: "new".into(), properties: properties("k", 0) };
        broker.send(&sent, 0, &[message]).await.unwrap();
        for nameserver in living {
            knows(nameserver, &sent).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_brokers_leave_the_routes() {
    let place = Place::new(TESTD);
    let mut cluster = Cluster::start(&place).await;
    let load = Producers::start(&cluster.nameservers, TOPIC).await;

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
    load.finish(&cluster.brokers, QUEUES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slave_finds_a_master_that_comes_later() {
    let place = Place::new(TESTD);
    let nameservers = vec![place.nameserver("n1").start()];
    let slave = place.broker_in("slave", &place.path().join("slave")).set("name", "a").nameservers(&nameservers);
    let slave = slave.set("role", "slave").set("id", "1").start();
    let routes = Session::new(nameservers[0].address());
    let is_known = async || routes.cluster().await.is_ok_and(|known| known.broker_addr_table.contains_key("a"));
    time_until("the slave is registered", PATIENCE, is_known).await;

    // The second time it has another address.
    for name in ["first", "second"] {
        let master = place.broker_in(name, &place.path().join("master")).set("name", "a").nameservers(&nameservers);
        let mut master = master.start();
        let session = Session::new(master.address());
        session.create_topic(name, 1).await.unwrap();
        session.send(name, 0, &[Outgoing { body: "body".into(), properties: properties(name, 0) }]).await.unwrap();
        let copy = Session::new(slave.address());
        let found =
            time_until("the slave copies", FOUND, async || copy.max_offset(name, 0).await.is_ok_and(|end| end == 1))
                .await;
        println!("a slave copies from a master that came later after {found:?}");
        master.kill();
    }
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
