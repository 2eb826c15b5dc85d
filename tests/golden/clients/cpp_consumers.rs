//! Consumers in C++: heartbeats, pulls, offsets, returned messages, locks, questions of the broker, the end.

use serde_json::{Value, json};

use crate::cpp::Cpp;
use crate::cpp_producers::letters;
use crate::record::{self, Message, properties};
use crate::servers::Servers;

/// `src/protocol/HeartbeatData.h`, `src/consumer/SubscriptionData.cpp` `toJson`: enums are numbers, the version is a text, there is no
/// kind of expression; a tag's code is what `atoi` makes of it, and empty sets are left out.
fn beat(client: &str, expression: &str, tags: &[&str]) -> String {
    let mut subscription = json!({ "subString": expression, "subVersion": "1764260000000", "topic": "T" });
    if !tags.is_empty() {
        subscription["tagsSet"] = json!(tags);
        subscription["codeSet"] = json!(vec![0; tags.len()]);
    }
    let retry = json!({ "subString": "*", "subVersion": "1764260000000", "topic": "%RETRY%G" });
    let data = json!({
        "clientID": client,
        "consumerDataSet": [{
            "consumeFromWhere": 0, "consumeType": 1, "groupName": "G", "messageModel": 1,
            "subscriptionDataSet": [subscription, retry]
        }]
    });
    format!("{data}\n")
}

/// `PullMessageRequestHeader::Encode`, filled by `src/consumer/DefaultMQPushConsumerImpl.cpp` `pullMessageAsync`: the expression always
/// comes along, -1 where there is no offset to commit; queueId, maxMsgNums and sysFlag are numbers.
fn pull(expression: &str, offset: i64, flags: i32, commit: i64) -> Value {
    json!({
        "consumerGroup": "G", "topic": "T", "queueId": 0, "queueOffset": offset.to_string(), "maxMsgNums": 32, "sysFlag": flags,
        "commitOffset": commit.to_string(), "subVersion": "1764260000000", "suspendTimeoutMillis": "15000",
        "subscription": expression
    })
}

fn send(cpp: &mut Cpp, tag: &str, body: &str) {
    cpp.ask(310, &letters("T", 0, &properties(&[("TAGS", tag)]), false), body.as_bytes()).ok();
}

fn bodies(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| std::str::from_utf8(&message.body).unwrap()).collect()
}

const QUERY: fn() -> Value = || json!({ "consumerGroup": "G", "topic": "T", "queueId": 0 });

