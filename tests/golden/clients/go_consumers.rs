//! Consumers in Go: heartbeats, pulls, offsets, returned messages, locks, questions of the broker.

use serde_json::{Value, json};

use crate::go::{Go, escaped};
use crate::go_producers::{create_topic, send_fields};
use crate::record::{self, Message, properties};
use crate::servers::Servers;

const QUEUE: [(&str, &str); 3] = [("topic", "T"), ("queueId", "0"), ("bname", "broker-a")];

/// `internal/model.go` `heartbeatData`, `consumer/consumer.go` `buildSubscriptionData`: versions in nanoseconds, codes as texts, no kind
/// of expression where the selector names none.
fn beat(client: &str, subscription: &Value) -> String {
    let data = json!({
        "clientID": client,
        "producerDataSet": [{ "groupName": "CLIENT_INNER_PRODUCER" }],
        "consumerDataSet": [{
            "groupName": "G", "consumeType": "CONSUME_PASSIVELY", "messageModel": "CLUSTERING",
            "consumeFromWhere": "UNKNOWN", "subscriptionDataSet": [subscription], "unitMode": false
        }]
    });
    escaped(&data.to_string())
}

fn by_tags() -> Value {
    json!({
        "classFilterMode": false, "topic": "T", "subString": "TagA || Tagü", "tagsSet": ["TagA", "Tagü"],
        "codeSet": ["2598919", "80563437"], "subVersion": 1_764_260_000_000_000_000_i64, "expressionType": ""
    })
}

fn everything() -> Value {
    json!({
        "classFilterMode": false, "topic": "T", "subString": "*", "tagsSet": [], "codeSet": [],
        "subVersion": 1_764_260_000_000_000_000_i64, "expressionType": "TAG"
    })
}

/// `internal/request.go` `PullMessageRequestHeader`, as `consumer/push_consumer.go` `pullMessage` fills it: no expression and no
/// version, -1 where there is no offset to commit.
fn pull<'a>(offset: &'a str, flags: &'a str, commit: &'a str) -> [(&'a str, &'a str); 12] {
    [
        ("consumerGroup", "G"),
        ("topic", "T"),
        ("queueId", "0"),
        ("queueOffset", offset),
        ("maxMsgNums", "32"),
        ("sysFlag", flags),
        ("commitOffset", commit),
        ("suspendTimeoutMillis", "20000"),
        ("subscription", ""),
        ("subVersion", "0"),
        ("expressionType", "TAG"),
        ("bname", "broker-a"),
    ]
}

fn send(go: &mut Go, tag: &str, body: &[u8]) {
    go.ask(10, &send_fields("T", "0", &properties(&[("TAGS", tag)])), body).ok();
}

fn bodies(messages: &[Message]) -> Vec<&str> {
    messages.iter().map(|message| std::str::from_utf8(&message.body).unwrap()).collect()
}

