//! What was counted at earlier times.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;
use orbitmq_common::name;

use crate::store::Store;
use crate::store::traffic::{self as stored, Counted};
use crate::traffic::window::{Clock, Due, Over, Windows, per_second};

/// Seconds over which figures per second are told, and one.
const SECONDS: usize = 601;
const DAY_MS: i64 = 86_400_000;

/// A broker's counts in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Messages stored.
    pub puts: u64,
    /// Bytes stored.
    pub put_bytes: u64,
    /// Pulls that found something.
    pub found: u64,
    /// Pulls that found nothing.
    pub missed: u64,
    /// Messages handed out.
    pub handed_out: u64,
}

/// One of the totals.
pub type Figure = fn(&Totals) -> u64;

/// Messages in and out so far, at the beginnings of two days.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Day {
    number: i64,
    /// At that of yesterday.
    pub yesterday: (u64, u64),
    /// At that of today.
    pub today: (u64, u64),
}

/// The samples, but for those of readers.
#[derive(Debug)]
pub struct Sampled {
    /// When samples were taken.
    pub clock: Clock,
    /// Messages that users' topics got which are gone now.
    pub gone: u64,
    /// See [`Day`].
    pub day: Day,
    topics: HashMap<Arc<str>, Topic>,
    puts: Windows,
    gets: Windows,
    seconds: VecDeque<(i64, Totals)>,
}

#[derive(Debug, Default)]
struct Topic {
    windows: Windows,
    last: Counted,
    seen: bool,
}

impl Sampled {
    /// Nothing was counted before now, ms since the epoch.
    #[must_use]
    pub fn new(now: i64) -> Self {
        Self {
            clock: Clock::new(now),
            gone: 0,
            day: Day { number: now.div_euclid(DAY_MS), ..Day::default() },
            topics: HashMap::new(),
            puts: Windows::default(),
            gets: Windows::default(),
            seconds: VecDeque::new(),
        }
    }

    /// Notes the totals of a second.
    pub fn second(&mut self, totals: Totals, now: i64) {
        if self.seconds.back().is_some_and(|(last, _)| *last > now) {
            self.seconds.clear();
        }
        while self.seconds.len() >= SECONDS {
            self.seconds.pop_front();
        }
        self.seconds.push_back((now, totals));
    }

    /// Whether a day has begun that is not noted yet.
    #[must_use]
    pub fn is_morning(&self, now: i64) -> bool {
        now.div_euclid(DAY_MS) != self.day.number
    }

    /// Notes what there was at the beginning of a day.
    pub fn turn_of_day(&mut self, users: (u64, u64), now: i64) {
        self.day = Day { number: now.div_euclid(DAY_MS), yesterday: self.day.today, today: users };
    }

    /// Takes the samples that are due.
    pub fn take(&mut self, store: &Store, totals: Totals, due: Due) {
        let Self { clock, topics, puts, gets, gone, .. } = self;
        puts.take(Counted { messages: totals.puts, bytes: totals.put_bytes }, due, clock);
        gets.take(Counted { messages: totals.handed_out, bytes: 0 }, due, clock);
        stored::each_topic(store, &mut |name, counted| {
            let topic = topics.entry(Arc::clone(name)).or_default();
            topic.windows.take(counted, due, clock);
            topic.seen = true;
            topic.last = counted;
        });
        topics.retain(|topic, sampled| {
            let seen = std::mem::take(&mut sampled.seen);
            if !seen && !name::is_system_topic(topic) {
                *gone += sampled.last.messages;
            }
            seen
        });
    }

    /// A topic's count until now.
    #[must_use]
    pub fn topic(&self, topic: &str, counted: Counted, now: i64) -> Over {
        match self.topics.get(topic) {
            Some(known) => known.windows.over(counted, &self.clock, now),
            None => Windows::default().over(counted, &self.clock, now),
        }
    }

    /// What came in and went out until now.
    #[must_use]
    pub fn broker(&self, totals: &Totals, now: i64) -> (Over, Over) {
        let (puts, gets) = (
            Counted { messages: totals.puts, bytes: totals.put_bytes },
            Counted { messages: totals.handed_out, bytes: 0 },
        );
        (self.puts.over(puts, &self.clock, now), self.gets.over(gets, &self.clock, now))
    }

    /// A figure per second over the last `seconds`, or as far back as there is something.
    #[must_use]
    pub fn per_second(&self, totals: &Totals, now: i64, seconds: usize, figure: Figure) -> f64 {
        let first = self.seconds.len().saturating_sub(seconds);
        let Some((since, base)) = self.seconds.get(first) else { return 0.0 };
        per_second(figure(totals).saturating_sub(figure(base)), now - since)
    }
}
