//! What a consumer says of the troubles it has: each cause is named, and none for another.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[allow(dead_code, reason = "each test uses its part")]
mod fake;

use std::sync::Arc;
use std::time::Duration;

use fake::{Broker, Door, NameServer, Running};
use orbitmq_common::protocol::code::request;
use orbitmq_common::route::error::RouteError;
use orbitmq_consumer::{ConsumeError, Consumer, ConsumerBuilder, StartFrom, Trouble};

const TOPIC: &str = "t";

fn builder(nameserver: &str) -> ConsumerBuilder {
    Consumer::builder()
        .nameservers([nameserver])
        .group("g")
        .subscribe(TOPIC, "*")
        .start_from(StartFrom::First)
        .rebalance_every(Duration::from_millis(50))
        .route_refresh(Duration::from_millis(50))
        .long_poll(Duration::from_millis(100))
        .close_within(Duration::from_secs(1))
}

async fn until(consumer: &Consumer, wanted: impl Fn(&[Trouble]) -> bool) -> Vec<Trouble> {
    let waited = async {
        loop {
            let troubles = consumer.troubles();
            if wanted(&troubles) {
                return troubles;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(20), waited).await;
    ended.unwrap_or_else(|_| panic!("the troubles stay {:#?}", consumer.troubles()))
}

#[tokio::test]
async fn troubles_are_named_and_end() {
    let names = Arc::new(NameServer::default());
    let name_server = Running::start(Arc::<NameServer>::clone(&names));
    let consumer = builder(&name_server.address).build().await.unwrap();
    let absent = until(&consumer, |troubles| !troubles.is_empty()).await;
    assert!(matches!(&absent[0].error, ConsumeError::Route(RouteError::NotFound { .. })), "{absent:?}");
    assert!(absent[0].queue.is_none() && absent[0].error.to_string().contains(&name_server.address), "{absent:?}");

    names.route(TOPIC, &[("b", &[(0, "127.0.0.1:1")], 1)]);
    let away = until(&consumer, |now| now.iter().any(|one| matches!(one.error, ConsumeError::NoMembers { .. }))).await;
    let said = away[0].error.to_string();
    assert!(said.contains("127.0.0.1:1: cannot connect") && said.contains("nothing listens there"), "{said}");

    let broker = Arc::new(Broker::default());
    let running = Running::start(Arc::new(Door(Arc::clone(&broker))));
    broker.state.lock().refusals.insert(request::PULL_MESSAGE, vec![16; 100_000]);
    names.route(TOPIC, &[("b", &[(0, &running.address)], 1)]);
    let refused = until(&consumer, |now| now.iter().any(|one| one.queue.is_some())).await;
    let refused = refused.into_iter().find(|one| one.queue.is_some()).unwrap();
    let expected = format!("broker 'b' at {} refuses with code 16 (NO_PERMISSION): scripted", running.address);
    assert_eq!((refused.topic.as_str(), refused.error.to_string()), (TOPIC, expected));

    broker.state.lock().refusals.clear();
    broker.put(TOPIC, 0, "at last", None, None);
    tokio::time::timeout(Duration::from_secs(20), consumer.next()).await.unwrap().unwrap().ack();
    until(&consumer, <[Trouble]>::is_empty).await;

    running.stop().await;
    let silent = until(&consumer, |now| now.iter().any(|one| matches!(one.error, ConsumeError::Call { .. }))).await;
    assert!(silent.iter().any(|one| one.error.to_string().contains("broker 'b' cannot be asked")), "{silent:?}");
    consumer.close().await;
}

#[tokio::test]
async fn refused_heartbeats_are_told() {
    let names = Arc::new(NameServer::default());
    let name_server = Running::start(Arc::<NameServer>::clone(&names));
    let broker = Arc::new(Broker::default());
    let running = Running::start(Arc::new(Door(Arc::clone(&broker))));
    names.route(TOPIC, &[("b", &[(0, &running.address)], 1)]);
    broker.state.lock().refusals.insert(request::HEART_BEAT, vec![16; 100_000]);
    let consumer = builder(&name_server.address).build().await.unwrap();
    let troubles = until(&consumer, |now| now.len() > 1).await;
    let said: Vec<String> = troubles.iter().map(|one| one.error.to_string()).collect();
    let heartbeat =
        format!("{} refuses the heartbeat of group 'g' with code 16 (NO_PERMISSION): scripted", running.address);
    assert!(troubles[0].topic.is_empty() && said[0] == heartbeat, "{said:?}");
    assert!(said.iter().any(|one| one.contains("group 'g'") && one.contains("members")), "{said:?}");
    consumer.close().await;
}
