//! Members come and go, and operators choose.

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
    until("the new member knows the group", async || cluster.quorum(4).await.groups.first().map(drop)).await;

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
