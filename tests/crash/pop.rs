//! SIGKILL between pop and acknowledgement, again and again: what was acknowledged never comes back, the rest does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use orbitmq_common::message::entry;
use orbitmq_common::message::property;
use orbitmq_common::message::receipt::{Origin, Receipt};
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::header::pop::{AckRequest, PopRequest, PopResponse};
use orbitmq_tests::daemon::Place;
use orbitmq_tests::session::{Outgoing, Session, properties};
use parking_lot::Mutex;

const TESTD: &str = env!("CARGO_BIN_EXE_orbitmq-testd");
const TOPIC: &str = "Popped";
const GROUP: &str = "POPPERS";
const QUEUES: i32 = 3;
const MESSAGES: usize = 1_500;
const KILLS: usize = 6;
/// Long enough that a reader has acknowledged what it wants to before its receipts end.
const INVISIBLE: i64 = 1_500;
const PATIENCE: Duration = Duration::from_secs(120);

/// Messages whose acknowledgement was answered, and those whose acknowledgement was sent.
#[derive(Default)]
struct Book {
    done: BTreeSet<String>,
    asked: BTreeSet<String>,
}

/// A popped message.
struct Popped {
    body: String,
    /// The topic and the queue that it lies in.
    topic: String,
    queue: i32,
    offset: i64,
    receipt: String,
}

async fn pop(session: &Session) -> Option<Vec<Popped>> {
    let fields = PopRequest {
        consumer_group: GROUP.into(),
        topic: TOPIC.into(),
        queue_id: -1,
        max_msg_nums: 16,
        invisible_time: INVISIBLE,
        poll_time: 200,
        ..PopRequest::default()
    };
    let link = session.link().await.ok()?;
    let answer = link.call(link.request(request::POP_MESSAGE).with_fields(&fields), PATIENCE).await.ok()?;
    if answer.code != response::SUCCESS {
        assert_eq!(answer.code, response::POLLING_TIMEOUT, "{:?}", answer.remark);
        return Some(Vec::new());
    }
    let told: PopResponse<'_> = answer.fields().unwrap();
    let start = told.start_offset_info.as_deref().unwrap_or_default();
    let body: Bytes = [answer.body.clone()].into_iter().chain(answer.more.clone()).collect::<Vec<_>>().concat().into();
    let records = entry::records(&body).map(|record| {
        let record = record.unwrap();
        // As the Java client does: the receipt is there, or is put together.
        let receipt = record.property(property::POP_CK).map_or_else(
            || {
                let queue = format!("0 {} ", record.queue_id);
                let start = start.split(';').find_map(|part| part.strip_prefix(&queue)).unwrap();
                Receipt {
                    start: start.parse().unwrap(),
                    pop_time: told.pop_time,
                    invisible: told.invisible_time,
                    revive_queue: told.revive_qid,
                    origin: Origin::Topic,
                    broker: "broker",
                    queue: record.queue_id.cast_signed(),
                    offset: record.queue_offset.cast_signed(),
                }
                .to_string()
            },
            str::to_owned,
        );
        let parsed = Receipt::parse(&receipt).unwrap();
        let origin = (parsed.origin as u8).to_string();
        Popped {
            body: String::from_utf8(record.body.to_vec()).unwrap(),
            topic: Origin::real_topic(&origin, TOPIC, GROUP).unwrap().into_owned(),
            queue: parsed.queue,
            offset: parsed.offset,
            receipt,
        }
    });
    Some(records.collect())
}

async fn ack(session: &Session, popped: &Popped) -> Option<i32> {
    let fields = AckRequest {
        consumer_group: GROUP.into(),
        topic: popped.topic.as_str().into(),
        queue_id: popped.queue,
        extra_info: popped.receipt.as_str().into(),
        offset: popped.offset,
    };
    let link = session.link().await.ok()?;
    let answer = link.call(link.request(request::ACK_MESSAGE).with_fields(&fields), PATIENCE).await.ok()?;
    Some(answer.code)
}

/// Pops and acknowledges two of three messages until all are acknowledged.
async fn read(address: String, book: Arc<Mutex<Book>>) {
    let session = Session::new(&address);
    let mut turn = 0_usize;
    while book.lock().done.len() < MESSAGES {
        let Some(popped) = pop(&session).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        for one in &popped {
            let known = book.lock().done.contains(&one.body);
            assert!(!known, "'{}' came back after its acknowledgement was answered", one.body);
        }
        for one in popped {
            turn += 1;
            if turn.is_multiple_of(3) {
                continue;
            }
            book.lock().asked.insert(one.body.clone());
            if ack(&session, &one).await == Some(response::SUCCESS) {
                book.lock().done.insert(one.body);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_stays_away_and_the_rest_comes_back() {
    let place = Place::new(TESTD);
    let mut broker = place.broker("broker").start();
    let session = Session::new(broker.address());
    session.create_topic(TOPIC, QUEUES).await.unwrap();
    for n in 0..MESSAGES {
        let text = format!("message {n}");
        let message = Outgoing { body: text.clone().into(), properties: properties(&format!("KEY{n:08}"), 0) };
        session.send(TOPIC, i32::try_from(n).unwrap() % QUEUES, &[message]).await.unwrap();
    }
    let book = Arc::new(Mutex::new(Book::default()));
    let reader = tokio::spawn(read(broker.address().to_owned(), Arc::clone(&book)));
    let deadline = tokio::time::Instant::now() + PATIENCE;
    for kill in 1..=KILLS {
        let wanted = MESSAGES * kill / (KILLS + 2);
        while book.lock().done.len() < wanted && !reader.is_finished() {
            assert!(tokio::time::Instant::now() < deadline, "{} of {wanted} done", book.lock().done.len());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        broker.kill();
        broker.start();
    }
    // Some acknowledgements were done although no answer came; the reader waits for them in vain.
    let all_done = async || loop {
        let (done, asked) = {
            let book = book.lock();
            (book.done.len(), book.asked.len())
        };
        if reader.is_finished() || asked == MESSAGES && done + 16 * KILLS >= MESSAGES {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "{done} done, {asked} asked of {MESSAGES}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    all_done().await;
    if reader.is_finished() {
        reader.await.unwrap();
    } else {
        reader.abort();
    }
    println!("{KILLS} kills, {} answered acknowledgements", book.lock().done.len());
    broker.stop();
}
