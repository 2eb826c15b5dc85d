//! Timers over the wire, with a broker's own clock.

use std::path::Path;
use std::time::Duration;

use orbitmq_common::clock::now_ms;
use orbitmq_common::message::recall::RecallHandle;
use orbitmq_common::net::client::{Client, ClientOptions, Link};
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::replica::PromoteRequest;
use orbitmq_common::protocol::header::send::{RecallRequest, RecallResponse, SendRequestV2, SendResponse};

use crate::config::Config;
use crate::config::replication::RoleSetting;
use crate::node::Node;
use crate::replica::role::MasterAddress;
use crate::store::options::IndexSize;
use crate::store::read::ReadLimit;

const DEADLINE: Duration = Duration::from_secs(20);

async fn start(dir: &Path, change: impl FnOnce(&mut Config)) -> (Node, Client, Link) {
    let mut config = Config::local(dir, Vec::new());
    config.store.segment_size = 16 << 20;
    config.store.index = Some(IndexSize { slots: 1000, entries: 4000 });
    change(&mut config);
    let node = Node::start(config).await.unwrap();
    let client = Client::new(ClientOptions::default());
    let link = client.link(&node.bound().to_string()).await.unwrap();
    (node, client, link)
}

async fn send(link: &Link, body: &str, properties: &[(&str, &str)]) -> Frame {
    let text: String = properties.iter().map(|(name, value)| format!("{name}\u{1}{value}\u{2}")).collect();
    let fields = SendRequestV2 {
        producer_group: "P".into(),
        topic: "T".into(),
        default_topic: "TBW102".into(),
        default_topic_queue_nums: 1,
        properties: Some(text.as_str().into()),
        ..SendRequestV2::default()
    };
    let frame = link.request(request::SEND_MESSAGE_V2).with_fields(&fields).with_body(body.to_owned());
    link.call(frame, DEADLINE).await.unwrap()
}

fn handle(answer: &Frame) -> Option<String> {
    assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
    answer.fields::<SendResponse<'_>>().unwrap().recall_handle.map(std::borrow::Cow::into_owned)
}

/// The answer to a recall, once the broker knows what waits, which is soon after its start.
async fn recall(link: &Link, topic: &str, handle: &str) -> Frame {
    let fields = RecallRequest { topic: topic.into(), recall_handle: handle.into(), ..RecallRequest::default() };
    loop {
        let frame = link.request(request::RECALL_MESSAGE).with_fields(&fields);
        let answer = link.call(frame, DEADLINE).await.unwrap();
        if answer.code != response::SERVICE_NOT_AVAILABLE {
            return answer;
        }
    }
}

/// Bodies in the topic's queue, once there are so many.
async fn delivered(node: &Node, count: usize) -> Vec<String> {
    let store = std::sync::Arc::clone(&node.broker().store);
    let wait = i64::try_from(count).unwrap() - 1;
    tokio::time::timeout(DEADLINE, store.wait("T", 0, wait)).await.unwrap();
    bodies(node)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_three_ways_and_a_restart_between() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _client, link) = start(dir.path(), |_| {}).await;
    let began = now_ms();
    let at = (began + 1_200).to_string();
    send(&link, "at", &[("TIMER_DELIVER_MS", &at)]).await;
    send(&link, "seconds", &[("TIMER_DELAY_SEC", "1")]).await;
    send(&link, "millis", &[("TIMER_DELAY_MS", "400")]).await;
    send(&link, "past", &[("TIMER_DELIVER_MS", "1000")]).await;
    assert_eq!(delivered(&node, 2).await, ["past", "millis"]);
    assert!(now_ms() >= began + 400);
    node.stop().await;
    let (node, _client, _link) = start(dir.path(), |_| {}).await;
    assert_eq!(delivered(&node, 4).await, ["past", "millis", "seconds", "at"]);
    assert!(now_ms() >= began + 1_200, "never early");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handle_takes_a_message_back_once_and_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _client, link) = start(dir.path(), |_| {}).await;
    let gone = handle(&send(&link, "gone", &[("TIMER_DELAY_MS", "3000"), ("UNIQ_KEY", "K1")]).await).unwrap();
    let known = RecallHandle::decode(&gone).unwrap();
    assert_eq!((known.topic.as_str(), known.broker.as_str(), known.key.as_str()), ("T", "broker-a", "K1"));
    assert_eq!(handle(&send(&link, "now", &[]).await), None);
    let answer = recall(&link, "T", &gone).await;
    assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
    assert_eq!(answer.fields::<RecallResponse<'_>>().unwrap().msg_id, "K1");
    let stays = handle(&send(&link, "stays", &[("TIMER_DELAY_MS", "3200")]).await).unwrap();
    assert_eq!(delivered(&node, 2).await, ["now", "stays"]);
    for (topic, handle, code) in [
        ("T", stays.as_str(), response::ILLEGAL_OPERATION),
        ("T", "nonsense", response::ILLEGAL_OPERATION),
        ("BenchmarkTest", gone.as_str(), response::ILLEGAL_OPERATION),
        ("Unknown", gone.as_str(), response::TOPIC_NOT_EXIST),
    ] {
        let answer = recall(&link, topic, handle).await;
        assert_eq!(answer.code, code, "{topic} {handle} {:?}", answer.remark);
    }
    node.stop().await;
}

