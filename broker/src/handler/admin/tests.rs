//! Checks of administration at a whole broker in this process.

use std::time::Duration;

use orbitmq_common::net::client::{Client, ClientOptions, Link};
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::frame::{Encoding, Frame};
use orbitmq_common::protocol::header::admin::{GroupRequest, ResetOffsetRequest};
use orbitmq_common::protocol::header::examine::{
    AllConsumeStatsRequest, CloneOffsetsRequest, ConsumerStatusRequest, CorrectionRequest, ForbiddenRequest,
    GroupTopicRequest, QueueEntriesRequest, TrafficRequest,
};
use orbitmq_common::protocol::header::offset::{QueueRequest, UpdateOffsetRequest};
use orbitmq_common::protocol::header::pull::PullRequest;
use orbitmq_common::protocol::header::send::SendRequestV2;
use orbitmq_common::protocol::relaxed;
use serde::Serialize;
use serde_json::{Value, json};

use crate::config::Config;
use crate::node::Node;
use crate::store::options::IndexSize;

const DEADLINE: Duration = Duration::from_secs(20);

struct Asker {
    node: Node,
    link: Link,
    _client: Client,
    _dir: tempfile::TempDir,
}

impl Asker {
    /// A broker with three messages in queue 0 of topic T, of which group G has consumed two.
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config::local(dir.path(), Vec::new());
        config.store.segment_size = 16 << 20;
        config.store.index = Some(IndexSize { slots: 1000, entries: 4000 });
        let node = Node::start(config).await.unwrap();
        let client = Client::new(ClientOptions { encoding: Some(Encoding::Json), ..ClientOptions::default() });
        let link = client.link(&node.bound().to_string()).await.unwrap();
        let asker = Self { node, link, _client: client, _dir: dir };
        for body in ["one", "two", "three"] {
            let fields = SendRequestV2 {
                producer_group: "P".into(),
                topic: "T".into(),
                default_topic: "TBW102".into(),
                default_topic_queue_nums: 1,
                properties: Some("TAGS\u{1}a\u{2}".into()),
                ..SendRequestV2::default()
            };
            let send = asker.link.request(request::SEND_MESSAGE_V2).with_fields(&fields).with_body(body);
            assert_eq!(asker.link.call(send, DEADLINE).await.unwrap().code, response::SUCCESS);
        }
        // A pull takes what is there; this answer comes once all three are.
        let place = QueueRequest { topic: "T".into(), queue_id: 0, committed: None };
        assert_eq!(asker.ask(request::GET_MAX_OFFSET, &place).await.code, response::SUCCESS);
        assert_eq!(asker.pull("G", 0).await.code, response::SUCCESS);
        asker.commit("G", 2).await;
        asker
    }

    async fn ask<T: Serialize>(&self, code: i32, fields: &T) -> Frame {
        self.link.call(self.link.request(code).with_fields(fields), DEADLINE).await.unwrap()
    }

    /// The body of a request that succeeds.
    async fn body<T: Serialize>(&self, code: i32, fields: &T) -> Value {
        let answer = self.ask(code, fields).await;
        assert_eq!(answer.code, response::SUCCESS, "{code}: {:?}", answer.remark);
        if answer.body.is_empty() { Value::Null } else { relaxed::parse(&answer.body).unwrap() }
    }

    async fn settings(&self, text: &str) -> Frame {
        let frame = self.link.request(request::UPDATE_BROKER_CONFIG).with_body(text.to_owned());
        self.link.call(frame, DEADLINE).await.unwrap()
    }

    async fn pull(&self, group: &str, offset: i64) -> Frame {
        let fields = PullRequest {
            consumer_group: group.into(),
            topic: "T".into(),
            queue_offset: offset,
            max_msg_nums: 32,
            sys_flag: 4,
            subscription: Some("*".into()),
            ..PullRequest::default()
        };
        self.ask(request::PULL_MESSAGE, &fields).await
    }

    async fn commit(&self, group: &str, offset: i64) {
        let fields =
            UpdateOffsetRequest { consumer_group: group.into(), topic: "T".into(), queue_id: 0, commit_offset: offset };
        self.body(request::UPDATE_CONSUMER_OFFSET, &fields).await;
    }
}

