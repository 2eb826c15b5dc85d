//! Members come and go, and operators choose.

use orbitmq_common::protocol::body::controller::{BrokerReplicasInfo, SyncStateSet};
use orbitmq_common::protocol::header::controller::{
    ElectMasterRequest, ElectMasterResponse, MetadataResponse, ReplicaInfoRequest, ReplicaInfoResponse,
};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn members_are_added_and_removed() {
    let mut cluster = Cluster::start(3).await;
    cluster.renew(&renewal(1)).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    cluster.peers.insert(4, address.clone());
    cluster.nodes.insert(4, Node::start_on(listener, cluster.config(4)).await.unwrap());
    let add = MembersRequest::Add { id: 4, address };
    let answer = cluster.ask_leader(kind::CONTROLLER_MEMBERS, &add).await;
    assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
    let quorum: Quorum = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(quorum.members.iter().filter(|member| member.voter).count(), 4);
    until("the new member knows the group", async || cluster.group(4).await).await;

    // Its own leader can be removed, too.
    let leader = cluster.leader().await;
    let answer = cluster.ask_leader(kind::CONTROLLER_MEMBERS, &MembersRequest::Remove { id: leader }).await;
    assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
    cluster.kill(leader).await;
    cluster.peers.remove(&leader);
    assert_eq!(cluster.renew(&renewal(1)).await.epoch, 1);
    let new = cluster.leader().await;
    assert_eq!(cluster.quorum(new).await.members.len(), 3);

    let unknown = cluster.ask_leader(kind::CONTROLLER_MEMBERS, &MembersRequest::Remove { id: 9 }).await;
    assert_eq!(unknown.code, response::CONTROLLER_INVALID_REQUEST);
    cluster.stop().await;
}

