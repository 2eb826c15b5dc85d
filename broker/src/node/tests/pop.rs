//! Checks of popping over the wire.

use orbitmq_common::message::entry;
use orbitmq_common::message::receipt::{Origin, Receipt};
use orbitmq_common::message::{property, record::RecordView};
use orbitmq_common::protocol::body::group::GroupConfig;
use orbitmq_common::protocol::body::pop::{AssignmentResponse, RequestMode};
use orbitmq_common::protocol::header::pop::{
    AckRequest, InvisibleRequest, InvisibleResponse, NotificationRequest, NotificationResponse, PeekRequest,
    PollingInfoRequest, PollingInfoResponse, PopRequest, PopResponse,
};

use super::*;

/// A popped message as a client sees it.
#[derive(Debug, Clone)]
struct Popped {
    body: String,
    times: i32,
    receipt: String,
}

fn pop_request<'a>(most: i32, invisible: i64, poll: i64) -> PopRequest<'a> {
    PopRequest {
        consumer_group: "G".into(),
        topic: "T".into(),
        queue_id: -1,
        max_msg_nums: most,
        invisible_time: invisible,
        poll_time: poll,
        ..PopRequest::default()
    }
}

/// Messages of an answer with their receipts, put together as the Java client does.
fn popped(answer: &Frame) -> Vec<Popped> {
    let told: PopResponse<'_> = answer.fields().unwrap();
    let starts = told.start_offset_info.as_deref().unwrap_or_default();
    let body: Vec<u8> = std::iter::once(&answer.body).chain(&answer.more).flatten().copied().collect();
    let receipt = |record: &RecordView<'_>| {
        assert_eq!(record.topic, "T", "a message of a retry topic shows under the topic that was asked for");
        if let Some(receipt) = record.property(property::POP_CK) {
            return receipt.to_owned();
        }
        let key = format!("0 {} ", record.queue_id);
        let start = starts.split(';').find_map(|part| part.strip_prefix(&key)).unwrap();
        let (pop_time, invisible, revive_queue) = (told.pop_time, told.invisible_time, told.revive_qid);
        let (queue, offset) = (record.queue_id.cast_signed(), record.queue_offset.cast_signed());
        let start = start.parse().unwrap();
        let origin = Origin::Topic;
        Receipt { start, pop_time, invisible, revive_queue, origin, broker: "broker-a", queue, offset }.to_string()
    };
    let records = entry::records(&body).map(|record| {
        let record = record.unwrap();
        record.verify().unwrap();
        let body = String::from_utf8(record.body.to_vec()).unwrap();
        Popped { body, times: record.reconsume_times, receipt: receipt(&record) }
    });
    records.collect()
}

async fn pop_with(link: &Link, request: &PopRequest<'_>) -> Vec<Popped> {
    let answer = link.call(link.request(request::POP_MESSAGE).with_fields(request), DEADLINE).await.unwrap();
    if answer.code == response::POLLING_TIMEOUT {
        return Vec::new();
    }
    assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
    popped(&answer)
}

async fn ack(link: &Link, receipt: &str) -> Frame {
    let parsed = Receipt::parse(receipt).unwrap();
    let origin = (parsed.origin as u8).to_string();
    let fields = AckRequest {
        consumer_group: "G".into(),
        topic: Origin::real_topic(&origin, "T", "G").unwrap(),
        queue_id: parsed.queue,
        extra_info: receipt.into(),
        offset: parsed.offset,
    };
    link.call(link.request(request::ACK_MESSAGE).with_fields(&fields), DEADLINE).await.unwrap()
}

async fn change(link: &Link, receipt: &str, invisible: i64) -> Frame {
    let parsed = Receipt::parse(receipt).unwrap();
    let origin = (parsed.origin as u8).to_string();
    let fields = InvisibleRequest {
        consumer_group: "G".into(),
        topic: Origin::real_topic(&origin, "T", "G").unwrap(),
        queue_id: parsed.queue,
        extra_info: receipt.into(),
        offset: parsed.offset,
        invisible_time: invisible,
    };
    link.call(link.request(request::CHANGE_MESSAGE_INVISIBLETIME).with_fields(&fields), DEADLINE).await.unwrap()
}

