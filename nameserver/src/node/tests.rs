//! A name server over loopback: what brokers, clients and administrators see of it.

use std::io::Write;
use std::time::{Duration, Instant};

use orbitmq_common::message::record::checksum;
use orbitmq_common::net::client::{Client, ClientOptions, Link};
use orbitmq_common::protocol::body::kv::KvTable;
use orbitmq_common::protocol::body::register::RegisterBody;
use orbitmq_common::protocol::body::route::{ClusterInfo, TopicList, TopicRoute};
use orbitmq_common::protocol::body::topic::{DataVersion, TopicConfig};
use orbitmq_common::protocol::code::{request as kind, response};
use orbitmq_common::protocol::frame::{Encoding, Frame};
use orbitmq_common::protocol::header::nameserver::{
    BrokerHeartbeatRequest, BrokerHeartbeatResponse, BrokerRequest, ClusterRequest, KvListRequest, KvRequest,
    KvResponse, NameServerTopicRequest, PutKvRequest, QueryDataVersionResponse, RegisterBrokerRequest,
    RegisterBrokerResponse, RouteRequest, WipeWritePermResponse, WritePermRequest,
};
use proptest::prelude::*;

use super::*;

const DEADLINE: Duration = Duration::from_secs(10);

fn local(data_dir: Option<&std::path::Path>) -> Config {
    Config {
        listen: "127.0.0.1:0".parse().unwrap(),
        data_dir: data_dir.map(std::path::Path::to_owned),
        ..Config::default()
    }
}

async fn start() -> (Node, Link) {
    let node = Node::start(local(None)).await.unwrap();
    let link = connect(&node, Encoding::Json).await;
    (node, link)
}

/// A connection of its own. The client behind it is leaked: dropping it would end the connection.
async fn connect(node: &Node, encoding: Encoding) -> Link {
    let options = ClientOptions { encoding: Some(encoding), ..ClientOptions::default() };
    let client = Box::leak(Box::new(Client::new(options)));
    client.link(&node.addr.to_string()).await.unwrap()
}

async fn call(link: &Link, request: Frame) -> Frame {
    link.call(request, DEADLINE).await.unwrap()
}

fn header() -> RegisterBrokerRequest<'static> {
    RegisterBrokerRequest {
        broker_name: "b0".into(),
        broker_addr: "127.0.0.1:10911".into(),
        cluster_name: "c".into(),
        ha_server_addr: "127.0.0.1:10912".into(),
        ..RegisterBrokerRequest::default()
    }
}

fn body(counter: i64) -> RegisterBody {
    let mut body = RegisterBody::default();
    let table = &mut body.topic_config_serialize_wrapper;
    table.data_version = DataVersion { counter, state_version: 0, timestamp: 5 };
    for topic in ["A", "B"] {
        table.topic_config_table.insert(topic.to_owned(), TopicConfig::new(topic, 4, 6));
    }
    body
}

async fn register(link: &Link, header: &RegisterBrokerRequest<'_>) -> Frame {
    call(link, link.request(kind::REGISTER_BROKER).with_fields(header).with_json(&body(1))).await
}

async fn route(link: &Link, topic: &str) -> Frame {
    let fields = RouteRequest { topic: topic.to_owned().into(), accept_standard_json_only: None };
    call(link, link.request(kind::GET_ROUTEINFO_BY_TOPIC).with_fields(&fields)).await
}

