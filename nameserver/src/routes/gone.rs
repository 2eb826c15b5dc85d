//! What was in the routes and is there no more, and why: it explains why there is no route. It ends with the process.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::time::{Duration, Instant};

use orbitmq_common::plain::ago;

/// Brokers remembered; of more the latest count.
const MAX_BROKERS: usize = 64;
/// Names of topics remembered, of all these brokers together.
const MAX_TOPICS: usize = 100_000;
/// Deletions remembered.
const MAX_DELETED: usize = 1024;
/// A refused registration is of interest for so long: whoever is refused tries again sooner.
const REFUSAL_LASTS: Duration = Duration::from_secs(120);

/// Why a broker left the routes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Left {
    /// Its lease of this length ended.
    Silent(Duration),
    /// The connection on which it had registered ended.
    Closed,
    /// It said goodbye.
    Goodbye,
    /// Its address registered under this name.
    Renamed(String),
    /// Another broker has its name and id.
    Outranked,
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent(lease) => write!(
                f,
                "it gave no sign of life within its lease of {lease:?}: it hangs, or cannot reach this name server"
            ),
            Self::Closed => {
                write!(f, "its connection to this name server ended: it died, or the network was cut; start it again")
            }
            Self::Goodbye => write!(f, "it was stopped; start it again"),
            Self::Renamed(name) => write!(f, "it came back under the name '{name}'; give it its old name"),
            Self::Outranked => write!(f, "another broker has its name and id; stop one of the two"),
        }
    }
}

/// A broker that left, the last member of its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoneBroker {
    /// Its name.
    pub name: String,
    /// `host:port` for clients.
    pub addr: String,
    /// When.
    pub at: Instant,
    /// Why.
    pub why: Left,
}

impl GoneBroker {
    /// In words, as of `now`.
    pub fn told(&self, now: Instant) -> String {
        let since = ago(now.saturating_duration_since(self.at));
        format!("broker '{}' at {} left {since}: {}", self.name, self.addr, self.why)
    }
}

/// All of it.
#[derive(Debug)]
pub struct Gone {
    /// When this name server began to know anything.
    pub began: Instant,
    brokers: HashMap<String, (GoneBroker, HashSet<String>)>,
    deleted: HashMap<String, Instant>,
    refused: Option<(Instant, String)>,
}

impl Default for Gone {
    fn default() -> Self {
        Self { began: Instant::now(), brokers: HashMap::new(), deleted: HashMap::new(), refused: None }
    }
}

impl Gone {
    /// A broker has left, and with it the last queues that it held of these topics.
    pub fn left(&mut self, broker: GoneBroker, topics: Vec<String>) {
        self.brokers.remove(&broker.name);
        let topics: HashSet<String> = topics.into_iter().take(MAX_TOPICS).collect();
        let mut names = topics.len() + self.brokers.values().map(|(_, topics)| topics.len()).sum::<usize>();
        while names > MAX_TOPICS || self.brokers.len() >= MAX_BROKERS {
            let oldest = self.brokers.values().min_by_key(|(broker, _)| broker.at).map(|(broker, _)| &broker.name);
            let Some(oldest) = oldest.cloned() else { break };
            names -= self.brokers.remove(&oldest).map_or(0, |(_, topics)| topics.len());
        }
        self.brokers.insert(broker.name.clone(), (broker, topics));
    }

    /// A broker is there; what it does not name any more is gone for another reason.
    pub fn is_back(&mut self, name: &str) {
        if !self.brokers.is_empty() {
            self.brokers.remove(name);
        }
    }

    /// A topic was deleted.
    pub fn deleted(&mut self, topic: &str, at: Instant) {
        if self.deleted.len() >= MAX_DELETED
            && let Some(oldest) = self.deleted.iter().min_by_key(|(_, at)| **at).map(|(topic, _)| topic.clone())
        {
            self.deleted.remove(&oldest);
        }
        self.deleted.insert(topic.to_owned(), at);
    }

    /// A registration was refused.
    pub fn refused(&mut self, what: String, at: Instant) {
        self.refused = Some((at, what));
    }

    /// Brokers that held a topic when they left, the latest first, unless it was deleted after that.
    pub fn holders(&self, topic: &str) -> Vec<GoneBroker> {
        let deleted = self.deleted.get(topic);
        let held = self
            .brokers
            .values()
            .filter(|(broker, topics)| topics.contains(topic) && deleted.is_none_or(|deleted| *deleted < broker.at));
        let mut holders: Vec<GoneBroker> = held.map(|(broker, _)| broker.clone()).collect();
        holders.sort_by_key(|broker| std::cmp::Reverse(broker.at));
        holders
    }

    /// When a topic was deleted here, if it was.
    pub fn when_deleted(&self, topic: &str) -> Option<Instant> {
        self.deleted.get(topic).copied()
    }

    /// The broker that left last.
    pub fn last(&self) -> Option<&GoneBroker> {
        self.brokers.values().map(|(broker, _)| broker).max_by_key(|broker| broker.at)
    }

    /// The last registration that was refused, if that was not long ago.
    pub fn last_refused(&self, now: Instant) -> Option<(Duration, &str)> {
        let (at, what) = self.refused.as_ref()?;
        let since = now.saturating_duration_since(*at);
        (since < REFUSAL_LASTS).then_some((since, what))
    }
}

#[cfg(test)]
mod tests;
