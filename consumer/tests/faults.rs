//! What a consumer stores, gives back and survives, against brokers that can be told to misbehave.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod asked;
mod failover;
mod fake;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fake::{Broker, Door, NameServer, Running, State};
use orbitmq_common::protocol::code::request;
use orbitmq_consumer::{Consumer, ConsumerBuilder, Delivery, StartFrom};

const TOPIC: &str = "t";

struct Cluster {
    names: Arc<NameServer>,
    name_server: Running,
    broker: Arc<Broker>,
    running: Running,
}

/// A name server and one broker, `b`, with so many queues.
fn cluster(queues: i32) -> Cluster {
    let names = Arc::new(NameServer::default());
    let name_server = Running::start(Arc::<NameServer>::clone(&names));
    let broker = Arc::new(Broker::default());
    let running = Running::start(Arc::new(Door(Arc::clone(&broker))));
    names.route(TOPIC, &[("b", &[(0, &running.address)], queues)]);
    Cluster { names, name_server, broker, running }
}

impl Cluster {
    fn builder(&self) -> ConsumerBuilder {
        Consumer::builder()
            .nameservers([&self.name_server.address])
            .group("g")
            .subscribe(TOPIC, "*")
            .start_from(StartFrom::First)
            .commit_every(Duration::from_millis(10))
            .rebalance_every(Duration::from_millis(100))
            .route_refresh(Duration::from_millis(50))
            .long_poll(Duration::from_millis(200))
            .redeliver_after(Duration::from_millis(50))
            .close_within(Duration::from_secs(2))
    }

    fn fill(&self, queue: i32, count: usize) {
        for n in 0..count {
            self.broker.put(TOPIC, queue, &n.to_string(), None, None);
        }
    }

    async fn until(&self, what: &str, mut condition: impl FnMut(&mut State) -> bool) {
        let waited = async {
            while !condition(&mut self.broker.state.lock()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), waited).await.unwrap_or_else(|_| panic!("{what} never happened"));
    }
}

fn stored(state: &State, queue: i32) -> Option<i64> {
    state.offsets.get(&(TOPIC.to_owned(), queue)).copied()
}

async fn take(consumer: &Consumer, count: usize) -> Vec<Delivery> {
    let mut all = Vec::new();
    while all.len() < count {
        let next = tokio::time::timeout(Duration::from_secs(10), consumer.next());
        all.push(next.await.unwrap_or_else(|_| panic!("only {} of {count} came", all.len())).unwrap());
    }
    all
}

async fn nothing_more(consumer: &Consumer) {
    let more = consumer.poll(1, Duration::from_millis(150)).await;
    assert!(more.is_empty(), "{:?} came", more[0].body());
}

fn text(delivery: &Delivery) -> String {
    String::from_utf8_lossy(delivery.body()).into_owned()
}

