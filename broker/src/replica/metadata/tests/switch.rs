//! Random histories of two brokers that take turns as master, with commits at the slave while its master is away.
//!
//! What was acknowledged survives; an offset goes back only where an administrator has set it back.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestRunner};

use super::*;
use crate::replica::promote::{Mastership, promote};

const QUEUES: i32 = 3;

#[derive(Debug, Clone)]
enum Step {
    Commit {
        queue: i32,
    },
    /// Acknowledged once the slave has it.
    CommitReplicated {
        queue: i32,
    },
    /// An administrator sends the group back; it follows at once, or has yet to.
    Reset {
        queue: i32,
        followed: bool,
    },
    ForgetGroup,
    /// The topic is deleted and made again.
    RenewTopic,
    Settle,
    /// The slave does not hear of what comes next.
    Part,
    /// The master is killed or stops; the group commits at the slave, which may be killed too; then the master comes again.
    Away {
        killed: bool,
        queues: Vec<i32>,
        slave_killed: bool,
    },
    /// The master is gone; the slave is master now, and the old one its slave.
    Switch {
        settled: bool,
        killed: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let queue = || 0..QUEUES;
    prop_oneof![
        6 => queue().prop_map(|queue| Step::Commit { queue }),
        6 => queue().prop_map(|queue| Step::CommitReplicated { queue }),
        3 => (queue(), any::<bool>()).prop_map(|(queue, followed)| Step::Reset { queue, followed }),
        1 => Just(Step::ForgetGroup),
        1 => Just(Step::RenewTopic),
        1 => Just(Step::Settle),
        2 => Just(Step::Part),
        3 => (any::<bool>(), prop::collection::vec(queue(), 0..4), any::<bool>())
            .prop_map(|(killed, queues, slave_killed)| Step::Away { killed, queues, slave_killed }),
        2 => (any::<bool>(), any::<bool>()).prop_map(|(settled, killed)| Step::Switch { settled, killed }),
    ]
}

type Offsets = BTreeMap<i32, i64>;

fn offsets(broker: &Broker) -> Offsets {
    (0..QUEUES).filter_map(|queue| Some((queue, broker.offsets.get("T", "G", queue)?))).collect()
}

fn is_reset(broker: &Broker, queue: i32) -> bool {
    broker.offsets.resets().holds(&encode_key("T", "G", queue))
}

/// A broker and its directory.
struct Member {
    dir: TempDir,
    node: Option<Node>,
}

impl Member {
    async fn start(dir: TempDir, id: i64) -> Self {
        let node = start(dir.path(), id, None).await;
        Self { dir, node: Some(node) }
    }

    fn node(&self) -> &Node {
        self.node.as_ref().unwrap()
    }

    fn broker(&self) -> Arc<Broker> {
        self.node().broker()
    }

    fn offsets(&self) -> Offsets {
        offsets(&self.broker())
    }

    /// Stops; `killed`: with the loss of what is not written.
    async fn end(&mut self, killed: bool) {
        let node = self.node.take().unwrap();
        if killed {
            let broker = node.broker();
            broker.db.abandon();
            broker.store.abandon();
        }
        node.stop().await;
        if killed {
            // A killed broker leaves no files for RocketMQ's.
            std::fs::remove_dir_all(self.dir.path().join("config")).unwrap();
        }
    }

    async fn begin(&mut self, id: i64, listen: Option<SocketAddr>) {
        self.node = Some(start(self.dir.path(), id, listen).await);
    }
}

struct World {
    master: Member,
    slave: Member,
    follower: Option<(CancellationToken, JoinHandle<()>)>,
    /// Offsets of the master's, by moment.
    past: Vec<Offsets>,
    /// The last moment that the slave is known to have.
    replicated: usize,
    last: i64,
}

impl World {
    async fn start() -> Self {
        let dirs = dirs();
        let (master, slave) = (Member::start(dirs.0, 0).await, Member::start(dirs.1, 1).await);
        master.broker().topics.put(topic("T", QUEUES));
        let mut world = Self { master, slave, follower: None, past: Vec::new(), replicated: 0, last: 0 };
        world.settle().await;
        world
    }

    fn follow(&mut self) {
        if self.follower.is_none() {
            let stop = CancellationToken::new();
            let following = follow(self.slave.broker(), self.master.node().bound().to_string(), stop.clone());
            self.follower = Some((stop, tokio::spawn(following)));
        }
    }

    async fn part(&mut self) {
        if let Some((stop, follower)) = self.follower.take() {
            stop.cancel();
            follower.await.unwrap();
        }
    }

    async fn settle(&mut self) {
        self.follow();
        let (master, slave) = (self.master.broker(), self.slave.broker());
        until("everything is told", || slave.offsets.untold().is_empty()).await;
        // Rows that came and went again make both look equal too early.
        let heard = master.db.followers().replicated(master.db.newest(), &[1]);
        tokio::time::timeout(PATIENCE, heard).await.unwrap();
        until_equal(&master, &slave).await;
        self.past = vec![self.master.offsets()];
        self.replicated = 0;
    }

