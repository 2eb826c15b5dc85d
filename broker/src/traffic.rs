//! How much goes in and out: per topic, per group and in all; over the last seconds, minute, hour and day.
//!
//! A send pays nothing for it: what comes in is counted by the queues (`store/traffic.rs`). A pull pays a look-up and some
//! additions. Everything else is done once a second by [`start`].

pub mod sample;
pub mod window;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hashbrown::HashMap;
use orbitmq_common::clock::now_ms;
use orbitmq_common::name;
use parking_lot::{Mutex, RwLock};
use tokio_util::task::TaskTracker;

use crate::broker::Broker;
use crate::store::traffic::{self as stored, Counted};
use crate::traffic::sample::{Day, Figure, Sampled, Totals};
use crate::traffic::window::{Over, Windows};

/// Time between two looks at the totals.
const SECOND: Duration = Duration::from_secs(1);

/// What a group reads of a topic, and gives back.
#[derive(Debug, Default)]
pub struct Reader {
    /// The group.
    pub group: Box<str>,
    messages: AtomicU64,
    bytes: AtomicU64,
    returned: AtomicU64,
    /// Whether the topic belongs to the system.
    of_system: bool,
    read_over: Mutex<Windows>,
    returned_over: Mutex<Windows>,
}

impl Reader {
    fn read(&self) -> Counted {
        Counted { messages: self.messages.load(Ordering::Relaxed), bytes: self.bytes.load(Ordering::Relaxed) }
    }

    fn returned(&self) -> Counted {
        Counted { messages: self.returned.load(Ordering::Relaxed), bytes: 0 }
    }
}

type Readers = HashMap<String, HashMap<String, Arc<Reader>>>;

/// Counts and what is remembered of them.
#[derive(Debug)]
pub struct Traffic {
    /// By topic and group.
    readers: RwLock<Readers>,
    /// Pulls that found something.
    found: AtomicU64,
    /// Pulls that found nothing.
    missed: AtomicU64,
    /// Messages handed out.
    messages: AtomicU64,
    /// Those of users' topics.
    of_users: AtomicU64,
    sampled: Mutex<Sampled>,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            readers: RwLock::default(),
            found: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            of_users: AtomicU64::new(0),
            sampled: Mutex::new(Sampled::new(now_ms())),
        }
    }
}

impl Traffic {
    /// Where a group's reads of a topic are counted; looked up once for each request.
    #[must_use]
    pub fn reader(&self, topic: &str, group: &str) -> Arc<Reader> {
        if let Some(reader) = self.known(topic, group) {
            return reader;
        }
        let mut readers = self.readers.write();
        let groups = readers.entry_ref(topic).or_default();
        let new = || {
            let of_system = name::is_system_topic(topic);
            Arc::new(Reader { group: group.into(), of_system, ..Reader::default() })
        };
        Arc::clone(groups.entry_ref(group).or_insert_with(new))
    }

    fn known(&self, topic: &str, group: &str) -> Option<Arc<Reader>> {
        self.readers.read().get(topic)?.get(group).map(Arc::clone)
    }

