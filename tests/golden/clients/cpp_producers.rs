//! Producers in C++: routes, sends, transactions.

use serde_json::{Value, json};

use crate::cpp::Cpp;
use crate::record::{self, properties};
use crate::servers::Servers;

const KEY: &str = "0A0000011F4000000000000000000001";

/// `src/protocol/CommandHeader.cpp` `SendMessageRequestHeaderV2::Encode`, filled by `src/producer/DefaultMQProducerImpl.cpp`
/// `sendKernelImpl`: d, e, f, h and l are numbers.
pub fn letters(topic: &str, flags: i32, properties: &str, is_batch: bool) -> Value {
    json!({
        "a": "P", "b": topic, "c": "TBW102", "d": 4, "e": 0, "f": flags, "g": "1764260000000", "h": 0, "i": properties, "j": "0",
        "k": "false", "l": 16, "m": is_batch.to_string()
    })
}

/// `src/protocol/HeartbeatData.h` `Encode`: of a producer alone, so there is no set of consumers.
fn producer_beat(client: &str) -> String {
    format!("{{\"clientID\":\"{client}\",\"producerDataSet\":[{{\"groupName\":\"P\"}}]}}\n")
}

/// `src/protocol/TopicRouteData.h` `Decode`.
pub fn route(body: &[u8]) -> Value {
    let route: Value = serde_json::from_slice(body).unwrap();
    for queue in route["queueDatas"].as_array().unwrap() {
        assert!(queue["brokerName"].is_string());
        for number in ["readQueueNums", "writeQueueNums", "perm"] {
            assert!(queue[number].is_i64(), "{queue}");
        }
    }
    for broker in route["brokerDatas"].as_array().unwrap() {
        let addresses = broker["brokerAddrs"].as_object().unwrap();
        assert!(addresses.iter().all(|(id, address)| id.parse::<i32>().is_ok() && address.is_string()), "{broker}");
    }
    assert!(matches!(route["orderTopicConf"], Value::Null | Value::String(_)));
    route
}

#[test]
fn routes() {
    let servers = Servers::start();
    let mut names = Cpp::connect(servers.nameserver);
    // src/MQClientAPIImpl.cpp getTopicRouteInfoFromNameServer: 17 makes the producer ask for the default topic.
    assert_eq!(names.ask(105, &json!({ "topic": "T" }), b"").code, 17);
    let read = route(&names.ask(105, &json!({ "topic": "TBW102" }), b"").ok().body);
    assert_eq!(read["brokerDatas"][0]["brokerAddrs"]["0"], servers.broker.to_string());
    assert!(!names.ask(206, &Value::Null, b"").ok().body.is_empty());

    // src/protocol/CommandHeader.cpp CreateTopicRequestHeader: neither order nor flags, and the kind of filter, an enum, becomes
    // one character. No public function reaches it at this version.
    let create = json!({
        "topic": "T", "defaultTopic": "TBW102", "readQueueNums": 3, "writeQueueNums": 2, "perm": 6, "topicFilterType": "\u{0}"
    });
    let mut broker = Cpp::connect(servers.broker);
    broker.ask(17, &create, b"").ok();
    servers.routed("T");
    let read = route(&names.ask(105, &json!({ "topic": "T" }), b"").ok().body);
    assert_eq!(read["queueDatas"][0]["readQueueNums"], 3);
    assert_eq!(broker.ask(351, &json!({ "topic": "T" }), b"").ok().json()["topicFilterType"], "SINGLE_TAG");
    let garbage = json!({
        "topic": "U", "defaultTopic": "TBW102", "readQueueNums": 3, "writeQueueNums": 2, "perm": 6, "topicFilterType": "TAGS"
    });
    assert_eq!(broker.ask(17, &garbage, b"").code, 29);
}

