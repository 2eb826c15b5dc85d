//! A quorum of name servers on loopback: what brokers and operators see of it.

use std::path::Path;
use std::time::Duration;

use orbitmq_common::net::client::{Client, ClientOptions};
use orbitmq_common::protocol::body::controller::{MembersRequest, Quorum};
use orbitmq_common::protocol::code::{request as kind, response};
use orbitmq_common::protocol::frame::Frame;
use serde::Serialize;
use tokio::net::TcpListener;

use super::*;
use crate::config::Config;
use crate::node::Node;

mod brokers;
mod faults;
mod operators;

const DEADLINE: Duration = Duration::from_secs(30);
const LEASE: Duration = Duration::from_millis(500);

/// A quorum, some of whose members may be down.
struct Cluster {
    dir: tempfile::TempDir,
    peers: BTreeMap<u64, String>,
    nodes: BTreeMap<u64, Node>,
    client: Client,
    lease: Duration,
    snapshot_after: u64,
}

impl Cluster {
    /// Members 1 to `count` run.
    async fn start(count: u64) -> Self {
        Self::start_with(count, LEASE, 1_000).await
    }

    async fn start_with(count: u64, lease: Duration, snapshot_after: u64) -> Self {
        let mut listeners = Vec::new();
        for id in 1..=count {
            listeners.push((id, TcpListener::bind("127.0.0.1:0").await.unwrap()));
        }
        let peers = listeners.iter().map(|(id, listener)| (*id, listener.local_addr().unwrap().to_string())).collect();
        let mut cluster = Self {
            dir: tempfile::tempdir().unwrap(),
            peers,
            nodes: BTreeMap::new(),
            client: Client::new(ClientOptions::default()),
            lease,
            snapshot_after,
        };
        for (id, listener) in listeners {
            cluster.nodes.insert(id, Node::start_on(listener, cluster.config(id)).await.unwrap());
        }
        cluster
    }

    fn config(&self, id: u64) -> Config {
        config(self.dir.path(), id, self.peers.clone(), self.lease, self.snapshot_after)
    }

    /// Starts a member again where it was.
    async fn restart(&mut self, id: u64) {
        let listener = listen(&self.peers[&id]).await;
        self.nodes.insert(id, Node::start_on(listener, self.config(id)).await.unwrap());
    }

    async fn kill(&mut self, id: u64) {
        self.nodes.remove(&id).unwrap().shutdown().await;
    }

    async fn stop(mut self) {
        while let Some((_, node)) = self.nodes.pop_first() {
            node.shutdown().await;
        }
    }

    fn controller(&self, id: u64) -> &Arc<Controller> {
        self.nodes[&id].controller().unwrap()
    }

    /// Asks one member.
    async fn ask(&self, id: u64, code: i32, body: &impl Serialize) -> Frame {
        ask(&self.client, &self.peers[&id], code, body).await.unwrap()
    }

    /// Asks the leader, whoever that is by then.
    async fn ask_leader(&self, code: i32, body: &impl Serialize) -> Frame {
        until("a leader answers", async || {
            for address in self.peers.values() {
                if let Some(answer) = ask(&self.client, address, code, body).await
                    && answer.code != response::CONTROLLER_NOT_LEADER
                {
                    return Some(answer);
                }
            }
            None
        })
        .await
    }

    async fn renew(&self, renewal: &Renewal) -> GroupView {
        let answer = self.ask_leader(kind::CONTROLLER_RENEW, renewal).await;
        assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// Renews until the group looks so. The time that this takes is the broker's rhythm too.
    async fn renew_until(&self, renewals: &[&Renewal], what: &str, looks: impl Fn(&GroupView) -> bool) -> GroupView {
        until(what, async || {
            let mut view = GroupView::default();
            for renewal in renewals {
                view = self.renew(renewal).await;
            }
            looks(&view).then_some(view)
        })
        .await
    }

    async fn change_set(&self, change: &SetChange) -> Frame {
        self.ask_leader(kind::CONTROLLER_CHANGE_SET, change).await
    }

    async fn quorum(&self, id: u64) -> Quorum {
        let answer = self.ask(id, kind::CONTROLLER_MEMBERS, &MembersRequest::List).await;
        serde_json::from_slice(&answer.body).unwrap()
    }

    async fn leader(&self) -> u64 {
        until("a leader is known", async || {
            for id in self.nodes.keys() {
                let quorum = self.quorum(*id).await;
                if quorum.leader == Some(*id) {
                    return quorum.leader;
                }
            }
            None
        })
        .await
    }

    /// The group as one member has it, if it has heard of it.
    async fn group(&self, id: u64) -> Option<GroupView> {
        self.quorum(id).await.groups.pop().map(|group| group.view)
    }
}

fn config(dir: &Path, id: u64, peers: BTreeMap<u64, String>, lease: Duration, snapshot_after: u64) -> Config {
    let data_dir = dir.join(id.to_string());
    let controller = ControllerConfig { lease, snapshot_after, ..ControllerConfig::new(id, peers, &data_dir) };
    Config { data_dir: Some(data_dir), controller: Some(controller), ..Config::default() }
}

/// Listens where somebody listened before.
async fn listen(address: &str) -> TcpListener {
    until("the address is free again", async || orbitmq_common::net::server::bind(address.parse().unwrap()).ok()).await
}

async fn ask(client: &Client, address: &str, code: i32, body: &impl Serialize) -> Option<Frame> {
    client.forget_failures(address);
    let link = client.link(address).await.ok()?;
    link.call(link.request(code).with_json(body), Duration::from_secs(5)).await.ok()
}

/// Tries again until there is something.
async fn until<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let trying = async {
        loop {
            if let Some(found) = attempt().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, trying).await.unwrap_or_else(|_| panic!("not within {DEADLINE:?}: {what}"))
}

/// A renewal of a member's first process.
fn renewal(id: i64) -> Renewal {
    Renewal {
        cluster: "c".to_owned(),
        broker: "b".to_owned(),
        id,
        incarnation: 100 + u64::try_from(id).unwrap(),
        store: 7,
        address: format!("127.0.0.1:1{id}911"),
        ha_address: format!("127.0.0.1:1{id}912"),
        ..Renewal::default()
    }
}

fn master(view: &GroupView) -> Option<i64> {
    view.master.as_ref().map(|master| master.id)
}

/// What the master says to have `in_sync`.
fn set(view: &GroupView, in_sync: &[i64]) -> SetChange {
    SetChange {
        cluster: "c".to_owned(),
        broker: "b".to_owned(),
        master: master(view).unwrap(),
        epoch: view.epoch,
        set_epoch: view.set_epoch,
        in_sync: in_sync.to_vec(),
    }
}
