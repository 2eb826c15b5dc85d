//! Load through the producer library: any send that fails in spite of its retries is a fault.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use orbitmq_producer::{Message, Producer, SendError, SendReceipt};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::daemon::Daemon;
use crate::session::Session;
use crate::wait::until;

/// How often the producers ask for routes.
pub const ROUTE_REFRESH: Duration = Duration::from_millis(500);
const PRODUCERS: usize = 3;
const SENDERS: usize = 4;
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Outcome {
    sent: AtomicUsize,
    receipts: Mutex<Vec<(String, SendReceipt)>>,
    failures: Mutex<Vec<SendError>>,
}

/// Producers at work, with their usual retries.
pub struct Producers {
    topic: String,
    outcome: Arc<Outcome>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Producers {
    /// Starts them, and waits until they are under way.
    pub async fn start(nameservers: &[Daemon], topic: &str) -> Self {
        let (outcome, stop, mut tasks) = (Arc::<Outcome>::default(), CancellationToken::new(), JoinSet::new());
        for number in 0..PRODUCERS {
            let producer = Producer::builder().nameservers(nameservers.iter().map(Daemon::address)).group("producers");
            let producer = producer.route_refresh(ROUTE_REFRESH).build().await.unwrap();
            for sender in 0..SENDERS {
                let name = format!("{number}-{sender}");
                tasks.spawn(send(producer.clone(), topic.to_owned(), name, Arc::clone(&outcome), stop.clone()));
            }
        }
        let load = Self { topic: topic.to_owned(), outcome, stop, tasks };
        load.goes_on().await;
        load
    }

    /// Waits until every sender may have sent a few more; none may have failed.
    pub async fn goes_on(&self) {
        self.goes_on_for(ROUTE_REFRESH).await;
    }

    /// The same, and at least so long.
    pub async fn goes_on_for(&self, time: Duration) {
        let before = self.outcome.sent.load(Ordering::Relaxed);
        tokio::time::sleep(time).await;
        let more = before + 10 * PRODUCERS * SENDERS;
        until("sends go on", PATIENCE, async || {
            self.none_failed();
            (self.outcome.sent.load(Ordering::Relaxed) > more).then_some(())
        })
        .await;
    }

    fn none_failed(&self) {
        let failures = self.outcome.failures.lock();
        assert!(failures.is_empty(), "sends failed: {failures:?}");
    }

    /// Ends the senders; everything acknowledged is at its place in one of the brokers. Returns the bodies.
    pub async fn finish(mut self, brokers: &[Daemon], queues: i32) -> Vec<String> {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        self.none_failed();
        let mut places = HashMap::new();
        for broker in brokers {
            let session = Session::new(broker.address());
            for queue in 0..queues {
                for stored in session.read_queue(&self.topic, queue, 0).await.unwrap() {
                    places.insert((broker.name().to_owned(), queue, stored.offset), stored.body);
                }
            }
        }
        let receipts = std::mem::take(&mut *self.outcome.receipts.lock());
        for (text, receipt) in &receipts {
            let place = (receipt.broker.clone(), receipt.queue_id, receipt.queue_offset);
            let found = places.get(&place);
            assert!(found.is_some_and(|body| body == text.as_bytes()), "{text} is not at {place:?}, but {found:?}");
        }
        let bodies: HashSet<_> = places.values().collect();
        let repeated = places.len() - bodies.len();
        println!("{} sends, none failed, all there; {repeated} stored a second time by a retry", receipts.len());
        receipts.into_iter().map(|(text, _)| text).collect()
    }
}

async fn send(producer: Producer, topic: String, name: String, outcome: Arc<Outcome>, stop: CancellationToken) {
    let mut number = 0;
    while !stop.is_cancelled() {
        number += 1;
        let text = format!("{name} {number}");
        match producer.send(Message::new(topic.clone(), text.clone())).await {
            Ok(receipt) => outcome.receipts.lock().push((text, receipt)),
            Err(error) => outcome.failures.lock().push(error),
        }
        outcome.sent.fetch_add(1, Ordering::Relaxed);
    }
}
