//! Sends messages the ways that measurements want them sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use orbitmq_producer::{Message, Producer};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::bench::figures::Latencies;
use crate::bench::schedule::{Schedule, Turn};
use crate::bench::setup::Bodies;
use crate::failure::Failure;

/// How messages are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Each sender waits for the answer before it sends again.
    #[default]
    Sync,
    /// Senders go on at once, with as many messages in hand as the window allows.
    Async,
    /// Each sender sends a batch and waits for its answer.
    Batch,
}

/// What is sent and how.
#[derive(Debug, Clone)]
pub struct Plan {
    pub topic: String,
    pub mode: Mode,
    pub senders: u16,
    pub window: u32,
    pub batch: u64,
    pub bodies: Bodies,
    pub paced: bool,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Tally {
    pub latencies: Latencies,
    pub acked: u64,
    pub failed: u64,
    pub first_failure: Option<String>,
    /// Longest time in which no sender got an acknowledgement.
    pub longest_pause: Duration,
}

/// When senders got acknowledgements.
#[derive(Debug)]
struct Pulse {
    began: Instant,
    last_micros: AtomicU64,
    longest_micros: AtomicU64,
}

impl Pulse {
    fn start() -> Arc<Self> {
        Arc::new(Self { began: Instant::now(), last_micros: AtomicU64::new(0), longest_micros: AtomicU64::new(0) })
    }

    fn beat(&self) {
        self.beat_at(u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX));
    }

    fn beat_at(&self, now: u64) {
        let pause = now.saturating_sub(self.last_micros.fetch_max(now, Ordering::Relaxed));
        self.longest_micros.fetch_max(pause, Ordering::Relaxed);
    }

    fn longest(&self) -> Duration {
        Duration::from_micros(self.longest_micros.load(Ordering::Relaxed))
    }
}

impl Tally {
    fn new() -> Result<Self, Failure> {
        let (acked, failed, first_failure, longest_pause) = (0, 0, None, Duration::ZERO);
        Ok(Self { latencies: Latencies::new()?, acked, failed, first_failure, longest_pause })
    }

    fn note(&mut self, latency: Duration, acked: u64, failed: u64, failure: Option<String>) {
        if acked > 0 {
            self.latencies.record(latency);
        }
        self.acked += acked;
        self.failed += failed;
        self.first_failure = self.first_failure.take().or(failure);
    }

    fn add(&mut self, other: &Self) {
        self.latencies.add(&other.latencies);
        self.acked += other.acked;
        self.failed += other.failed;
        self.first_failure = self.first_failure.take().or_else(|| other.first_failure.clone());
    }
}

/// Sends what the schedule hands out.
pub async fn drive(producer: &Producer, plan: &Plan, schedule: &Arc<Schedule>) -> Result<Tally, Failure> {
    let window = Arc::new(Semaphore::new(usize::try_from(plan.window).unwrap_or(Semaphore::MAX_PERMITS)));
    let pulse = Pulse::start();
    let mut senders = JoinSet::new();
    let mut tallies = Vec::new();
    for _ in 0..plan.senders {
        let tally = Arc::new(Mutex::new(Tally::new()?));
        tallies.push(Arc::clone(&tally));
        let (schedule, pulse) = (Arc::clone(schedule), Arc::clone(&pulse));
        let sender = Sender { producer: producer.clone(), plan: plan.clone(), schedule, tally, pulse };
        match plan.mode {
            Mode::Sync | Mode::Batch => senders.spawn(sender.one_by_one()),
            Mode::Async => senders.spawn(sender.with_window(Arc::clone(&window))),
        };
    }
    while let Some(ended) = senders.join_next().await {
        ended.map_err(|error| Failure::other(format!("a sender ended early: {error}")))?;
    }
    // Answers that are still due give their permits back when they come, or when their time is over.
    drop(window.acquire_many(plan.window).await);
    let mut all = Tally::new()?;
    for tally in tallies {
        all.add(&tally.lock());
    }
    all.longest_pause = pulse.longest();
    Ok(all)
}

struct Sender {
    producer: Producer,
    plan: Plan,
    schedule: Arc<Schedule>,
    tally: Arc<Mutex<Tally>>,
    pulse: Arc<Pulse>,
}

impl Sender {
    fn message(&self, number: u64, due: Instant) -> Message {
        Message::new(self.plan.topic.as_str(), self.plan.bodies.body(number, due))
    }

    /// When the clock of a turn starts: when it was due, or now where nothing is due at a time.
    fn start(&self, turn: &Turn) -> Instant {
        if self.plan.paced { turn.due } else { Instant::now() }
    }

    async fn one_by_one(self) {
        while let Some(turn) = self.schedule.next().await {
            let start = self.start(&turn);
            let (acked, failure) = match self.plan.mode {
                Mode::Batch => {
                    let batch = (turn.first..turn.first + turn.messages).map(|number| self.message(number, start));
                    match self.producer.send_batch(batch.collect()).await {
                        Ok(receipts) => (receipts.len() as u64, None),
                        Err(error) => (error.sent.len() as u64, Some(error.to_string())),
                    }
                }
                Mode::Sync | Mode::Async => match self.producer.send(self.message(turn.first, start)).await {
                    Ok(_) => (1, None),
                    Err(error) => (0, Some(error.to_string())),
                },
            };
            if acked > 0 {
                self.pulse.beat();
            }
            self.tally.lock().note(start.elapsed(), acked, turn.messages.saturating_sub(acked), failure);
        }
    }

    async fn with_window(self, window: Arc<Semaphore>) {
        while let Some(turn) = self.schedule.next().await {
            let Ok(permit) = Arc::clone(&window).acquire_owned().await else { return };
            let start = self.start(&turn);
            let (tally, pulse) = (Arc::clone(&self.tally), Arc::clone(&self.pulse));
            let done = move |sent: Result<_, orbitmq_producer::SendError>| {
                let failure = sent.err().map(|error| error.to_string());
                if failure.is_none() {
                    pulse.beat();
                }
                tally.lock().note(start.elapsed(), u64::from(failure.is_none()), u64::from(failure.is_some()), failure);
                drop(permit);
            };
            if let Err(error) = self.producer.send_with_callback(self.message(turn.first, start), done).await {
                self.tally.lock().note(start.elapsed(), 0, 1, Some(error.to_string()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_pause_is_kept() {
        let pulse = Pulse::start();
        [10, 20, 90, 85, 100].into_iter().for_each(|micros| pulse.beat_at(micros));
        assert_eq!(pulse.longest(), Duration::from_micros(70));
    }
}
