//! What older brokers push: offsets to go on at.

use std::time::Duration;

use super::{cluster, nothing_more, stored, take, text};

#[tokio::test]
async fn a_reset_that_a_broker_pushes_is_followed_and_stored() {
    let cluster = cluster(1);
    cluster.fill(0, 10);
    let consumer = cluster.builder().redeliver_after(Duration::from_secs(60)).build().await.unwrap();
    take(&consumer, 10).await.into_iter().for_each(orbitmq_consumer::Delivery::ack);
    cluster.until("the commit", |state| stored(state, 0) == Some(10)).await;
    cluster.broker.push_reset(super::TOPIC, 0, 4);
    let again = take(&consumer, 6).await;
    assert_eq!(again.iter().map(text).collect::<Vec<_>>(), ["4", "5", "6", "7", "8", "9"]);
    cluster.until("where it was sent", |state| stored(state, 0) == Some(4)).await;
    again.into_iter().for_each(orbitmq_consumer::Delivery::ack);
    cluster.until("the commit", |state| stored(state, 0) == Some(10)).await;
    nothing_more(&consumer).await;
    consumer.close().await;
}
