//! Notices that the wall clock was set, so that what is popped is invisible for as long as it was promised, neither shorter nor longer.
//!
//! Receipts name wall times, which clients and RocketMQ's notes know; only when they end here moves along.

use std::time::Instant;

/// The wall clock may run apart from the steady one by so much, ms: less is not worth looking at every receipt.
const DRIFT: i64 = 500;

/// Compares the wall clock with one that nobody sets.
#[derive(Debug)]
pub struct Watch {
    wall: i64,
    steady: Instant,
}

/// The wall clock was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jump {
    /// By how much, ms; below 0: back.
    pub by: i64,
    /// What it would show without it, ms since the epoch.
    pub otherwise: i64,
    /// What it shows.
    pub now: i64,
}

impl Watch {
    /// From now on. `wall` is in ms since the epoch.
    pub fn new(wall: i64, steady: Instant) -> Self {
        Self { wall, steady }
    }

    /// Looks again.
    pub fn look(&mut self, wall: i64, steady: Instant) -> Option<Jump> {
        let passed = i64::try_from(steady.saturating_duration_since(self.steady).as_millis()).unwrap_or(i64::MAX);
        let otherwise = self.wall.saturating_add(passed);
        *self = Self { wall, steady };
        let by = wall.saturating_sub(otherwise);
        (by.saturating_abs() > DRIFT).then_some(Jump { by, otherwise, now: wall })
    }
}

impl Jump {
    /// How much later, in ms, what was popped at `pop_time` and is due at `due` ends for it. Only what was popped before it moves: after
    /// a step back what stands in the future, and else what is not over.
    pub fn moves(self, pop_time: i64, due: i64) -> i64 {
        let is_moved =
            if self.by < 0 { pop_time > self.now } else { pop_time <= self.otherwise && due > self.otherwise };
        if is_moved { self.by } else { 0 }
    }
}

/// The same where the clock that set `pop_time` was another one, or is not known any more: nothing begins in the future.
pub fn not_later_than(now: i64) -> impl Fn(i64, i64) -> i64 {
    move |pop_time, _| now.saturating_sub(pop_time).min(0)
}

/// Full seconds of so many milliseconds: what is put off by them ends no earlier than it should.
pub fn full_seconds(ms: i64) -> i32 {
    i32::try_from(ms.div_euclid(1_000) + i64::from(ms % 1_000 != 0)).unwrap_or(if ms < 0 { i32::MIN } else { i32::MAX })
}

/// What steps of the clock have made uncertain about receipts that are no longer open.
#[derive(Debug, Clone, Copy)]
pub struct Doubts {
    /// Times of pops, from and to, that ended before their receipts say so, because the clock was set back.
    shortened: Option<(i64, i64)>,
    /// What the clock showed at most before that; what was due by then may be over.
    reached: i64,
}

impl Default for Doubts {
    fn default() -> Self {
        Self { shortened: None, reached: i64::MIN }
    }
}

impl Doubts {
    /// The clock had reached this time before it was set.
    pub fn reached(&mut self, time: i64) {
        self.reached = self.reached.max(time);
    }

    /// What was popped at this time ends before its receipt says so.
    pub fn shorten(&mut self, pop_time: i64) {
        let (from, to) = self.shortened.unwrap_or((pop_time, pop_time));
        self.shortened = Some((from.min(pop_time), to.max(pop_time)));
    }

    /// Whether what was popped at this time may have ended before its receipt says so.
    pub fn may_be_shortened(&self, pop_time: i64) -> bool {
        self.shortened.is_some_and(|(from, to)| (from..=to).contains(&pop_time))
    }

    /// Whether a receipt that ends at `due` was never over so far.
    pub fn is_in_time(&self, pop_time: i64, due: i64, now: i64) -> bool {
        now.max(self.reached) < due && !self.may_be_shortened(pop_time)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_what_was_popped_before_moves() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut watch = Watch::new(10_000, start);
        assert_eq!(watch.look(10_100, at(50)), None);
        let back = watch.look(4_150, at(100)).unwrap();
        assert_eq!(back, Jump { by: -6_000, otherwise: 10_150, now: 4_150 });
        assert_eq!((back.moves(10_120, 70_120), back.moves(4_140, 64_140)), (-6_000, 0));
        assert_eq!(watch.look(4_200, at(150)), None);
        let forward = watch.look(10_250, at(200)).unwrap();
        let moved = (forward.moves(4_240, 64_240), forward.moves(10_240, 70_240), forward.moves(4_000, 4_240));
        assert_eq!((forward.by, moved), (6_000, (6_000, 0, 0)));
        let unknown = not_later_than(10_250);
        assert_eq!((unknown(10_000, 10_500), unknown(12_250, 12_500)), (0, -2_000));
    }
}
