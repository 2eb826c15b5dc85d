//! Checks of how far groups have come, at a whole broker in this process.

mod model;
mod site;
mod state;
mod step;

use std::collections::BTreeMap;

use orbitmq_common::protocol::body::topic::TopicConfig;
use orbitmq_common::protocol::code::{request as code, response};
use orbitmq_common::protocol::header::admin::TopicRequest;

use self::site::{Site, answer, request};
use super::commit;
use crate::handler::admin::topic;

#[tokio::test]
async fn what_was_taken_over_from_rocketmq_is_there_whenever_the_next_kill_comes() {
    let mut site = Site::new().await;
    // So many that some are written before the last is read.
    let offsets: BTreeMap<i32, i64> = (0..100_000).map(|queue| (queue, i64::from(queue) + 1)).collect();
    let text = serde_json::json!({ "offsetTable": { "T@G": offsets } }).to_string();
    site.stop(|config| std::fs::write(config.join("consumerOffset.json"), text).unwrap());
    site.kill_at_start().await;
    let taken = site.broker.offsets.snapshot().remove("T@G").unwrap_or_default();
    assert!(taken == offsets, "{} of {}", taken.len(), offsets.len());
}

#[tokio::test]
async fn queues_of_a_deleted_topic_stay_until_its_offsets_are_gone_for_good() {
    let site = Site::new().await;
    let broker = &site.broker;
    broker.topics.put(TopicConfig::new("T", 1, 6));
    broker.offsets.commit("T", "G", 0, 3);
    site.send("T", 0, 3).await;
    // Nothing more can be written of metadata.
    broker.db.abandon();
    let frame = request(code::DELETE_TOPIC_IN_BROKER, &TopicRequest { topic: "T".into() });
    let answer = answer(&frame, topic::delete(broker, &frame)).await.unwrap();
    assert_eq!(answer.code, response::SYSTEM_ERROR, "{:?}", answer.remark);
    assert_eq!(broker.store.max_offset("T", 0), 3);
}

#[tokio::test]
async fn an_offset_that_comes_while_its_topic_is_deleted_goes_with_it() {
    let site = Site::new().await;
    commit(&site.broker, "deleted a moment ago", "G", 0, 5);
    assert_eq!(site.broker.offsets.get("deleted a moment ago", "G", 0), None);
}