async fn elect(cluster: &Cluster, id: Option<i64>) -> Frame {
    let fields = ElectMasterRequest {
        cluster_name: "".into(),
        broker_name: "b".into(),
        broker_id: id,
        designate_elect: id.is_some(),
    };
    until("a leader answers", async || {
        let leader = cluster.leader().await;
        let link = cluster.client.link(&cluster.peers[&leader]).await.ok()?;
        let request = link.request(kind::CONTROLLER_ELECT_MASTER).with_fields(&fields);
        let answer = link.call(request, DEADLINE).await.ok()?;
        (answer.code != response::CONTROLLER_NOT_LEADER).then_some(answer)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_moves_a_mastership_after_the_old_lease() {
    let cluster = Cluster::start_with(3, Duration::from_millis(1_000), 1_000).await;
    let view = cluster.renew(&renewal(1)).await;
    cluster.renew(&renewal(2)).await;
    assert_eq!(cluster.change_set(&set(&view, &[1, 2])).await.code, response::SUCCESS);
    cluster.renew(&renewal(1)).await;
    assert_eq!(elect(&cluster, None).await.code, response::CONTROLLER_MASTER_STILL_EXIST);
    assert_eq!(elect(&cluster, Some(1)).await.code, response::CONTROLLER_MASTER_STILL_EXIST);
    assert_eq!(elect(&cluster, Some(9)).await.code, response::CONTROLLER_INVALID_REPLICAS);

    cluster.renew(&renewal(2)).await;
    cluster.renew(&renewal(1)).await;
    let began = Instant::now();
    let (answer, ()) = tokio::join!(elect(&cluster, Some(2)), async {
        // The old master goes on renewing, but is told that it is none.
        cluster.renew_until(&[&renewal(1)], "it is told", |view| view.master.is_none() || view.epoch > 1).await;
    });
    assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
    assert!(began.elapsed() > Duration::from_millis(900), "elected within the lease of the old master");
    let elected: ElectMasterResponse<'_> = answer.fields().unwrap();
    assert_eq!((elected.master_broker_id, elected.master_epoch), (2, 2));
    assert_eq!(elected.master_address, "127.0.0.1:12911");
    let set: SyncStateSet = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(set.sync_state_set, [2]);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_may_give_up_acknowledged_messages() {
    let cluster = Cluster::start(1).await;
    cluster.renew(&renewal(1)).await;
    cluster.renew(&renewal(2)).await;
    // The master, alone in the set, is lost for good.
    cluster.renew_until(&[&renewal(2)], "no master", |view| view.master.is_none()).await;
    let refused = elect(&cluster, None).await;
    assert_eq!(refused.code, response::CONTROLLER_MASTER_NOT_AVAILABLE);
    assert!(refused.remark.unwrap().contains("may lose"), "tells what another choice costs");
    assert_eq!(elect(&cluster, Some(1)).await.code, response::CONTROLLER_BROKER_NOT_ALIVE);
    let answer = until("member 2 is alive and elected", async || {
        cluster.renew(&renewal(2)).await;
        let answer = elect(&cluster, Some(2)).await;
        (answer.code == response::SUCCESS).then_some(answer)
    })
    .await;
    assert_eq!(answer.fields::<ElectMasterResponse<'_>>().unwrap().master_epoch, 2);
    assert_eq!(master(&cluster.renew(&renewal(2)).await), Some(2));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rocketmqs_tools_are_told_what_there_is() {
    let cluster = Cluster::start_with(3, Duration::from_secs(600), 1_000).await;
    let view = cluster.renew(&renewal(1)).await;
    cluster.renew(&renewal(2)).await;
    let leader = cluster.leader().await;
    let link = cluster.client.link(&cluster.peers[&leader]).await.unwrap();
    let call = async |request: Frame| link.call(request, DEADLINE).await.unwrap();

    let answer = call(link.request(kind::CONTROLLER_GET_METADATA_INFO)).await;
    let metadata: MetadataResponse<'_> = answer.fields().unwrap();
    assert!(metadata.is_leader && metadata.controller_leader_id == leader.to_string());
    assert_eq!(metadata.controller_leader_address, cluster.peers[&leader]);
    assert_eq!(metadata.peers.split(';').count(), 3);

    let fields = ReplicaInfoRequest { broker_name: "b".into() };
    let answer = call(link.request(kind::CONTROLLER_GET_REPLICA_INFO).with_fields(&fields)).await;
    let info: ReplicaInfoResponse<'_> = answer.fields().unwrap();
    assert_eq!((info.master_broker_id, info.master_epoch), (Some(1), 1));

    let answer = cluster.ask(leader, kind::CONTROLLER_GET_SYNC_STATE_DATA, &["b"]).await;
    let data: BrokerReplicasInfo = serde_json::from_slice(&answer.body).unwrap();
    let group = &data.replicas_info_table["b"];
    assert_eq!((group.sync_state_set_epoch, group.in_sync_replicas.len()), (view.set_epoch, 1));
    assert!(group.not_in_sync_replicas[0].alive && group.not_in_sync_replicas[0].broker_id == 2);
    let answer = cluster.ask(leader, kind::CONTROLLER_GET_SYNC_STATE_DATA, &["x"]).await;
    assert_eq!(answer.code, response::CONTROLLER_BROKER_METADATA_NOT_EXIST);

    for code in [1001, 1003, 1012, 1013] {
        let answer = call(link.request(code)).await;
        assert_eq!(answer.code, response::REQUEST_CODE_NOT_SUPPORTED);
        assert!(answer.remark.unwrap().contains("Apache RocketMQ"), "says who cannot do this");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_server_without_a_controller_says_so() {
    let config = Config { listen: "127.0.0.1:0".parse().unwrap(), ..Config::default() };
    let node = Node::start(config).await.unwrap();
    let client = Client::new(ClientOptions::default());
    let answer = ask(&client, &node.addr.to_string(), kind::CONTROLLER_RENEW, &renewal(1)).await.unwrap();
    assert_eq!(answer.code, response::REQUEST_CODE_NOT_SUPPORTED);
    assert!(answer.remark.unwrap().contains("controller_id"), "names the cure");
    node.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn renewals_that_cannot_be_meant_so_are_refused() {
    let cluster = Cluster::start(1).await;
    for (bad, told) in [
        (Renewal { id: 0, ..renewal(1) }, "from 1 on"),
        (Renewal { broker: String::new(), ..renewal(1) }, "brokerName is empty"),
        (Renewal { ha_address: "nowhere".to_owned(), ..renewal(1) }, "host:port"),
        (Renewal { broker: "x".repeat(300), ..renewal(1) }, "255"),
        (Renewal { log_epoch: i32::MAX, ..renewal(1) }, "epochs are broken"),
    ] {
        let answer = cluster.ask_leader(kind::CONTROLLER_RENEW, &bad).await;
        assert_eq!(answer.code, response::INVALID_PARAMETER);
        assert!(answer.remark.as_ref().unwrap().contains(told), "{answer:?}");
    }
    let answer = cluster.ask(1, kind::RAFT_VOTE, &"nonsense").await;
    assert_eq!(answer.code, response::INVALID_PARAMETER);
    cluster.stop().await;
}