    /// Each one further than all before it.
    fn value(&mut self) -> i64 {
        self.last += 10;
        self.last
    }

    fn moved(&mut self) {
        self.past.push(self.master.offsets());
    }

    async fn commit(&mut self, queue: i32, replicated: bool) {
        let (value, broker) = (self.value(), self.master.broker());
        let number = broker.offsets.commit("T", "G", queue, value);
        self.moved();
        if let Some(number) = number.filter(|_| replicated) {
            self.follow();
            tokio::time::timeout(PATIENCE, broker.db.followers().replicated(number, &[1])).await.unwrap();
            self.replicated = self.past.len() - 1;
        }
    }

    /// Commits at the slave as a member of the group does, and waits for the answer.
    async fn commit_at_slave(&mut self, queue: i32) {
        let (offset, held) = (self.value(), is_reset(&self.slave.broker(), queue));
        let (_client, link) = link(self.slave.node()).await;
        let answer = call(&link, commit(&link, "T", queue, offset)).await;
        assert_eq!(held, answer.remark.is_some_and(|remark| remark.contains("reset")));
    }

    async fn away(&mut self, killed: bool, queues: &[i32], slave_killed: bool) {
        self.part().await;
        let (broker, address) = (self.master.broker(), self.master.node().bound());
        // What a kill takes of the master's does not matter here.
        broker.db.stored(broker.db.newest()).await.unwrap();
        let (before, base) = (self.master.offsets(), self.slave.offsets());
        let held: Vec<_> = (0..QUEUES).filter(|queue| is_reset(&broker, *queue)).collect();
        drop(broker);
        self.master.end(killed).await;
        for queue in queues {
            self.commit_at_slave(*queue).await;
        }
        let after = self.slave.offsets();
        if slave_killed {
            self.slave.end(true).await;
            self.slave.begin(1, None).await;
            assert_eq!(self.slave.offsets(), after, "an answered commit is gone");
        }
        self.master.begin(0, Some(address)).await;
        self.settle().await;
        for queue in 0..QUEUES {
            let (master, base, slave) = (before.get(&queue), base.get(&queue), after.get(&queue));
            let set_back = base.is_some() && master < base || held.contains(&queue);
            let wanted = if slave == base || set_back { master } else { master.max(slave) };
            let is = self.past[0].get(&queue);
            assert_eq!(is, wanted, "queue {queue}: the master had {master:?}, the slave {base:?} and then {slave:?}");
        }
    }

    async fn switch(&mut self, settled: bool, killed: bool) {
        if settled {
            self.settle().await;
        }
        self.part().await;
        self.master.end(killed).await;
        let broker = self.slave.broker();
        let epoch = broker.epochs.highest() + 1;
        let mastership = Mastership { epoch, in_sync: Vec::new(), lease: (std::time::Instant::now(), None) };
        promote(&broker, mastership).await.unwrap();
        let has = self.slave.offsets();
        let later = &self.past[self.replicated..];
        for queue in 0..QUEUES {
            let known = later.iter().any(|moment| moment.get(&queue) == has.get(&queue));
            assert!(known, "queue {queue}: the new master has {has:?}, acknowledged was {later:?}");
        }
        std::mem::swap(&mut self.master, &mut self.slave);
        self.slave.begin(1, None).await;
        self.settle().await;
        assert_eq!(self.past, [has], "the old master brought something back");
    }

    async fn step(&mut self, step: Step) {
        let broker = self.master.broker();
        match step {
            Step::Commit { queue } => self.commit(queue, false).await,
            Step::CommitReplicated { queue } => self.commit(queue, true).await,
            Step::Reset { queue, followed } => {
                let back = broker.offsets.get("T", "G", queue).unwrap_or(9) - 7;
                broker.offsets.reset("T", "G", queue, back);
                if followed {
                    assert_eq!(broker.offsets.take_reset("T", "G", queue), Some(back));
                }
                self.moved();
            }
            Step::ForgetGroup => {
                broker.offsets.remove_group("G");
                self.moved();
            }
            Step::RenewTopic => {
                broker.topics.remove("T");
                broker.offsets.remove_topic("T");
                broker.topics.put(topic("T", QUEUES));
                self.moved();
            }
            Step::Settle => self.settle().await,
            Step::Part => self.part().await,
            Step::Away { killed, queues, slave_killed } => {
                drop(broker);
                self.away(killed, &queues, slave_killed).await;
            }
            Step::Switch { settled, killed } => {
                drop(broker);
                self.switch(settled, killed).await;
            }
        }
    }
}

#[test]
fn an_offset_goes_back_only_where_an_administrator_sets_it_back() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let cases = Cases { cases: 10, max_shrink_iters: 20, failure_persistence: None, ..Cases::default() };
    let run = TestRunner::new(cases).run(&prop::collection::vec(step(), 1..40), |steps| {
        runtime.block_on(async {
            let mut world = World::start().await;
            for step in steps {
                world.step(step).await;
            }
            world.settle().await;
            world.part().await;
            world.slave.end(false).await;
            world.master.end(false).await;
        });
        Ok(())
    });
    run.unwrap();
}
