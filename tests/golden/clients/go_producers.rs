//! Producers and administrators in Go: routes, topics, sends, transactions, requests.

use std::io::Write;

use crate::go::{Go, QueueData, Route};
use crate::record::{self, properties};
use crate::servers::Servers;

/// `primitive/message.go` `CreateUniqID`: the address in capitals, the rest not.
const KEY: &str = "0A0000011F40000000001b2c3d4e0001";

/// `internal/request.go` `SendMessageRequestHeader`.`Encode`: TBW102 and 4 queues whatever the producer was told.
pub fn send_fields<'a>(topic: &'a str, flags: &'a str, properties: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("producerGroup", "P"),
        ("topic", topic),
        ("queueId", "0"),
        ("sysFlag", flags),
        ("bornTimestamp", "1764260000000"),
        ("flag", "0"),
        ("reconsumeTimes", "0"),
        ("unitMode", "false"),
        ("maxReconsumeTimes", "0"),
        ("defaultTopic", "TBW102"),
        ("defaultTopicQueueNums", "4"),
        ("batch", "false"),
        ("properties", properties),
        ("bname", "broker-a"),
    ]
}

/// `internal/model.go` `heartbeatData`: of a producer alone.
fn producer_beat(client: &str) -> String {
    format!(r#"{{"clientID":"{client}","producerDataSet":[{{"groupName":"P"}}],"consumerDataSet":[]}}"#)
}

/// `admin/admin.go` `CreateTopic`, with the defaults of `admin/option.go`.
pub fn create_topic(servers: &Servers, topic: &str, queues: &str) {
    let fields = [
        ("topic", topic),
        ("defaultTopic", "defaultTopic"),
        ("readQueueNums", queues),
        ("writeQueueNums", queues),
        ("perm", "6"),
        ("topicFilterType", "SINGLE_TAG"),
        ("topicSysFlag", "0"),
        ("order", "false"),
    ];
    Go::connect(servers.broker).ask(17, &fields, b"").ok();
    servers.routed(topic);
}

#[test]
fn routes_and_topics() {
    let servers = Servers::start();
    let mut names = Go::connect(servers.nameserver);
    // `internal/route.go` queryTopicRouteInfoFromServer: 17 and nothing else makes a producer ask for the default topic.
    assert_eq!(names.ask(105, &[("topic", "T")], b"").code, 17);
    create_topic(&servers, "T", "8");
    let route = Route::read(&names.ask(105, &[("topic", "T")], b"").ok().body);
    let queues = QueueData { broker_name: "broker-a".to_owned(), read_queue_nums: 8, write_queue_nums: 8, perm: 6 };
    assert_eq!(route.queues, [queues]);
    let [(name, cluster, addresses)] = &route.brokers[..] else { panic!("{route:?}") };
    assert_eq!((name.as_str(), cluster.as_str()), ("broker-a", "DefaultCluster"));
    assert_eq!(addresses.iter().collect::<Vec<_>>(), [(&0, &servers.broker.to_string())]);

    // `admin/admin.go` FetchAllTopicList, GetAllSubscriptionGroup: names are matched whatever their case.
    let list: serde_json::Value = serde_json::from_slice(&names.ask(206, &[], b"").ok().body).unwrap();
    assert!(list["topicList"].as_array().unwrap().contains(&"T".into()), "{list}");
    let mut broker = Go::connect(servers.broker);
    let groups: serde_json::Value = serde_json::from_slice(&broker.ask(201, &[], b"").ok().body).unwrap();
    assert!(groups["subscriptionGroupTable"].is_object(), "{groups}");
    assert!(groups["dataVersion"]["counter"].as_i64().is_some_and(|counter| i32::try_from(counter).is_ok()));

    broker.ask(215, &[("topic", "T")], b"").ok();
    names.ask(216, &[("topic", "T")], b"").ok();
    assert_eq!(names.ask(105, &[("topic", "T")], b"").code, 17);
}

#[test]
fn sends() {
    let servers = Servers::start();
    let mut go = Go::connect(servers.broker);
    // Topics are made by sends; producer/producer.go buildSendRequest, internal/client.go ProcessSendResponse.
    let text = properties(&[("TAGS", "TagA"), ("KEYS", "k1 k2"), ("UNIQ_KEY", KEY), ("a", "<&>")]);
    for number in 0..2 {
        let sent = go.ask(10, &send_fields("T", "0", &text), b"plain").ok();
        assert_eq!((sent.number("queueId"), sent.number("queueOffset")), (0, number));
        assert_eq!(sent.text("transactionId"), KEY);
        assert_eq!((sent.text("MSG_REGION"), sent.text("TRACE_ON")), ("DefaultRegion", "true"));
        let id = sent.text("msgId");
        let found = record::decode(&go.ask(33, &[("offset", &record::place(id).to_string())], b"").ok().body);
        assert_eq!((found[0].id.as_str(), found[0].properties["a"].as_str()), (id, "<&>"));
    }
    let mut deflated = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    deflated.write_all(&[b'x'; 10_000]).unwrap();
    let sent = go.ask(10, &send_fields("T", "1", &text), &deflated.finish().unwrap()).ok();
    assert_eq!(sent.number("queueOffset"), 2);

    // A batch has code 320 and the letters of the second form, and no properties of its own.
    let batch = record::batch(&[("one", &properties(&[("KEYS", "1")])), ("two", "")]);
    let letters = [
        ("a", "P"),
        ("b", "T"),
        ("c", "TBW102"),
        ("d", "4"),
        ("e", "0"),
        ("f", "0"),
        ("g", "1764260000000"),
        ("h", "0"),
        ("i", ""),
        ("j", "0"),
        ("k", "false"),
        ("l", "0"),
        ("m", "true"),
        ("n", "broker-a"),
    ];
    let sent = go.ask(320, &letters, &batch).ok();
    assert_eq!(sent.number("queueOffset"), 3);
    assert_eq!(sent.text("msgId").split(',').count(), 2);
    assert_eq!(go.ask(30, &[("topic", "T"), ("queueId", "0"), ("bname", "broker-a")], b"").ok().number("offset"), 5);

    // needRetryCode: another broker is tried after 1, 14, 16 and 17 alone.
    let refused = go.ask(10, &send_fields("SCHEDULE_TOPIC_XXXX", "0", ""), b"x");
    assert_eq!(refused.code, 16, "{}", refused.remark);
}

/// `internal/request.go` `EndTransactionRequestHeader`.
fn end<'a>(
    state: &'a str,
    place: &'a str,
    outcome: &'a str,
    asked: &'a str,
    broker: &'a str,
) -> [(&'a str, &'a str); 8] {
    [
        ("producerGroup", "P"),
        ("tranStateTableOffset", state),
        ("commitLogOffset", place),
        ("commitOrRollback", outcome),
        ("fromTransactionCheck", asked),
        ("msgId", KEY),
        ("transactionId", KEY),
        ("bname", broker),
    ]
}

