//! Offsets that an administrator sets: by time, to a value, past the backlog; and copies of another group's.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use orbitmq_common::protocol::code::request;
use orbitmq_common::protocol::header::admin::ResetOffsetRequest;
use orbitmq_common::protocol::header::examine::CloneOffsetsRequest;
use orbitmq_consumer::{Consumer, ConsumerBuilder, Fetch};
use orbitmq_tests::wait::until;

use crate::cluster::{Cluster, PATIENCE, TOPIC, next, number, silent};

const FETCHES: [Fetch; 2] = [Fetch::Pull, Fetch::Pop];

/// To an offset of queue 0, or of all queues to a time (-1: the end).
enum To {
    Offset(i64),
    Time(i64),
}

async fn reset(cluster: &Cluster, group: &str, to: To) {
    let (offset, timestamp) = match to {
        To::Offset(offset) => (Some(offset), 0),
        To::Time(timestamp) => (None, timestamp),
    };
    let fields = ResetOffsetRequest {
        group: group.into(),
        topic: TOPIC.into(),
        queue_id: offset.map(|_| 0),
        offset,
        timestamp,
        is_force: Some(true),
    };
    let session = cluster.session(0);
    let call = session.call(request::INVOKE_BROKER_TO_RESET_OFFSET, |frame| frame.with_fields(&fields));
    call.await.unwrap();
}

async fn take(consumer: &Consumer, numbers: std::ops::Range<usize>) {
    for expected in numbers {
        let delivery = next(consumer).await;
        assert_eq!(number(&delivery), expected);
        delivery.ack();
    }
}

/// Its offsets are stored: a closed consumer's are, a popped message's soon are.
async fn settled(cluster: &Cluster, group: &str, offset: i64) {
    let session = cluster.session(0);
    let is_stored = async || (session.committed(group, TOPIC, 0).await.unwrap() == Some(offset)).then_some(());
    until("the offset is stored", PATIENCE, is_stored).await;
}

fn member(cluster: &Cluster, group: &str, fetch: Fetch) -> ConsumerBuilder {
    // Longer than any test: nothing here may wait for a held request to end.
    cluster.consumer().group(group).fetch(fetch).long_poll(Duration::from_secs(120))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resets_reach_members_that_run() {
    let cluster = Cluster::start(1, 1).await;
    cluster.send(0..10).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let between = i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    cluster.send(10..20).await;
    for fetch in FETCHES {
        let group = format!("running-{fetch:?}");
        let consumer = member(&cluster, &group, fetch).build().await.unwrap();
        take(&consumer, 0..20).await;
        settled(&cluster, &group, 20).await;
        // The members' requests are held at the broker now.
        let asked = Instant::now();
        reset(&cluster, &group, To::Offset(5)).await;
        take(&consumer, 5..20).await;
        settled(&cluster, &group, 20).await;
        reset(&cluster, &group, To::Time(between)).await;
        take(&consumer, 10..20).await;
        assert!(asked.elapsed() < Duration::from_secs(10), "resets took {:?}", asked.elapsed());
        settled(&cluster, &group, 20).await;
        consumer.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_backlog_is_skipped_while_members_run_and_while_none_does() {
    for fetch in FETCHES {
        let cluster = Cluster::start(1, 1).await;
        let group = format!("skipping-{fetch:?}");
        // It wants no more than it can hold: the backlog stays at the broker.
        let consumer = member(&cluster, &group, fetch).pull_batch(4).max_in_hand(4, usize::MAX).build().await.unwrap();
        cluster.send(0..100).await;
        let mut in_hand = Vec::new();
        in_hand.push(next(&consumer).await);
        while in_hand.len() < 4 {
            in_hand.push(next(&consumer).await);
        }
        reset(&cluster, &group, To::Time(-1)).await;
        in_hand.into_iter().for_each(orbitmq_consumer::Delivery::ack);
        settled(&cluster, &group, 100).await;
        cluster.send(100..101).await;
        // At most what was fetched before the reset comes in between.
        let mut others = 0;
        loop {
            let delivery = next(&consumer).await;
            let is_new = number(&delivery) == 100;
            delivery.ack();
            if is_new {
                break;
            }
            others += 1;
        }
        assert!(others <= 4, "{others} of the backlog came");
        consumer.close().await;

        cluster.send(101..110).await;
        reset(&cluster, &group, To::Time(-1)).await;
        let consumer = member(&cluster, &group, fetch).build().await.unwrap();
        silent(&consumer, Duration::from_millis(500)).await;
        reset(&cluster, &group, To::Offset(105)).await;
        take(&consumer, 105..110).await;
        consumer.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_is_sent_where_another_one_is() {
    let cluster = Cluster::start(1, 1).await;
    cluster.send(0..20).await;
    let session = cluster.session(0);
    session.commit("ahead", TOPIC, 0, 15).await.unwrap();
    for fetch in FETCHES {
        let group = format!("behind-{fetch:?}");
        let consumer = member(&cluster, &group, fetch).build().await.unwrap();
        take(&consumer, 0..20).await;
        settled(&cluster, &group, 20).await;
        let fields = CloneOffsetsRequest {
            src_group: "ahead".into(),
            dest_group: group.as_str().into(),
            topic: Some(TOPIC.into()),
            offline: false,
        };
        session.call(request::CLONE_GROUP_OFFSET, |frame| frame.with_fields(&fields)).await.unwrap();
        take(&consumer, 15..20).await;
        settled(&cluster, &group, 20).await;
        consumer.close().await;
    }
}