#[test]
fn pulls_and_offsets() {
    let servers = Servers::start();
    create_topic(&servers, "T", "1");
    let (mut go, mut producer) = (Go::connect(servers.broker), Go::connect(servers.broker));
    // internal/client.go SendHeartbeatToAllBrokerWithLock keeps the version; consumer.go pullInner refuses a broker below 0.
    assert!(go.ask(34, &[], beat("10.0.0.1@78", &by_tags()).as_bytes()).ok().version > 0);
    servers.routed("%RETRY%G");
    // consumer.go findConsumerList, right behind the heartbeat.
    let list: Value = serde_json::from_slice(&go.ask(38, &[("consumerGroup", "G")], b"").ok().body).unwrap();
    assert_eq!(list, json!({ "consumerIdList": ["10.0.0.1@78"] }));
    // Nobody there: an error, and the list that is read from its body is empty.
    assert_eq!(go.ask(38, &[("consumerGroup", "H")], b"").code, 1);

    let query = [&QUEUE[..], &[("consumerGroup", "G")]].concat();
    assert_eq!(
        go.ask(14, &query, b"").code,
        22,
        "offset_store.go reads 22 as -1, and every other refusal as a failure"
    );
    for (tag, body) in [("TagA", "a"), ("TagB", "b"), ("Tagü", "ü")] {
        send(&mut producer, tag, body.as_bytes());
    }
    assert_eq!(go.ask(14, &query, b"").ok().number("offset"), 0);
    assert_eq!(go.ask(30, &QUEUE, b"").ok().number("offset"), 3);
    let search = [&QUEUE[..], &[("timestamp", "0")]].concat();
    assert_eq!(go.ask(29, &search, b"").ok().number("offset"), 0);

    // internal/client.go processPullResponse. The tags are hashed here: Go's codes of others than ASCII ones are not Java's.
    let pulled = go.ask(11, &pull("0", "2", "-1"), b"").ok();
    let messages = record::decode(&pulled.body);
    assert_eq!(bodies(&messages), ["a", "ü"]);
    assert_eq!(messages.iter().map(|message| (message.queue, message.offset)).collect::<Vec<_>>(), [(0, 0), (0, 2)]);
    assert_eq!(["nextBeginOffset", "minOffset", "maxOffset"].map(|name| pulled.number(name)), [3, 0, 3]);
    assert_eq!(pulled.number("suggestWhichBrokerId"), 0);

    // Held until something comes; the commit rides along.
    let held = go.send(11, &pull("3", "3", "2"), b"");
    send(&mut producer, "TagA", b"later");
    let pulled = go.answer(held).ok();
    assert_eq!(bodies(&record::decode(&pulled.body)), ["later"]);
    assert_eq!(go.ask(14, &query, b"").ok().number("offset"), 2);

    // The other codes that push_consumer.go knows, each with its four numbers.
    for (offset, code, next) in [("4", 19, 4), ("100", 21, 4)] {
        let told = go.ask(11, &pull(offset, "0", "-1"), b"");
        assert_eq!((told.code, told.number("nextBeginOffset")), (code, next), "{}", told.remark);
        assert_eq!((told.number("minOffset"), told.number("maxOffset")), (0, 4));
    }
    send(&mut producer, "TagB", b"b");
    let told = go.ask(11, &pull("4", "0", "-1"), b"");
    assert_eq!((told.code, told.number("nextBeginOffset")), (20, 5), "{}", told.remark);

    // offset_store.go updateConsumeOffsetToBroker: not marked as one-way; the answer is dropped by its number.
    go.send(15, &[&QUEUE[..], &[("consumerGroup", "G"), ("commitOffset", "3")]].concat(), b"");
    assert_eq!(go.ask(14, &query, b"").ok().number("offset"), 3);
}

#[test]
fn conditions_and_resets() {
    let servers = Servers::start();
    create_topic(&servers, "T", "1");
    let mut go = Go::connect(servers.broker);
    // A condition is told by the heartbeat alone; push_consumer.go pulls say TAG whatever the subscription is.
    let subscription = json!({
        "classFilterMode": false, "topic": "T", "subString": "a > 1 AND a < 4", "tagsSet": [], "codeSet": [],
        "subVersion": 1_764_260_000_000_000_000_i64, "expressionType": "SQL92"
    });
    go.ask(34, &[], beat("10.0.0.1@78", &subscription).as_bytes()).ok();
    for a in ["1", "2", "3", "4"] {
        go.ask(10, &send_fields("T", "0", &properties(&[("a", a)])), a.as_bytes()).ok();
    }
    assert_eq!(go.ask(30, &QUEUE, b"").ok().number("offset"), 4);
    let pulled = go.ask(11, &pull("0", "2", "-1"), b"").ok();
    assert_eq!(bodies(&record::decode(&pulled.body)), ["2", "3"]);

    // The broker keeps a reset and sends the next pull there: 21, after which push_consumer.go stores the offset that it was told.
    let commit = |offset: &'static str| [&QUEUE[..], &[("consumerGroup", "G"), ("commitOffset", offset)]].concat();
    go.ask(15, &commit("4"), b"").ok();
    let mut tool = Go::connect(servers.broker);
    let reset = [("topic", "T"), ("group", "G"), ("timestamp", "0"), ("isForce", "true")];
    tool.ask(222, &reset, b"").ok();
    go.ask(15, &commit("4"), b"").ok();
    let told = go.ask(11, &pull("4", "2", "4"), b"");
    assert_eq!((told.code, told.number("nextBeginOffset")), (21, 0), "{}", told.remark);
    let query = [&QUEUE[..], &[("consumerGroup", "G")]].concat();
    assert_eq!(go.ask(14, &query, b"").ok().number("offset"), 0);
    go.ask(15, &commit("1"), b"").ok();
    assert_eq!(go.ask(14, &query, b"").ok().number("offset"), 1);
}

