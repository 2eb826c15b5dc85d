//! Bodies as clients of all languages write them, and ours as the pickiest of those clients reads them.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use serde::Serialize;
use serde_json::json;

use super::fill::odd_text;
use crate::protocol::body::group::{
    Connection, ConsumerConnection, ConsumerIds, GroupConfig, GroupTable, LockRequest, LockResponse, MessageQueue,
    ProducerConnection,
};
use crate::protocol::body::heartbeat::{
    CheckClientRequest, ConsumeFromWhere, ConsumeType, HeartbeatData, MessageModel, SubscriptionData,
};
use crate::protocol::body::kv::KvTable;
use crate::protocol::body::route::{BrokerData, BrokerMemberGroup, ClusterInfo, QueueData, TopicList, TopicRoute};
use crate::protocol::body::stats::{
    AllConsumeStats, ConsumeOffset, QueueTable, TopicOffset, all_consume_stats, consume_stats, consumer_status,
    parse_client_status, parse_table, reset_offsets, topic_stats,
};
use crate::protocol::body::topic::{TopicConfig, TopicTable};
use crate::protocol::frame::{Encoding, Frame};
use crate::protocol::relaxed::parse;

fn route() -> TopicRoute {
    TopicRoute {
        broker_datas: vec![BrokerData {
            broker_addrs: BTreeMap::from([(0, "127.0.0.1:10911".to_owned()), (1, "127.0.0.1:10921".to_owned())]),
            broker_name: "b0".to_owned(),
            cluster: "c".to_owned(),
            enable_acting_master: false,
            zone_name: None,
        }],
        filter_server_table: BTreeMap::new(),
        order_topic_conf: None,
        queue_datas: vec![QueueData {
            broker_name: "b0".to_owned(),
            perm: 6,
            read_queue_nums: 4,
            topic_sys_flag: 0,
            write_queue_nums: 4,
        }],
    }
}

#[test]
fn routes_read_with_bare_and_quoted_broker_ids() {
    for ids in [
        r#"{0:"127.0.0.1:10911",1:"127.0.0.1:10921"}"#,
        r#"{"0":"127.0.0.1:10911","1":"127.0.0.1:10921"}"#,
        r#"{ '1' : '127.0.0.1:10921' , 0 : "127.0.0.1:10911" }"#,
    ] {
        let text = format!(
            r#"{{"brokerDatas":[{{"brokerAddrs":{ids},"brokerName":"b0","cluster":"c","enableActingMaster":false}}],"filterServerTable":{{}},"queueDatas":[{{"brokerName":"b0","perm":6,"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}}]}}"#
        );
        assert_eq!(parse::<TopicRoute>(text.as_bytes()).as_ref(), Ok(&route()), "{ids}");
    }
    // Old brokers misspell the flag; the collections may be missing.
    let old = r#"{"queueDatas":[{"brokerName":"b0","perm":6,"readQueueNums":4,"topicSynFlag":3,"writeQueueNums":4}]}"#;
    assert_eq!(parse::<TopicRoute>(old.as_bytes()).unwrap().queue_datas[0].topic_sys_flag, 3);
}

