//! Pauses between attempts: doubling, with jitter, bounded.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);

pub struct Backoff(Duration);

impl Backoff {
    pub fn new() -> Self {
        Self(FIRST)
    }

    pub fn reset(&mut self) {
        self.0 = FIRST;
    }

    pub fn is_reset(&self) -> bool {
        self.0 == FIRST
    }

    /// The pause before the next attempt: the current step, up to a quarter shorter.
    pub fn next(&mut self) -> Duration {
        let step = self.0;
        self.0 = step.saturating_mul(2).min(LONGEST);
        step.mul_f64(1.0 - fastrand::f64() / 4.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{Backoff, FIRST, LONGEST};

    #[test]
    fn grows_to_its_bound_and_starts_again() {
        let mut backoff = Backoff::new();
        assert!(backoff.next() <= FIRST && !backoff.is_reset());
        let last = (0..20).map(|_| backoff.next()).last().unwrap();
        assert!(last <= LONGEST && last >= LONGEST / 2);
        backoff.reset();
        assert!(backoff.is_reset() && backoff.next() <= FIRST);
    }
}
