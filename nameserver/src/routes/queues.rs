//! Which broker group holds how many queues of which topic.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use orbitmq_common::protocol::body::route::{QueueData, perm};
use orbitmq_common::protocol::body::topic::TopicConfig;

/// Queue settings by topic and, within it, by broker name.
#[derive(Debug, Default)]
pub struct Queues {
    by_topic: HashMap<String, BTreeMap<String, QueueData>>,
}

impl Queues {
    /// The queues of a topic.
    pub fn of(&self, topic: &str) -> Option<&BTreeMap<String, QueueData>> {
        self.by_topic.get(topic)
    }

    /// Whether a broker has queues of a topic.
    pub fn has(&self, topic: &str, broker: &str) -> bool {
        self.by_topic.get(topic).is_some_and(|queues| queues.contains_key(broker))
    }

    /// Takes over what a broker says of a topic; tells whether that was news.
    pub fn put(&mut self, topic: &str, queues: QueueData) -> bool {
        let known = match self.by_topic.get_mut(topic) {
            Some(known) => known,
            None => self.by_topic.entry(topic.to_owned()).or_default(),
        };
        if known.get(&queues.broker_name) == Some(&queues) {
            return false;
        }
        known.insert(queues.broker_name.clone(), queues);
        true
    }

    /// Forgets a topic, at some brokers or everywhere; tells whether it was known there.
    pub fn delete(&mut self, topic: &str, only_at: Option<&BTreeSet<String>>) -> bool {
        let Some(brokers) = only_at else { return self.by_topic.remove(topic).is_some() };
        let Some(queues) = self.by_topic.get_mut(topic) else { return false };
        let before = queues.len();
        queues.retain(|broker, _| !brokers.contains(broker));
        let changed = queues.len() < before;
        if queues.is_empty() {
            self.by_topic.remove(topic);
        }
        changed
    }

    /// Forgets every topic of a broker, and tells those that nobody else has.
    pub fn delete_broker(&mut self, broker: &str) -> Vec<String> {
        let mut last = Vec::new();
        self.by_topic.retain(|topic, queues| {
            if queues.remove(broker).is_some() && queues.is_empty() {
                last.push(topic.clone());
            }
            !queues.is_empty()
        });
        last
    }

    /// Forgets the topics of a broker that it no longer names, and tells them.
    pub fn keep_only(&mut self, broker: &str, named: &BTreeMap<String, TopicConfig>) -> Vec<String> {
        let mut forgotten = Vec::new();
        self.by_topic.retain(|topic, queues| {
            if !named.contains_key(topic) && queues.remove(broker).is_some() {
                forgotten.push(topic.clone());
            }
            !queues.is_empty()
        });
        forgotten
    }

    /// Takes or gives the write permission of all queues of a broker and counts its topics.
    pub fn set_writable(&mut self, broker: &str, writable: bool) -> i32 {
        let mut topics = 0;
        for queues in self.by_topic.values_mut().filter_map(|queues| queues.get_mut(broker)) {
            if writable {
                queues.perm |= perm::READ | perm::WRITE;
            } else {
                queues.perm &= !perm::WRITE;
            }
            topics += 1;
        }
        topics
    }

    /// Names of all topics, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_topic.keys().map(String::as_str)
    }

    /// Names of the topics that satisfy a condition on their queues, sorted.
    pub fn topics(&self, wanted: impl Fn(&BTreeMap<String, QueueData>) -> bool) -> Vec<String> {
        let mut names: Vec<_> =
            self.by_topic.iter().filter(|(_, queues)| wanted(queues)).map(|(topic, _)| topic.clone()).collect();
        names.sort_unstable();
        names
    }
}

/// What a topic's settings mean for its route.
pub fn queue_data(broker: &str, topic: &TopicConfig) -> QueueData {
    QueueData {
        broker_name: broker.to_owned(),
        perm: topic.perm,
        read_queue_nums: topic.read_queue_nums,
        topic_sys_flag: topic.topic_sys_flag,
        write_queue_nums: topic.write_queue_nums,
    }
}
