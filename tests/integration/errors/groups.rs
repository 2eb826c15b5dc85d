//! Groups and members that are not there, or want different things.

use orbitmq_broker::config::filtering::OnConflict;
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::header::admin::DeleteGroupRequest;
use orbitmq_common::protocol::header::group::{ConsumerGroupRequest, UnregisterClientRequest};
use orbitmq_common::protocol::header::pull::PullRequest;
use serde::Serialize;
use serde_json::json;

use crate::daemons::{Broker, connect, pulling, until};
use crate::table::names;

/// GET_CONSUMER_RUNNING_INFO (307).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Running<'a> {
    consumer_group: &'a str,
    client_id: &'a str,
    jstack_enable: bool,
}

#[tokio::test]
async fn groups_that_are_not_there() {
    let broker = Broker::start(|config| config.auto_create_groups = false).await;
    broker.create_topic("T", 1, 6).await;
    names(&broker.pull("T", "warehouse", 0).await, 26, &["the group was never created"]);
    broker.create_group(json!({"groupName": "Stock-keepers"})).await;
    let meant = broker.pull("T", "stock-keepers", 0).await;
    names(&meant, 26, &["the group was never created", "another group is meant"]);
    broker
        .does(
            request::DELETE_SUBSCRIPTIONGROUP,
            &DeleteGroupRequest { group_name: "Stock-keepers".into(), clean_offset: None },
        )
        .await;
    names(&broker.pull("T", "Stock-keepers", 0).await, 26, &["the group was deleted"]);
    broker.stop().await;
}

#[tokio::test]
async fn members_that_are_not_there_or_want_something_else() {
    let broker = Broker::start(|config| config.filtering.on_conflict = OnConflict::Refuse).await;
    broker.create_topic("T", 1, 6).await;
    let members = async |group: &str| {
        let fields = ConsumerGroupRequest { consumer_group: group.to_owned().into() };
        broker.ask(request::GET_CONSUMER_LIST_BY_GROUP, &fields).await
    };
    names(&members("strangers").await, 1, &["no such group"]);
    broker.create_group(json!({"groupName": "g"})).await;
    names(&members("g").await, 1, &["nobody of the group was ever connected"]);
    let running = async |client: &str| {
        let fields = Running { consumer_group: "g", client_id: client, jstack_enable: false };
        broker.ask(request::GET_CONSUMER_RUNNING_INFO, &fields).await
    };
    names(&running("x").await, 206, &["no client is connected"]);

    // Pulls that rely on the subscription of a heartbeat.
    let known = |version| PullRequest { sys_flag: 0, subscription: None, sub_version: version, ..pulling("T", "g", 0) };
    names(&broker.ask(request::PULL_MESSAGE, &known(5)).await, 24, &["nobody of the group is connected"]);
    assert_eq!(broker.beat(&broker.link, "g", "U", "a", "CLUSTERING").await.code, response::SUCCESS);
    let others = broker.ask(request::PULL_MESSAGE, &known(5)).await;
    names(&others, 24, &["members subscribe to other topics"]);
    assert!(others.remark.unwrap().contains("1 member(s) subscribe to 'U'"));
    let another = running("x").await;
    names(&another, 206, &["another client is connected"]);
    assert!(another.remark.unwrap().contains("'client-a'"));

    let address = broker.node.bound().to_string();
    let (_client, second) = connect(&address).await;
    let conflict = broker.beat(&second, "g", "U", "b", "CLUSTERING").await;
    names(&conflict, 16, &["members subscribe differently"]);
    let remark = conflict.remark.unwrap();
    assert!(remark.contains("client-a") && remark.contains("client-b"), "{remark}");

    let leave = UnregisterClientRequest {
        client_id: "client-a".into(),
        producer_group: None,
        consumer_group: Some("g".into()),
    };
    broker.does(request::UNREGISTER_CLIENT, &leave).await;
    until("the group is empty", async || members("g").await.code != response::SUCCESS).await;
    names(&members("g").await, 1, &["the last member left"]);

    broker.create_group(json!({"groupName": "quiet", "consumeBroadcastEnable": false})).await;
    assert_eq!(broker.beat(&broker.link, "quiet", "T", "a", "BROADCASTING").await.code, response::SUCCESS);
    let loud = PullRequest { consumer_group: "quiet".into(), ..known(5) };
    names(&broker.ask(request::PULL_MESSAGE, &loud).await, 16, &["the group may not broadcast"]);
    assert_eq!(broker.beat(&broker.link, "fresh", "T", "a", "CLUSTERING").await.code, response::SUCCESS);
    let newer = PullRequest { consumer_group: "fresh".into(), ..known(6) };
    names(&broker.ask(request::PULL_MESSAGE, &newer).await, 25, &["the reader's subscription is newer"]);
    broker.stop().await;
}
