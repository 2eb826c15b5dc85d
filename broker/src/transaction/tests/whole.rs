//! Checks of transactions through a whole broker and its sockets.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use orbitmq_common::message::entry::records;
use orbitmq_common::message::{id, sysflag};
use orbitmq_common::name;
use orbitmq_common::net::client::{Client, ClientOptions, Link};
use orbitmq_common::net::connection::{Handler, Outcome};
use orbitmq_common::net::peer::Peer;
use orbitmq_common::protocol::body::heartbeat::{HeartbeatData, ProducerData};
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::frame::{Encoding, Frame};
use orbitmq_common::protocol::header::pull::PullRequest;
use orbitmq_common::protocol::header::send::{SendRequestV2, SendResponse};
use orbitmq_common::protocol::header::transaction::{
    CheckTransactionRequest, EndTransactionRequest, ResumeCheckRequest,
};
use tokio::sync::mpsc;

use crate::config::Config;
use crate::node::Node;
use crate::store::options::IndexSize;

pub const DEADLINE: Duration = Duration::from_secs(20);

pub async fn start(dir: &Path, change: impl FnOnce(&mut Config)) -> Node {
    let mut config = Config::local(dir, Vec::new());
    config.store.segment_size = 16 << 20;
    config.store.index = Some(IndexSize { slots: 1000, entries: 4000 });
    change(&mut config);
    Node::start(config).await.unwrap()
}

/// Asked soon and often.
pub fn impatient(config: &mut Config) {
    config.transactions.timeout = Duration::from_millis(100);
    config.transactions.check_interval = Duration::from_millis(100);
    config.transactions.check_max = 3;
}