#[test]
fn sends() {
    let servers = Servers::start();
    let mut cpp = Cpp::connect(servers.broker);
    let text = properties(&[("KEYS", "k1"), ("TAGS", "TagA"), ("UNIQ_KEY", KEY), ("WAIT", "true")]);
    for number in 0..2 {
        // src/MQClientAPIImpl.cpp processSendResponse.
        let sent = cpp.ask(310, &letters("T", 0, &text, false), "ein Brötchen".as_bytes()).ok();
        assert_eq!((sent.number("queueId"), sent.number("queueOffset")), (0, number));
        assert_eq!((sent.text("MSG_REGION"), sent.text("TRACE_ON")), ("DefaultRegion", "true"));
        // src/message/MQDecoder.cpp decodeMessageId: four bytes of address, four of port, eight of the place.
        let id = sent.text("msgId").to_owned();
        let viewed = cpp.ask(33, &json!({ "offset": record::place(&id).to_string() }), b"").ok();
        let [found] = &record::decode(&viewed.body)[..] else { panic!("one message") };
        assert_eq!((found.id.as_str(), found.body.as_slice()), (id.as_str(), "ein Brötchen".as_bytes()));
        assert_eq!((found.properties["TAGS"].as_str(), found.properties["UNIQ_KEY"].as_str()), ("TagA", KEY));
        assert!(found.born_host.starts_with("127.0.0.1:"), "{}", found.born_host);
    }
    // A batch has the same code, and m.
    let batch = record::batch(&[("one", &properties(&[("UNIQ_KEY", KEY)])), ("two", "")]);
    let sent = cpp.ask(310, &letters("T", 0, "", true), &batch).ok();
    assert_eq!((sent.number("queueOffset"), sent.text("msgId").split(',').count()), (2, 2));
    assert_eq!(cpp.ask(30, &json!({ "topic": "T", "queueId": 0 }), b"").ok().number("offset"), 4);
    assert_eq!(cpp.ask(31, &json!({ "topic": "T", "queueId": 0 }), b"").ok().number("offset"), 0);
    let search = json!({ "topic": "T", "queueId": 0, "timestamp": "0" });
    assert_eq!(cpp.ask(29, &search, b"").ok().number("offset"), 0);
    assert!(cpp.ask(32, &json!({ "topic": "T", "queueId": 0 }), b"").ok().number("timestamp") > 0);
}

#[test]
fn transactions() {
    let servers = Servers::start();
    let mut cpp = Cpp::connect(servers.broker);
    cpp.ask(34, &Value::Null, producer_beat("10.0.0.1@DEFAULT").as_bytes()).ok();
    // src/producer/TransactionMQProducerImpl.cpp: the place in the log comes out of the id; there is no transaction id.
    let text = properties(&[("PGROUP", "P"), ("TRAN_MSG", "true"), ("UNIQ_KEY", KEY)]);
    let half = cpp.ask(310, &letters("T", 4, &text, false), b"paid").ok();
    let end = |state: &str, place: &str, outcome: i32, asked: bool, transaction: &str| {
        json!({
            "msgId": KEY, "transactionId": transaction, "producerGroup": "P", "tranStateTableOffset": state,
            "commitLogOffset": place, "commitOrRollback": outcome.to_string(), "fromTransactionCheck": asked.to_string()
        })
    };
    let (state, place) = (half.text("queueOffset").to_owned(), record::place(half.text("msgId")).to_string());
    cpp.send(37, &end(&state, &place, 0, false, ""), b"");
    // src/transport/ClientRemotingProcessor.cpp checkTransactionState, then TransactionMQProducerImpl checkTransactionStateImpl.
    let question = cpp.pushed(39);
    let asked = record::decode(&question.body);
    assert_eq!((asked[0].topic.as_str(), asked[0].properties["PGROUP"].as_str()), ("T", "P"));
    assert_eq!(
        (question.text("tranStateTableOffset"), question.text("commitLogOffset")),
        (state.as_str(), place.as_str())
    );
    assert_eq!((question.text("transactionId"), question.text("offsetMsgId")), (KEY, half.text("msgId")));
    assert!(!question.text("msgId").is_empty());
    cpp.ask(37, &end(&state, &place, 8, true, question.text("transactionId")), b"").ok();
    assert_eq!(cpp.ask(30, &json!({ "topic": "T", "queueId": 0 }), b"").ok().number("offset"), 1);
}