/// Waits until everything that was sent can be popped.
async fn shown(node: &Node) {
    let broker = node.broker();
    broker.store.built(broker.store.confirmed()).await;
}

fn bodies(popped: &[Popped]) -> Vec<&str> {
    popped.iter().map(|one| one.body.as_str()).collect()
}

#[tokio::test]
async fn a_popped_message_is_away_until_it_is_acknowledged_or_its_time_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path()).await;
    let (_client, link) = link(&node, Encoding::Json).await;
    for body in ["one", "two", "three"] {
        link.call(send(&link, "T", body, ""), DEADLINE).await.unwrap();
    }
    shown(&node).await;
    let first = pop_with(&link, &pop_request(2, 60_000, 0)).await;
    assert_eq!(bodies(&first), ["one", "two"]);
    let peek = PeekRequest { consumer_group: "G".into(), topic: "T".into(), queue_id: -1, max_msg_nums: 8 };
    let peeked = link.call(link.request(request::PEEK_MESSAGE).with_fields(&peek), DEADLINE).await.unwrap();
    assert_eq!(entry::records(&peeked.body).count(), 1, "only the third is left to see");
    let second = pop_with(&link, &pop_request(8, 3_000, 0)).await;
    assert_eq!(bodies(&second), ["three"]);
    for receipt in [&first[0].receipt, &first[0].receipt] {
        assert_eq!(ack(&link, receipt).await.code, response::SUCCESS, "twice is as good as once");
    }
    assert!(pop_with(&link, &pop_request(8, 300, 0)).await.is_empty());
    // The third comes back by itself, the second because it is told to.
    let changed = change(&link, &first[1].receipt, 100).await;
    assert_eq!(changed.code, response::SUCCESS, "{:?}", changed.remark);
    let mut back = Vec::new();
    while back.len() < 2 {
        back.extend(pop_with(&link, &pop_request(8, 60_000, 5_000)).await);
    }
    let mut names = bodies(&back);
    names.sort_unstable();
    assert_eq!(names, ["three", "two"]);
    assert!(back.iter().all(|one| one.times == 1 && one.receipt.split(' ').nth(4) == Some("1")));
    assert_eq!(ack(&link, &second[0].receipt).await.code, response::NO_MESSAGE, "its receipt is over");
    assert_eq!(change(&link, &second[0].receipt, 1_000).await.code, response::NO_MESSAGE);
    for one in &back {
        assert_eq!(ack(&link, &one.receipt).await.code, response::SUCCESS);
    }
    assert_eq!(node.broker().pop.open().0, 0);
    node.stop().await;
}

#[tokio::test]
async fn a_longer_time_is_a_new_receipt_and_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path()).await;
    let (first, link_before) = link(&node, Encoding::Json).await;
    for body in ["one", "two"] {
        link_before.call(send(&link_before, "T", body, ""), DEADLINE).await.unwrap();
    }
    shown(&node).await;
    let got = pop_with(&link_before, &pop_request(8, 60_000, 0)).await;
    let changed: InvisibleResponse = change(&link_before, &got[0].receipt, 90_000).await.fields().unwrap();
    let old = Receipt::parse(&got[0].receipt).unwrap();
    let new = Receipt {
        start: old.offset,
        pop_time: changed.pop_time,
        invisible: changed.invisible_time,
        revive_queue: changed.revive_qid,
        ..old
    };
    drop((first, link_before));
    node.stop().await;
    let node = start(dir.path()).await;
    let (_client, link) = link(&node, Encoding::Json).await;
    assert!(pop_with(&link, &pop_request(8, 60_000, 0)).await.is_empty(), "both are in hand");
    assert_eq!(node.broker().pop.open().0, 2);
    for receipt in [new.to_string(), got[1].receipt.clone()] {
        let answer = ack(&link, &receipt).await;
        assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
    }
    assert_eq!(node.broker().pop.open().0, 0);
    node.stop().await;
}

