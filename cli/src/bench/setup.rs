//! What measurements need beforehand: topics, client libraries, bodies, and what the brokers promise.

use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use orbitmq_producer::Producer;
use serde::Serialize;

use crate::failure::Failure;
use crate::session::Session;
use crate::{group, topic};

/// Bytes at a body's start: run, number, due time.
const STAMP: usize = 24;

/// Arguments of all measurements.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Bytes of a body, at least 24; random, so that nothing compresses them.
    #[arg(long, value_name = "BYTES", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(24..=4_000_000))]
    pub size: u32,
    /// Queues of the topic at each broker, where it has to be created.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(i32).range(1..=1024))]
    pub queues: i32,
    /// Server processes on this machine, whose CPU time and memory are reported; several separated by commas.
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub server_pid: Vec<u32>,
}

/// What a broker promises when it acknowledges a send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Durability {
    /// The broker.
    pub broker: String,
    /// RocketMQ's name: `SYNC_FLUSH` or `ASYNC_FLUSH`; `unknown` where the broker does not tell.
    pub flush: String,
    /// `ASYNC_MASTER` or `SYNC_MASTER`.
    pub role: String,
}

/// Asks every master what it promises.
pub async fn durability(session: &Session) -> Result<Vec<Durability>, Failure> {
    let mut promises = Vec::new();
    for master in session.masters().await? {
        let mut settings = session.settings(&master.address).await.unwrap_or_default();
        let mut take = |key| settings.remove(key).unwrap_or_else(|| "unknown".to_owned());
        promises.push(Durability { flush: take("flushDiskType"), role: take("brokerRole"), broker: master.name });
    }
    Ok(promises)
}

/// The promises in one line.
pub fn durability_text(promises: &[Durability]) -> String {
    let each = promises.iter().map(|one| {
        let meaning = match one.flush.as_str() {
            "SYNC_FLUSH" => "acknowledged once on the disk",
            "ASYNC_FLUSH" => "acknowledged before it is on the disk",
            _ => "the broker does not tell",
        };
        format!("{}: {} ({meaning}), {}", one.broker, one.flush, one.role)
    });
    each.collect::<Vec<_>>().join("; ")
}

/// A producer that may have so many sends in hand.
pub async fn producer(session: &Session, in_hand: usize) -> Result<Producer, Failure> {
    let builder = Producer::builder().nameservers(session.nameservers()).group("orbitmq-bench");
    Ok(builder.max_in_flight(in_hand.max(64)).max_bytes_in_flight(1 << 30).build().await?)
}

/// Removes what a run's own group leaves at the brokers. What cannot be removed stays; the run is over all the same.
pub async fn forget_group(session: &Session, group: &str) {
    let removed = async {
        group::change::remove(session, group).await?;
        topic::change::remove(session, &orbitmq_common::name::retry_topic(group)).await
    };
    if let Err(failure) = removed.await {
        eprintln!("orbitmq: group '{group}' is left over: {failure}");
    }
}

/// A number that no other run has.
pub fn run_id() -> u64 {
    fastrand::u64(..)
}

/// Bodies of one run, told apart by a stamp.
#[derive(Debug, Clone)]
pub struct Bodies {
    run: u64,
    epoch: Instant,
    filling: Vec<u8>,
}

/// What is stamped on a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    /// The run.
    run: u64,
    /// Number of the message in it.
    number: u64,
    /// ns from when the run's bodies were made until the message was due.
    due: u64,
}

impl Bodies {
    /// Bodies of `size` random bytes.
    pub fn new(run: u64, size: u32) -> Self {
        let size = usize::try_from(size).unwrap_or(STAMP).max(STAMP);
        let filling = std::iter::repeat_with(|| fastrand::u8(..)).take(size - STAMP).collect();
        Self { run, epoch: Instant::now(), filling }
    }

    /// The body of a message.
    pub fn body(&self, number: u64, due: Instant) -> Bytes {
        let mut body = Vec::with_capacity(STAMP + self.filling.len());
        let due = due.saturating_duration_since(self.epoch).as_nanos();
        let due = u64::try_from(due).unwrap_or(u64::MAX);
        for part in [self.run, number, due] {
            body.extend_from_slice(&part.to_be_bytes());
        }
        body.extend_from_slice(&self.filling);
        body.into()
    }

    /// Number of a message of this run, and how long ago it was due.
    pub fn age(&self, body: &[u8]) -> Option<(u64, Duration)> {
        let stamp = Stamp::read(body).filter(|stamp| stamp.run == self.run)?;
        Some((stamp.number, self.epoch.elapsed().saturating_sub(Duration::from_nanos(stamp.due))))
    }
}

impl Stamp {
    /// Reads a body's stamp.
    fn read(body: &[u8]) -> Option<Self> {
        let (run, rest) = body.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let due = rest.first_chunk()?;
        let [run, number, due] = [run, number, due].map(|part| u64::from_be_bytes(*part));
        Some(Self { run, number, due })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_back() {
        let bodies = Bodies::new(7, 100);
        let body = bodies.body(3, bodies.epoch + Duration::from_micros(5));
        assert_eq!(body.len(), 100);
        assert_eq!(Stamp::read(&body), Some(Stamp { run: 7, number: 3, due: 5000 }));
        assert_eq!(bodies.age(&body).map(|(number, _)| number), Some(3));
        assert_eq!(Bodies::new(8, 100).age(&body), None);
        assert_eq!(Stamp::read(&body[..23]), None);
        assert_eq!(Bodies::new(7, 1).body(0, Instant::now()).len(), 24);
    }

    #[test]
    fn promises_are_told_in_words() {
        let promise = Durability { broker: "a".into(), flush: "SYNC_FLUSH".into(), role: "ASYNC_MASTER".into() };
        assert_eq!(durability_text(&[promise]), "a: SYNC_FLUSH (acknowledged once on the disk), ASYNC_MASTER");
    }
}