/// A question of the broker's, and where to.
pub type Question = (CheckTransactionRequest<'static>, Frame);

struct Ear(mpsc::UnboundedSender<Frame>);

impl Handler for Ear {
    fn call(&self, _: &Arc<Peer>, request: Frame) -> Outcome {
        let _ = self.0.send(request);
        Outcome::Nothing
    }
}

/// A producer of group P.
pub struct Sender {
    pub link: Link,
    questions: mpsc::UnboundedReceiver<Frame>,
    _client: Client,
}

/// A half message that was sent.
#[derive(Debug, Clone)]
pub struct Sent {
    pub offset: i64,
    pub physical: i64,
}

impl Sender {
    pub async fn new(node: &Node) -> Self {
        let (ear, questions) = mpsc::unbounded_channel();
        let options = ClientOptions { encoding: Some(Encoding::Json), ..ClientOptions::default() };
        let client = Client::with_handler(options, Arc::new(Ear(ear)));
        let link = client.link(&node.bound().to_string()).await.unwrap();
        Self { link, questions, _client: client }
    }

    pub async fn be_known(&self) {
        let data = HeartbeatData {
            client_id: "c".to_owned(),
            producer_data_set: vec![ProducerData { group_name: "P".to_owned() }],
            ..HeartbeatData::default()
        };
        let answer = self.link.call(self.link.request(request::HEART_BEAT).with_json(&data), DEADLINE).await.unwrap();
        assert_eq!(answer.code, response::SUCCESS);
    }

    pub async fn send(&self, body: &str, properties: &str) -> Frame {
        let properties = format!("TRAN_MSG\u{1}true\u{2}PGROUP\u{1}P\u{2}UNIQ_KEY\u{1}id-{body}\u{2}{properties}");
        let fields = SendRequestV2 {
            producer_group: "P".into(),
            topic: "T".into(),
            default_topic: "TBW102".into(),
            default_topic_queue_nums: 1,
            properties: Some(properties.into()),
            ..SendRequestV2::default()
        };
        let frame = self.link.request(request::SEND_MESSAGE_V2).with_fields(&fields).with_body(body.to_owned());
        self.link.call(frame, DEADLINE).await.unwrap()
    }

    pub async fn half(&self, body: &str, properties: &str) -> Sent {
        let answer = self.send(body, properties).await;
        assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
        let fields: SendResponse<'_> = answer.fields().unwrap();
        assert_eq!((fields.queue_id, fields.transaction_id.as_deref()), (0, Some(format!("id-{body}").as_str())));
        let (_, physical) = id::parse_offset_id(&fields.msg_id).unwrap();
        Sent { offset: fields.queue_offset, physical: physical.cast_signed() }
    }

    pub async fn end(&self, sent: &Sent, kind: u32, change: impl FnOnce(&mut EndTransactionRequest<'_>)) -> Frame {
        let mut fields = EndTransactionRequest {
            producer_group: "P".into(),
            tran_state_table_offset: sent.offset,
            commit_log_offset: sent.physical,
            commit_or_rollback: kind.cast_signed(),
            ..EndTransactionRequest::default()
        };
        change(&mut fields);
        self.link.call(self.link.request(request::END_TRANSACTION).with_fields(&fields), DEADLINE).await.unwrap()
    }

    pub async fn commit(&self, sent: &Sent) -> Frame {
        self.end(sent, sysflag::TRANSACTION_COMMIT, |_| {}).await
    }

    pub async fn roll_back(&self, sent: &Sent) -> Frame {
        self.end(sent, sysflag::TRANSACTION_ROLLBACK, |_| {}).await
    }

    pub async fn question(&mut self) -> Question {
        let frame = tokio::time::timeout(DEADLINE, self.questions.recv()).await.unwrap().unwrap();
        assert!(frame.code == request::CHECK_TRANSACTION_STATE && frame.is_oneway(), "{frame:?}");
        let fields: CheckTransactionRequest<'_> = frame.fields().unwrap();
        let owned = CheckTransactionRequest {
            topic: None,
            msg_id: None,
            transaction_id: None,
            offset_msg_id: fields.offset_msg_id.clone().map(|id| id.into_owned().into()),
            broker_name: None,
            ..CheckTransactionRequest {
                tran_state_table_offset: fields.tran_state_table_offset,
                commit_log_offset: fields.commit_log_offset,
                ..CheckTransactionRequest::default()
            }
        };
        (owned, frame)
    }

    /// Bodies of a topic's first queue.
    pub async fn bodies(&self, topic: &str) -> Vec<String> {
        let fields = PullRequest {
            consumer_group: "G".into(),
            topic: topic.into(),
            queue_offset: 0,
            max_msg_nums: 32,
            sys_flag: 4,
            subscription: Some("*".into()),
            ..PullRequest::default()
        };
        let frame = self.link.request(request::PULL_MESSAGE).with_fields(&fields);
        let answer = self.link.call(frame, DEADLINE).await.unwrap();
        records(&answer.body).map(|record| String::from_utf8(record.unwrap().body.to_vec()).unwrap()).collect()
    }

    pub async fn wait_for(&self, topic: &str, bodies: &[&str]) {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            let found = self.bodies(topic).await;
            if found == bodies {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "{topic}: {found:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn given_up(node: &Node, count: u64) {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    let counter = |node: &Node| node.broker().transactions.counts().given_up.load(std::sync::atomic::Ordering::Relaxed);
    while counter(node) < count {
        assert!(tokio::time::Instant::now() < deadline, "{} given up", counter(node));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_half_message_is_seen_once_it_is_committed_and_never_when_it_is_rolled_back() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path(), |_| {}).await;
    let sender = Sender::new(&node).await;
    let (yes, no) = (sender.half("yes", "TAGS\u{1}a\u{2}").await, sender.half("no", "").await);
    assert_eq!((yes.offset, no.offset), (0, 1));
    assert_eq!(sender.bodies("T").await, Vec::<String>::new());
    assert_eq!(sender.end(&yes, sysflag::TRANSACTION_NONE, |_| {}).await.code, response::SUCCESS);
    assert_eq!(sender.bodies("T").await, Vec::<String>::new());
    assert_eq!(sender.commit(&yes).await.code, response::SUCCESS);
    assert_eq!(sender.roll_back(&no).await.code, response::SUCCESS);
    assert_eq!(sender.bodies("T").await, ["yes"]);
    assert_eq!(node.broker().transactions.open(), 0);
    // Once more in the same way is well, otherwise it is not.
    for (sent, first, second) in [(&yes, 0, response::ILLEGAL_OPERATION), (&no, response::ILLEGAL_OPERATION, 0)] {
        let (commit, roll_back) = (sender.commit(sent).await, sender.roll_back(sent).await);
        assert_eq!((commit.code, roll_back.code), (first, second), "{:?} {:?}", commit.remark, roll_back.remark);
    }
    assert_eq!(sender.bodies("T").await, ["yes"]);
    node.stop().await;
}

/// A producer whose first answer was lost has sent its half message again; both are committed, the second before any index knows
/// of the first.
#[tokio::test]
async fn of_two_half_messages_that_are_the_same_one_is_committed() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path(), |_| {}).await;
    let sender = Sender::new(&node).await;
    let mut bodies = Vec::new();
    for n in 0..20 {
        let body = format!("twin {n}");
        let (one, other) = (sender.half(&body, "").await, sender.half(&body, "").await);
        let (first, second) = tokio::join!(sender.commit(&one), sender.commit(&other));
        assert_eq!((first.code, second.code), (response::SUCCESS, response::SUCCESS), "{:?}", second.remark);
        bodies.push(body);
    }
    assert_eq!(node.broker().transactions.open(), 0);
    sender.wait_for("T", &bodies.iter().map(String::as_str).collect::<Vec<_>>()).await;
    node.stop().await;
}

#[tokio::test]
async fn what_does_not_fit_ends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path(), |_| {}).await;
    let sender = Sender::new(&node).await;
    let sent = sender.half("m", "").await;
    type Change = fn(&mut EndTransactionRequest<'_>);
    let changes: [(Change, i32); 6] = [
        (|fields| fields.producer_group = "Q".into(), response::SYSTEM_ERROR),
        (|fields| fields.tran_state_table_offset += 1, response::SYSTEM_ERROR),
        (|fields| fields.commit_log_offset += 1, response::SYSTEM_ERROR),
        (|fields| fields.commit_log_offset = i64::MAX, response::SYSTEM_ERROR),
        (|fields| fields.commit_log_offset = -1, response::INVALID_PARAMETER),
        (|fields| fields.commit_or_rollback = 7, response::INVALID_PARAMETER),
    ];
    for (change, code) in changes {
        let answer = sender.end(&sent, sysflag::TRANSACTION_COMMIT, change).await;
        assert_eq!(answer.code, code, "{:?}", answer.remark);
        assert!(answer.remark.is_some_and(|remark| !remark.is_empty()));
    }
    assert_eq!(node.broker().transactions.open(), 1);
    assert_eq!(sender.commit(&sent).await.code, response::SUCCESS);
    node.stop().await;
}

#[tokio::test]
async fn limits_refuse_half_messages() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path(), |config| config.transactions.max_open = 1).await;
    let sender = Sender::new(&node).await;
    let sent = sender.half("m", "").await;
    assert_eq!(sender.send("n", "").await.code, response::SYSTEM_BUSY);
    sender.roll_back(&sent).await;
    sender.half("n", "").await;
    node.stop().await;
    let node = start(dir.path(), |config| config.transactions.reject = true).await;
    let sender = Sender::new(&node).await;
    assert_eq!(sender.send("o", "").await.code, response::NO_PERMISSION);
    node.stop().await;
}