#[tokio::test]
async fn requests_wait_for_messages_in_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path()).await;
    let (_client, link) = link(&node, Encoding::Json).await;
    link.call(send(&link, "T", "zero", ""), DEADLINE).await.unwrap();
    assert_eq!(bodies(&pop_with(&link, &pop_request(8, 60_000, 0)).await), ["zero"]);
    let fields = NotificationRequest {
        consumer_group: "G".into(),
        topic: "T".into(),
        queue_id: -1,
        poll_time: 15_000,
        ..NotificationRequest::default()
    };
    let told = link.start(link.request(request::NOTIFICATION).with_fields(&fields), DEADLINE);
    let fields = pop_request(1, 60_000, 15_000);
    let held: Vec<_> =
        (0..3).map(|_| link.start(link.request(request::POP_MESSAGE).with_fields(&fields), DEADLINE)).collect();
    let info = PollingInfoRequest { consumer_group: "G".into(), topic: "T".into(), queue_id: -1 };
    let end = tokio::time::Instant::now() + DEADLINE;
    loop {
        let answer = link.call(link.request(request::POLLING_INFO).with_fields(&info), DEADLINE).await.unwrap();
        if answer.fields::<PollingInfoResponse>().unwrap().polling_num == 3 {
            break;
        }
        assert!(tokio::time::Instant::now() < end);
    }
    for body in ["a", "b", "c"] {
        link.call(send(&link, "T", body, ""), DEADLINE).await.unwrap();
    }
    let mut got = Vec::new();
    for held in held {
        let answer = held.await.unwrap();
        assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
        got.extend(popped(&answer));
    }
    assert_eq!(bodies(&got), ["a", "b", "c"]);
    assert!(told.await.unwrap().fields::<NotificationResponse>().unwrap().has_msg);
    let late = link.call(link.request(request::POP_MESSAGE).with_fields(&pop_request(1, 60_000, 50)), DEADLINE).await;
    assert_eq!(late.unwrap().code, response::POLLING_TIMEOUT);
    node.stop().await;
}

#[tokio::test]
async fn in_order_one_batch_is_in_hand() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path()).await;
    let (_client, link) = link(&node, Encoding::Json).await;
    for body in ["one", "two", "three"] {
        link.call(send(&link, "T", body, ""), DEADLINE).await.unwrap();
    }
    let ordered = |attempt: &'static str, poll| PopRequest {
        order: Some(true),
        attempt_id: Some(attempt.into()),
        ..pop_request(2, 60_000, poll)
    };
    shown(&node).await;
    let first = pop_with(&link, &ordered("a", 0)).await;
    assert_eq!(bodies(&first), ["one", "two"]);
    assert!(pop_with(&link, &ordered("b", 0)).await.is_empty());
    assert_eq!(bodies(&pop_with(&link, &ordered("a", 0)).await), ["one", "two"], "the same attempt may have it again");
    let again = pop_with(&link, &ordered("a", 0)).await;
    let waiting = link.start(link.request(request::POP_MESSAGE).with_fields(&ordered("b", 15_000)), DEADLINE);
    for one in &again {
        let answer = ack(&link, &one.receipt).await;
        assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
    }
    let next = waiting.await.unwrap();
    assert_eq!(next.code, response::SUCCESS, "{:?}", next.remark);
    let told: PopResponse<'_> = next.fields().unwrap();
    assert_eq!((told.revive_qid, told.order_count_info.as_deref()), (999, Some("0 0 0")));
    let next = popped(&next);
    assert_eq!(bodies(&next), ["three"]);
    // Given up, it comes again, and is known to have been there.
    change(&link, &next[0].receipt, 0).await;
    let fields = ordered("c", 5_000);
    let again = link.call(link.request(request::POP_MESSAGE).with_fields(&fields), DEADLINE).await.unwrap();
    let told: PopResponse<'_> = again.fields().unwrap();
    assert_eq!(told.order_count_info.as_deref(), Some("0 qo0%2 1;0 0 1"));
    assert_eq!(ack(&link, &popped(&again)[0].receipt).await.code, response::SUCCESS);
    assert_eq!(node.broker().offsets.get("T", "G", 0), Some(3));
    node.stop().await;
}

