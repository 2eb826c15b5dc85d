//! Routes that name servers do not have.

use std::net::SocketAddr;

use orbitmq_common::net::client::{Client, Link};
use orbitmq_common::protocol::body::register::RegisterBody;
use orbitmq_common::protocol::body::topic::TopicConfig;
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::nameserver::{
    BrokerRequest, KvRequest, NameServerTopicRequest, RegisterBrokerRequest, RouteRequest,
};
use orbitmq_nameserver::config::Config;
use orbitmq_nameserver::node::Node;

use crate::daemons::{Broker, ask, connect, until};
use crate::table::names;

async fn start() -> (Node, Client, Link) {
    let config = Config { listen: SocketAddr::from(([127, 0, 0, 1], 0)), ..Config::default() };
    let node = Node::start(config).await.unwrap();
    let (client, link) = connect(&node.addr.to_string()).await;
    (node, client, link)
}

async fn route(link: &Link, topic: &str) -> Frame {
    let fields = RouteRequest { topic: topic.to_owned().into(), accept_standard_json_only: None };
    ask(link, request::GET_ROUTEINFO_BY_TOPIC, &fields).await
}

/// Registers a broker that is not there on a connection.
async fn register(link: &Link, lease_ms: i64) {
    let header = RegisterBrokerRequest {
        broker_name: "b0".into(),
        broker_addr: "10.9.8.7:10911".into(),
        cluster_name: "c".into(),
        ha_server_addr: "10.9.8.7:10912".into(),
        heartbeat_timeout_millis: Some(lease_ms),
        ..RegisterBrokerRequest::default()
    };
    let mut body = RegisterBody::default();
    for topic in ["Orders", "Others"] {
        body.topic_config_serialize_wrapper.topic_config_table.insert(topic.to_owned(), TopicConfig::new(topic, 4, 6));
    }
    let registered = link.request(request::REGISTER_BROKER).with_fields(&header).with_json(&body);
    let answer = link.call(registered, crate::daemons::DEADLINE).await.unwrap();
    assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
}

#[tokio::test]
async fn brokers_that_are_not_there() {
    let (node, _client, link) = start().await;
    let nobody = route(&link, "Orders").await;
    names(&nobody, 17, &["no broker is registered"]);
    let remark = nobody.remark.unwrap();
    assert!(remark.starts_with("No topic route info in name server for the topic: Orders; "), "{remark}");

    register(&link, 100).await;
    until("the lease ends", async || route(&link, "Orders").await.code != response::SUCCESS).await;
    let silent = route(&link, "Orders").await;
    names(&silent, 17, &["its broker is silent"]);
    let remark = silent.remark.unwrap();
    assert!(
        remark.contains("broker 'b0' at 10.9.8.7:10911 left 0s ago") && remark.contains("lease of 100ms"),
        "{remark}"
    );
    names(&route(&link, "Never").await, 17, &["no broker is registered", "its broker is silent"]);

    let (broker, own) = connect(&node.addr.to_string()).await;
    register(&own, 60_000).await;
    broker.close();
    until("the connection ends", async || route(&link, "Orders").await.code != response::SUCCESS).await;
    names(&route(&link, "Orders").await, 17, &["its broker's connection ended"]);

    register(&link, 60_000).await;
    let goodbye = BrokerRequest {
        broker_name: "b0".into(),
        broker_addr: "10.9.8.7:10911".into(),
        cluster_name: "c".into(),
        broker_id: 0,
    };
    ask(&link, request::UNREGISTER_BROKER, &goodbye).await;
    names(&route(&link, "Orders").await, 17, &["its broker was stopped"]);
    node.shutdown().await;
}

#[tokio::test]
async fn topics_that_no_broker_has() {
    let (node, _client, link) = start().await;
    let nameserver = node.addr.to_string();
    let broker = Broker::start(|config| config.nameservers = vec![nameserver]).await;
    broker.create_topic("Orders", 1, 6).await;
    until("the topic is routed", async || route(&link, "Orders").await.code == response::SUCCESS).await;
    let never = route(&link, "payments").await;
    names(&never, 17, &["never created"]);
    assert!(never.remark.unwrap().contains("or send to it first"));
    names(&route(&link, "orders").await, 17, &["never created", "another topic is meant"]);
    names(&route(&link, "no such").await, 17, &["the name is impossible"]);
    names(&route(&link, "%RETRY%stock").await, 17, &["no consumer of its group yet"]);

    broker.takes(request::UPDATE_BROKER_CONFIG, "autoCreateTopicEnable=false").await;
    let said = async || route(&link, "payments").await.remark.unwrap_or_default().contains("auto_create_topics");
    until("the broker says that it creates no topics", said).await;
    names(&route(&link, "payments").await, 17, &["never created", "sending creates no topics"]);

    let gone = NameServerTopicRequest { topic: "Orders".into(), ..NameServerTopicRequest::default() };
    ask(&link, request::DELETE_TOPIC_IN_NAMESRV, &gone).await;
    names(&route(&link, "Orders").await, 17, &["deleted"]);
    let setting = KvRequest { namespace: "n".into(), key: "k".into() };
    names(&ask(&link, request::GET_KV_CONFIG, &setting).await, 22, &["no such setting"]);
    broker.stop().await;
    node.shutdown().await;
}