#[test]
fn returned_messages() {
    let servers = Servers::start();
    create_topic(&servers, "T", "1");
    let mut go = Go::connect(servers.broker);
    go.ask(34, &[], beat("10.0.0.1@78", &everything()).as_bytes()).ok();
    send(&mut go, "TagA", b"a");
    let pulled = record::decode(&go.ask(11, &pull("0", "2", "-1"), b"").ok().body);
    // push_consumer.go buildSendBackRequest, then sendMessageBackAsNormal.
    let place = pulled[0].physical.to_string();
    let back = [
        ("group", "G"),
        ("offset", place.as_str()),
        ("delayLevel", "1"),
        ("originMsgId", pulled[0].id.as_str()),
        ("originTopic", "T"),
        ("unitMode", "false"),
        ("maxReconsumeTimes", "16"),
        ("bname", "broker-a"),
    ];
    go.ask(36, &back, b"").ok();
    let text = properties(&[("RETRY_TOPIC", "T"), ("ORIGIN_MESSAGE_ID", &pulled[0].id), ("DELAY", "1")]);
    let mut fields = send_fields("%RETRY%G", "0", &text);
    fields.retain(|(name, _)| !matches!(*name, "producerGroup" | "reconsumeTimes" | "maxReconsumeTimes"));
    fields.extend([("producerGroup", "CLIENT_INNER_PRODUCER"), ("reconsumeTimes", "1"), ("maxReconsumeTimes", "16")]);
    go.ask(10, &fields, b"a").ok();
    // Both come again through the retry topic; the client shows the topic that RETRY_TOPIC names.
    let mut subscription = everything();
    subscription["topic"] = "%RETRY%G".into();
    let mut reader = Go::connect(servers.broker);
    reader.ask(34, &[], beat("10.0.0.1@79", &subscription).as_bytes()).ok();
    let mut come = Vec::new();
    while come.len() < 2 {
        let next = come.len().to_string();
        let mut retry = pull(&next, "2", "-1");
        retry[1].1 = "%RETRY%G";
        come.extend(record::decode(&reader.ask(11, &retry, b"").ok().body));
    }
    for message in come {
        assert_eq!((message.topic.as_str(), message.times), ("%RETRY%G", 1));
        assert_eq!(message.properties["RETRY_TOPIC"], "T");
        assert_eq!(message.properties["ORIGIN_MESSAGE_ID"], pulled[0].id);
    }
}

#[test]
fn locks() {
    let servers = Servers::start();
    create_topic(&servers, "T", "2");
    // consumer/consumer.go lockBatchRequestBody, doLock, doUnlock.
    let body = |client: &str| {
        json!({
            "consumerGroup": "G", "clientId": client,
            "mqSet": [
                { "topic": "T", "brokerName": "broker-a", "queueId": 0 },
                { "topic": "T", "brokerName": "broker-a", "queueId": 1 }
            ]
        })
        .to_string()
    };
    let mut go = Go::connect(servers.broker);
    let locked = |go: &mut Go, client: &str| {
        let answer: Value = serde_json::from_slice(&go.ask(41, &[], body(client).as_bytes()).ok().body).unwrap();
        let mut queues: Vec<_> =
            answer["lockOKMQSet"].as_array().unwrap().iter().map(|queue| queue["queueId"].as_i64().unwrap()).collect();
        queues.sort_unstable();
        queues
    };
    assert_eq!(locked(&mut go, "one"), [0, 1]);
    assert_eq!(locked(&mut go, "two"), [0_i64; 0]);
    go.send(42, &[], body("one").as_bytes());
    assert_eq!(locked(&mut go, "two"), [0, 1]);
}