#[derive(Serialize)]
struct Nothing {}

#[tokio::test]
async fn what_came_and_went_is_counted() {
    let asker = Asker::start().await;
    for (name, key, sum) in [
        ("TOPIC_PUT_NUMS", "T", Some(3)),
        ("GROUP_GET_NUMS", "T@G", Some(3)),
        ("BROKER_PUT_NUMS", "DefaultCluster", Some(3)),
        ("BROKER_GET_NUMS", "DefaultCluster", Some(3)),
        ("TOPIC_PUT_NUMS", "unknown", None),
        ("GROUP_GET_NUMS", "T@unknown", None),
        ("SNDBCK_PUT_NUMS", "T@G", None),
        ("BROKER_PUT_NUMS", "other", None),
        ("NO_SUCH_NAME", "T", None),
    ] {
        let fields = TrafficRequest { stats_name: name.into(), stats_key: key.into() };
        let answer = asker.ask(request::VIEW_BROKER_STATS_DATA, &fields).await;
        let Some(sum) = sum else {
            assert_eq!(answer.code, response::SYSTEM_ERROR, "{name} {key}");
            continue;
        };
        let data: Value = relaxed::parse(&answer.body).unwrap();
        for stretch in ["statsMinute", "statsHour", "statsDay"] {
            assert_eq!(data[stretch]["sum"], json!(sum), "{name} {key}: {data}");
        }
    }
    let size =
        |name: &'static str, key: &'static str| TrafficRequest { stats_name: name.into(), stats_key: key.into() };
    let put = asker.body(request::VIEW_BROKER_STATS_DATA, &size("TOPIC_PUT_SIZE", "T")).await;
    let got = asker.body(request::VIEW_BROKER_STATS_DATA, &size("GROUP_GET_SIZE", "T@G")).await;
    assert_eq!(put["statsDay"]["sum"], got["statsDay"]["sum"]);
    let figures = asker.body(request::GET_BROKER_RUNTIME_INFO, &Nothing {}).await;
    for (key, text) in [("msgPutTotalTodayNow", "3"), ("msgGetTotalTodayNow", "3"), ("msgPutTotalTodayMorning", "0")] {
        assert_eq!(figures["table"][key], json!(text), "{key}");
    }
    asker.node.stop().await;
}

