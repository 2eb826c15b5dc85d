//! Members of the quorum die, freeze, restart and fall behind.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn renewals_go_on_without_the_leader_and_nobody_loses_his_mastership() {
    let mut cluster = Cluster::start_with(3, Duration::from_millis(1_500), 1_000).await;
    let (first, second) = (Renewal { epoch: 1, ..renewal(1) }, renewal(2));
    let view = cluster.renew(&first).await;
    cluster.renew(&second).await;
    assert_eq!(cluster.change_set(&set(&view, &[1, 2])).await.code, response::SUCCESS);
    let old = cluster.leader().await;
    cluster.kill(old).await;
    let began = Instant::now();
    let view = cluster.renew(&first).await;
    let without = began.elapsed();
    assert!(without < Duration::from_secs(3), "no renewal for {without:?}");
    assert_eq!((master(&view), view.epoch), (Some(1), 1));
    // The new leader never heard of 2 being silent; 1 renews for longer than a lease and its margin.
    while began.elapsed() < Duration::from_secs(4) {
        let view = cluster.renew(&first).await;
        assert_eq!((master(&view), view.epoch), (Some(1), 1));
    }
    cluster.restart(old).await;
    assert_ne!(cluster.leader().await, old);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_quorum_knows_what_it_knew() {
    let mut cluster = Cluster::start(3).await;
    let view = cluster.renew(&renewal(1)).await;
    cluster.renew(&renewal(2)).await;
    assert_eq!(cluster.change_set(&set(&view, &[1, 2])).await.code, response::SUCCESS);
    for id in 1..=3 {
        cluster.kill(id).await;
    }
    for id in 1..=3 {
        cluster.restart(id).await;
    }
    let view = cluster.renew(&renewal(1)).await;
    assert_eq!((master(&view), view.epoch, view.set_epoch), (Some(1), 1, 2));
    assert_eq!((view.in_sync.as_slice(), view.replicas.len()), (&[1, 2][..], 2));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_quorum_nothing_is_answered() {
    let mut cluster = Cluster::start(3).await;
    cluster.renew(&renewal(1)).await;
    let leader = cluster.leader().await;
    for id in 1..=3 {
        if id != leader {
            cluster.kill(id).await;
        }
    }
    for _ in 0..5 {
        let answer = cluster.ask(leader, kind::CONTROLLER_RENEW, &renewal(1)).await;
        assert_eq!(answer.code, response::CONTROLLER_NOT_LEADER, "{:?}", answer.remark);
    }
    cluster.stop().await;
}

/// A name server on one thread of its own, which can be frozen.
struct Freezable {
    runtime: tokio::runtime::Runtime,
    node: Option<Node>,
}

impl Freezable {
    fn start(listener: std::net::TcpListener, config: Config) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        listener.set_nonblocking(true).unwrap();
        let starting = runtime
            .spawn(async move { Node::start_on(TcpListener::from_std(listener).unwrap(), config).await.unwrap() });
        let node =
            Some(std::thread::scope(|scope| scope.spawn(|| runtime.block_on(starting).unwrap()).join().unwrap()));
        Self { runtime, node }
    }

    /// Stops everything in there until the sender is dropped.
    fn freeze(&self) -> std::sync::mpsc::Sender<()> {
        let (thaw, frozen) = std::sync::mpsc::channel::<()>();
        let (told, is_frozen) = std::sync::mpsc::channel::<()>();
        self.runtime.spawn(async move {
            told.send(()).unwrap();
            let _ = frozen.recv();
        });
        is_frozen.recv_timeout(DEADLINE).unwrap();
        thaw
    }

    async fn stop(mut self) {
        let node = self.node.take().unwrap();
        self.runtime.spawn(node.shutdown()).await.unwrap();
        self.runtime.shutdown_background();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_was_cut_off_answers_no_renewal() {
    let mut cluster = Cluster::start(0).await;
    let listeners: Vec<_> = (1..=3_u64).map(|id| (id, std::net::TcpListener::bind("127.0.0.1:0").unwrap())).collect();
    cluster.peers = listeners.iter().map(|(id, listener)| (*id, listener.local_addr().unwrap().to_string())).collect();
    let mut nodes: BTreeMap<u64, Freezable> = BTreeMap::new();
    for (id, listener) in listeners {
        nodes.insert(id, Freezable::start(listener, cluster.config(id)));
    }
    cluster.renew(&renewal(1)).await;
    let old = until("a leader is known", async || cluster.quorum(1).await.leader).await;
    let thaw = nodes[&old].freeze();
    // A renewal lies at its door while the others have found another leader, to whom the broker renews no more.
    let client = Client::new(ClientOptions { encoding: Some(Default::default()), ..ClientOptions::default() });
    let link = client.link(&cluster.peers[&old]).await.unwrap();
    let waiting = link.start(link.request(kind::CONTROLLER_RENEW).with_json(&renewal(1)), DEADLINE);
    let mut others = cluster.peers.clone();
    others.remove(&old);
    let other = *others.keys().next().unwrap();
    until("another leader", async || cluster.quorum(other).await.leader.filter(|leader| *leader != old)).await;
    until("no master", async || cluster.group(other).await.filter(|view| view.master.is_none())).await;
    drop(thaw);
    let answer = waiting.await.unwrap();
    assert_eq!(answer.code, response::CONTROLLER_NOT_LEADER, "{:?}", String::from_utf8_lossy(&answer.body));
    for (_, node) in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_far_behind_is_sent_a_snapshot() {
    let mut cluster = Cluster::start_with(3, Duration::from_secs(600), 20).await;
    let view = cluster.renew(&renewal(1)).await;
    cluster.renew(&renewal(2)).await;
    let behind = cluster.quorum(1).await.members.iter().map(|member| member.id).find(|id| {
        let metrics = cluster.controller(*id).raft().metrics();
        let leads = metrics.borrow().state.is_leader();
        !leads
    });
    let behind = behind.unwrap();
    cluster.kill(behind).await;
    let mut view = view;
    for change in 0..100 {
        let in_sync: &[i64] = if change % 2 == 0 { &[1, 2] } else { &[1] };
        let answer = cluster.change_set(&set(&view, in_sync)).await;
        assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
        view = serde_json::from_slice(&answer.body).unwrap();
    }
    let leader = cluster.leader().await;
    let purged = || cluster.controller(leader).raft().metrics().borrow().purged.map_or(0, |place| place.index);
    until("the log is cut", async || (purged() > 40).then_some(())).await;
    cluster.restart(behind).await;
    until("it catches up", async || cluster.group(behind).await.filter(|group| group.set_epoch == view.set_epoch))
        .await;
    assert!(cluster.controller(behind).raft().metrics().borrow().snapshot.is_some(), "it was sent a snapshot");
    // The snapshot lasts.
    for id in 1..=3 {
        cluster.kill(id).await;
    }
    for id in 1..=3 {
        cluster.restart(id).await;
    }
    let again = cluster.renew(&renewal(1)).await;
    assert_eq!((again.set_epoch, again.replicas.len()), (view.set_epoch, 2));
    cluster.stop().await;
}