#[test]
fn pulls_and_offsets() {
    let servers = Servers::start();
    let (mut cpp, mut producer) = (Cpp::connect(servers.broker), Cpp::connect(servers.broker));
    send(&mut producer, "TagA", "a");
    cpp.ask(34, &Value::Null, beat("10.0.0.1@DEFAULT", "TagA||TagC", &["TagA", "TagC"]).as_bytes()).ok();
    servers.routed("%RETRY%G");
    // src/MQClientAPIImpl.cpp getConsumerIdListByGroup.
    let list = cpp.ask(38, &json!({ "consumerGroup": "G" }), b"").ok().json();
    assert_eq!(list, json!({ "consumerIdList": ["10.0.0.1@DEFAULT"] }));
    assert_eq!(cpp.ask(38, &json!({ "consumerGroup": "H" }), b"").code, 1);
    // A group without an offset: 0 on a young topic, else a refusal, which readOffset takes for -1.
    assert_eq!(cpp.ask(14, &QUERY(), b"").ok().number("offset"), 0);
    assert_eq!(cpp.ask(14, &json!({ "consumerGroup": "G", "topic": "T", "queueId": 3 }), b"").code, 22);

    for (tag, body) in [("TagB", "b"), ("TagC", "c")] {
        send(&mut producer, tag, body);
    }
    // A pull that finds something does not wait for the rest; this does.
    assert_eq!(cpp.ask(30, &json!({ "topic": "T", "queueId": 0 }), b"").ok().number("offset"), 3);
    // processPullResponse reads the header before it looks at the code; a code of 0 must have a body.
    let pulled = cpp.ask(11, &pull("TagA||TagC", 0, 6, -1), b"").ok();
    assert_eq!(bodies(&record::decode(&pulled.body)), ["a", "c"]);
    assert_eq!(["nextBeginOffset", "minOffset", "maxOffset"].map(|name| pulled.number(name)), [3, 0, 3]);
    assert_eq!(pulled.number("suggestWhichBrokerId"), 0);
    // Held, with a commit; the synchronous mode does not ask for that and is answered at once.
    let held = cpp.send(11, &pull("TagA||TagC", 3, 7, 2), b"");
    send(&mut producer, "TagC", "later");
    assert_eq!(bodies(&record::decode(&cpp.answer(held).ok().body)), ["later"]);
    assert_eq!(cpp.ask(14, &QUERY(), b"").ok().number("offset"), 2);
    for (offset, code, next) in [(4, 19, 4), (100, 21, 4)] {
        let told = cpp.ask(11, &pull("*", offset, 4, -1), b"");
        assert_eq!((told.code, told.number("nextBeginOffset")), (code, next), "{}", told.remark);
        assert_eq!((told.number("minOffset"), told.number("maxOffset")), (0, 4));
        assert_eq!(told.number("suggestWhichBrokerId"), 0);
    }
    send(&mut producer, "TagB", "b");
    let told = cpp.ask(11, &pull("TagA", 4, 4, -1), b"");
    assert_eq!((told.code, told.number("nextBeginOffset")), (20, 5), "{}", told.remark);

    // updateConsumerOffsetOneway: no mark on the wire; the answer is dropped.
    let commit = json!({ "consumerGroup": "G", "topic": "T", "queueId": 0, "commitOffset": "3" });
    cpp.send(15, &commit, b"");
    assert_eq!(cpp.ask(14, &QUERY(), b"").ok().number("offset"), 3);
}

#[test]
fn numbers_of_enums() {
    let servers = Servers::start();
    let mut cpp = Cpp::connect(servers.broker);
    send(&mut cpp, "TagA", "a");
    // include/ConsumeType.h.
    let numbers = [
        (0, "CONSUME_FROM_LAST_OFFSET", 1, "CONSUME_PASSIVELY", 1, "CLUSTERING"),
        (4, "CONSUME_FROM_FIRST_OFFSET", 0, "CONSUME_ACTIVELY", 0, "BROADCASTING"),
        (5, "CONSUME_FROM_TIMESTAMP", 1, "CONSUME_PASSIVELY", 0, "BROADCASTING"),
    ];
    for (from, from_name, kind, kind_name, model, model_name) in numbers {
        let mut beat: Value = serde_json::from_str(&beat("10.0.0.1@DEFAULT", "*", &[])).unwrap();
        let data = &mut beat["consumerDataSet"][0];
        (data["consumeFromWhere"], data["consumeType"], data["messageModel"]) =
            (from.into(), kind.into(), model.into());
        cpp.ask(34, &Value::Null, format!("{beat}\n").as_bytes()).ok();
        let shown = cpp.ask(203, &json!({ "consumerGroup": "G" }), b"").ok().json();
        let names = ["consumeFromWhere", "consumeType", "messageModel"].map(|name| shown[name].clone());
        assert_eq!(names, [from_name, kind_name, model_name]);
        assert_eq!(shown["connectionSet"][0]["language"], "CPP");
        assert_eq!(shown["connectionSet"][0]["version"], 333);
    }
}

