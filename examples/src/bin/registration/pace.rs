//! Slow parts on purpose, to make the order of things visible.

use std::time::Duration;

/// How long each step is made to take before it is done.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    pub save: Duration,
    pub enqueue: Duration,
    pub mail: Duration,
}

impl Pace {
    /// As slow as a system with slow parts, or not at all.
    pub fn new(slow: bool) -> Self {
        if !slow {
            return Self::default();
        }
        Self { save: Duration::from_millis(400), enqueue: Duration::from_millis(100), mail: Duration::from_millis(600) }
    }
}

/// Lets a slow part take its time.
pub async fn take(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}