#[test]
fn our_routes_have_quoted_ids_and_every_collection() {
    let text = serde_json::to_string(&route()).unwrap();
    assert!(text.contains(r#""brokerAddrs":{"0":"127.0.0.1:10911","1":"127.0.0.1:10921"}"#), "{text}");
    let empty = serde_json::to_string(&TopicRoute::default()).unwrap();
    assert_eq!(empty, r#"{"brokerDatas":[],"filterServerTable":{},"queueDatas":[]}"#);
}

fn queue(topic: &str, queue_id: i32) -> MessageQueue {
    MessageQueue { broker_name: "b0".to_owned(), queue_id, topic: topic.to_owned() }
}

/// The body that a frame of ours carries.
fn body(value: &impl Serialize) -> String {
    String::from_utf8(Frame::request(0, Encoding::Json).with_json(value).body.to_vec()).unwrap()
}

#[test]
fn our_bodies_hold_no_blanks() {
    let subscription = SubscriptionData { topic: "T".to_owned(), tags_set: vec!["a".to_owned()], ..Default::default() };
    let connection = Connection { client_id: "id".to_owned(), language: "JAVA".to_owned(), ..Default::default() };
    let texts = [
        body(&route()),
        body(&ClusterInfo {
            broker_addr_table: BTreeMap::from([("b0".to_owned(), route().broker_datas.remove(0))]),
            cluster_addr_table: BTreeMap::from([("c".to_owned(), vec!["b0".to_owned(), "b1".to_owned()])]),
        }),
        body(&TopicList { broker_addr: None, topic_list: vec!["a".to_owned(), "b".to_owned()] }),
        body(&BrokerMemberGroup {
            broker_addrs: BTreeMap::from([(0, "h:1".to_owned())]),
            broker_name: "b0".to_owned(),
            cluster: "c".to_owned(),
        }),
        body(&TopicTable {
            topic_config_table: BTreeMap::from([("T".to_owned(), TopicConfig::new("T", 4, 6))]),
            ..Default::default()
        }),
        body(&GroupTable {
            subscription_group_table: BTreeMap::from([("G".to_owned(), GroupConfig::new("G"))]),
            ..Default::default()
        }),
        body(&ConsumerIds { consumer_id_list: vec!["a".to_owned(), "b".to_owned()] }),
        body(&LockResponse { locked: vec![queue("T", 0), queue("T", 1)] }),
        body(&ConsumerConnection {
            connection_set: vec![connection.clone(), connection.clone()],
            subscription_table: BTreeMap::from([("T".to_owned(), subscription)]),
            ..Default::default()
        }),
        body(&ProducerConnection { connection_set: vec![connection] }),
        body(&KvTable { table: BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]) }),
        String::from_utf8(topic_stats(&vec![(queue("T", 0), TopicOffset::default()); 2], 0.0)).unwrap(),
        String::from_utf8(consume_stats(&vec![(queue("T", 0), ConsumeOffset::default()); 2], 1.5)).unwrap(),
        String::from_utf8(reset_offsets(&vec![(queue("T", 0), 7), (queue("T", 1), 8)])).unwrap(),
    ];
    for text in texts {
        assert!(text.len() > 2 && !text.contains([' ', '\n', '\t']), "Go cuts such bodies by hand: {text}");
    }
}

fn heartbeat(text: &str) -> HeartbeatData {
    parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn heartbeats_of_java_read() {
    let data = heartbeat(
        r#"{"clientID":"id","consumerDataSet":[{"consumeFromWhere":"CONSUME_FROM_FIRST_OFFSET","consumeType":"CONSUME_ACTIVELY","groupName":"G","messageModel":"BROADCASTING","subscriptionDataSet":[{"classFilterMode":false,"codeSet":[65,-3],"expressionType":"SQL92","subString":"A||B","subVersion":1,"tagsSet":["A"],"topic":"T"}],"unitMode":true}],"heartbeatFingerprint":7,"producerDataSet":[{"groupName":"P"}],"withoutSub":true}"#,
    );
    let consumer = &data.consumer_data_set[0];
    assert_eq!((data.heartbeat_fingerprint, data.without_sub), (7, true));
    assert_eq!(consumer.consume_from_where, ConsumeFromWhere::FirstOffset);
    assert_eq!((consumer.consume_type, consumer.message_model), (ConsumeType::Actively, MessageModel::Broadcasting));
    assert_eq!(consumer.subscription_data_set[0].code_set, [65, -3]);
    assert_eq!(consumer.subscription_data_set[0].expression_type, "SQL92");
}

#[test]
fn heartbeats_of_go_read() {
    let data = heartbeat(
        r#"{"clientID":"id","producerDataSet":[],"consumerDataSet":[{"groupName":"G","consumeType":"CONSUME_PASSIVELY","messageModel":"CLUSTERING","consumeFromWhere":"UNKNOWN","subscriptionDataSet":[{"ClassFilterMode":false,"topic":"T","subString":"*","tagsSet":null,"codeSet":["65","-3"],"subVersion":1700000000000000000,"expressionType":"TAG"}],"unitMode":false}]}"#,
    );
    let consumer = &data.consumer_data_set[0];
    assert_eq!(consumer.consume_from_where, ConsumeFromWhere::LastOffset);
    let subscription = &consumer.subscription_data_set[0];
    assert_eq!(
        (subscription.code_set.as_slice(), subscription.sub_version),
        (&[65, -3][..], 1_700_000_000_000_000_000)
    );
    assert!(subscription.tags_set.is_empty());
}

#[test]
fn heartbeats_of_cpp_read() {
    let data = heartbeat(
        r#"{"clientID":"id","consumerDataSet":[{"consumeFromWhere":4,"consumeType":0,"groupName":"G","messageModel":1,"subscriptionDataSet":[{"subString":"*","subVersion":"1700000000000","topic":"T"}]}]}"#,
    );
    let consumer = &data.consumer_data_set[0];
    assert_eq!(consumer.consume_from_where, ConsumeFromWhere::FirstOffset);
    assert_eq!((consumer.consume_type, consumer.message_model), (ConsumeType::Actively, MessageModel::Clustering));
    let subscription = &consumer.subscription_data_set[0];
    assert_eq!((subscription.expression_type.as_str(), subscription.sub_version), ("TAG", 1_700_000_000_000));
    assert!(data.producer_data_set.is_empty());
    // Ordinals may be texts too, and those nobody knows mean the default.
    let odd = r#"{"clientID":"id","consumerDataSet":[{"groupName":"G","consumeType":"2","consumeFromWhere":99,"messageModel":"0"}]}"#;
    let consumer = &heartbeat(odd).consumer_data_set[0];
    assert_eq!((consumer.consume_type, consumer.message_model), (ConsumeType::Pop, MessageModel::Broadcasting));
    assert_eq!(consumer.consume_from_where, ConsumeFromWhere::LastOffset);
}

#[test]
fn heartbeats_that_lack_what_is_needed_say_so() {
    for (text, named) in [
        ("{}", "clientID"),
        (r#"{"clientID":"id","consumerDataSet":[{}]}"#, "groupName"),
        (r#"{"clientID":"id","producerDataSet":[{}]}"#, "groupName"),
        (r#"{"clientID":7}"#, "expected a string"),
        (r#"{"clientID":"id","consumerDataSet":7}"#, "expected a sequence"),
        (
            r#"{"clientID":"id","consumerDataSet":[{"groupName":"G","subscriptionDataSet":[{"subVersion":"soon"}]}]}"#,
            "'soon'",
        ),
        ("nonsense", "expected"),
        ("", "EOF"),
    ] {
        let error = parse::<HeartbeatData>(text.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(named), "{text}: {error}");
    }
}

#[test]
fn enumerations_are_written_by_name() {
    let text = serde_json::to_string(&ConsumerConnection::default()).unwrap();
    assert!(text.contains(
        r#""consumeFromWhere":"CONSUME_FROM_LAST_OFFSET","consumeType":"CONSUME_PASSIVELY","messageModel":"CLUSTERING""#
    ));
}

#[test]
fn locks_and_checks_read_as_clients_write_them() {
    let java = r#"{"clientId":"c","consumerGroup":"G","mqSet":[{"brokerName":"b0","queueId":0,"topic":"T"}],"onlyThisBroker":false}"#;
    assert_eq!(parse::<LockRequest>(java.as_bytes()).unwrap().mq_set, [queue("T", 0)]);
    let go = r#"{"consumerGroup":"G","clientId":"c","mqSet":[{"topic":"T","brokerName":"b0","queueId":0}]}"#;
    assert_eq!(parse::<LockRequest>(go.as_bytes()).unwrap().mq_set, [queue("T", 0)]);
    let check = r#"{"clientId":"c","group":"G","namespace":"","subscriptionData":{"classFilterMode":false,"codeSet":[],"expressionType":"SQL92","subString":"a > 1","subVersion":1,"tagsSet":[],"topic":"T"}}"#;
    let check: CheckClientRequest = parse(check.as_bytes()).unwrap();
    assert_eq!(check.subscription_data.unwrap().sub_string, "a > 1");
}

#[test]
fn statistics_have_the_form_that_newer_java_clients_need() {
    let rows = vec![(queue("T", 0), TopicOffset { last_update_timestamp: 0, max_offset: 5, min_offset: 0 })];
    assert_eq!(
        String::from_utf8(topic_stats(&rows, 0.0)).unwrap(),
        r#"{"offsetTable":{{"brokerName":"b0","queueId":0,"topic":"T"}:{"lastUpdateTimestamp":0,"maxOffset":5,"minOffset":0}},"topicPutTps":0.0}"#
    );
    let rows = vec![(
        queue("T", 0),
        ConsumeOffset { broker_offset: 9, consumer_offset: 1, last_timestamp: 0, pull_offset: 2 },
    )];
    let text = String::from_utf8(consume_stats(&rows, 0.5)).unwrap();
    assert!(text.contains(r#"{{"brokerName":"b0","queueId":0,"topic":"T"}:{"brokerOffset":9,"consumerOffset":1,"lastTimestamp":0,"pullOffset":2}}"#));
    assert!(text.contains(r#""consumeTps":0.5"#), "{text}");
    assert_eq!(
        String::from_utf8(reset_offsets(&vec![(queue("T", 0), 7)])).unwrap(),
        r#"{"offsetTable":{{"brokerName":"b0","queueId":0,"topic":"T"}:7}}"#
    );
}

#[test]
fn figures_of_all_groups_and_clients_have_the_form_that_tools_read() {
    let row = |consumer_offset| ConsumeOffset { broker_offset: 9, consumer_offset, last_timestamp: 0, pull_offset: 8 };
    let stats = AllConsumeStats {
        broker_addr: "1.2.3.4:5".to_owned(),
        groups: vec![
            ("G".to_owned(), vec![(vec![(queue("T", 0), row(1)), (queue("T", 1), row(2))], 0.5), (Vec::new(), 0.0)]),
            ("empty".to_owned(), Vec::new()),
        ],
    };
    let text = String::from_utf8(all_consume_stats(&stats)).unwrap();
    assert!(text.starts_with(
        r#"{"brokerAddr":"1.2.3.4:5","consumeStatsList":[{"G":[{"offsetTable":{{"brokerName":"b0","queueId":0,"topic":"T"}:{"#
    ));
    assert!(text.ends_with(r#""consumeTps":0.0}]},{"empty":[]}],"totalDiff":15,"totalInflightDiff":13}"#), "{text}");
    let clients = [("c\"1".to_owned(), vec![(queue("T", 0), 7)]), ("c2".to_owned(), Vec::new())];
    assert_eq!(
        String::from_utf8(consumer_status(&clients)).unwrap(),
        r#"{"consumerTable":{"c\"1":{{"brokerName":"b0","queueId":0,"topic":"T"}:7},"c2":{}},"messageQueueTable":{}}"#
    );
    let told = br#"{"consumerTable":{},"messageQueueTable":{{"brokerName":"b0","queueId":0,"topic":"T"}:7}}"#;
    assert_eq!(parse_client_status(told).unwrap(), [(queue("T", 0), 7)]);
    assert_eq!(parse_client_status(b"{}").unwrap(), []);
    assert!(parse_client_status(br#"{"messageQueueTable":{"T":7}}"#).is_err());
}

#[test]
fn statistics_read_with_keys_as_objects_and_as_texts() {
    for text in [
        r#"{"offsetTable":{{"brokerName":"b0","queueId":0,"topic":"T"}:7}}"#,
        r#"{"offsetTable":{"{\"brokerName\":\"b0\",\"queueId\":0,\"topic\":\"T\"}":7}}"#,
        r#"{ offsetTable : { {topic:'T', queueId:0, brokerName:'b0'} : 7 } }"#,
    ] {
        assert_eq!(parse_table::<i64>(text.as_bytes()).unwrap(), [(queue("T", 0), 7)], "{text}");
    }
    for text in [r#"{"offsetTable":{"T":7}}"#, r#"{"offsetTable":{{"queueId":"x"}:7}}"#, r#"{"offsetTable":[7]}"#, "{}"]
    {
        assert!(parse_table::<i64>(text.as_bytes()).is_err(), "{text}");
    }
}

fn rows() -> impl Strategy<Value = BTreeMap<MessageQueue, i64>> {
    let row = (vec(any::<u8>(), 0..5), any::<i32>(), vec(any::<u8>(), 0..5), any::<i64>());
    vec(row, 0..6).prop_map(|rows| {
        let rows = rows.into_iter().map(|(broker, queue_id, topic, offset)| {
            (MessageQueue { broker_name: odd_text(&broker), queue_id, topic: odd_text(&topic) }, offset)
        });
        rows.collect()
    })
}

proptest! {
    #[test]
    fn tables_by_queue_are_read_as_written(rows in rows()) {
        let table: QueueTable<i64> = rows.clone().into_iter().collect();
        let read: BTreeMap<_, _> = parse_table(&reset_offsets(&table)).unwrap().into_iter().collect();
        prop_assert_eq!(read, rows);
    }

    #[test]
    fn any_bytes_are_no_harm_as_a_body(bytes in vec(any::<u8>(), 0..200), marks in any::<bool>()) {
        let bytes: Vec<u8> = if marks { bytes.iter().map(|byte| b"{}[],:\"'\\ a1tn"[usize::from(*byte) % 14]).collect() } else { bytes };
        let _ = parse::<HeartbeatData>(&bytes);
        let _ = parse::<TopicRoute>(&bytes);
        let _ = parse_table::<i64>(&bytes);
        let _ = parse::<TopicTable>(&bytes);
        let _ = parse::<GroupConfig>(&bytes);
        let _ = parse::<LockRequest>(&bytes);
    }

    #[test]
    fn tags_and_topics_of_any_characters_survive_a_heartbeat(tag in vec(any::<u8>(), 0..9), topic in vec(any::<u8>(), 0..9)) {
        let (tag, topic) = (odd_text(&tag), odd_text(&topic));
        let sent = json!({"clientID": "id", "consumerDataSet": [{"groupName": "G", "subscriptionDataSet": [{"topic": topic, "tagsSet": [tag]}]}]});
        let read = heartbeat(&sent.to_string());
        let subscription = &read.consumer_data_set[0].subscription_data_set[0];
        prop_assert_eq!((&subscription.topic, &subscription.tags_set[0]), (&topic, &tag));
    }
}
