//! Brokers that failed or were slow, and for how long they are avoided.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;

/// A broker that took at least so long (ms) is avoided for so long (ms); RocketMQ's steps.
const STEPS: [(u64, u64); 5] = [(15_000, 30_000), (5_000, 10_000), (3_000, 6_000), (1_800, 5_000), (550, 2_000)];
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy)]
struct Record {
    until: Instant,
    failures: u32,
}

/// Brokers to avoid for now. One that is avoided is still used when there is no other.
#[derive(Debug, Default)]
pub struct Avoided {
    brokers: RwLock<HashMap<Arc<str>, Record>>,
}

impl Avoided {
    /// Whether the broker is avoided now.
    #[must_use]
    pub fn contains(&self, broker: &str) -> bool {
        self.until(broker).is_some_and(|until| Instant::now() < until)
    }

    fn until(&self, broker: &str) -> Option<Instant> {
        self.brokers.read().get(broker).map(|record| record.until)
    }

    /// A broker answered after `latency`.
    pub fn answered(&self, broker: &Arc<str>, latency: Duration) {
        let pause = pause_of(latency);
        if pause.is_zero() {
            if self.until(broker).is_some() {
                self.brokers.write().remove(broker);
            }
            return;
        }
        let record = Record { until: Instant::now() + pause, failures: 0 };
        self.brokers.write().insert(Arc::clone(broker), record);
    }

    /// A broker failed: it is avoided for longer each time.
    pub fn failed(&self, broker: &Arc<str>) {
        let mut brokers = self.brokers.write();
        let record = brokers.entry(Arc::clone(broker)).or_insert(Record { until: Instant::now(), failures: 0 });
        let pause = FIRST_PAUSE.saturating_mul(1 << record.failures.min(10)).min(LONGEST_PAUSE);
        record.failures = record.failures.saturating_add(1);
        record.until = record.until.max(Instant::now() + pause);
    }
}

fn pause_of(latency: Duration) -> Duration {
    let ms = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
    STEPS.iter().find(|(from, _)| ms >= *from).map_or(Duration::ZERO, |(_, pause)| Duration::from_millis(*pause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_and_slowness_are_avoided_and_a_good_answer_forgives() {
        let (avoided, broker): (_, Arc<str>) = (Avoided::default(), "a".into());
        assert!(!avoided.contains("a"));
        avoided.failed(&broker);
        assert!(avoided.contains("a"));
        assert!(!avoided.contains("b"));
        avoided.answered(&broker, Duration::from_millis(3));
        assert!(!avoided.contains("a"));
        avoided.answered(&broker, Duration::from_millis(600));
        assert!(avoided.contains("a"));
    }

    #[test]
    fn pauses_grow_with_latency() {
        let pauses: Vec<u64> = [0, 549, 550, 1_800, 3_000, 5_000, 15_000, 100_000]
            .map(|ms| u64::try_from(pause_of(Duration::from_millis(ms)).as_millis()).unwrap())
            .into();
        assert_eq!(pauses, [0, 0, 2_000, 5_000, 6_000, 10_000, 30_000, 30_000]);
    }
}