#[test]
fn returned_messages_and_locks() {
    let servers = Servers::start();
    let mut cpp = Cpp::connect(servers.broker);
    send(&mut cpp, "TagA", "a");
    cpp.ask(34, &Value::Null, beat("10.0.0.1@DEFAULT", "*", &[]).as_bytes()).ok();
    let pulled = record::decode(&cpp.ask(11, &pull("*", 0, 6, -1), b"").ok().body);
    // ConsumerSendMsgBackRequestHeader::Encode: delayLevel and maxReconsumeTimes are numbers.
    let back = json!({
        "group": "G", "delayLevel": 1, "offset": pulled[0].physical.to_string(), "unitMode": "false",
        "originMsgId": pulled[0].id, "originTopic": "T", "maxReconsumeTimes": 16
    });
    cpp.ask(36, &back, b"").ok();
    let mut retry = pull("*", 0, 6, -1);
    retry["topic"] = "%RETRY%G".into();
    let [again] = &record::decode(&cpp.ask(11, &retry, b"").ok().body)[..] else { panic!("one message") };
    assert_eq!((again.topic.as_str(), again.times, again.properties["RETRY_TOPIC"].as_str()), ("%RETRY%G", 1, "T"));

    // src/protocol/LockBatchBody.cpp: no onlyThisBroker.
    let queue = json!({ "brokerName": "broker-a", "queueId": 0, "topic": "T" });
    let body = |client: &str| format!("{}\n", json!({ "clientId": client, "consumerGroup": "G", "mqSet": [queue] }));
    let locked = |cpp: &mut Cpp, client: &str| {
        cpp.ask(41, &Value::Null, body(client).as_bytes()).ok().json()["lockOKMQSet"].as_array().unwrap().clone()
    };
    assert_eq!(locked(&mut cpp, "one"), std::slice::from_ref(&queue));
    assert_eq!(locked(&mut cpp, "two"), [] as [Value; 0]);
    cpp.ask(42, &Value::Null, body("one").as_bytes()).ok();
    assert_eq!(locked(&mut cpp, "two"), std::slice::from_ref(&queue));
}

#[test]
fn questions_of_the_broker_and_the_end() {
    let servers = Servers::start();
    let (mut cpp, mut other) = (Cpp::connect(servers.broker), Cpp::connect(servers.broker));
    let mut tool = Cpp::connect(servers.broker);
    cpp.ask(34, &Value::Null, beat("10.0.0.1@one", "*", &[]).as_bytes()).ok();
    other.ask(34, &Value::Null, beat("10.0.0.1@two", "*", &[]).as_bytes()).ok();
    // src/transport/ClientRemotingProcessor.cpp notifyConsumerIdsChanged.
    assert_eq!(cpp.pushed(40).text("consumerGroup"), "G");

    // src/protocol/ConsumerRunningInfo.cpp encode: keys that are objects over several lines, and no value at all where a consumer has
    // no queue. It is handed on as it came.
    let info = "{\"mqTable\":},\"jstack\":\"\",\"properties\":{\"PROP_CONSUME_TYPE\":\"CONSUME_PASSIVELY\"}}\n";
    let asked =
        tool.send(307, &json!({ "consumerGroup": "G", "clientId": "10.0.0.1@one", "jstackEnable": false }), b"");
    let question = cpp.pushed(307);
    assert_eq!((question.text("consumerGroup"), question.text("clientId")), ("G", "10.0.0.1@one"));
    cpp.reply(&question, 0, info.as_bytes());
    assert_eq!(tool.answer(asked).ok().body, info.as_bytes());

    // src/MQClientAPIImpl.cpp unregisterClient: the group that it is not about is an empty text.
    let leave = json!({ "clientID": "10.0.0.1@two", "consumerGroup": "G", "producerGroup": "" });
    other.ask(35, &leave, b"").ok();
    assert_eq!(cpp.pushed(40).text("consumerGroup"), "G");
    let list = tool.ask(38, &json!({ "consumerGroup": "G" }), b"").ok().json();
    assert_eq!(list, json!({ "consumerIdList": ["10.0.0.1@one"] }));
    // A member of a group may also simply be gone.
    drop(cpp);
    while tool.ask(38, &json!({ "consumerGroup": "G" }), b"").code == 0 {
        std::thread::yield_now();
    }
}