#[test]
fn transactions() {
    let servers = Servers::start();
    create_topic(&servers, "T", "1");
    let mut go = Go::connect(servers.broker);
    go.ask(34, &[], producer_beat("10.0.0.1@77").as_bytes()).ok();
    // producer/producer.go SendMessageInTransaction, endTransaction: the place in the log is taken from msgId.
    let text = properties(&[("TRAN_MSG", "true"), ("PGROUP", "P"), ("UNIQ_KEY", KEY)]);
    let half = go.ask(10, &send_fields("T", "4", &text), b"paid").ok();
    let (state, place) = (half.text("queueOffset"), record::place(half.text("msgId")).to_string());
    // 'Not known' is sent as well, and nobody reads the answer.
    go.send(37, &end(state, &place, "0", "false", "broker-a"), b"");

    // internal/client.go: a question counts only if the record is read, and PGROUP is the group of the instance; after that
    // producer.go checkTransactionState takes the numbers from the question's fields.
    let question = go.pushed(39);
    let asked = record::decode(&question.body);
    assert_eq!((asked[0].topic.as_str(), asked[0].body.as_slice()), ("T", &b"paid"[..]));
    assert_eq!((asked[0].properties["PGROUP"].as_str(), asked[0].properties["UNIQ_KEY"].as_str()), ("P", KEY));
    assert_eq!((question.text("tranStateTableOffset"), question.text("commitLogOffset")), (state, place.as_str()));
    let commit = end(question.text("tranStateTableOffset"), question.text("commitLogOffset"), "8", "true", "");
    go.ask(37, &commit, b"").ok();
    assert_eq!(go.ask(30, &[("topic", "T"), ("queueId", "0"), ("bname", "broker-a")], b"").ok().number("offset"), 1);
}

#[test]
fn requests_and_replies() {
    let servers = Servers::start();
    let (mut asker, mut replier) = (Go::connect(servers.broker), Go::connect(servers.broker));
    // internal/request.go ReplyMessageRequestHeader: the push goes to the client that has registered as a producer.
    asker.ask(34, &[], producer_beat("10.0.0.1@77").as_bytes()).ok();
    let text =
        properties(&[("REPLY_TO_CLIENT", "10.0.0.1@77"), ("CORRELATION_ID", "c1"), ("TTL", "3"), ("UNIQ_KEY", KEY)]);
    asker.ask(10, &send_fields("T", "0", &text), b"price?").ok();
    // producer/producer.go buildSendRequest: the first form of the header with code 324.
    let text = properties(&[
        ("MSG_TYPE", "reply"),
        ("REPLY_TO_CLIENT", "10.0.0.1@77"),
        ("CORRELATION_ID", "c1"),
        ("TTL", "3"),
        ("UNIQ_KEY", KEY),
    ]);
    let replied = replier.send(324, &send_fields("DefaultCluster_REPLY_TOPIC", "0", &text), b"420");
    let push = asker.pushed(326);
    assert_eq!((push.body.as_slice(), push.text("topic")), (&b"420"[..], "DefaultCluster_REPLY_TOPIC"));
    assert!(push.text("properties").contains("CORRELATION_ID\u{1}c1\u{2}"));
    for name in ["queueId", "sysFlag", "bornTimestamp", "flag", "storeTimestamp"] {
        push.number(name);
    }
    assert!(push.text("bornHost").starts_with("127.0.0.1:") && push.text("storeHost").starts_with("127.0.0.1:"));
    asker.reply(&push, 0, b"");
    replier.answer(replied).ok();
}
