//! When the next message is due: at once, or at a fixed rate whatever the servers do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

/// After the last message was due, those that are late are still sent for so long.
const GRACE: Duration = Duration::from_secs(2);
/// No run has more senders.
const MOST_SENDERS: usize = 1 << 20;

/// Hands out the numbers of messages until count or time is up. With a rate the times are fixed beforehand, so that a
/// stalled server delays no due time and its stall shows in the latencies of all messages that came due meanwhile.
#[derive(Debug)]
pub struct Schedule {
    next: AtomicU64,
    count: u64,
    step: u64,
    start: Instant,
    end: Instant,
    pace: Option<Pace>,
}

#[derive(Debug)]
struct Pace {
    rate: f64,
    due: Arc<Semaphore>,
}

/// Messages to send now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Number of the first one.
    pub first: u64,
    /// How many.
    pub messages: u64,
    /// When they were due.
    pub due: Instant,
}

impl Schedule {
    /// A schedule for `count` messages, `step` at a time, for `limit` at most; at `rate` messages a second, or as fast as
    /// they are taken.
    pub fn start(count: u64, step: u64, limit: Duration, rate: Option<f64>) -> Arc<Self> {
        let start = Instant::now();
        let schedule = Arc::new(Self {
            next: AtomicU64::new(0),
            count: rate.map_or(count, |rate| count.min(Self::within(limit, rate))),
            step: step.max(1),
            start,
            end: start + limit + rate.map_or(Duration::ZERO, |_| GRACE),
            pace: rate.map(|rate| Pace { rate, due: Arc::new(Semaphore::new(0)) }),
        });
        if schedule.pace.is_some() {
            let pacer = Arc::clone(&schedule);
            // A thread of its own sleeps more exactly than the runtime's timer, whose tick is a millisecond.
            std::thread::spawn(move || pacer.pace());
        }
        schedule
    }

    /// Messages due within a time at a rate.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "both are positive, and the cast saturates"
    )]
    pub fn within(limit: Duration, rate: f64) -> u64 {
        (limit.as_secs_f64() * rate).ceil() as u64
    }

    /// When it began.
    pub fn began(&self) -> Instant {
        self.start
    }

    /// How many messages are to be sent, unless time is up before.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The next messages, once they are due; `None` when count or time is up.
    pub async fn next(&self) -> Option<Turn> {
        if let Some(pace) = &self.pace {
            pace.due.acquire().await.ok()?.forget();
        }
        let first = self.next.fetch_add(self.step, Ordering::Relaxed);
        let now = Instant::now();
        if first >= self.count || now >= self.end {
            return None;
        }
        let due = self.due(first).unwrap_or(now);
        Some(Turn { first, messages: self.step.min(self.count - first), due })
    }

    fn due(&self, number: u64) -> Option<Instant> {
        let pace = self.pace.as_ref()?;
        #[expect(clippy::cast_precision_loss, reason = "no run counts to 2^52")]
        Some(self.start + Duration::from_secs_f64(number as f64 / pace.rate))
    }

    fn pace(&self) {
        let Some(pace) = &self.pace else { return };
        let mut number = 0;
        while let Some(due) = self.due(number).filter(|_| number < self.count) {
            if let Some(early) = due.checked_duration_since(Instant::now()) {
                std::thread::sleep(early);
            }
            pace.due.add_permits(1);
            number += self.step;
        }
        // Senders that still wait learn that it is over.
        pace.due.add_permits(MOST_SENDERS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn everything_is_handed_out_once() {
        let schedule = Schedule::start(10, 4, LONG, None);
        let mut turns = Vec::new();
        while let Some(turn) = schedule.next().await {
            turns.push((turn.first, turn.messages));
        }
        assert_eq!(turns, [(0, 4), (4, 4), (8, 2)]);
    }

    #[tokio::test]
    async fn a_stall_moves_no_due_time() {
        let schedule = Schedule::start(20, 1, LONG, Some(1000.0));
        let mut last = None;
        while let Some(turn) = schedule.next().await {
            if turn.first == 0 {
                std::thread::sleep(Duration::from_millis(50));
            }
            assert_eq!(turn.due, schedule.began() + Duration::from_millis(turn.first));
            last = Some(turn.first);
        }
        assert_eq!(last, Some(19));
    }

    #[tokio::test]
    async fn time_ends_it() {
        let paced = Schedule::start(u64::MAX, 1, Duration::from_millis(30), Some(100.0));
        let unpaced = Schedule::start(u64::MAX, 1, Duration::ZERO, None);
        let mut turns = 0;
        while paced.next().await.is_some() {
            turns += 1;
        }
        assert_eq!((turns, unpaced.next().await), (3, None));
    }
}
