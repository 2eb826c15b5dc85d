//! Messages that arrive later than they are acknowledged, each once: those for a time of their own, and those sent in transactions.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use orbitmq_common::clock::now_ms;
use orbitmq_common::message::property::{self, Properties};
use orbitmq_producer::{Decision, Message, Producer, StoredMessage, TransactionProducer};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::load::World;
use crate::session::{Outgoing, Session, receipt};

/// Their topic, of one queue in each group.
pub const LATER: &str = "FaultsLater";
/// What their bodies begin with.
const TIMED: &str = "timed";
const DECIDED: &str = "decided";
/// Time between two of a sender.
const PACE: Duration = Duration::from_millis(25);
const PAUSE: Duration = Duration::from_millis(100);
/// How far ahead the timed ones are, milliseconds.
const AHEAD: std::ops::Range<i64> = 200..4_000;
/// Senders in transactions.
const DECIDERS: usize = 2;
/// Longest time of a half message's way, retries included.
const SEND_TIMEOUT: Duration = Duration::from_secs(3);

/// How often a message has to arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// Once: it was acknowledged, or committed.
    Once,
    /// Once or not at all: it was not answered, or is not decided.
    Perhaps,
    /// Never: it was rolled back.
    Never,
}

/// The book of them, by body.
#[derive(Default)]
pub struct Later {
    due: Mutex<HashMap<String, Due>>,
}

/// What the book and the cluster disagree about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Broken {
    /// Due, and not there.
    pub missing: Vec<String>,
    /// There more than once.
    pub repeated: Vec<String>,
    /// There, though never sent or rolled back.
    pub unwanted: Vec<String>,
}

impl Later {
    /// How many have to arrive.
    #[must_use]
    pub fn promised(&self) -> usize {
        self.due.lock().values().filter(|due| **due == Due::Once).count()
    }

    /// Whether there were none of a kind, so that nothing was proved.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let due = self.due.lock();
        let promised = |kind| due.iter().any(|(body, due)| *due == Due::Once && body.starts_with(kind));
        !(promised(TIMED) && promised(DECIDED))
    }

    /// Compares with what all masters hold.
    #[must_use]
    pub fn compare(&self, found: &[Bytes]) -> Broken {
        let (due, mut broken) = (self.due.lock(), Broken::default());
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        for body in found {
            *times.entry(String::from_utf8_lossy(body).into_owned()).or_default() += 1;
        }
        for (body, times) in &times {
            match due.get(body) {
                Some(Due::Once | Due::Perhaps) if *times > 1 => broken.repeated.push(format!("{body}, {times} times")),
                Some(Due::Once | Due::Perhaps) => {}
                Some(Due::Never) | None => broken.unwanted.push(body.clone()),
            }
        }
        let missing = |(body, due): (&String, &Due)| *due == Due::Once && !times.contains_key(body);
        broken.missing = due.iter().filter(|of| missing(*of)).map(|(body, _)| body.clone()).collect();
        broken
    }

    /// Whoever is not decided when the broker asks is rolled back for good.
    fn asked(&self, message: &StoredMessage) -> Decision {
        let body = String::from_utf8_lossy(&message.body).into_owned();
        let mut due = self.due.lock();
        let decided = due.entry(body).or_insert(Due::Never);
        if *decided == Due::Perhaps {
            *decided = Due::Never;
        }
        if *decided == Due::Once { Decision::Commit } else { Decision::Rollback }
    }

    /// The local work of a transaction; now and then the broker is not told.
    fn work(&self, body: &str) -> Decision {
        let mut due = self.due.lock();
        let decided = due.entry(body.to_owned()).or_insert(Due::Perhaps);
        if *decided == Due::Perhaps {
            *decided = if fastrand::u8(..3) == 0 { Due::Never } else { Due::Once };
        }
        match (fastrand::u8(..4), *decided) {
            (0, _) => Decision::Unknown,
            (_, Due::Once) => Decision::Commit,
            _ => Decision::Rollback,
        }
    }
}

/// Starts the senders, which end with what they have in hand; whoever gets the producer back closes it when brokers need no answers
/// any more.
pub async fn start(world: &Arc<World>, tasks: &mut JoinSet<()>, stop: &CancellationToken) -> TransactionProducer {
    for group in 0..world.groups {
        tasks.spawn(send_timed(Arc::clone(world), group, stop.clone()));
    }
    let producer = build(world).await;
    for sender in 0..DECIDERS {
        tasks.spawn(decide(Arc::clone(world), producer.clone(), sender, stop.clone()));
    }
    producer
}

/// Sends each message once, so that whatever is there twice was delivered twice.
async fn send_timed(world: Arc<World>, group: u8, stop: CancellationToken) {
    let sessions = world.sessions();
    for number in 0_u64.. {
        tokio::time::sleep(PACE).await;
        if stop.is_cancelled() {
            return;
        }
        let Some(master) = world.master(group) else { continue };
        let body = format!("{TIMED}-{group}-{number}");
        world.later.due.lock().insert(body.clone(), Due::Perhaps);
        if send_one(&sessions[&master], &body, fastrand::i64(AHEAD)).await {
            world.later.due.lock().insert(body, Due::Once);
        } else {
            world.complain();
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn send_one(session: &Session, body: &str, ahead: i64) -> bool {
    let mut properties = Properties::new();
    properties.push(property::UNIQ_KEY, body).unwrap();
    // By our clock: a broker's may be wrong for a while.
    properties.push(property::TIMER_DELIVER_MS, &(now_ms() + ahead).to_string()).unwrap();
    let message = Outgoing { body: body.to_owned().into(), properties: properties.into_text() };
    match session.start_send(LATER, 0, &[message]).await {
        Ok(answer) => receipt(answer.await).is_ok(),
        Err(_) => false,
    }
}

/// What masters hold of them. One that does not answer lacks all: that is found.
pub async fn arrived(masters: &[Session]) -> Vec<Bytes> {
    let mut found = Vec::new();
    for master in masters {
        let records = master.read_queue(LATER, 0, 0).await.unwrap_or_default();
        found.extend(records.into_iter().map(|record| record.body));
    }
    found
}

async fn decide(world: Arc<World>, producer: TransactionProducer, sender: usize, stop: CancellationToken) {
    for number in 0_u64.. {
        tokio::time::sleep(PACE).await;
        if stop.is_cancelled() {
            return;
        }
        let body = format!("{DECIDED}-{sender}-{number}");
        let work = |_| async { world.later.work(&body) };
        // One that fails may be stored: the broker asks then, and hears that it is rolled back.
        let _ = producer.send_in_transaction(Message::new(LATER, body.clone()).key(&body), work).await;
    }
}

async fn build(world: &Arc<World>) -> TransactionProducer {
    let asked = Arc::clone(world);
    let check = move |message: StoredMessage| {
        let decision = asked.later.asked(&message);
        async move { decision }
    };
    let builder = Producer::builder().nameservers(&world.nameservers).group("faults-deciders");
    let builder = builder.route_refresh(Duration::from_millis(500)).heartbeat(Duration::from_secs(1));
    builder.send_timeout(SEND_TIMEOUT).connect_timeout(Duration::from_secs(1)).build_transactional(check).await.unwrap()
}

#[cfg(test)]
mod tests;