#[tokio::test]
async fn a_producer_is_asked_and_its_answer_counts() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path(), impatient).await;
    let mut sender = Sender::new(&node).await;
    sender.be_known().await;
    let sent = sender.half("m", "TAGS\u{1}a\u{2}").await;
    for times in 1..=2 {
        let (fields, frame) = sender.question().await;
        assert_eq!((fields.tran_state_table_offset, fields.commit_log_offset), (sent.offset, sent.physical));
        let record = records(&frame.body).next().unwrap().unwrap();
        assert_eq!((record.topic, record.queue_id, record.body), ("T", 0, &b"m"[..]));
        assert_eq!(record.property("PGROUP"), Some("P"));
        assert_eq!(record.property("TRANSACTION_CHECK_TIMES"), Some(times.to_string().as_str()));
    }
    let answer =
        sender.end(&sent, sysflag::TRANSACTION_COMMIT, |fields| fields.from_transaction_check = Some(true)).await;
    assert_eq!(answer.code, response::SUCCESS);
    sender.wait_for("T", &["m"]).await;
    assert_eq!(node.broker().transactions.open(), 0);
    node.stop().await;
}

#[tokio::test]
async fn a_producer_is_left_alone_as_long_as_it_asks_for_and_then_ends_nothing_unasked() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path(), impatient).await;
    let mut sender = Sender::new(&node).await;
    sender.be_known().await;
    let began = tokio::time::Instant::now();
    let sent = sender.half("m", "CHECK_IMMUNITY_TIME_IN_SECONDS\u{1}1\u{2}").await;
    let (fields, _) = sender.question().await;
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(fields.commit_log_offset, sent.physical);
    let answer = sender.commit(&sent).await;
    assert_eq!(answer.code, response::ILLEGAL_OPERATION, "{:?}", answer.remark);
    let answer =
        sender.end(&sent, sysflag::TRANSACTION_COMMIT, |fields| fields.from_transaction_check = Some(true)).await;
    assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
    node.stop().await;
}

