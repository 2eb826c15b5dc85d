//! `orbitmq controller`, run as an operator runs it against a quorum of three name servers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::process::{Output, Stdio};
use std::time::Duration;

use orbitmq_common::net::client::{Client, ClientOptions};
use orbitmq_common::protocol::body::controller::{GroupView, Renewal};
use orbitmq_common::protocol::code::{request, response};
use orbitmq_nameserver::config::Config;
use orbitmq_nameserver::config::controller::ControllerConfig;
use orbitmq_nameserver::node::Node;
use serde_json::Value;
use tokio::net::TcpListener;

const DEADLINE: Duration = Duration::from_secs(30);

struct Quorum {
    dir: tempfile::TempDir,
    peers: BTreeMap<u64, String>,
    nodes: Vec<Node>,
}

impl Quorum {
    async fn start() -> Self {
        let mut listeners = Vec::new();
        for _ in 1..=3 {
            listeners.push(TcpListener::bind("127.0.0.1:0").await.unwrap());
        }
        let addresses = listeners.iter().map(|listener| listener.local_addr().unwrap().to_string());
        let peers = (1..).zip(addresses).collect();
        let mut quorum = Self { dir: tempfile::tempdir().unwrap(), peers, nodes: Vec::new() };
        for (id, listener) in (1..).zip(listeners) {
            quorum.join(id, listener).await;
        }
        quorum
    }

    async fn join(&mut self, id: u64, listener: TcpListener) {
        let data_dir = self.dir.path().join(id.to_string());
        let controller = ControllerConfig::new(id, self.peers.clone(), &data_dir);
        let config = Config { data_dir: Some(data_dir), controller: Some(controller), ..Config::default() };
        self.nodes.push(Node::start_on(listener, config).await.unwrap());
    }

    async fn run(&self, words: &str) -> Output {
        let servers = self.peers.values().cloned().collect::<Vec<_>>().join(";");
        run(&servers, words).await
    }

    /// Runs a command that must succeed; its JSON.
    async fn json(&self, words: &str) -> Value {
        let output = self.run(&format!("{words} -o json")).await;
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Renews at whoever leads.
    async fn renew(&self, id: i64) -> GroupView {
        let renewal = Renewal {
            cluster: "c".to_owned(),
            broker: "b".to_owned(),
            id,
            address: format!("127.0.0.1:1{id}911"),
            ha_address: format!("127.0.0.1:1{id}912"),
            ..Renewal::default()
        };
        let client = Client::new(ClientOptions::default());
        let renewing = async {
            loop {
                for address in self.peers.values() {
                    let link = client.link(address).await.unwrap();
                    let request = link.request(request::CONTROLLER_RENEW).with_json(&renewal);
                    let answer = link.call(request, DEADLINE).await.unwrap();
                    if answer.code == response::SUCCESS {
                        return serde_json::from_slice(&answer.body).unwrap();
                    }
                }
            }
        };
        tokio::time::timeout(DEADLINE, renewing).await.unwrap()
    }
}

async fn run(nameservers: &str, words: &str) -> Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_orbitmq"));
    command.args(words.split(' ')).env("ORBITMQ_NAMESERVER", nameservers).stdin(Stdio::null());
    let run = tokio::task::spawn_blocking(move || command.output().unwrap());
    tokio::time::timeout(DEADLINE, run).await.expect("the command hangs").unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_and_steer_the_quorum() {
    let mut quorum = Quorum::start().await;
    assert_eq!(quorum.renew(1).await.epoch, 1);
    quorum.renew(2).await;
    let status = quorum.json("controller status").await;
    assert_eq!(status["members"].as_array().unwrap().len(), 3);
    assert_eq!(status["members"].as_array().unwrap().iter().filter(|member| member["state"] == "leads").count(), 1);
    assert_eq!((&status["groups"][0]["broker"], &status["groups"][0]["master"]), (&"b".into(), &1.into()));
    let shown = text(&quorum.run("controller status").await.stdout);
    assert!(shown.contains("leads") && shown.contains("follows") && shown.contains("127.0.0.1:11911"), "{shown}");

    let refused = quorum.run("controller elect b 2").await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("--accept-loss"), "{refused:?}");
    quorum.renew(2).await;
    let elected = quorum.json("controller elect b 2 --accept-loss").await;
    assert_eq!((&elected["master"], &elected["epoch"]), (&2.into(), &2.into()));
    let unknown = quorum.run("controller elect x 1").await;
    assert!(text(&unknown.stderr).contains("has registered"), "{unknown:?}");

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    quorum.peers.insert(4, address.clone());
    quorum.join(4, listener).await;
    let added = quorum.json(&format!("controller add 4={address}")).await;
    assert_eq!(added["members"].as_array().unwrap().len(), 4);
    let removed = quorum.json("controller remove 4").await;
    assert_eq!(removed["members"].as_array().unwrap().len(), 3);
    assert_eq!(quorum.run("controller remove 9").await.status.code(), Some(1));
    assert_eq!(quorum.run("controller add 4").await.status.code(), Some(2));

    // Without its brokers the group loses its master, which a script can see.
    let failing = async {
        while quorum.run("controller status").await.status.success() {}
        quorum.run("controller status").await
    };
    let failed = tokio::time::timeout(DEADLINE, failing).await.unwrap();
    assert!(text(&failed.stderr).contains("no master"), "{failed:?}");

    // And without a majority there is no leader.
    for node in quorum.nodes.drain(..).skip(1).collect::<Vec<_>>() {
        node.shutdown().await;
    }
    let servers = quorum.peers[&1].clone();
    let failed = run(&servers, "controller elect b 2 --accept-loss --timeout 1s").await;
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_server_without_controller_is_told() {
    let config = Config { listen: "127.0.0.1:0".parse().unwrap(), ..Config::default() };
    let node = Node::start(config).await.unwrap();
    let failed = run(&node.addr.to_string(), "controller status").await;
    assert_eq!(failed.status.code(), Some(1));
    assert!(text(&failed.stderr).contains("controller_id"), "{failed:?}");
    node.shutdown().await;
}
