//! What else has to survive: offsets of groups, topics just created, delayed messages.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use orbitmq_common::protocol::code::response;
use orbitmq_tests::check::Check;
use orbitmq_tests::ledger::Ledger;
use orbitmq_tests::session::{Failure, Session};
use orbitmq_tests::wait::until;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const GROUP: &str = "COMMITTER";
const QUEUES: i32 = 2;
const DELAYED: &str = "Delayed";

/// A task that works until its broker dies.
#[derive(Default)]
struct Task {
    running: Option<(CancellationToken, JoinHandle<()>)>,
}

impl Task {
    /// `step` is repeated until it says that the broker is gone.
    fn start(&mut self, mut step: impl AsyncStep) {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let work = async move { while !stopped.is_cancelled() && step.once().await {} };
        self.running = Some((stop, tokio::spawn(work)));
    }

    async fn stop(&mut self) {
        if let Some((stop, task)) = self.running.take() {
            stop.cancel();
            task.await.unwrap();
        }
    }
}

trait AsyncStep: Send + 'static {
    fn once(&mut self) -> impl Future<Output = bool> + Send;
}

/// A lost answer, or one that says that the broker stops, ends the round; any other refusal is a fault.
fn went_on(result: Result<(), Failure>) -> bool {
    match result {
        Ok(()) => true,
        Err(Failure::Lost(_) | Failure::Refused { code: response::SERVICE_NOT_AVAILABLE, .. }) => false,
        Err(refused) => panic!("{refused:?}"),
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct Progress {
    tried: i64,
    acknowledged: i64,
}

/// Moves the offsets of a group forward, each time waiting for the answer.
pub struct Committer {
    topic: &'static str,
    queues: Arc<Mutex<BTreeMap<i32, Progress>>>,
    task: Task,
}

struct Commit {
    session: Session,
    topic: &'static str,
    queues: Arc<Mutex<BTreeMap<i32, Progress>>>,
}

impl AsyncStep for Commit {
    async fn once(&mut self) -> bool {
        for queue in 0..QUEUES {
            let next = {
                let mut queues = self.queues.lock();
                let progress = queues.entry(queue).or_default();
                progress.tried += 1;
                progress.tried
            };
            if !went_on(self.session.commit(GROUP, self.topic, queue, next).await) {
                return false;
            }
            self.queues.lock().entry(queue).or_default().acknowledged = next;
        }
        true
    }
}

impl Committer {
    pub fn new(topic: &'static str) -> Self {
        Self { topic, queues: Arc::default(), task: Task::default() }
    }

    pub fn start(&mut self, broker: &str) {
        self.task.start(Commit { session: Session::new(broker), topic: self.topic, queues: Arc::clone(&self.queues) });
    }

    pub async fn stop(&mut self) {
        self.task.stop().await;
    }

    pub fn acknowledged(&self) -> i64 {
        self.queues.lock().values().map(|progress| progress.acknowledged).sum()
    }

    /// What was acknowledged is there, or the one after it.
    pub async fn check(&self, session: &Session) {
        let queues = self.queues.lock().clone();
        for (queue, progress) in queues {
            let stored = session.committed(GROUP, self.topic, queue).await.unwrap().unwrap_or(0);
            assert!(
                (progress.acknowledged..=progress.tried).contains(&stored),
                "queue {queue} is at {stored}, and {progress:?}"
            );
            // The next one tried must be greater than what is there.
            self.queues.lock().insert(queue, Progress { tried: progress.tried, acknowledged: stored });
        }
    }
}

/// Creates topics, one after the other.
#[derive(Default)]
pub struct Creator {
    topics: Arc<Mutex<Vec<(String, i32, bool)>>>,
    checked: usize,
    task: Task,
}

struct Create {
    session: Session,
    topics: Arc<Mutex<Vec<(String, i32, bool)>>>,
}

impl AsyncStep for Create {
    async fn once(&mut self) -> bool {
        let (name, queues, at) = {
            let mut topics = self.topics.lock();
            let (name, queues, at) = (format!("Made{}", topics.len()), fastrand::i32(1..=16), topics.len());
            topics.push((name.clone(), queues, false));
            (name, queues, at)
        };
        let created = went_on(self.session.create_topic(&name, queues).await);
        self.topics.lock()[at].2 = created;
        tokio::time::sleep(Duration::from_millis(20)).await;
        created
    }
}

impl Creator {
    pub fn start(&mut self, broker: &str) {
        self.task.start(Create { session: Session::new(broker), topics: Arc::clone(&self.topics) });
    }

    pub async fn stop(&mut self) {
        self.task.stop().await;
    }

    pub fn acknowledged(&self) -> usize {
        self.topics.lock().iter().filter(|topic| topic.2).count()
    }

    /// Topics acknowledged since the last look are there, with their queues.
    pub async fn check(&mut self, session: &Session) {
        let topics = self.topics.lock().clone();
        for (name, queues, _) in topics.iter().skip(self.checked).filter(|topic| topic.2) {
            let found = session.topic(name).await.unwrap_or_else(|failure| panic!("{name} is lost: {failure:?}"));
            assert_eq!(found.write_queue_nums, *queues, "{name}");
        }
        self.checked = topics.len();
    }
}

/// Sends messages of delay level 1 and messages for a time of their own in turn, which come due while brokers die.
pub struct Delayer {
    ledger: Arc<Ledger>,
    rounds: u32,
    task: Task,
}

struct Delay {
    session: Session,
    ledger: Arc<Ledger>,
    sender: u32,
}

impl AsyncStep for Delay {
    async fn once(&mut self) -> bool {
        let queue = fastrand::i32(0..QUEUES);
        let by_level = fastrand::bool();
        let (id, mut message) = self.ledger.next(self.sender, &Arc::from(DELAYED), queue, 100, u32::from(by_level));
        if !by_level {
            message.properties.push_str(&format!("TIMER_DELAY_MS\u{1}{}\u{2}", fastrand::u32(1..1_500)));
        }
        let sent = self.session.send(DELAYED, queue, &[message]).await;
        went_on(sent.map(|receipt| self.ledger.stored(&[id], &receipt)))
    }
}

impl Delayer {
    pub fn new() -> Self {
        Self { ledger: Arc::default(), rounds: 0, task: Task::default() }
    }

    pub fn start(&mut self, broker: &str) {
        let (session, ledger) = (Session::new(broker), Arc::clone(&self.ledger));
        self.task.start(Delay { session, ledger, sender: self.rounds });
        self.rounds += 1;
    }

    pub async fn stop(&mut self) {
        self.task.stop().await;
    }

    /// Waits until every acknowledged message has been delivered; none comes twice. Tells how many.
    pub async fn check(&self, session: &Session) -> usize {
        let mut check = Check::default();
        until("all delayed messages are delivered", Duration::from_secs(30), async || {
            check.read(session, &self.ledger, DELAYED, QUEUES, false).await.unwrap();
            (check.verdict(&self.ledger).lost == 0).then_some(())
        })
        .await;
        let verdict = check.verdict(&self.ledger);
        assert!(verdict.is_clean() && self.ledger.acknowledged() > 0, "delayed messages: {verdict}");
        verdict.stored
    }
}