#[tokio::test]
async fn groups_and_queues_are_told_of() {
    let asker = Asker::start().await;
    asker.commit("H", 1).await;
    let all = asker.body(request::GET_BROKER_CONSUME_STATS, &AllConsumeStatsRequest::default()).await;
    assert_eq!((&all["totalDiff"], &all["consumeStatsList"][1]["H"].as_array().unwrap().len()), (&json!(3), &1));
    let g = GroupTopicRequest { group: "G".into(), topic: "T".into() };
    let spans = asker.body(request::QUERY_CONSUME_TIME_SPAN, &g).await;
    let span = &spans["consumeTimeSpanSet"][0];
    assert!(span["minTimeStamp"].as_i64().unwrap() <= span["consumeTimeStamp"].as_i64().unwrap(), "{span}");
    assert!(span["consumeTimeStamp"].as_i64().unwrap() <= span["maxTimeStamp"].as_i64().unwrap(), "{span}");
    let topics = asker.body(request::QUERY_TOPICS_BY_CONSUMER, &GroupRequest { group: "G".into() }).await;
    assert_eq!(topics["topicList"], json!(["T"]));
    let subscription = asker.body(request::QUERY_SUBSCRIPTION_BY_CONSUMER, &g).await;
    assert_eq!(subscription, json!({"group": "G", "topic": "T"}), "nobody is connected");
    let fields = ConsumerStatusRequest { topic: "T".into(), group: "G".into(), client_addr: None };
    let answer = asker.ask(request::INVOKE_BROKER_TO_GET_CONSUMER_STATUS, &fields).await;
    assert_eq!(answer.code, response::CONSUMER_NOT_ONLINE);
    let system = asker.body(request::GET_SYSTEM_TOPIC_LIST_FROM_BROKER, &Nothing {}).await;
    let system = system["topicList"].as_array().unwrap();
    assert!(system.contains(&json!("TBW102")) && system.contains(&json!("broker-a")) && !system.contains(&json!("T")));
    assert_eq!(asker.body(request::GET_ALL_PRODUCER_INFO, &Nothing {}).await, json!({"data": {}}));

    let entries = QueueEntriesRequest { topic: "T".into(), index: 1, count: 9, ..QueueEntriesRequest::default() };
    let told = asker.body(request::QUERY_CONSUME_QUEUE, &entries).await;
    assert_eq!((&told["minQueueIndex"], &told["maxQueueIndex"]), (&json!(0), &json!(3)));
    assert_eq!(told["queueData"].as_array().unwrap().len(), 2);
    assert_eq!(told["queueData"][0]["tagsCode"], json!(97), "{told}");
    let beyond = QueueEntriesRequest { index: 99, ..entries.clone() };
    assert_eq!(asker.body(request::QUERY_CONSUME_QUEUE, &beyond).await["queueData"], json!([]));
    let missing = QueueEntriesRequest { queue_id: 7, ..entries };
    assert_eq!(asker.ask(request::QUERY_CONSUME_QUEUE, &missing).await.code, response::SYSTEM_ERROR);
    asker.node.stop().await;
}

#[tokio::test]
async fn offsets_are_compared_and_cloned() {
    let asker = Asker::start().await;
    asker.commit("H", 1).await;
    let fields = |compare: &'static str, filter: &'static str| CorrectionRequest {
        filter_groups: Some(filter.into()),
        compare_group: compare.into(),
        topic: "T".into(),
    };
    for (compare, filter, offset) in [("G", "", 1), ("H", "", 1), ("H", "H", i64::MAX), ("nobody", "H", 2)] {
        let told = asker.body(request::QUERY_CORRECTION_OFFSET, &fields(compare, filter)).await;
        assert_eq!(told, json!({"correctionOffsets": {"0": offset}}), "{compare} without {filter}");
    }
    let clone =
        CloneOffsetsRequest { src_group: "G".into(), dest_group: "copy".into(), ..CloneOffsetsRequest::default() };
    asker.body(request::CLONE_GROUP_OFFSET, &clone).await;
    assert_eq!(asker.node.broker().offsets.get("T", "copy", 0), Some(2));
    let moved = asker.pull("copy", 0).await;
    assert_eq!(moved.code, response::PULL_OFFSET_MOVED, "its members are sent there");
    // A tool that names the offset says nothing of force: forward too.
    let reset = ResetOffsetRequest {
        group: "G".into(),
        topic: "T".into(),
        queue_id: Some(0),
        offset: Some(3),
        timestamp: 0,
        is_force: Some(false),
    };
    asker.body(request::INVOKE_BROKER_TO_RESET_OFFSET, &reset).await;
    assert_eq!(asker.node.broker().offsets.get("T", "G", 0), Some(3));
    let missing = ResetOffsetRequest { queue_id: Some(5), ..reset };
    assert_eq!(asker.ask(request::INVOKE_BROKER_TO_RESET_OFFSET, &missing).await.code, response::INVALID_PARAMETER);
    asker.node.stop().await;
}

