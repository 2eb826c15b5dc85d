//! What keeps a consumer from its messages now: noted by whoever fails, forgotten when the same succeeds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use orbitmq_common::route::table::Queue;
use parking_lot::Mutex;

use crate::error::ConsumeError;

/// Something that fails again and again.
#[derive(Debug, Clone)]
pub struct Trouble {
    /// The topic; empty: the consumer as a whole.
    pub topic: String,
    /// The queue; `None`: the topic's queues cannot be shared out.
    pub queue: Option<Queue>,
    /// For how long.
    pub lasts: Duration,
    /// How often in a row.
    pub failures: u32,
    /// Why, as of the last time.
    pub error: ConsumeError,
}

#[derive(Debug)]
struct Noted {
    since: Instant,
    failures: u32,
    error: ConsumeError,
}

/// A topic, and one of its queues.
type Where = (Arc<str>, Option<Queue>);

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Troubles {
    /// So that success, which is frequent, costs nothing.
    count: AtomicUsize,
    now: Mutex<BTreeMap<Where, Noted>>,
}

impl Troubles {
    /// Notes a failure; tells how often that has failed in a row.
    pub(crate) fn failed(&self, topic: &Arc<str>, queue: Option<&Queue>, error: ConsumeError) -> u32 {
        let mut now = self.now.lock();
        let noted = now.entry((Arc::clone(topic), queue.cloned())).or_insert_with(|| Noted {
            since: Instant::now(),
            failures: 0,
            error: error.clone(),
        });
        noted.failures = noted.failures.saturating_add(1);
        noted.error = error;
        let failures = noted.failures;
        self.count.store(now.len(), Ordering::Release);
        failures
    }

    /// Forgets it.
    pub(crate) fn over(&self, topic: &Arc<str>, queue: Option<&Queue>) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut now = self.now.lock();
        now.remove(&(Arc::clone(topic), queue.cloned()));
        self.count.store(now.len(), Ordering::Release);
    }

    /// What is not over.
    pub(crate) fn all(&self) -> Vec<Trouble> {
        let now = self.now.lock();
        let shown = now.iter().map(|((topic, queue), noted)| Trouble {
            topic: topic.as_ref().to_owned(),
            queue: queue.clone(),
            lasts: noted.since.elapsed(),
            failures: noted.failures,
            error: noted.error.clone(),
        });
        shown.collect()
    }
}
