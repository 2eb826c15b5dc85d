//! What a consumer does when members of a broker group go, come back, and take over.

use std::sync::Arc;
use std::time::{Duration, Instant};

use orbitmq_consumer::{Consumer, ConsumerBuilder, Delivery, StartFrom};

use crate::fake::{Broker, Door, NameServer, Running, State};
use crate::{TOPIC, nothing_more, stored, take, text};

/// Time in which a consumer follows a change that name servers know; generous, for machines under load.
const SOON: Duration = Duration::from_secs(2);

/// One member of broker group `b`.
struct Member {
    broker: Arc<Broker>,
    running: Running,
}

impl Member {
    fn start() -> Self {
        Self::of(Arc::default())
    }

    fn of(broker: Arc<Broker>) -> Self {
        let running = Running::start(Arc::new(Door(Arc::clone(&broker))));
        Self { broker, running }
    }

    fn address(&self) -> &str {
        &self.running.address
    }

    fn put(&self, range: std::ops::Range<usize>) {
        range.for_each(|n| self.broker.put(TOPIC, 0, &n.to_string(), None, None));
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

struct Group {
    names: Arc<NameServer>,
    name_server: Running,
}

impl Group {
    fn start(members: &[(i64, &Member)]) -> Self {
        let names = Arc::new(NameServer::default());
        let group = Self { name_server: Running::start(Arc::<NameServer>::clone(&names)), names };
        group.members(members);
        group
    }

    fn members(&self, members: &[(i64, &Member)]) {
        let members: Vec<(i64, &str)> = members.iter().map(|(id, member)| (*id, member.address())).collect();
        self.names.route(TOPIC, &[("b", &members, 1)]);
    }

    fn builder(&self) -> ConsumerBuilder {
        Consumer::builder()
            .nameservers([&self.name_server.address])
            .group("g")
            .subscribe(TOPIC, "*")
            .start_from(StartFrom::First)
            .commit_every(Duration::from_millis(10))
            .rebalance_every(Duration::from_millis(100))
            .route_refresh(Duration::from_millis(100))
            .close_within(Duration::from_secs(2))
    }
}

fn texts(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(text).collect()
}

fn acknowledge(deliveries: Vec<Delivery>) {
    deliveries.into_iter().for_each(Delivery::ack);
}

#[tokio::test]
async fn a_reader_goes_to_the_slave_and_back_as_it_is_told() {
    let (master, slave) = (Member::start(), Member::start());
    let group = Group::start(&[(0, &master), (3, &slave)]);
    master.put(0..1);
    slave.put(0..2);
    master.broker.state.lock().suggest = 3;
    slave.broker.state.lock().suggest = 3;
    let consumer = group.builder().long_poll(Duration::from_millis(50)).build().await.unwrap();
    let first = take(&consumer, 2).await;
    assert_eq!(texts(&first), ["0", "1"], "the second only the slave has");
    acknowledge(first);
    master.until("a commit", |state| stored(state, 0) == Some(2)).await;
    assert!(slave.broker.state.lock().commits.is_empty(), "offsets belong to the master");
    slave.broker.state.lock().suggest = 0;
    master.broker.state.lock().suggest = 0;
    master.put(1..3);
    assert_eq!(texts(&take(&consumer, 1).await), ["2"]);
}

#[tokio::test]
async fn offsets_go_to_a_slave_while_there_is_no_master_and_to_the_next_one_again() {
    let (master, slave) = (Member::start(), Member::start());
    let group = Group::start(&[(0, &master), (2, &slave)]);
    for member in [&master, &slave] {
        member.put(0..2);
    }
    let consumer = group.builder().build().await.unwrap();
    acknowledge(take(&consumer, 2).await);
    master.until("a commit", |state| stored(state, 0) == Some(2)).await;
    let Member { broker, running } = master;
    running.stop().await;
    group.members(&[(2, &slave)]);
    slave.until("the offset at the slave", |state| stored(state, 0) == Some(2)).await;
    slave.put(2..3);
    acknowledge(take(&consumer, 1).await);
    slave.until("a commit at the slave", |state| stored(state, 0) == Some(3)).await;
    // The old master comes back, and knows nothing of that.
    let master = Member::of(broker);
    master.put(2..3);
    group.members(&[(0, &master), (2, &slave)]);
    master.until("the offset at the master", |state| stored(state, 0) == Some(3)).await;
    master.put(3..4);
    assert_eq!(texts(&take(&consumer, 1).await), ["3"], "and is read again");
}

#[tokio::test]
async fn a_hanging_master_is_left_as_soon_as_another_one_is_known() {
    let (old, new) = (Member::start(), Member::start());
    let group = Group::start(&[(0, &old), (1, &new)]);
    for member in [&old, &new] {
        member.put(0..2);
    }
    let consumer = group.builder().long_poll(Duration::from_secs(60)).build().await.unwrap();
    acknowledge(take(&consumer, 2).await);
    old.until("a commit", |state| stored(state, 0) == Some(2)).await;
    old.until("a held pull", |state| state.pulls >= 2).await;
    old.broker.state.lock().silent = true;
    new.put(2..3);
    nothing_more(&consumer).await;
    group.members(&[(0, &new)]);
    let promoted = Instant::now();
    let next = take(&consumer, 1).await;
    assert!(promoted.elapsed() < SOON, "{:?}", promoted.elapsed());
    assert_eq!(texts(&next), ["2"]);
    acknowledge(next);
    new.until("a commit at the new master", |state| stored(state, 0) == Some(3)).await;
    let beats = &new.broker.state.lock().beats;
    assert!(!beats.is_empty() && beats[0].consumer_data_set[0].group_name == "g");
}

#[tokio::test]
async fn a_new_group_starts_and_shares_from_a_slave_alone() {
    let slave = Member::start();
    let group = Group::start(&[(2, &slave)]);
    slave.put(0..3);
    let one = group.builder().build().await.unwrap();
    assert_eq!(texts(&take(&one, 3).await), ["0", "1", "2"]);
    let two = group.builder().build().await.unwrap();
    slave.until("two members", |state| state.members.len() == 2).await;
    slave.broker.notify_members();
    let own = |consumer: &Consumer| consumer.queues().iter().filter(|queue| queue.topic == TOPIC).count();
    slave.until("sharing", |_| own(&one) + own(&two) == 1).await;
}

#[tokio::test]
async fn the_members_of_a_group_are_asked_of_a_slave_when_the_master_does_not_answer() {
    let (master, slave) = (Member::start(), Member::start());
    let group = Group::start(&[(0, &master), (2, &slave)]);
    master.running.stop().await;
    slave.put(0..1);
    slave.broker.state.lock().offsets.insert((TOPIC.to_owned(), 0), 0);
    let consumer = group.builder().build().await.unwrap();
    slave.until("a share of the queues", |_| consumer.queues().iter().any(|queue| queue.topic == TOPIC)).await;
    nothing_more(&consumer).await;
    // Where to begin is the master's to say for as long as name servers know one.
    group.members(&[(2, &slave)]);
    assert_eq!(texts(&take(&consumer, 1).await), ["0"]);
}

#[tokio::test]
async fn an_empty_slave_does_not_move_a_reader() {
    let (master, slave) = (Member::start(), Member::start());
    let group = Group::start(&[(0, &master), (2, &slave)]);
    master.put(0..5);
    let consumer = group.builder().build().await.unwrap();
    acknowledge(take(&consumer, 5).await);
    master.until("a commit", |state| stored(state, 0) == Some(5)).await;
    master.running.stop().await;
    group.members(&[(2, &slave)]);
    slave.until("readers at the slave", |state| state.pulls >= 3).await;
    slave.put(0..4);
    nothing_more(&consumer).await;
    let commits = slave.broker.state.lock().commits.clone();
    assert!(commits.iter().all(|(_, offset)| *offset == 5), "{commits:?}");
    slave.put(4..7);
    assert_eq!(texts(&take(&consumer, 2).await), ["5", "6"]);
}

#[tokio::test]
async fn ordered_queues_are_locked_at_each_new_master() {
    let (old, new) = (Member::start(), Member::start());
    let group = Group::start(&[(0, &old), (1, &new)]);
    for member in [&old, &new] {
        member.put(0..2);
    }
    let consumer = group.builder().ordered().build().await.unwrap();
    let first = take(&consumer, 1).await;
    old.until("a lock", |state| state.locks.len() == 1).await;
    group.members(&[(0, &new), (1, &old)]);
    new.until("a lock at the new master", |state| state.locks.len() == 1).await;
    acknowledge(first);
    assert_eq!(texts(&take(&consumer, 1).await), ["1"]);
}
