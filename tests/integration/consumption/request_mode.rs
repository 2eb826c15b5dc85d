//! Groups whose request mode is set at the brokers (401): members follow it while they run.

use std::time::Duration;

use orbitmq_common::protocol::body::pop::{RequestMode, RequestModeBody};
use orbitmq_common::protocol::code::request;
use orbitmq_consumer::{Consumer, Fetch};
use orbitmq_tests::wait::until;

use crate::cluster::{Book, Cluster, GROUP, PATIENCE, TOPIC};

async fn set(cluster: &Cluster, mode: RequestMode, share: i32) {
    let body =
        RequestModeBody { consumer_group: GROUP.to_owned(), mode, pop_share_queue_num: share, topic: TOPIC.to_owned() };
    for broker in 0..cluster.brokers.len() {
        let call =
            cluster.session(broker).call(request::SET_MESSAGE_REQUEST_MODE, |frame| frame.with_json(&body)).await;
        call.unwrap();
    }
}

/// Numbers of the queues of the topic that a consumer has, sorted.
fn queues(consumer: &Consumer) -> Vec<i32> {
    let mut ids: Vec<i32> =
        consumer.queues().iter().filter(|queue| queue.topic == TOPIC).map(|queue| queue.id).collect();
    ids.sort_unstable();
    ids
}

async fn have(consumers: &[Consumer], what: &str, wanted: impl Fn(&[Vec<i32>]) -> bool) {
    let is_so = async || {
        let all: Vec<Vec<i32>> = consumers.iter().map(queues).collect();
        wanted(&all).then_some(())
    };
    until(what, PATIENCE, is_so).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_follow_the_request_mode() {
    let cluster = Cluster::start(1, 4).await;
    let member = || {
        cluster
            .consumer()
            .fetch(Fetch::ByGroup)
            .rebalance_every(Duration::from_millis(200))
            .commit_every(Duration::from_millis(50))
    };
    let consumers = [member().build().await.unwrap(), member().build().await.unwrap()];
    let book = Book::default();
    consumers.iter().for_each(|consumer| book.listen(consumer));
    have(&consumers, "members pull two queues each", |all| all.iter().all(|ids| ids.len() == 2 && ids[0] >= 0)).await;
    cluster.send(0..100).await;
    book.until(100).await;
    // Pops begin where the group's offsets are.
    let session = cluster.session(0);
    let are_stored = async || {
        for queue in 0..4 {
            if session.committed(GROUP, TOPIC, queue).await.unwrap() != Some(25) {
                return None;
            }
        }
        Some(())
    };
    until("all offsets are stored", PATIENCE, are_stored).await;

    set(&cluster, RequestMode::Pop, 0).await;
    have(&consumers, "both pop all queues", |all| all.iter().all(|ids| *ids == [-1])).await;
    cluster.send(100..200).await;
    book.until(200).await;

    // Each pops its own queues and those of one other.
    let third = member().build().await.unwrap();
    book.listen(&third);
    let consumers = [consumers[0].clone(), consumers[1].clone(), third];
    set(&cluster, RequestMode::Pop, 1).await;
    have(&consumers, "members pop some queues", |all| {
        all.iter().all(|ids| !ids.is_empty() && ids.len() < 4 && ids[0] >= 0)
    })
    .await;
    cluster.send(200..300).await;
    book.until(300).await;
    book.each_once(0..300);

    // A pull may begin a moment behind what was popped last; nothing is missing.
    set(&cluster, RequestMode::Pull, 0).await;
    have(&consumers, "members pull again, each queue once", |all| {
        let mut ids = all.concat();
        ids.sort_unstable();
        ids == [0, 1, 2, 3] && consumers.iter().all(|one| one.queues().iter().any(|queue| queue.position.is_some()))
    })
    .await;
    cluster.send(300..400).await;
    book.until(400).await;
    for consumer in &consumers {
        consumer.close().await;
        assert_eq!(consumer.lost(), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_member_gave_back_while_popping_is_there_after_the_change_to_pulling() {
    let cluster = Cluster::start(1, 1).await;
    set(&cluster, RequestMode::Pop, 0).await;
    let member = || cluster.consumer().fetch(Fetch::ByGroup).rebalance_every(Duration::from_millis(200));
    let consumer = member().build().await.unwrap();
    cluster.send(0..1).await;
    let delivery = crate::cluster::next(&consumer).await;
    delivery.retry_at_level(2).await.unwrap();
    // Whoever pulls begins where the group's offset is.
    let moved = async || (cluster.session(0).committed(GROUP, TOPIC, 0).await.unwrap() == Some(1)).then_some(());
    until("the group has moved on", PATIENCE, moved).await;
    set(&cluster, RequestMode::Pull, 0).await;
    have(std::slice::from_ref(&consumer), "it pulls", |all| all[0] == [0]).await;
    let delivery = crate::cluster::next(&consumer).await;
    assert_eq!((delivery.topic(), delivery.attempts_before()), (TOPIC, 1));
    delivery.ack();
    consumer.close().await;
}
