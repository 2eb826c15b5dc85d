//! Consumers that pull or pop all the time and are replaced now and then, and committers of offsets.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use orbitmq_consumer::{Consumer, Delivery, Fetch, StartFrom};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::load::{QUEUES, TOPIC, World};
use super::proxy::Member;
use crate::ledger::Id;
use crate::session::Session;

/// Members of each consumer group.
const CONSUMERS: usize = 2;
const GROUP: &str = "faults-consumers";
const POPPERS: &str = "faults-poppers";
/// So long nobody else sees what a member that vanished had popped.
const INVISIBLE: Duration = Duration::from_secs(5);
/// Group of the offsets that are committed beside it.
pub const COMMITTERS: &str = "faults-committers";
/// Time between two commits, and of a commit at most.
const COMMIT_EVERY: Duration = Duration::from_millis(20);
const COMMIT_DEADLINE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(50);

/// How a consumer gives way to the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Farewell {
    /// It says so.
    Close,
    /// It vanishes.
    Drop,
}

/// Consumers at work.
pub struct Consumers {
    orders: Vec<mpsc::UnboundedSender<Farewell>>,
}

impl Consumers {
    /// Starts consumers and committers.
    pub fn start(world: &Arc<World>, tasks: &mut JoinSet<()>, stop: &CancellationToken) -> Self {
        let mut orders = Vec::new();
        for fetch in [Fetch::Pull, Fetch::Pop].into_iter().flat_map(|fetch| [fetch; CONSUMERS]) {
            let (order, ordered) = mpsc::unbounded_channel();
            orders.push(order);
            let (stop, work) = (stop.clone(), consume(Arc::clone(world), fetch, ordered));
            tasks.spawn(async move { stop.run_until_cancelled_owned(work).await.unwrap_or(()) });
        }
        for group in 0..world.groups {
            let committer = Committer { world: Arc::clone(world), sessions: world.sessions(), group };
            let (stop, work) = (stop.clone(), committer.run());
            tasks.spawn(async move { stop.run_until_cancelled_owned(work).await.unwrap_or(()) });
        }
        Self { orders }
    }

    /// Has one member of each group replaced.
    pub fn replace(&self, number: usize, farewell: Farewell) {
        for group in self.orders.chunks(CONSUMERS) {
            let _ = group[number % CONSUMERS].send(farewell);
        }
    }
}

async fn consume(world: Arc<World>, fetch: Fetch, mut orders: mpsc::UnboundedReceiver<Farewell>) {
    loop {
        let Some(consumer) = build(&world, fetch).await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let farewell = loop {
            let delivery = tokio::select! {
                delivery = consumer.next() => delivery,
                order = orders.recv() => break order,
            };
            let Some(delivery) = delivery else { break None };
            match fetch {
                Fetch::Pop => world.history.popped(Id::of(delivery.body())),
                _ => saw(&world, &delivery),
            }
            delivery.ack();
        };
        if farewell == Some(Farewell::Close) {
            consumer.close().await;
        }
    }
}

fn saw(world: &World, delivery: &Delivery) {
    let message = delivery.message();
    let group = delivery.broker().as_bytes().last().map_or(0, |letter| letter - b'a');
    let offset = i64::try_from(message.queue_offset).unwrap();
    world.history.saw(Id::of(delivery.body()), group, u8::try_from(message.queue_id).unwrap(), offset);
}

async fn build(world: &World, fetch: Fetch) -> Option<Consumer> {
    let group = if fetch == Fetch::Pop { POPPERS } else { GROUP };
    let builder = Consumer::builder().nameservers(&world.nameservers).group(group).subscribe(TOPIC, "*");
    let builder = builder.fetch(fetch).invisible_time(INVISIBLE);
    let builder = builder.start_from(StartFrom::First).commit_every(Duration::from_millis(200));
    let builder = builder.rebalance_every(Duration::from_secs(1)).heartbeat(Duration::from_secs(1));
    let builder = builder.route_refresh(Duration::from_millis(500)).close_within(Duration::from_secs(1));
    builder.connect_timeout(Duration::from_secs(1)).build().await.ok()
}

struct Committer {
    world: Arc<World>,
    sessions: HashMap<Member, Session>,
    group: u8,
}

impl Committer {
    async fn run(self) {
        let mut committed = [0; QUEUES as usize];
        for turn in 0_u64.. {
            tokio::time::sleep(COMMIT_EVERY).await;
            let Some(master) = self.world.master(self.group) else { continue };
            let queue = fastrand::u8(0..QUEUES);
            let started = self.world.history.now();
            let end = self.world.end(self.group, queue);
            let last = &mut committed[usize::from(queue)];
            let well = if turn % 4 == 3 {
                ask(&self.world, &self.sessions[&master], master, queue).await
            } else if end > *last {
                let commit = self.sessions[&master].commit(COMMITTERS, TOPIC, queue.into(), end);
                let well = matches!(tokio::time::timeout(COMMIT_DEADLINE, commit).await, Ok(Ok(())));
                if well {
                    *last = end;
                    self.world.history.offset(master, queue, started, end, true);
                }
                well
            } else {
                true
            };
            if !well {
                self.world.complain();
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Asks a member for a committed offset and notes the answer, if there is one.
pub async fn ask(world: &World, session: &Session, member: Member, queue: u8) -> bool {
    let started = world.history.now();
    let asking = session.committed(COMMITTERS, TOPIC, queue.into());
    let answer = tokio::time::timeout(COMMIT_DEADLINE, asking).await;
    let Ok(Ok(offset)) = answer else { return false };
    world.history.offset(member, queue, started, offset.unwrap_or(-1), false);
    true
}
