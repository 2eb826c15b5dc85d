//! Times that processes compare with one another: microseconds since 1970.

use std::time::{SystemTime, UNIX_EPOCH};

/// The time now, µs since 1970; 0 on a machine whose clock stands before that.
pub fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Milliseconds from one time to a later one, for people's eyes.
pub fn ms_between(from_us: i64, to_us: i64) -> f64 {
    to_us.saturating_sub(from_us) as f64 / 1000.0
}