#[tokio::test]
async fn a_forbidden_topic_is_not_read_and_a_closed_broker_neither() {
    let asker = Asker::start().await;
    let ban = |readable| ForbiddenRequest { group: "G".into(), topic: "T".into(), readable };
    let told = asker.body(request::UPDATE_AND_GET_GROUP_FORBIDDEN, &ban(Some(false))).await;
    assert_eq!(told, json!({"group": "G", "readable": false, "topic": "T"}));
    let refused = asker.pull("G", 0).await;
    assert_eq!(refused.code, response::NO_PERMISSION);
    assert!(refused.remark.unwrap().contains("forbidden"));
    assert_eq!(asker.pull("H", 0).await.code, response::SUCCESS, "others read on");
    let listed = asker.body(request::GET_ALL_SUBSCRIPTIONGROUP_CONFIG, &Nothing {}).await;
    assert_eq!(listed["forbiddenTable"], json!({"G": {"T": 4}}));
    assert_eq!(asker.body(request::UPDATE_AND_GET_GROUP_FORBIDDEN, &ban(None)).await["readable"], json!(false));
    asker.body(request::UPDATE_AND_GET_GROUP_FORBIDDEN, &ban(Some(true))).await;
    assert_eq!(asker.pull("G", 0).await.code, response::SUCCESS);

    assert_eq!(asker.settings("brokerPermission=2").await.code, response::SUCCESS);
    assert_eq!(asker.pull("G", 0).await.code, response::NO_PERMISSION);
    assert_eq!(asker.settings("brokerPermission=6").await.code, response::SUCCESS);
    assert_eq!(asker.pull("G", 0).await.code, response::SUCCESS);
    asker.node.stop().await;
}

#[tokio::test]
async fn settings_change_while_the_broker_runs_and_nothing_dangerous_does() {
    let asker = Asker::start().await;
    let before = asker.ask(request::GET_BROKER_CONFIG, &Nothing {}).await;
    for (text, code) in [
        ("storePathRootDir=/tmp/x\n", response::NO_PERMISSION),
        ("autoCreateTopicEnable=false\nbrokerConfigPath=/tmp/x\n", response::NO_PERMISSION),
        ("maxMessageSize=-1\n", response::INVALID_PARAMETER),
        ("maxMessageSize\n", response::INVALID_PARAMETER),
    ] {
        assert_eq!(asker.settings(text).await.code, code, "{text}");
    }
    let after = asker.ask(request::GET_BROKER_CONFIG, &Nothing {}).await;
    assert_eq!(before.body, after.body, "all or nothing");
    assert_eq!(asker.settings("autoCreateTopicEnable=false\nmaxMessageSize=10\n").await.code, response::SUCCESS);
    let text = String::from_utf8(asker.ask(request::GET_BROKER_CONFIG, &Nothing {}).await.body.to_vec()).unwrap();
    assert!(text.contains("autoCreateTopicEnable=false\n") && text.contains("maxMessageSize=10\n"), "{text}");
    for (topic, body, code) in [
        ("T", "small", response::SUCCESS),
        ("T", "much too large", response::MESSAGE_ILLEGAL),
        ("new", "small", response::TOPIC_NOT_EXIST),
    ] {
        let fields = SendRequestV2 {
            producer_group: "P".into(),
            topic: topic.into(),
            default_topic: "TBW102".into(),
            default_topic_queue_nums: 1,
            ..SendRequestV2::default()
        };
        let send = asker.link.request(request::SEND_MESSAGE_V2).with_fields(&fields).with_body(body);
        assert_eq!(asker.link.call(send, DEADLINE).await.unwrap().code, code, "{topic} {body}");
    }
    asker.node.stop().await;
}

#[tokio::test]
async fn cleaning_removes_what_nobody_knows_and_leaves_the_rest() {
    let asker = Asker::start().await;
    let broker = asker.node.broker();
    broker.topics.remove("T");
    for code in [request::CLEAN_EXPIRED_CONSUMEQUEUE, request::DELETE_EXPIRED_COMMITLOG] {
        asker.body(code, &Nothing {}).await;
        assert_eq!(broker.store.max_offset("T", 0), 3);
    }
    asker.body(request::CLEAN_UNUSED_TOPIC, &Nothing {}).await;
    assert_eq!(broker.store.max_offset("T", 0), 0);
    drop(broker);
    asker.node.stop().await;
}