async fn until_gone(link: &Link, topic: &str) {
    let end = Instant::now() + DEADLINE;
    while route(link, topic).await.code != response::TOPIC_NOT_EXIST {
        assert!(Instant::now() < end, "{topic} is still routed");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_broker_is_routed_in_every_encoding() {
    for encoding in [Encoding::Json, Encoding::Binary, Encoding::MessagePack] {
        let node = Node::start(local(None)).await.unwrap();
        let link = connect(&node, encoding).await;
        let answer = register(&link, &header()).await;
        assert_eq!((answer.code, answer.encoding), (response::SUCCESS, encoding), "{:?}", answer.remark);
        let slave = RegisterBrokerRequest { broker_id: 1, broker_addr: "127.0.0.1:10921".into(), ..header() };
        let answer = register(&link, &slave).await;
        let told: RegisterBrokerResponse<'_> = answer.fields().unwrap();
        assert_eq!(told.master_addr.as_deref(), Some("127.0.0.1:10911"));
        assert_eq!(told.ha_server_addr.as_deref(), Some("127.0.0.1:10912"));

        let expected = r#"{"brokerDatas":[{"brokerAddrs":{"0":"127.0.0.1:10911","1":"127.0.0.1:10921"},"brokerName":"b0","cluster":"c","enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"b0","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}"#;
        for _ in 0..2 {
            assert_eq!(std::str::from_utf8(&route(&link, "A").await.body).unwrap(), expected);
        }
        let info: ClusterInfo =
            serde_json::from_slice(&call(&link, link.request(kind::GET_BROKER_CLUSTER_INFO)).await.body).unwrap();
        assert_eq!(info.cluster_addr_table["c"], ["b0"]);
        let topics: TopicList =
            serde_json::from_slice(&call(&link, link.request(kind::GET_ALL_TOPIC_LIST_FROM_NAMESERVER)).await.body)
                .unwrap();
        assert_eq!(topics.topic_list, ["A", "B"]);
        node.shutdown().await;
    }
}

#[tokio::test]
async fn a_silent_broker_leaves_with_its_lease() {
    let (node, link) = start().await;
    let broker = connect(&node, Encoding::MessagePack).await;
    let short = RegisterBrokerRequest { heartbeat_timeout_millis: Some(200), ..header() };
    register(&broker, &short).await;
    let begun = Instant::now();
    assert_eq!(route(&link, "A").await.code, response::SUCCESS);
    until_gone(&link, "A").await;
    assert!(begun.elapsed() >= Duration::from_millis(190), "not before its lease is over");

    let pulse = BrokerHeartbeatRequest {
        cluster_name: "c".into(),
        broker_name: "b0".into(),
        broker_addr: "127.0.0.1:10911".into(),
        broker_id: Some(0),
        ..BrokerHeartbeatRequest::default()
    };
    let beat = || broker.request(kind::BROKER_HEARTBEAT).with_fields(&pulse);
    let told: BrokerHeartbeatResponse = call(&broker, beat()).await.fields().unwrap();
    assert_eq!(told.unknown, Some(true));
    register(&broker, &header()).await;
    let told: BrokerHeartbeatResponse = call(&broker, beat()).await.fields().unwrap();
    assert_eq!(told, BrokerHeartbeatResponse::default());
    let newer = BrokerHeartbeatRequest {
        data_version: Some(body(2).topic_config_serialize_wrapper.data_version.to_string().into()),
        ..pulse.clone()
    };
    let told = call(&broker, broker.request(kind::BROKER_HEARTBEAT).with_fields(&newer)).await;
    assert_eq!(told.fields::<BrokerHeartbeatResponse>().unwrap().stale, Some(true));
    node.shutdown().await;
}

#[tokio::test]
async fn a_closed_connection_drops_its_broker_at_once() {
    let (node, link) = start().await;
    let broker = connect(&node, Encoding::Json).await;
    register(&broker, &header()).await;
    assert_eq!(route(&link, "A").await.code, response::SUCCESS);
    broker.peer().close();
    until_gone(&link, "A").await;

    // Registered anew on a second connection, the end of the first is no news.
    let (first, second) = (connect(&node, Encoding::Json).await, connect(&node, Encoding::Json).await);
    register(&first, &header()).await;
    register(&second, &header()).await;
    first.peer().close();
    first.peer().closed().await;
    for _ in 0..50 {
        assert_eq!(route(&link, "A").await.code, response::SUCCESS);
    }
    let goodbye = BrokerRequest {
        broker_name: "b0".into(),
        broker_addr: "127.0.0.1:10911".into(),
        cluster_name: "c".into(),
        broker_id: 0,
    };
    assert_eq!(call(&second, second.request(kind::UNREGISTER_BROKER).with_fields(&goodbye)).await.code, 0);
    assert_eq!(route(&link, "A").await.code, response::TOPIC_NOT_EXIST);
    node.shutdown().await;
}

#[tokio::test]
async fn settings_and_options_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(local(Some(dir.path()))).await.unwrap();
    let link = connect(&node, Encoding::Json).await;
    let put = PutKvRequest { namespace: "conf".into(), key: "k".into(), value: "v 世界".into() };
    assert_eq!(call(&link, link.request(kind::PUT_KV_CONFIG).with_fields(&put)).await.code, 0);
    let update = link.request(kind::UPDATE_NAMESRV_CONFIG).with_body("orderMessageEnable=true\n");
    assert_eq!(call(&link, update).await.code, 0);
    node.shutdown().await;

    let node = Node::start(local(Some(dir.path()))).await.unwrap();
    let link = connect(&node, Encoding::Json).await;
    let key = KvRequest { namespace: "conf".into(), key: "k".into() };
    let answer = call(&link, link.request(kind::GET_KV_CONFIG).with_fields(&key)).await;
    assert_eq!(answer.fields::<KvResponse<'_>>().unwrap().value, "v 世界");
    let list = KvListRequest { namespace: "conf".into() };
    let answer = call(&link, link.request(kind::GET_KVLIST_BY_NAMESPACE).with_fields(&list)).await;
    let table: KvTable = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(table.table["k"], "v 世界");
    let options = call(&link, link.request(kind::GET_NAMESRV_CONFIG)).await;
    assert!(std::str::from_utf8(&options.body).unwrap().contains("orderMessageEnable=true"));
    assert_eq!(call(&link, link.request(kind::DELETE_KV_CONFIG).with_fields(&key)).await.code, 0);
    assert_eq!(call(&link, link.request(kind::GET_KV_CONFIG).with_fields(&key)).await.code, response::QUERY_NOT_FOUND);
    assert_eq!(
        call(&link, link.request(kind::GET_KVLIST_BY_NAMESPACE).with_fields(&list)).await.code,
        response::QUERY_NOT_FOUND
    );
    let second = Node::start(local(Some(dir.path()))).await;
    assert!(matches!(second, Err(StartError::Settings(_))), "one directory has one server");
    node.shutdown().await;
}

#[tokio::test]
async fn layouts_of_ordered_topics_reach_brokers_and_clients() {
    let (node, link) = start().await;
    register(&link, &header()).await;
    assert!(register(&link, &header()).await.body.is_empty());
    assert_eq!(route(&link, "A").await.code, 0);
    let put = PutKvRequest { namespace: "ORDER_TOPIC_CONFIG".into(), key: "A".into(), value: "b0:4".into() };
    call(&link, link.request(kind::PUT_KV_CONFIG).with_fields(&put)).await;
    let table: KvTable = serde_json::from_slice(&register(&link, &header()).await.body).unwrap();
    assert_eq!(table.table["A"], "b0:4");
    let order = |body: &[u8]| serde_json::from_slice::<TopicRoute>(body).unwrap().order_topic_conf;
    assert_eq!(order(&route(&link, "A").await.body), None);
    call(&link, link.request(kind::UPDATE_NAMESRV_CONFIG).with_body("orderMessageEnable=true")).await;
    assert_eq!(order(&route(&link, "A").await.body).as_deref(), Some("b0:4"));
    node.shutdown().await;
}

#[tokio::test]
async fn refusals_name_cause_and_cure() {
    let (node, link) = start().await;
    let remark = |frame: &Frame| frame.remark.clone().unwrap_or_default();
    let nobody = route(&link, "A").await;
    assert_eq!(nobody.code, response::TOPIC_NOT_EXIST);
    assert!(remark(&nobody).contains("no broker is registered"), "{nobody:?}");
    register(&link, &header()).await;
    let unknown = route(&link, "Nope").await;
    assert!(remark(&unknown).contains("1 broker name(s) registered"), "{unknown:?}");

    let foreign = call(&link, link.request(kind::SEND_MESSAGE)).await;
    assert_eq!(foreign.code, response::REQUEST_CODE_NOT_SUPPORTED);
    assert!(remark(&foreign).contains("10 (SEND_MESSAGE)"), "{foreign:?}");
    assert!(remark(&call(&link, link.request(31_999)).await).contains("31999"));

    let forbidden = call(&link, link.request(kind::UPDATE_NAMESRV_CONFIG).with_body("kvConfigPath=/x")).await;
    assert_eq!(forbidden.code, response::NO_PERMISSION);
    let no_topic = call(&link, link.request(kind::GET_ROUTEINFO_BY_TOPIC)).await;
    assert_eq!(no_topic.code, response::INVALID_PARAMETER);
    assert!(remark(&no_topic).contains("topic"), "{no_topic:?}");
    let empty = PutKvRequest { namespace: "".into(), key: "k".into(), value: "v".into() };
    let refused = call(&link, link.request(kind::PUT_KV_CONFIG).with_fields(&empty)).await;
    assert_ne!(refused.code, response::SUCCESS);
    node.shutdown().await;
}

#[tokio::test]
async fn registrations_that_lie_are_refused_and_do_no_harm() {
    let (node, link) = start().await;
    register(&link, &header()).await;
    let bad_headers = [
        RegisterBrokerRequest { broker_addr: "nowhere".into(), ..header() },
        RegisterBrokerRequest { broker_addr: "a,b:1".into(), ..header() },
        RegisterBrokerRequest { broker_addr: "host:99999".into(), ..header() },
        RegisterBrokerRequest { broker_name: " ".into(), ..header() },
        RegisterBrokerRequest { broker_id: -1, ..header() },
        RegisterBrokerRequest { heartbeat_timeout_millis: Some(-5), ..header() },
        RegisterBrokerRequest { body_crc32: 12345, ..header() },
    ];
    for bad in &bad_headers {
        let answer = register(&link, bad).await;
        assert_ne!(answer.code, response::SUCCESS, "{bad:?}");
        assert!(answer.remark.is_some());
    }
    let bad_bodies: [&[u8]; 6] =
        [b"{", b"\x78\x9c\x00", b"\xff\xff", b"[1,2]", b"{\"topicConfigSerializeWrapper\":7}", b"null"];
    for bad in bad_bodies {
        for compressed in [false, true] {
            let header = RegisterBrokerRequest { compressed, ..header() };
            let request = link.request(kind::REGISTER_BROKER).with_fields(&header).with_body(bad);
            let answer = call(&link, request).await;
            assert_ne!(answer.code, response::SUCCESS, "{bad:?} {compressed}");
        }
    }
    assert_eq!(route(&link, "A").await.code, response::SUCCESS, "the broker is still there");
    node.shutdown().await;
}

#[tokio::test]
async fn deflated_registrations_are_read() {
    let (node, link) = start().await;
    let version = r#"{"counter":1,"stateVersion":0,"timestamp":5}"#;
    let mut plain = Vec::new();
    let piece = |out: &mut Vec<u8>, text: &str| {
        out.extend(i32::try_from(text.len()).unwrap().to_be_bytes());
        out.extend(text.as_bytes());
    };
    piece(&mut plain, version);
    plain.extend(2_i32.to_be_bytes());
    piece(&mut plain, "A 4 4 6 SINGLE_TAG {}");
    piece(&mut plain, "B 8 8 6 SINGLE_TAG {}");
    piece(&mut plain, "[]");
    plain.extend(0_i32.to_be_bytes());
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&plain).unwrap();
    let deflated = encoder.finish().unwrap();
    let crc = i32::try_from(checksum(&deflated)).unwrap();
    // RocketMQ 5 says false and deflates even so when its compressedRegister is on.
    for compressed in [true, false] {
        let header = RegisterBrokerRequest { compressed, body_crc32: crc, ..header() };
        let request = link.request(kind::REGISTER_BROKER).with_fields(&header).with_body(deflated.clone());
        let answer = call(&link, request).await;
        assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
    }
    let route: TopicRoute = serde_json::from_slice(&route(&link, "B").await.body).unwrap();
    assert_eq!(route.queue_datas[0].read_queue_nums, 8);
    node.shutdown().await;
}

#[tokio::test]
async fn administrators_change_routes() {
    let (node, link) = start().await;
    register(&link, &header()).await;
    let broker = WritePermRequest { broker_name: "b0".into() };
    let wiped = call(&link, link.request(kind::WIPE_WRITE_PERM_OF_BROKER).with_fields(&broker)).await;
    assert_eq!(wiped.fields::<WipeWritePermResponse>().unwrap().wipe_topic_count, 2);
    let perm = |body: &[u8]| serde_json::from_slice::<TopicRoute>(body).unwrap().queue_datas[0].perm;
    assert_eq!(perm(&route(&link, "A").await.body), 4);
    call(&link, link.request(kind::ADD_WRITE_PERM_OF_BROKER).with_fields(&broker)).await;
    assert_eq!(perm(&route(&link, "A").await.body), 6);

    let topic = NameServerTopicRequest { topic: "X".into(), cluster_name: None };
    let queues =
        r#"{"queueDatas":[{"brokerName":"b0","perm":6,"readQueueNums":2,"topicSysFlag":0,"writeQueueNums":2}]}"#;
    let request = link.request(kind::REGISTER_TOPIC_IN_NAMESRV).with_fields(&topic);
    assert_eq!(call(&link, request.clone().with_body(queues)).await.code, 0);
    assert_eq!(route(&link, "X").await.code, 0);
    let unknown = call(&link, request.with_body(queues.replace("b0", "b9"))).await;
    assert!(unknown.remark.unwrap().contains("b9"));
    assert_eq!(call(&link, link.request(kind::DELETE_TOPIC_IN_NAMESRV).with_fields(&topic)).await.code, 0);
    assert_eq!(route(&link, "X").await.code, response::TOPIC_NOT_EXIST);

    let cluster = ClusterRequest { cluster: "c".into() };
    let list = call(&link, link.request(kind::GET_TOPICS_BY_CLUSTER).with_fields(&cluster)).await;
    assert_eq!(list.body, r#"{"topicList":["A","B"]}"#);
    let system = call(&link, link.request(kind::GET_SYSTEM_TOPIC_LIST_FROM_NS)).await;
    assert_eq!(system.body, r#"{"brokerAddr":"127.0.0.1:10911","topicList":["c","b0"]}"#);
    call(&link, link.request(kind::UPDATE_NAMESRV_CONFIG).with_body("enableAllTopicList=false")).await;
    let denied = call(&link, link.request(kind::GET_ALL_TOPIC_LIST_FROM_NAMESERVER)).await;
    assert_eq!((denied.code, denied.remark.unwrap().starts_with("disable")), (response::SYSTEM_ERROR, true));
    node.shutdown().await;
}

#[tokio::test]
async fn data_versions_are_compared() {
    let (node, link) = start().await;
    let who = BrokerRequest {
        broker_name: "b0".into(),
        broker_addr: "127.0.0.1:10911".into(),
        cluster_name: "c".into(),
        broker_id: 0,
    };
    let ask = |version: DataVersion| link.request(kind::QUERY_DATA_VERSION).with_fields(&who).with_json(&version);
    let version = body(1).topic_config_serialize_wrapper.data_version;
    let answer = call(&link, ask(version)).await;
    assert!(answer.fields::<QueryDataVersionResponse>().unwrap().changed);
    assert!(answer.body.is_empty());
    register(&link, &header()).await;
    let answer = call(&link, ask(version)).await;
    assert!(!answer.fields::<QueryDataVersionResponse>().unwrap().changed);
    assert_eq!(serde_json::from_slice::<DataVersion>(&answer.body).unwrap(), version);
    let other = DataVersion { counter: 2, ..version };
    assert!(call(&link, ask(other)).await.fields::<QueryDataVersionResponse>().unwrap().changed);
    node.shutdown().await;
}

#[tokio::test]
async fn a_stopped_server_leaves_its_address() {
    let (node, link) = start().await;
    let addr = node.addr;
    node.shutdown().await;
    link.peer().closed().await;
    let again = Node::start(Config { listen: addr, ..local(None) }).await.unwrap();
    assert!(matches!(Node::start(Config { listen: addr, ..local(None) }).await, Err(StartError::Listen(_))));
    again.shutdown().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Every request kind answers whatever fields and body it gets, and the server goes on.
    #[test]
    fn no_request_goes_unanswered(
        code in prop_oneof![100..107_i32, 200..330_i32, 900..910_i32, any::<i16>().prop_map(i32::from)],
        fields in proptest::collection::btree_map("[a-zA-Z]{1,12}", ".{0,12}", 0..6),
        named in proptest::bool::ANY,
        body in prop_oneof![Just(Vec::new()), proptest::collection::vec(any::<u8>(), 0..80)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (node, link) = start().await;
            let mut request = link.request(code).with_body(body);
            let mut all = fields;
            if named {
                for name in ["topic", "brokerName", "brokerAddr", "clusterName", "namespace", "key", "value", "brokerId", "haServerAddr"] {
                    all.insert(name.to_owned(), "1".to_owned());
                }
            }
            request.raw_fields = serde_json::to_vec(&all).unwrap().into();
            let answer = call(&link, request).await;
            assert!(answer.code == response::SUCCESS || answer.remark.is_some());
            assert_eq!(route(&link, "A").await.code, response::TOPIC_NOT_EXIST);
            node.shutdown().await;
        });
    }
}

mod networks;
