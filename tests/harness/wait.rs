//! Waiting for conditions, always with a deadline.

use std::time::{Duration, Instant};

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// Probes until there is a value, or panics with `what` when the time is over.
pub async fn until<T>(what: &str, within: Duration, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(started.elapsed() < within, "not within {within:?}: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Like [`until`], and tells how long it took.
pub async fn time_until(what: &str, within: Duration, mut probe: impl AsyncFnMut() -> bool) -> Duration {
    let started = Instant::now();
    until(what, within, async || probe().await.then_some(())).await;
    started.elapsed()
}
