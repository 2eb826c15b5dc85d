//! Counts over the last minute, hour and day, from samples taken at common times.

use std::collections::VecDeque;

use crate::store::traffic::Counted;

/// Time between two samples, ms, and how many are kept: of a minute, an hour, a day.
const SPANS: [(i64, usize); 3] = [(10_000, 6), (600_000, 6), (3_600_000, 24)];

/// When samples were taken, ms since the epoch; oldest first.
#[derive(Debug)]
pub struct Clock {
    times: [VecDeque<i64>; 3],
}

/// Which samples are due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    spans: [bool; 3],
    /// Whether an hour is over.
    pub hourly: bool,
}

impl Due {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.spans == [false; 3]
    }
}

impl Clock {
    /// Everything begins now.
    #[must_use]
    pub fn new(now: i64) -> Self {
        Self { times: std::array::from_fn(|_| VecDeque::from([now])) }
    }

    /// Notes the time of those samples that are due. A clock that was set back begins anew.
    pub fn tick(&mut self, now: i64) -> Due {
        let mut due = Due { spans: [false; 3], hourly: false };
        for ((times, (every, keep)), due) in self.times.iter_mut().zip(SPANS).zip(&mut due.spans) {
            let last = times.back().copied().unwrap_or(i64::MIN);
            if now < last {
                times.clear();
            } else if now - last < every {
                continue;
            }
            push(times, now, keep);
            *due = true;
        }
        due.hourly = due.spans.last().copied().unwrap_or(false);
        due
    }
}

fn push<T>(samples: &mut VecDeque<T>, sample: T, keep: usize) {
    while samples.len() >= keep {
        samples.pop_front();
    }
    samples.push_back(sample);
}

/// The samples of one count.
#[derive(Debug, Default)]
pub struct Windows {
    samples: [VecDeque<Counted>; 3],
}

/// What a count grew by over a stretch of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stretch {
    /// By so much.
    pub counted: Counted,
    /// Length, ms.
    pub millis: i64,
}

impl Stretch {
    /// Messages per second.
    #[must_use]
    pub fn messages_per_second(&self) -> f64 {
        per_second(self.counted.messages, self.millis)
    }

    /// Bytes per second.
    #[must_use]
    pub fn bytes_per_second(&self) -> f64 {
        per_second(self.counted.bytes, self.millis)
    }
}

/// `amount` in `millis`, per second; 0 where no time has passed.
#[must_use]
pub fn per_second(amount: u64, millis: i64) -> f64 {
    if millis > 0 { amount as f64 * 1000.0 / millis as f64 } else { 0.0 }
}

/// A count over the last minute, hour and day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Over {
    /// The last 60 s.
    pub minute: Stretch,
    /// The last 60 minutes.
    pub hour: Stretch,
    /// The last 24 hours.
    pub day: Stretch,
}

impl Windows {
    /// Takes the samples that are due. A count that never was takes no memory.
    pub fn take(&mut self, counted: Counted, due: Due, clock: &Clock) {
        if counted == Counted::default() && self.samples.iter().all(VecDeque::is_empty) {
            return;
        }
        for ((samples, times), ((_, keep), due)) in
            self.samples.iter_mut().zip(&clock.times).zip(SPANS.into_iter().zip(due.spans))
        {
            if samples.back().is_some_and(|last| last.messages > counted.messages) {
                samples.clear();
            }
            if due {
                push(samples, counted, keep);
            }
            // After a new beginning of the clock older samples have no time.
            while samples.len() > times.len() {
                samples.pop_front();
            }
        }
    }

    /// What the count has grown by until now. One that is younger than a stretch began at 0.
    #[must_use]
    pub fn over(&self, counted: Counted, clock: &Clock, now: i64) -> Over {
        let [minute, hour, day] = std::array::from_fn(|span| {
            let (Some(samples), Some(times)) = (self.samples.get(span), clock.times.get(span)) else {
                return Stretch::default();
            };
            let base = if samples.len() == times.len() { samples.front().copied() } else { None };
            let millis = now - times.front().copied().unwrap_or(now);
            Stretch { counted: counted.since(base.unwrap_or_default()), millis }
        });
        Over { minute, hour, day }
    }
}
