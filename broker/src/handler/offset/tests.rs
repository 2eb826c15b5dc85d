//! Checks of how far groups have come, at a whole broker in this process.

mod model;
mod site;

use std::collections::BTreeMap;

use orbitmq_common::protocol::body::topic::TopicConfig;
use orbitmq_common::protocol::code::{request as code, response};
use orbitmq_common::protocol::header::admin::TopicRequest;

use self::site::{Site, answer, request};
use super::commit;
use crate::handler::admin::topic;
use crate::meta::tree::Tree;

#[tokio::test]
async fn what_was_taken_over_from_rocketmq_is_there_whenever_the_next_kill_comes() {
    let mut site = Site::new().await;
    let offsets: BTreeMap<i32, i64> = (0..20_000).map(|queue| (queue, i64::from(queue) + 1)).collect();
    let text = serde_json::json!({ "offsetTable": { "T@G": offsets } }).to_string();
    site.restart(|config| std::fs::write(config.join("consumerOffset.json"), text).unwrap()).await;
    for _ in 0..3 {
        site.kill().await;
        assert_eq!(site.broker.offsets.snapshot().get("T@G"), Some(&offsets));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_in_a_deleted_topic_are_gone_for_good_before_its_queues_are() {
    let site = Site::new().await;
    let broker = &site.broker;
    broker.topics.put(TopicConfig::new("T", 1, 6));
    broker.offsets.commit("T", "G", 0, 3);
    site.send("T", 0, 3).await;
    broker.db.stored(broker.db.newest()).await.unwrap();
    let watched = std::sync::Arc::clone(broker);
    let watch = std::thread::spawn(move || {
        while watched.store.max_offset("T", 0) > 0 {
            std::thread::yield_now();
        }
        watched.db.load(Tree::Offsets).unwrap()
    });
    let frame = request(code::DELETE_TOPIC_IN_BROKER, &TopicRequest { topic: "T".into() });
    let answer = answer(&frame, topic::delete(broker, &frame)).await.unwrap();
    assert_eq!(answer.code, response::SUCCESS);
    let left = watch.join().unwrap();
    assert!(left.iter().all(|(key, _)| !key.starts_with(b"T\0")), "{left:?}");
}

#[tokio::test]
async fn an_offset_that_comes_while_its_topic_is_deleted_goes_with_it() {
    let site = Site::new().await;
    commit(&site.broker, "deleted a moment ago", "G", 0, 5);
    assert_eq!(site.broker.offsets.get("deleted a moment ago", "G", 0), None);
}
