//! Many messages with a number and a time in their bodies, sent with many requests in hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use orbitmq_tests::session::{Failure, Outgoing, Session};
use tokio::task::JoinSet;

use crate::servers::Servers;

/// Connections.
const LINKS: usize = 4;
/// Requests in hand of each.
const WINDOW: usize = 64;
/// Attempts at one send: a broker that is busy says so and wants to be asked again.
const ATTEMPTS: u32 = 50;

/// What is sent.
#[derive(Debug, Clone)]
pub struct Shipment {
    pub topic: &'static str,
    pub queues: u64,
    pub count: u64,
    /// Messages of one request.
    pub batch: u64,
    /// Bytes of a body.
    pub body: usize,
    /// When each is due: the first of all and over how many ms they are spread; none: at once.
    pub due: Option<(i64, u64)>,
}

/// Sends all; returns how long it took, s.
pub async fn all(servers: &Servers, shipment: &Shipment) -> f64 {
    let (began, next) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let mut senders = JoinSet::new();
    for _ in 0..LINKS {
        let session = Arc::new(servers.broker());
        for _ in 0..WINDOW {
            senders.spawn(some(Arc::clone(&session), Arc::clone(&next), shipment.clone()));
        }
    }
    while let Some(done) = senders.join_next().await {
        done.unwrap();
    }
    began.elapsed().as_secs_f64()
}

async fn some(session: Arc<Session>, next: Arc<AtomicU64>, shipment: Shipment) {
    loop {
        let first = next.fetch_add(shipment.batch, Ordering::Relaxed);
        if first >= shipment.count {
            return;
        }
        let numbers = first..(first + shipment.batch).min(shipment.count);
        let messages: Vec<Outgoing> = numbers.map(|number| message(&shipment, number)).collect();
        let queue = i32::try_from(first / shipment.batch % shipment.queues).unwrap();
        let mut attempt = 1;
        while let Err(failure) = session.send(shipment.topic, queue, &messages).await {
            // One that got no answer may be stored: sent again it would come twice.
            let is_certain = matches!(failure, Failure::Refused { .. });
            assert!(is_certain && attempt < ATTEMPTS, "{} is not taken: {failure:?}", shipment.topic);
            attempt += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn message(shipment: &Shipment, number: u64) -> Outgoing {
    let due = shipment.due.map(|(first, spread)| first + i64::try_from(fastrand::u64(0..spread)).unwrap());
    let mut properties = format!("UNIQ_KEY\u{1}{}{number:015}\u{2}", shipment.topic);
    if let Some(due) = due {
        properties += &format!("TIMER_DELIVER_MS\u{1}{due}\u{2}");
    }
    let mut body = vec![b'x'; shipment.body.max(16)];
    body[..8].copy_from_slice(&number.to_be_bytes());
    body[8..16].copy_from_slice(&due.unwrap_or(0).to_be_bytes());
    Outgoing { body: body.into(), properties }
}

/// Number and time in a body.
pub fn parse(body: &[u8]) -> (u64, i64) {
    let eight = |at: usize| body[at..at + 8].try_into().unwrap();
    (u64::from_be_bytes(eight(0)), i64::from_be_bytes(eight(8)))
}