#[tokio::test]
async fn offsets_are_stored_in_order_of_completion() {
    let cluster = cluster(1);
    cluster.fill(0, 10);
    let consumer = cluster.builder().redeliver_after(Duration::from_secs(60)).build().await.unwrap();
    let mut deliveries = take(&consumer, 10).await;
    let third = deliveries.remove(3);
    deliveries.into_iter().rev().for_each(Delivery::ack);
    cluster.until("a commit", |state| stored(state, 0) == Some(3)).await;
    third.ack();
    cluster.until("the last commit", |state| stored(state, 0) == Some(10)).await;
    let commits = cluster.broker.state.lock().commits.clone();
    assert!(commits.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{commits:?}");
    consumer.close().await;
    assert_eq!(cluster.broker.state.lock().farewells.len(), 1);
    assert!(consumer.next().await.is_none());
}

#[tokio::test]
async fn dropped_deliveries_come_again_and_hold_the_offset() {
    let cluster = cluster(1);
    cluster.fill(0, 3);
    let consumer = cluster.builder().build().await.unwrap();
    let mut deliveries = take(&consumer, 3).await;
    drop(deliveries.remove(1));
    deliveries.into_iter().for_each(Delivery::ack);
    cluster.until("a commit", |state| stored(state, 0) == Some(1)).await;
    let again = take(&consumer, 1).await.pop().unwrap();
    assert_eq!((text(&again).as_str(), again.attempts_before()), ("1", 0));
    again.ack();
    cluster.until("the last commit", |state| stored(state, 0) == Some(3)).await;
}

#[tokio::test]
async fn no_more_is_held_than_allowed() {
    let cluster = cluster(4);
    for queue in 0..4 {
        cluster.fill(queue, 100);
    }
    let consumer = cluster.builder().max_per_queue(7, usize::MAX).max_in_hand(20, usize::MAX).build().await.unwrap();
    // Fetches under way when the whole is full may still bring theirs: 7 of each queue at most.
    let mut held = take(&consumer, 20).await;
    held.extend(consumer.poll(100, Duration::from_millis(150)).await);
    let mut per_queue = [0; 4];
    held.iter().for_each(|delivery| per_queue[delivery.queue_id as usize] += 1);
    assert!(per_queue.iter().all(|count| *count <= 7), "{per_queue:?}");
    nothing_more(&consumer).await;
    let mut seen: HashSet<(u32, String)> = HashSet::new();
    while seen.len() < 400 {
        for delivery in held.drain(..) {
            assert!(seen.insert((delivery.queue_id, text(&delivery))));
            delivery.ack();
        }
        if seen.len() < 400 {
            held = take(&consumer, 1).await;
        }
    }
}

#[tokio::test]
async fn a_broker_that_does_not_know_us_is_told_again() {
    let cluster = cluster(1);
    cluster.broker.state.lock().refusals.insert(request::PULL_MESSAGE, vec![26, 25, 24, 17, 1, 2]);
    cluster.fill(0, 1);
    let consumer = cluster.builder().build().await.unwrap();
    take(&consumer, 1).await.pop().unwrap().ack();
    let beats = cluster.broker.state.lock().beats.clone();
    assert!(beats.len() >= 4, "{} heartbeats", beats.len());
    let group = &beats[0].consumer_data_set[0];
    let topics: Vec<&str> = group.subscription_data_set.iter().map(|one| one.topic.as_str()).collect();
    assert_eq!((group.group_name.as_str(), topics), ("g", vec![TOPIC, "%RETRY%g"]));
}

#[tokio::test]
async fn offsets_that_are_gone_are_corrected_by_the_master_alone() {
    let cluster = cluster(1);
    cluster.fill(0, 10);
    {
        let mut state = cluster.broker.state.lock();
        state.first.insert((TOPIC.to_owned(), 0), 6);
        state.offsets.insert((TOPIC.to_owned(), 0), 2);
    }
    let consumer = cluster.builder().build().await.unwrap();
    let deliveries = take(&consumer, 4).await;
    assert_eq!(text(&deliveries[0]), "6");
    deliveries.into_iter().for_each(Delivery::ack);
    cluster.until("a commit", |state| stored(state, 0) == Some(10)).await;
}

#[tokio::test]
async fn a_slave_reads_on_when_the_master_is_gone_and_is_not_believed_when_behind() {
    let cluster = cluster(1);
    let slave = Arc::new(Broker::default());
    let slave_running = Running::start(Arc::new(Door(Arc::clone(&slave))));
    let both: [(i64, &str); 2] = [(0, &cluster.running.address), (1, &slave_running.address)];
    cluster.names.route(TOPIC, &[("b", &both, 1)]);
    cluster.fill(0, 5);
    // The slave has only three of the five yet.
    for n in 0..3 {
        slave.put(TOPIC, 0, &n.to_string(), None, None);
    }
    let consumer = cluster.builder().build().await.unwrap();
    take(&consumer, 5).await.into_iter().for_each(Delivery::ack);
    cluster.until("a commit", |state| stored(state, 0) == Some(5)).await;
    cluster.running.stop().await;
    nothing_more(&consumer).await;
    for n in 3..8 {
        slave.put(TOPIC, 0, &n.to_string(), None, None);
    }
    let texts: Vec<String> = take(&consumer, 3).await.iter().map(text).collect();
    assert_eq!(texts, ["5", "6", "7"]);
    assert!(slave.state.lock().commits.is_empty(), "offsets belong to the master");
}

#[tokio::test]
async fn members_share_queues_and_take_over_at_once() {
    let cluster = cluster(4);
    let builder = || cluster.builder().rebalance_every(Duration::from_secs(60));
    let (one, two) = (builder().build().await.unwrap(), builder().build().await.unwrap());
    let own = |consumer: &Consumer| consumer.queues().iter().filter(|queue| queue.topic == TOPIC).count();
    cluster.until("two members", |state| state.members.len() == 2).await;
    cluster.broker.notify_members();
    cluster.until("sharing", |_| own(&one) == 2 && own(&two) == 2).await;
    for queue in 0..4 {
        cluster.fill(queue, 5);
    }
    take(&one, 10).await.into_iter().for_each(Delivery::ack);
    let rest = take(&two, 10).await;
    two.close().await;
    drop(rest);
    cluster.broker.notify_members();
    cluster.until("taking over", |_| own(&one) == 4).await;
    // What the other one held and did not finish comes here.
    take(&one, 10).await.into_iter().for_each(Delivery::ack);
    cluster.until("commits", |state| (0..4).all(|queue| stored(state, queue) == Some(5))).await;
}

#[tokio::test]
async fn what_was_done_while_offsets_could_not_be_stored_does_not_come_again() {
    let cluster = cluster(1);
    cluster.fill(0, 3);
    cluster.broker.state.lock().refusals.insert(request::UPDATE_CONSUMER_OFFSET, vec![1; 10_000]);
    let consumer = cluster.builder().build().await.unwrap();
    take(&consumer, 3).await.into_iter().for_each(Delivery::ack);
    // The queue leaves the routes, and comes back.
    cluster.names.route(TOPIC, &[("b", &[(0, &cluster.running.address)], 0)]);
    cluster.until("the queue's loss", |_| consumer.queues().iter().all(|queue| queue.topic != TOPIC)).await;
    cluster.broker.state.lock().refusals.clear();
    cluster.broker.put(TOPIC, 0, "new", None, None);
    cluster.names.route(TOPIC, &[("b", &[(0, &cluster.running.address)], 1)]);
    let next = take(&consumer, 1).await.remove(0);
    assert_eq!(text(&next), "new");
    next.ack();
    cluster.until("the commit", |state| stored(state, 0) == Some(4)).await;
}

#[tokio::test]
async fn messages_are_given_back_to_their_broker_else_to_any() {
    let cluster = cluster(1);
    cluster.fill(0, 4);
    cluster.names.route("%RETRY%g", &[("b", &[(0, &cluster.running.address)], 1)]);
    let consumer = cluster.builder().redeliver_after(Duration::from_secs(60)).build().await.unwrap();
    let mut deliveries = take(&consumer, 4).await.into_iter();
    deliveries.next().unwrap().retry_later().await.unwrap();
    deliveries.next().unwrap().retry_at_level(7).await.unwrap();
    assert_eq!(cluster.broker.state.lock().send_backs, [(1000, 0), (1001, 7)]);
    cluster.broker.state.lock().refusals.insert(request::CONSUMER_SEND_MSG_BACK, vec![1, 1]);
    deliveries.next().unwrap().retry_later().await.unwrap();
    let (topic, properties) = cluster.broker.state.lock().sent.pop().unwrap();
    assert_eq!(topic, "%RETRY%g");
    for part in ["RETRY_TOPIC\u{1}t\u{2}", "DELAY\u{1}3\u{2}", "RECONSUME_TIME\u{1}1\u{2}"] {
        assert!(properties.contains(part), "{properties:?} lacks {part:?}");
    }
    cluster.until("a commit", |state| stored(state, 0) == Some(3)).await;
    cluster.broker.state.lock().refusals.insert(request::SEND_MESSAGE_V2, vec![1]);
    let error = deliveries.next().unwrap().retry_later().await.unwrap_err();
    assert!(error.to_string().contains("scripted"), "{error}");
    consumer.close().await;
    assert_eq!(stored(&cluster.broker.state.lock(), 0), Some(3));
}

#[tokio::test]
async fn what_comes_again_shows_its_first_topic_and_retry_queues_start_at_zero() {
    let cluster = cluster(1);
    cluster.names.route("%RETRY%g", &[("b", &[(0, &cluster.running.address)], 1)]);
    cluster.broker.put("%RETRY%g", 0, "again", Some("A"), Some(TOPIC));
    let consumer = cluster.builder().start_from(StartFrom::Last).subscribe(TOPIC, "A").build().await.unwrap();
    let delivery = take(&consumer, 1).await.pop().unwrap();
    assert_eq!((delivery.topic(), delivery.tag()), (TOPIC, Some("A")));
    delivery.ack();
}

#[tokio::test]
async fn a_group_starts_where_it_wants() {
    let time = StartFrom::Time(SystemTime::now());
    for (start, first) in [(StartFrom::First, "0"), (StartFrom::Last, "10"), (time, "3")] {
        let cluster = cluster(1);
        cluster.fill(0, 10);
        let consumer = cluster.builder().start_from(start).build().await.unwrap();
        cluster.until("a first fetch", |state| state.pulls > 0).await;
        cluster.broker.put(TOPIC, 0, "10", None, None);
        assert_eq!(text(&take(&consumer, 1).await[0]), first, "{start:?}");
    }
}

#[tokio::test]
async fn tags_are_compared_here_too_and_skipped_messages_do_not_hold_the_offset() {
    let cluster = cluster(1);
    for tag in ["A", "B", "C", "B"] {
        cluster.broker.put(TOPIC, 0, tag, Some(tag), None);
    }
    cluster.broker.put(TOPIC, 0, "none", None, None);
    let consumer = cluster.builder().subscribe(TOPIC, "A || C").build().await.unwrap();
    let deliveries = take(&consumer, 2).await;
    assert_eq!(deliveries.iter().map(text).collect::<Vec<_>>(), ["A", "C"]);
    deliveries.into_iter().for_each(Delivery::ack);
    cluster.until("a commit", |state| stored(state, 0) == Some(5)).await;
    for bad in ["||", "A || *"] {
        assert!(cluster.builder().subscribe(TOPIC, bad).build().await.is_err());
    }
}

#[tokio::test]
async fn ordered_queues_wait_for_their_lock_and_give_one_at_a_time() {
    let cluster = cluster(1);
    cluster.fill(0, 3);
    cluster.broker.state.lock().locks.insert((TOPIC.to_owned(), 0), "somebody".to_owned());
    let consumer = cluster.builder().ordered().suspend_queue(Duration::from_millis(50)).build().await.unwrap();
    nothing_more(&consumer).await;
    cluster.broker.state.lock().locks.clear();
    let first = take(&consumer, 1).await.pop().unwrap();
    nothing_more(&consumer).await;
    first.retry_later().await.unwrap();
    let again = take(&consumer, 1).await.pop().unwrap();
    assert_eq!((text(&again).as_str(), again.attempts_before()), ("0", 1));
    again.ack();
    for expected in ["1", "2"] {
        let delivery = take(&consumer, 1).await.pop().unwrap();
        assert_eq!(text(&delivery), expected);
        delivery.ack();
    }
    consumer.close().await;
    let state = cluster.broker.state.lock();
    assert!(state.locks.is_empty());
    assert_eq!(stored(&state, 0), Some(3));
}

#[tokio::test]
async fn name_servers_are_not_needed_once_routes_are_known() {
    let cluster = cluster(1);
    let consumer = cluster.builder().build().await.unwrap();
    cluster.until("a first fetch", |state| state.pulls > 0).await;
    cluster.name_server.stop().await;
    for n in 0..5 {
        cluster.broker.put(TOPIC, 0, &n.to_string(), None, None);
        take(&consumer, 1).await.pop().unwrap().ack();
    }
    assert!(Consumer::builder().nameservers(["127.0.0.1:1"]).group("g").subscribe("t", "*").build().await.is_err());
}

#[tokio::test]
async fn topics_that_come_later_are_found() {
    let cluster = cluster(1);
    cluster.names.routes.lock().clear();
    let consumer = cluster.builder().build().await.unwrap();
    nothing_more(&consumer).await;
    cluster.names.route(TOPIC, &[("b", &[(0, &cluster.running.address)], 1)]);
    cluster.fill(0, 1);
    take(&consumer, 1).await.pop().unwrap().ack();
}

#[tokio::test]
async fn a_new_connection_is_introduced_before_it_is_used() {
    let Cluster { names, name_server, broker, running } = cluster(1);
    let cluster = Cluster { running: Running::start(Arc::new(Door(Arc::clone(&broker)))), names, name_server, broker };
    cluster.names.route(TOPIC, &[("b", &[(0, &running.address)], 1)]);
    let consumer = cluster.builder().build().await.unwrap();
    cluster.until("a first fetch", |state| state.pulls > 0).await;
    let beats = cluster.broker.state.lock().beats.len();
    cluster.names.route(TOPIC, &[("b", &[(0, &cluster.running.address)], 1)]);
    running.stop().await;
    cluster.fill(0, 1);
    take(&consumer, 1).await.pop().unwrap().ack();
    assert!(cluster.broker.state.lock().beats.len() > beats);
}

#[tokio::test]
async fn closing_does_not_wait_for_ever() {
    let cluster = cluster(1);
    cluster.fill(0, 2);
    let consumer = cluster.builder().close_within(Duration::from_millis(100)).build().await.unwrap();
    let mut held = take(&consumer, 2).await;
    held.remove(0).ack();
    tokio::time::timeout(Duration::from_secs(5), consumer.close()).await.unwrap();
    assert_eq!(stored(&cluster.broker.state.lock(), 0), Some(1));
}

#[tokio::test]
async fn run_gives_back_what_fails_or_panics() {
    let cluster = cluster(1);
    cluster.fill(0, 3);
    let consumer = cluster.builder().concurrency(2).build().await.unwrap();
    let running = consumer.clone();
    let run = tokio::spawn(async move {
        running
            .run(|message| async move {
                match message.body.as_ref() {
                    b"0" => Err("not today"),
                    b"1" => panic!("the handler breaks"),
                    _ => Ok(()),
                }
            })
            .await;
    });
    cluster.until("commits", |state| stored(state, 0) == Some(3)).await;
    consumer.close().await;
    run.await.unwrap();
    let mut backs: Vec<i64> = cluster.broker.state.lock().send_backs.iter().map(|(offset, _)| *offset).collect();
    backs.sort_unstable();
    assert_eq!(backs, [1000, 1001]);
}