#[tokio::test]
async fn batches_are_acknowledged_and_what_comes_too_often_is_dead() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path()).await;
    let (_client, link) = link(&node, Encoding::Json).await;
    for body in ["one", "two", "three"] {
        link.call(send(&link, "T", body, "TAGS\u{1}x\u{2}"), DEADLINE).await.unwrap();
    }
    node.broker().groups.put(GroupConfig { retry_max_times: 1, ..GroupConfig::new("G") });
    shown(&node).await;
    let got = pop_with(&link, &PopRequest { exp: Some("x||y".into()), ..pop_request(8, 3_000, 0) }).await;
    let receipt = Receipt::parse(&got[0].receipt).unwrap();
    // Bits 0 and 2: Base64 of 05.
    let body = format!(
        r#"{{"acks":[{{"b":"BQ==","c":"G","it":{},"pt":{},"q":{},"r":"0","rq":{},"so":{},"t":"T"}}],"brokerName":"broker-a"}}"#,
        receipt.invisible, receipt.pop_time, receipt.queue, receipt.revive_queue, receipt.start
    );
    let answer = link.call(link.request(request::BATCH_ACK_MESSAGE).with_body(body), DEADLINE).await.unwrap();
    assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
    assert_eq!(node.broker().pop.open().0, 1);
    let again = pop_with(&link, &pop_request(8, 100, 10_000)).await;
    assert_eq!((bodies(&again), again[0].times), (vec!["two"], 1));
    let end = tokio::time::Instant::now() + DEADLINE;
    while node.broker().store.max_offset("%DLQ%G", 0) == 0 {
        assert!(tokio::time::Instant::now() < end, "no dead letter");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(pop_with(&link, &pop_request(8, 100, 0)).await.is_empty());
    node.stop().await;
}

#[tokio::test]
async fn members_are_told_which_queues_they_pop() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path()).await;
    let (_client, link) = link(&node, Encoding::Json).await;
    link.call(send(&link, "T", "x", ""), DEADLINE).await.unwrap();
    let ask = async |mode| {
        let body =
            r#"{"clientId":"c","consumerGroup":"G","messageModel":"CLUSTERING","strategyName":"AVG","topic":"T"}"#;
        let answer = link.call(link.request(request::QUERY_ASSIGNMENT).with_body(body), DEADLINE).await.unwrap();
        let told: AssignmentResponse = serde_json::from_slice(&answer.body).unwrap();
        let queues = told.message_queue_assignments?;
        assert!(queues.iter().all(|queue| queue.mode == mode));
        Some(queues.into_iter().map(|queue| queue.message_queue.queue_id).collect::<Vec<_>>())
    };
    assert_eq!(ask(RequestMode::Pull).await, None, "without a heartbeat nothing is said");
    let beat = r#"{"clientID":"c","consumerDataSet":[{"consumeFromWhere":"CONSUME_FROM_LAST_OFFSET","consumeType":"CONSUME_PASSIVELY","groupName":"G","messageModel":"CLUSTERING","subscriptionDataSet":[],"unitMode":false}],"producerDataSet":[]}"#;
    let beaten = link.call(link.request(request::HEART_BEAT).with_body(beat), DEADLINE).await.unwrap();
    assert_eq!(beaten.code, response::SUCCESS, "{:?}", beaten.remark);
    assert_eq!(ask(RequestMode::Pull).await, Some(vec![0]));
    let body = r#"{"consumerGroup":"G","mode":"POP","popShareQueueNum":8,"topic":"T"}"#;
    let set = link.call(link.request(request::SET_MESSAGE_REQUEST_MODE).with_body(body), DEADLINE).await.unwrap();
    assert_eq!(set.code, response::SUCCESS, "{:?}", set.remark);
    assert_eq!(ask(RequestMode::Pop).await, Some(vec![-1]));
    let all = link.call(link.request(request::GET_ALL_MESSAGE_REQUEST_MODE), DEADLINE).await.unwrap();
    let expected = format!(r#"{{"messageRequestModeMap":{{"T":{{"G":{body}}}}}}}"#);
    assert_eq!(std::str::from_utf8(&all.body).unwrap(), expected);
    node.stop().await;
}
