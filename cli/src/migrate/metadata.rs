//! What a broker knows beside its log: topics, groups, offsets, progress of delay levels; and how two brokers differ in it.

use std::collections::BTreeMap;
use std::fmt::Debug;

use orbitmq_common::protocol::body::group::{GroupConfig, GroupTable};
use orbitmq_common::protocol::body::topic::{TopicConfig, TopicTable};
use orbitmq_common::protocol::code::request;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::session::{Nothing, Question, Session};

/// Group, topic and queue of an offset.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The topic.
    pub topic: String,
    /// The group.
    pub group: String,
    /// The queue.
    pub queue: i32,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} in {}/{}", self.group, self.topic, self.queue)
    }
}

/// All of a broker's metadata.
#[derive(Debug, Default)]
pub struct Metadata {
    /// By name.
    pub topics: BTreeMap<String, TopicConfig>,
    /// By name.
    pub groups: BTreeMap<String, GroupConfig>,
    /// First message not yet consumed.
    pub offsets: BTreeMap<Place, i64>,
    /// By level.
    pub delay: BTreeMap<u32, i64>,
    /// Topics whose queues are spread over brokers by a mapping of RocketMQ's.
    pub mapped: usize,
}

/// Where two brokers differ, by kind; a line each.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub struct Differences {
    /// Of topics.
    pub topics: Vec<String>,
    /// Of groups.
    pub groups: Vec<String>,
    /// Of consumer offsets.
    pub offsets: Vec<String>,
    /// Of delay levels.
    pub delay: Vec<String>,
}

impl Differences {
    /// Whether all that stands still when no message comes is equal; consumers may go on.
    pub fn only_offsets(&self) -> bool {
        self.topics.is_empty() && self.groups.is_empty() && self.delay.is_empty()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OffsetTable<K: Ord, V> {
    #[serde(default = "BTreeMap::new")]
    offset_table: BTreeMap<K, V>,
}

async fn get<T: DeserializeOwned>(session: &Session, address: &str, kind: i32) -> Result<T, Failure> {
    session.broker_body(address, &Question::new(kind, &Nothing {})).await
}

/// A broker's consumer offsets.
pub async fn offsets(session: &Session, address: &str) -> Result<BTreeMap<Place, i64>, Failure> {
    let table: OffsetTable<String, BTreeMap<i32, i64>> =
        get(session, address, request::GET_ALL_CONSUMER_OFFSET).await?;
    let named = table.offset_table.into_iter().filter_map(|(key, queues)| {
        let (topic, group) = key.split_once('@')?;
        Some((topic.to_owned(), group.to_owned(), queues))
    });
    let rows = named.flat_map(|(topic, group, queues)| {
        queues
            .into_iter()
            .map(move |(queue, offset)| (Place { topic: topic.clone(), group: group.clone(), queue }, offset))
    });
    Ok(rows.collect())
}

impl Metadata {
    /// Asks a broker.
    ///
    /// # Errors
    /// See [`Session::broker_body`].
    pub async fn of(session: &Session, address: &str) -> Result<Self, Failure> {
        let topics: TopicTable = get(session, address, request::GET_ALL_TOPIC_CONFIG).await?;
        let groups: GroupTable = get(session, address, request::GET_ALL_SUBSCRIPTIONGROUP_CONFIG).await?;
        let delay: OffsetTable<u32, i64> = get(session, address, request::GET_ALL_DELAY_OFFSET).await?;
        Ok(Self {
            topics: topics.topic_config_table,
            groups: groups.subscription_group_table,
            offsets: offsets(session, address).await?,
            delay: delay.offset_table,
            mapped: topics.topic_queue_mapping_detail_map.len(),
        })
    }

    /// How another broker's differ from these.
    pub fn differences(&self, other: &Self) -> Differences {
        Differences {
            topics: differ(&self.topics, &other.topics, |name| name.clone()),
            groups: differ(&self.groups, &other.groups, |name| name.clone()),
            offsets: differ(&self.offsets, &other.offsets, Place::to_string),
            delay: differ(&self.delay, &other.delay, |level| format!("level {level}")),
        }
    }
}

fn differ<K: Ord, V: PartialEq + Debug>(
    old: &BTreeMap<K, V>,
    new: &BTreeMap<K, V>,
    name: impl Fn(&K) -> String,
) -> Vec<String> {
    let changed = old.iter().filter_map(|(key, there)| match new.get(key) {
        None => Some(format!("{} is missing in ours", name(key))),
        Some(here) if here != there => Some(format!("{} is {there:?} there, {here:?} here", name(key))),
        Some(_) => None,
    });
    let extra = new.keys().filter(|key| !old.contains_key(key)).map(|key| format!("{} is in ours alone", name(key)));
    changed.chain(extra).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named() {
        let place = |queue| Place { topic: "T".to_owned(), group: "G".to_owned(), queue };
        let old = Metadata { offsets: [(place(0), 5), (place(1), 7)].into(), ..Metadata::default() };
        let new =
            Metadata { offsets: [(place(0), 4), (place(2), 1)].into(), delay: [(1, 3)].into(), ..Metadata::default() };
        assert_eq!(
            old.differences(&new),
            Differences {
                offsets: vec![
                    "G in T/0 is 5 there, 4 here".to_owned(),
                    "G in T/1 is missing in ours".to_owned(),
                    "G in T/2 is in ours alone".to_owned(),
                ],
                delay: vec!["level 1 is in ours alone".to_owned()],
                ..Differences::default()
            }
        );
        assert_eq!(old.differences(&old), Differences::default());
        assert!(!old.differences(&new).only_offsets());
    }
}