    /// Messages were handed out; none: the reader found nothing.
    pub fn handed_out(&self, reader: &Reader, messages: usize, bytes: usize) {
        if messages == 0 {
            self.missed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let (messages, bytes) = (messages as u64, bytes as u64);
        self.found.fetch_add(1, Ordering::Relaxed);
        self.messages.fetch_add(messages, Ordering::Relaxed);
        if !reader.of_system {
            self.of_users.fetch_add(messages, Ordering::Relaxed);
        }
        reader.messages.fetch_add(messages, Ordering::Relaxed);
        reader.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A consumer gave a message of a topic back.
    pub fn given_back(&self, topic: &str, group: &str) {
        self.reader(topic, group).returned.fetch_add(1, Ordering::Relaxed);
    }

    /// Everything there was so far.
    #[must_use]
    pub fn totals(&self, broker: &Broker) -> Totals {
        let stats = broker.store.stats();
        Totals {
            puts: stats.puts,
            put_bytes: stats.put_bytes,
            found: self.found.load(Ordering::Relaxed),
            missed: self.missed.load(Ordering::Relaxed),
            handed_out: self.messages.load(Ordering::Relaxed),
        }
    }

    /// Messages in and out so far without those of the system's own topics.
    #[must_use]
    pub fn of_users(&self, broker: &Broker) -> (u64, u64) {
        let mut puts = 0;
        stored::each_topic(&broker.store, &mut |topic, counted| {
            if !name::is_system_topic(topic) {
                puts += counted.messages;
            }
        });
        let gone = self.sampled.lock().gone;
        (puts + gone, self.of_users.load(Ordering::Relaxed))
    }

    /// In and out of users' topics at the beginnings of yesterday and today (UTC).
    #[must_use]
    pub fn mornings(&self) -> Day {
        self.sampled.lock().day
    }

    /// A figure per second over the last `seconds`, or since the start.
    #[must_use]
    pub fn per_second(&self, broker: &Broker, seconds: usize, figure: Figure) -> f64 {
        let now = self.totals(broker);
        self.sampled.lock().per_second(&now, now_ms(), seconds, figure)
    }

    /// What a topic got in the last minute, hour and day; `None`: nothing since the start.
    #[must_use]
    pub fn of_topic(&self, broker: &Broker, topic: &str) -> Option<Over> {
        let counted = stored::of_topic(&broker.store, topic);
        (counted.messages > 0).then(|| self.sampled.lock().topic(topic, counted, now_ms()))
    }

    /// What a group has read of a topic in the last minute, hour and day; `None`: nothing since the start.
    #[must_use]
    pub fn of_reader(&self, topic: &str, group: &str) -> Option<Over> {
        let reader = self.known(topic, group)?;
        let (counted, sampled) = (reader.read(), self.sampled.lock());
        let over = reader.read_over.lock().over(counted, &sampled.clock, now_ms());
        (counted.messages > 0).then_some(over)
    }

    /// What a group has given back of a topic in the last minute, hour and day; `None`: nothing since the start.
    #[must_use]
    pub fn of_returns(&self, topic: &str, group: &str) -> Option<Over> {
        let reader = self.known(topic, group)?;
        let (counted, sampled) = (reader.returned(), self.sampled.lock());
        let over = reader.returned_over.lock().over(counted, &sampled.clock, now_ms());
        (counted.messages > 0).then_some(over)
    }

    /// What came in and went out in all in the last minute, hour and day.
    #[must_use]
    pub fn of_broker(&self, broker: &Broker) -> (Over, Over) {
        let now = self.totals(broker);
        self.sampled.lock().broker(&now, now_ms())
    }

    /// Messages that a group reads of a topic per second, over the last minute.
    #[must_use]
    pub fn reads_per_second(&self, topic: &str, group: &str) -> f64 {
        self.of_reader(topic, group).map_or(0.0, |over| over.minute.messages_per_second())
    }

    /// Looks at all counts, as is done once a second.
    fn sample(&self, broker: &Broker, now: i64) {
        let totals = self.totals(broker);
        if self.sampled.lock().is_morning(now) {
            let users = self.of_users(broker);
            self.sampled.lock().turn_of_day(users, now);
        }
        let mut sampled = self.sampled.lock();
        sampled.second(totals, now);
        let due = sampled.clock.tick(now);
        if due.is_empty() {
            return;
        }
        // What a slave copies is counted by its master.
        if !broker.role.is_master() {
            stored::forget(&broker.store);
        }
        sampled.take(&broker.store, totals, due);
        let clock = &sampled.clock;
        for reader in self.readers.read().values().flat_map(HashMap::values) {
            reader.read_over.lock().take(reader.read(), due, clock);
            reader.returned_over.lock().take(reader.returned(), due, clock);
        }
        drop(sampled);
        if due.hourly {
            self.drop_gone(broker);
        }
    }

    /// Forgets readers whose topic or group was deleted.
    fn drop_gone(&self, broker: &Broker) {
        self.readers.write().retain(|topic, groups| {
            groups.retain(|group, _| broker.groups.get(group).is_some());
            !groups.is_empty() && broker.topics.get(topic).is_some()
        });
    }
}

/// Looks at the counts each second until the broker stops.
pub fn start(broker: &Arc<Broker>, tasks: &TaskTracker) {
    // What recovery entered into the queues did not come now.
    stored::forget(&broker.store);
    let broker = Arc::clone(broker);
    tasks.spawn(async move {
        let mut seconds = tokio::time::interval(SECOND);
        seconds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = seconds.tick() => {}
                () = broker.stop.cancelled() => return,
            }
            broker.traffic.sample(&broker, now_ms());
        }
    });
}

#[cfg(test)]
mod tests;