#[tokio::test]
async fn a_half_message_nobody_tells_about_is_laid_aside_and_can_be_resumed() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path(), impatient).await;
    let mut sender = Sender::new(&node).await;
    sender.be_known().await;
    let sent = sender.half("m", "").await;
    given_up(&node, 1).await;
    sender.wait_for(name::CHECK_MAX_TIME_TOPIC, &["m"]).await;
    let mut asked = 0;
    while sender.questions.try_recv().is_ok() {
        asked += 1;
    }
    assert_eq!(asked, 3);
    assert_eq!(sender.commit(&sent).await.code, response::ILLEGAL_OPERATION);

    let aside = node.broker().store.read(
        name::CHECK_MAX_TIME_TOPIC,
        0,
        0,
        crate::store::read::ReadLimit { max_messages: 1, max_bytes: 1 },
        &mut |_, _| true,
    );
    let msg_id = id::offset_id(node.address(), aside.last_physical);
    let fields = ResumeCheckRequest { topic: Some("T".into()), msg_id: msg_id.into() };
    let frame = sender.link.request(request::RESUME_CHECK_HALF_MESSAGE).with_fields(&fields);
    let answer = sender.link.call(frame, DEADLINE).await.unwrap();
    assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
    let (fields, _) = sender.question().await;
    let resumed = Sent { offset: fields.tran_state_table_offset, physical: fields.commit_log_offset };
    assert_eq!(resumed.offset, 1);
    let answer =
        sender.end(&resumed, sysflag::TRANSACTION_COMMIT, |fields| fields.from_transaction_check = Some(true)).await;
    assert_eq!(answer.code, response::SUCCESS, "{:?}", answer.remark);
    sender.wait_for("T", &["m"]).await;
    node.stop().await;
}

#[tokio::test]
async fn open_half_messages_and_their_questions_outlive_the_broker() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path(), impatient).await;
    let sender = Sender::new(&node).await;
    let (sent, gone) = (sender.half("m", "").await, sender.half("gone", "").await);
    sender.roll_back(&gone).await;
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while node.broker().asked.get(0) < 2 {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    node.stop().await;
    let node = start(dir.path(), |config| {
        impatient(config);
        config.transactions.check_interval = Duration::from_secs(2);
    })
    .await;
    let mut sender = Sender::new(&node).await;
    sender.be_known().await;
    let asked = node.broker().asked.get(0);
    if asked < 3 {
        let (fields, frame) = sender.question().await;
        assert_eq!(fields.commit_log_offset, sent.physical);
        let record = records(&frame.body).next().unwrap().unwrap();
        assert_eq!(record.property("TRANSACTION_CHECK_TIMES"), Some("3"));
    }
    assert_eq!(sender.commit(&sent).await.code, response::SUCCESS);
    sender.wait_for("T", &["m"]).await;
    node.stop().await;
}
