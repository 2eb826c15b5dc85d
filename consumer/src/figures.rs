//! Counts what is fetched and what becomes of it, by topic, for whoever asks how the consumer is.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use orbitmq_common::protocol::body::running::ConsumeStatus;
use parking_lot::Mutex;
use tokio::time::Instant;

/// Rates are those of the last two minutes: of the one that runs and the one before.
const MINUTE: Duration = Duration::from_secs(60);
/// Failures are kept for an hour.
const MINUTES: usize = 60;

#[derive(Debug, Default, Clone, Copy)]
struct Minute {
    number: u64,
    pulls: u32,
    pull_time: Duration,
    pulled: u64,
    ok: u64,
    failed: u64,
    consume_time: Duration,
}

/// The counts of one topic.
#[derive(Debug)]
pub(crate) struct TopicFigures {
    began: Instant,
    minutes: Mutex<VecDeque<Minute>>,
}

impl TopicFigures {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), minutes: Mutex::default() }
    }

    fn note(&self, change: impl FnOnce(&mut Minute)) {
        self.note_at(self.began.elapsed(), change);
    }

    fn note_at(&self, now: Duration, change: impl FnOnce(&mut Minute)) {
        let number = now.as_secs() / MINUTE.as_secs();
        let mut minutes = self.minutes.lock();
        if minutes.back().is_none_or(|last| last.number < number) {
            minutes.push_back(Minute { number, ..Minute::default() });
            while minutes.len() > MINUTES {
                minutes.pop_front();
            }
        }
        if let Some(last) = minutes.back_mut() {
            change(last);
        }
    }

    /// A request brought messages.
    pub(crate) fn pulled(&self, messages: usize, took: Duration) {
        self.note(|minute| {
            minute.pulls = minute.pulls.saturating_add(1);
            minute.pull_time += took;
            minute.pulled += u64::try_from(messages).unwrap_or(0);
        });
    }

    /// A delivery was acknowledged, or not.
    pub(crate) fn settled(&self, ok: bool, took: Duration) {
        self.note(|minute| {
            *if ok { &mut minute.ok } else { &mut minute.failed } += 1;
            minute.consume_time += took;
        });
    }

    /// Means and rates, as bodies say them.
    pub(crate) fn status(&self) -> ConsumeStatus {
        self.status_at(self.began.elapsed())
    }

    fn status_at(&self, now: Duration) -> ConsumeStatus {
        let number = now.as_secs() / MINUTE.as_secs();
        let minutes = self.minutes.lock();
        let recent = minutes.iter().filter(|minute| minute.number + 1 >= number);
        let sum = recent.fold(Minute::default(), |sum, minute| Minute {
            number,
            pulls: sum.pulls.saturating_add(minute.pulls),
            pull_time: sum.pull_time + minute.pull_time,
            pulled: sum.pulled + minute.pulled,
            ok: sum.ok + minute.ok,
            failed: sum.failed + minute.failed,
            consume_time: sum.consume_time + minute.consume_time,
        });
        let since = MINUTE.saturating_mul(u32::try_from(number.saturating_sub(1)).unwrap_or(u32::MAX));
        let seconds = now.saturating_sub(since).as_secs_f64().max(1.0);
        let hour = minutes.iter().filter(|minute| minute.number + MINUTES as u64 > number);
        let mean = |time: Duration, count: u64| if count == 0 { 0.0 } else { time.as_secs_f64() * 1e3 / count as f64 };
        ConsumeStatus {
            pull_rt: mean(sum.pull_time, u64::from(sum.pulls)),
            pull_tps: sum.pulled as f64 / seconds,
            consume_rt: mean(sum.consume_time, sum.ok + sum.failed),
            consume_ok_tps: sum.ok as f64 / seconds,
            consume_failed_tps: sum.failed as f64 / seconds,
            consume_failed_msgs: i64::try_from(hour.map(|minute| minute.failed).sum::<u64>()).unwrap_or(i64::MAX),
        }
    }
}

/// The counts of one consumer.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    topics: Mutex<BTreeMap<Arc<str>, Arc<TopicFigures>>>,
}

impl Figures {
    /// Those of a topic.
    pub(crate) fn of(&self, topic: &Arc<str>) -> Arc<TopicFigures> {
        let mut topics = self.topics.lock();
        Arc::clone(topics.entry(Arc::clone(topic)).or_insert_with(|| Arc::new(TopicFigures::new())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_the_last_minutes() {
        let figures = TopicFigures::new();
        figures.pulled(30, Duration::from_millis(4));
        figures.pulled(30, Duration::from_millis(2));
        for n in 0..60 {
            figures.settled(n % 10 > 0, Duration::from_millis(5));
        }
        let status = figures.status_at(Duration::from_secs(30));
        assert_eq!((status.pull_rt, status.pull_tps, status.consume_rt), (3.0, 2.0, 5.0));
        assert_eq!((status.consume_ok_tps, status.consume_failed_tps, status.consume_failed_msgs), (1.8, 0.2, 6));
        let status = figures.status_at(Duration::from_secs(90));
        assert_eq!((status.consume_ok_tps, status.consume_failed_msgs), (0.6, 6));
        let status = figures.status_at(Duration::from_secs(600));
        assert_eq!((status.pull_tps, status.consume_ok_tps, status.consume_failed_msgs), (0.0, 0.0, 6));
        assert_eq!(figures.status_at(Duration::from_secs(4_200)).consume_failed_msgs, 0);
        figures.note_at(Duration::from_secs(4_200), |minute| minute.failed = 2);
        assert_eq!(figures.status_at(Duration::from_secs(4_201)).consume_failed_msgs, 2);
    }
}
