//! Requests that wait for something to pop. Of those that want the same, the oldest looks; the others wait for their turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Requests that may wait for one topic, group and queue.
pub const PER_HALL: usize = 1024;
/// Requests that may wait altogether.
pub const ALL: usize = 100_000;

type Name = (String, String, i32);

/// Those who only want to be told that there is something wait apart, under this name of their group.
pub fn notified(group: &str) -> String {
    format!("{group}\u{0}")
}

/// Where requests for one topic, group and queue wait.
#[derive(Debug, Default)]
pub struct Hall {
    /// Held by the one that looks; the others get it in their order.
    pub turn: tokio::sync::Mutex<()>,
    /// Rung when a queue may be free that was not.
    pub news: Notify,
    waiting: AtomicUsize,
}

/// All halls in which somebody waits.
#[derive(Debug, Default)]
pub struct Halls {
    halls: Arc<Mutex<HashMap<Name, Arc<Hall>>>>,
    waiting: Arc<AtomicUsize>,
}

/// A request that waits, until it is dropped.
pub struct Waiting {
    name: Name,
    /// Where it waits.
    pub hall: Arc<Hall>,
    halls: Arc<Mutex<HashMap<Name, Arc<Hall>>>>,
    all: Arc<AtomicUsize>,
}

impl Halls {
    /// Lets a request wait; `None`: too many do. `queue` is negative for any queue.
    pub fn enter(&self, topic: &str, group: &str, queue: i32) -> Option<Waiting> {
        let name = (topic.to_owned(), group.to_owned(), queue.max(-1));
        let mut halls = self.halls.lock();
        let hall = Arc::clone(halls.entry_ref(&name).or_default());
        if hall.waiting.load(Ordering::Relaxed) >= PER_HALL || self.waiting.load(Ordering::Relaxed) >= ALL {
            return None;
        }
        hall.waiting.fetch_add(1, Ordering::Relaxed);
        self.waiting.fetch_add(1, Ordering::Relaxed);
        drop(halls);
        Some(Waiting { name, hall, halls: Arc::clone(&self.halls), all: Arc::clone(&self.waiting) })
    }

    /// Requests that wait for a topic, group and queue.
    pub fn waiting(&self, topic: &str, group: &str, queue: i32) -> usize {
        let name = (topic.to_owned(), group.to_owned(), queue.max(-1));
        self.halls.lock().get(&name).map_or(0, |hall| hall.waiting.load(Ordering::Relaxed))
    }

    /// Requests that wait altogether.
    pub fn all(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// A queue may be free again.
    pub fn ring(&self, topic: &str, group: &str, queue: i32) {
        let halls = self.halls.lock();
        for queue in [-1, queue] {
            if let Some(hall) = halls.get(&(topic.to_owned(), group.to_owned(), queue)) {
                hall.news.notify_one();
            }
        }
        if let Some(hall) = halls.get(&(topic.to_owned(), notified(group), -1)) {
            hall.news.notify_waiters();
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::Relaxed);
        let mut halls = self.halls.lock();
        if self.hall.waiting.fetch_sub(1, Ordering::Relaxed) == 1 {
            halls.remove(&self.name);
        }
    }
}