#[test]
fn questions_of_the_broker() {
    let servers = Servers::start();
    create_topic(&servers, "T", "1");
    let (mut go, mut other) = (Go::connect(servers.broker), Go::connect(servers.broker));
    let mut tool = Go::connect(servers.broker);
    go.ask(34, &[], beat("10.0.0.1@78", &everything()).as_bytes()).ok();
    other.ask(34, &[], beat("10.0.0.1@79", &everything()).as_bytes()).ok();
    assert_eq!(go.pushed(40).text("consumerGroup"), "G");

    // internal/model.go ConsumerRunningInfo.Encode: keys that are objects, a blank, and a stack as it is. It is handed on as it came.
    let info = "{\"properties\":{\"PROP_CONSUMEORDERLY\":\"false\"},\"statusTable\":{},\"subscriptionSet\":[],\"mqTable\":{{\"topic\":\"T\",\
                \"brokerName\":\"broker-a\",\"queueId\":0}:{\"commitOffset\":3}}, \"jstack\":\"goroutine 1\n\t[running]\" }";
    let asked = tool.send(307, &[("consumerGroup", "G"), ("clientId", "10.0.0.1@78"), ("jstackEnable", "true")], b"");
    let question = go.pushed(307);
    assert_eq!((question.text("consumerGroup"), question.text("clientId")), ("G", "10.0.0.1@78"));
    go.reply(&question, 0, info.as_bytes());
    assert_eq!(tool.answer(asked).ok().body, info.as_bytes());

    // ConsumerStatus.Encode, which mqadmin asks for through 223.
    let asked = tool.send(223, &[("topic", "T"), ("group", "G"), ("clientAddr", "10.0.0.1@78")], b"");
    let question = go.pushed(221);
    assert_eq!((question.text("topic"), question.text("group")), ("T", "G"));
    go.reply(&question, 0, br#"{"messageQueueTable":{{"topic":"T","brokerName":"broker-a","queueId":0}:3}}"#);
    let told = String::from_utf8(tool.answer(asked).ok().body).unwrap();
    assert!(told.contains("10.0.0.1@78") && told.contains(":3"), "{told}");

    // internal/client.go ReqConsumeMessageDirectly: the record is read without a look at how many there are.
    let sent = tool.ask(10, &send_fields("T", "0", ""), b"now").ok();
    let id = sent.text("msgId").to_owned();
    let fields =
        [("consumerGroup", "G"), ("clientId", "10.0.0.1@78"), ("msgId", id.as_str()), ("brokerName", "broker-a")];
    let asked = tool.send(309, &fields, b"");
    let question = go.pushed(309);
    assert_eq!(bodies(&record::decode(&question.body)), ["now"]);
    assert_eq!((question.text("msgId"), question.text("brokerName")), (id.as_str(), "broker-a"));
    let result = br#"{"order":false,"autoCommit":true,"consumeResult":0,"remark":"","spentTimeMills":1}"#;
    go.reply(&question, 0, result);
    assert_eq!(tool.answer(asked).ok().body, result);

    // No client of Go's says that it leaves: internal/client.go Shutdown closes its connections.
    drop(go);
    assert_eq!(other.pushed(40).text("consumerGroup"), "G");
    while other.ask(38, &[("consumerGroup", "G")], b"").body != br#"{"consumerIdList":["10.0.0.1@79"]}"# {
        std::thread::yield_now();
    }
}
