//! What clients on different networks are told, over loopback addresses that stand for networks.

use bytes::BytesMut;
use orbitmq_common::protocol::body::route::BrokerMemberGroup;
use orbitmq_common::protocol::codec::{FrameCodec, encode_frame};
use orbitmq_common::protocol::header::nameserver::BrokerMemberGroupRequest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_util::codec::Decoder;

use super::*;

const NETWORKS: &str = "127.1.0.0/16=10.1.0.1:10911,127.9.9.9/32=broker.docker:10911";

/// A client with a source address of its own.
struct Client(TcpStream);

impl Client {
    async fn from(source: &str, node: &Node) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(format!("{source}:0").parse().unwrap()).unwrap();
        Self(socket.connect(node.addr).await.unwrap())
    }

    async fn call(&mut self, request: Frame) -> Frame {
        let mut bytes = BytesMut::new();
        encode_frame(&request, &mut bytes);
        self.0.write_all(&bytes).await.unwrap();
        bytes.clear();
        let mut codec = FrameCodec::default();
        loop {
            if let Some(answer) = codec.decode(&mut bytes).unwrap() {
                return answer;
            }
            let read = tokio::time::timeout(DEADLINE, self.0.read_buf(&mut bytes)).await;
            assert_ne!(read.expect("an answer").unwrap(), 0, "the connection ended");
        }
    }

    async fn route(&mut self) -> String {
        let fields = RouteRequest { topic: "A".into(), accept_standard_json_only: None };
        let asked = Frame::request(kind::GET_ROUTEINFO_BY_TOPIC, Encoding::Json).with_fields(&fields);
        let route: TopicRoute = serde_json::from_slice(&self.call(asked).await.body).unwrap();
        route.broker_datas[0].broker_addrs[&0].clone()
    }

    async fn group(&mut self) -> String {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Body {
            broker_member_group: BrokerMemberGroup,
        }
        let fields = BrokerMemberGroupRequest { cluster_name: "c".into(), broker_name: "b0".into() };
        let asked = Frame::request(kind::GET_BROKER_MEMBER_GROUP, Encoding::Json).with_fields(&fields);
        let body: Body = serde_json::from_slice(&self.call(asked).await.body).unwrap();
        body.broker_member_group.broker_addrs[&0].clone()
    }

    async fn cluster(&mut self) -> String {
        let asked = Frame::request(kind::GET_BROKER_CLUSTER_INFO, Encoding::Json);
        let info: ClusterInfo = serde_json::from_slice(&self.call(asked).await.body).unwrap();
        info.broker_addr_table["b0"].broker_addrs[&0].clone()
    }
}

#[tokio::test]
async fn clients_are_told_the_address_that_their_network_reaches() {
    let (node, link) = start().await;
    let networked = RegisterBrokerRequest { network_addrs: Some(NETWORKS.into()), ..header() };
    assert_eq!(register(&link, &networked).await.code, response::SUCCESS);
    // Each twice: an answer that was built, and one that was kept.
    for _ in 0..2 {
        for (source, addr) in
            [("127.1.2.3", "10.1.0.1:10911"), ("127.9.9.9", "broker.docker:10911"), ("127.9.9.8", "127.0.0.1:10911")]
        {
            let mut client = Client::from(source, &node).await;
            assert_eq!(client.route().await, addr, "{source}");
            assert_eq!(client.group().await, addr, "{source}");
            assert_eq!(client.cluster().await, addr, "{source}");
            let slave = RegisterBrokerRequest { broker_id: 1, broker_addr: "127.0.0.1:10921".into(), ..header() };
            let register = Frame::request(kind::REGISTER_BROKER, Encoding::Json);
            let told = client.call(register.with_fields(&slave).with_json(&body(1))).await;
            let told: RegisterBrokerResponse<'_> = told.fields().unwrap();
            assert_eq!(told.master_addr.as_deref(), Some(addr), "{source}");
        }
    }
    let mut near = Client::from("127.1.2.3", &node).await;
    assert_eq!(near.route().await, "10.1.0.1:10911");
    assert_eq!(register(&link, &header()).await.code, response::SUCCESS);
    assert_eq!(near.route().await, "127.0.0.1:10911", "the broker has no networks any more");
}

#[tokio::test]
async fn networks_that_cannot_be_read_are_refused() {
    let (_node, link) = start().await;
    let bad = RegisterBrokerRequest { network_addrs: Some("10.0.0.1/8=a:1".into()), ..header() };
    let answer = register(&link, &bad).await;
    assert_eq!(answer.code, response::INVALID_PARAMETER);
    let remark = answer.remark.unwrap();
    assert!(remark.contains("networkAddrs") && remark.contains("10.0.0.0/8"), "{remark}");
}