/// Everything of the topic that a broker's store holds.
fn bodies(node: &Node) -> Vec<String> {
    let all = ReadLimit { max_messages: 1_000, max_bytes: 1 << 20 };
    let read = node.broker().store.read("T", 0, 0, all, &mut |_, _| true);
    let records = read.chunks.iter().flat_map(|chunk| orbitmq_common::message::entry::records(chunk));
    records.map(|record| String::from_utf8(record.unwrap().body.to_vec()).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slave_that_is_made_master_goes_on_with_what_waits() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (master, _client, link) = start(here.path(), |_| {}).await;
    let address = MasterAddress { client: master.bound().to_string(), ha: master.ha_bound().to_string() };
    let (slave, _other, to_slave) = start(there.path(), |config| {
        (config.role, config.id) = (RoleSetting::Slave, 1);
        config.master = Some(address);
    })
    .await;
    let mut expected = Vec::new();
    for number in 0..40 {
        let (body, wait) = (format!("m{number:02}"), (300 + number * 40).to_string());
        let handle = handle(&send(&link, &body, &[("TIMER_DELAY_MS", &wait)]).await).unwrap();
        if number % 10 == 9 {
            assert_eq!(recall(&link, "T", &handle).await.code, response::SUCCESS);
        } else {
            expected.push(body);
        }
    }
    delivered(&master, 5).await;
    let store = std::sync::Arc::clone(&slave.broker().store);
    let began = std::time::Instant::now();
    master.stop().await;
    let end = i64::try_from(store.end()).unwrap();
    loop {
        let fields = PromoteRequest { log_end: end };
        let answer = to_slave.call(to_slave.request(request::PROMOTE).with_fields(&fields), DEADLINE).await.unwrap();
        if answer.code == response::SUCCESS {
            break;
        }
        assert!(began.elapsed() < DEADLINE, "{:?}", answer.remark);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    delivered(&slave, expected.len()).await;
    // Nothing waits any more, hence nothing more can come.
    let figures = std::sync::Arc::clone(&slave.broker().timers);
    while crate::timer::figures::Figures::get(&figures.figures.pending) > 0 {
        assert!(began.elapsed() < DEADLINE, "something waits still");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut found = bodies(&slave);
    found.sort();
    assert_eq!(found, expected);
    slave.stop().await;
}

#[tokio::test]
async fn settings_are_obeyed_and_refusals_say_why() {
    let dir = tempfile::tempdir().unwrap();
    let (node, _client, link) = start(dir.path(), |config| {
        config.timers.max_delay = Some(Duration::from_secs(60));
        config.timers.recall = false;
    })
    .await;
    let too_far = send(&link, "x", &[("TIMER_DELAY_SEC", "61")]).await;
    assert_eq!(too_far.code, response::MESSAGE_ILLEGAL);
    assert!(too_far.remark.unwrap().contains("timer_max_delay"));
    let not_a_number = send(&link, "x", &[("TIMER_DELIVER_MS", "soon")]).await;
    assert_eq!(not_a_number.code, response::MESSAGE_ILLEGAL);
    let by_sending = send(&link, "x", &[("TIMER_DEL_UNIQKEY", "T+K"), ("TIMER_DELAY_SEC", "5")]).await;
    assert_eq!(by_sending.code, response::MESSAGE_ILLEGAL);
    assert_eq!(handle(&send(&link, "x", &[("TIMER_DELAY_SEC", "50")]).await), None);
    assert_eq!(recall(&link, "T", "x").await.code, response::NO_PERMISSION);
    node.stop().await;

    let (node, _client, link) = start(dir.path(), |config| config.timers.enabled = false).await;
    let off = send(&link, "x", &[("TIMER_DELAY_SEC", "1")]).await;
    assert_eq!(off.code, response::MESSAGE_ILLEGAL);
    assert!(off.remark.unwrap().contains("timers = false"));
    // A level counts before a time.
    assert_eq!(send(&link, "x", &[("TIMER_DELAY_SEC", "1"), ("DELAY", "1")]).await.code, response::SUCCESS);
    node.stop().await;
}
