//! Copies the metadata of a master of RocketMQ's, which hands out whole tables only (21, 43, 45, 201, 402).

use std::collections::BTreeMap;

use bytes::Bytes;
use orbitmq_common::net::client::Link;
use orbitmq_common::protocol::body::group::GroupTable;
use orbitmq_common::protocol::body::metadata::Page;
use orbitmq_common::protocol::body::pop::RequestModeTable;
use orbitmq_common::protocol::body::topic::{DataVersion, TopicTable};
use orbitmq_common::protocol::code::request;
use orbitmq_common::protocol::relaxed;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{DEADLINE, FollowError, accepted, take_page};
use crate::broker::Broker;
use crate::meta::marks::Mark;
use crate::meta::tree::Tree;
use crate::meta::{levels, offsets, request_modes};

/// Answers to 43 and 45: a number by key.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OffsetTable<K: Ord, V> {
    #[serde(default = "BTreeMap::new")]
    offset_table: BTreeMap<K, V>,
}

/// Versions of the tables that were taken over last.
#[derive(Debug, Default)]
pub struct Copied {
    topics: Option<DataVersion>,
    groups: Option<DataVersion>,
}

impl Copied {
    /// Takes over what differs. Consumer offsets come last: they are of topics and groups that are there then.
    pub async fn copy(&mut self, broker: &std::sync::Arc<Broker>, link: &Link) -> Result<(), FollowError> {
        let topics: TopicTable = get(link, request::GET_ALL_TOPIC_CONFIG).await?;
        if self.topics != Some(topics.data_version) {
            let rows = topics.topic_config_table.into_iter().map(|(name, config)| (name.into(), json(&config)));
            take_page(broker, whole(Tree::Topics, rows)).await?;
            self.topics = Some(topics.data_version);
        }
        let groups: GroupTable = get(link, request::GET_ALL_SUBSCRIPTIONGROUP_CONFIG).await?;
        if self.groups != Some(groups.data_version) {
            let rows = groups.subscription_group_table.into_iter().map(|(name, config)| (name.into(), json(&config)));
            take_page(broker, whole(Tree::Groups, rows)).await?;
            self.groups = Some(groups.data_version);
        }
        // Older ones do not know the question.
        if let Ok(modes) = get::<RequestModeTable>(link, request::GET_ALL_MESSAGE_REQUEST_MODE).await {
            let modes = modes.message_request_mode_map.into_values().flat_map(BTreeMap::into_values);
            let rows = modes.map(|mode| (request_modes::encode_key(&mode.topic, &mode.consumer_group), json(&mode)));
            take_page(broker, whole(Tree::RequestModes, rows)).await?;
        }
        let delay: OffsetTable<u32, i64> = get(link, request::GET_ALL_DELAY_OFFSET).await?;
        let rows = delay.offset_table.into_iter().map(|(level, offset)| (levels::encode_key(level), number(offset)));
        take_page(broker, whole(Tree::Delay, rows)).await?;
        // Brokers before version 5 have no timers and refuse.
        let checkpoint = accepted(link.call(link.request(request::GET_TIMER_CHECK_POINT), DEADLINE).await?);
        if let Some(mark) = checkpoint.ok().and_then(|checkpoint| Mark::of_rocketmq(&checkpoint.body)) {
            take_page(broker, whole(Tree::Timers, std::iter::once(mark.foreign_row()))).await?;
        }
        let offsets: OffsetTable<String, BTreeMap<i32, i64>> = get(link, request::GET_ALL_CONSUMER_OFFSET).await?;
        let named = offsets.offset_table.iter().filter_map(|(key, queues)| Some((key.split_once('@')?, queues)));
        let rows = named.flat_map(|((topic, group), queues)| {
            queues.iter().map(move |(queue, offset)| (offsets::encode_key(topic, group, *queue), number(*offset)))
        });
        take_page(broker, whole(Tree::Offsets, rows)).await
    }
}

async fn get<T: DeserializeOwned>(link: &Link, code: i32) -> Result<T, FollowError> {
    let answer = accepted(link.call(link.request(code), DEADLINE).await?)?;
    Ok(relaxed::parse(&answer.body)?)
}

fn json<T: Serialize>(config: &T) -> Vec<u8> {
    serde_json::to_vec(config).unwrap_or_default()
}

fn number(offset: i64) -> Vec<u8> {
    offset.to_be_bytes().to_vec()
}

/// All rows of a tree.
fn whole(tree: Tree, rows: impl Iterator<Item = (Vec<u8>, Vec<u8>)>) -> Page {
    let mut rows: Vec<_> = rows.map(|(key, value)| (Bytes::from(key), Bytes::from(value))).collect();
    rows.sort_unstable();
    Page { tree: tree.name().to_owned(), rows, ..Page::default() }
}
