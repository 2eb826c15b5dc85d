//! How often somebody may call: an even stream with room for bursts (the generic cell rate algorithm), and a node's share of it.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Callers whose state is kept; beyond, those that have used nothing lately are forgotten.
const MAX_CALLERS: usize = 10_000;

/// One call per interval in the long run, and so many at once after a rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    interval: Duration,
    burst: u32,
}

impl Limit {
    /// So many calls in a second, evenly; 0 counts as 1.
    #[must_use]
    pub fn per_second(calls: u32) -> Self {
        Self::every(Duration::from_secs(1) / calls.max(1))
    }

    /// One call per interval.
    #[must_use]
    pub fn every(interval: Duration) -> Self {
        Self { interval, burst: 1 }
    }

    /// So many may come at once after a rest (1).
    #[must_use]
    pub fn burst(mut self, calls: u32) -> Self {
        self.burst = calls.max(1);
        self
    }
}

/// What a caller does when its limit is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenOver {
    /// The call waits for its turn; if that is after its deadline, it fails at once.
    #[default]
    Wait,
    /// The call fails at once.
    Refuse,
}

/// How far one caller has used a limit.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Used {
    /// When all that was taken is made good.
    until: Option<Instant>,
}

impl Used {
    /// Takes one call, of the part of the limit that one of `share` nodes has. `Ok`: when it may go; never after `latest`.
    /// `Err`: when one could go; nothing is taken.
    pub(crate) fn take(&mut self, limit: Limit, share: u32, now: Instant, latest: Instant) -> Result<Instant, Instant> {
        let share = share.max(1);
        let interval = limit.interval.saturating_mul(share);
        let ahead = interval.saturating_mul((limit.burst / share).max(1) - 1);
        let until = self.until.map_or(now, |until| until.max(now));
        let turn = until.checked_sub(ahead).map_or(now, |turn| turn.max(now));
        if turn > latest {
            return Err(turn);
        }
        self.until = until.checked_add(interval).or(Some(until));
        Ok(turn)
    }

    fn is_rested(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until <= now)
    }
}

/// What a service's callers may do, each by its name, and what they have done at this node.
#[derive(Debug, Default)]
pub(crate) struct CallerLimits {
    pub each: Option<Limit>,
    pub named: HashMap<String, Limit>,
    used: Mutex<HashMap<String, Used>>,
}

impl CallerLimits {
    /// Lets a call of `caller` pass at one of `share` nodes, or tells in how long one could.
    pub(crate) fn pass(&self, caller: &str, share: u32, now: Instant) -> Result<(), Duration> {
        let Some(limit) = self.named.get(caller).copied().or(self.each) else { return Ok(()) };
        let mut used = self.used.lock();
        if used.len() >= MAX_CALLERS && !used.contains_key(caller) {
            used.retain(|_, used| !used.is_rested(now));
        }
        // More names than that at the same time share one limit.
        let name = if used.len() >= MAX_CALLERS && !used.contains_key(caller) { "" } else { caller };
        let turn = match used.get_mut(name) {
            Some(used) => used.take(limit, share, now, now),
            None => used.entry(name.to_owned()).or_default().take(limit, share, now, now),
        };
        turn.map(drop).map_err(|turn| turn.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests;
