//! Random histories of a master and its slave, beside a model that remembers every value that ever was.

use std::collections::HashMap;

use parking_lot::Mutex;
use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestRunner};
use tokio::net::{TcpListener, TcpStream};

use super::*;

#[derive(Debug, Clone)]
enum Step {
    /// The group moves in a queue, anywhere.
    Commit {
        queue: i32,
    },
    /// It is told so only once the slave has it.
    CommitReplicated {
        queue: i32,
    },
    Reset {
        queue: i32,
    },
    ForgetGroup,
    Topic {
        number: u8,
        queues: i32,
    },
    DeleteTopic {
        number: u8,
    },
    Group {
        number: u8,
        retries: i32,
    },
    DeleteGroup {
        number: u8,
    },
    Delay {
        level: u32,
    },
    /// The connection breaks.
    Cut,
    RestartSlave,
    RestartMaster,
    Settle,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..4).prop_map(|queue| Step::Commit { queue }),
        6 => (0..4).prop_map(|queue| Step::CommitReplicated { queue }),
        2 => (0..4).prop_map(|queue| Step::Reset { queue }),
        1 => Just(Step::ForgetGroup),
        2 => (0..4u8, 1..9).prop_map(|(number, queues)| Step::Topic { number, queues }),
        1 => (0..4u8).prop_map(|number| Step::DeleteTopic { number }),
        2 => (0..4u8, 1..9).prop_map(|(number, retries)| Step::Group { number, retries }),
        1 => (0..4u8).prop_map(|number| Step::DeleteGroup { number }),
        2 => (1..4u32).prop_map(|level| Step::Delay { level }),
        3 => Just(Step::Cut),
        1 => Just(Step::RestartSlave),
        1 => Just(Step::RestartMaster),
        1 => Just(Step::Settle),
    ]
}

/// Stands between slave and master, and can break their connections.
struct Proxy {
    address: SocketAddr,
    cut: Arc<Mutex<CancellationToken>>,
    _task: tokio_util::sync::DropGuard,
}

impl Proxy {
    async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (cut, end) = (Arc::new(Mutex::new(CancellationToken::new())), CancellationToken::new());
        let (address, cuts, ends) = (listener.local_addr().unwrap(), Arc::clone(&cut), end.clone());
        tokio::spawn(async move {
            while let Some(Ok((mut near, _))) = ends.run_until_cancelled(listener.accept()).await {
                let cut = cuts.lock().clone();
                tokio::spawn(async move {
                    if let Ok(mut far) = TcpStream::connect(target).await {
                        let _ = cut.run_until_cancelled(tokio::io::copy_bidirectional(&mut near, &mut far)).await;
                    }
                });
            }
        });
        Self { address, cut, _task: end.drop_guard() }
    }

    fn cut(&self) {
        std::mem::take(&mut *self.cut.lock()).cancel();
    }
}

/// Every value that the group's offset in a queue ever had, and how far of these the slave must have come.
#[derive(Default)]
struct Queue {
    values: Vec<Option<i64>>,
    acknowledged: usize,
}

struct World {
    dirs: (TempDir, TempDir),
    master: Node,
    slave: Slave,
    proxy: Proxy,
    queues: HashMap<i32, Queue>,
    last: i64,
}

impl World {
    async fn start() -> Self {
        let dirs = dirs();
        let master = start(dirs.0.path(), 0, None).await;
        let proxy = Proxy::start(master.bound()).await;
        let slave = Slave::start(dirs.1.path(), proxy.address).await;
        master.broker().topics.put(topic("T", 4));
        Self { dirs, master, slave, proxy, queues: HashMap::new(), last: 0 }
    }

    /// A value that no queue ever had; about as often lower as higher than the last one.
    fn value(&mut self) -> i64 {
        self.last += 1;
        self.last ^ 0x2a
    }

    fn note(&mut self, queue: i32, value: Option<i64>) {
        self.queues.entry(queue).or_default().values.push(value);
    }

    async fn step(self, step: Step) -> Self {
        let mut world = self;
        let broker = world.master.broker();
        match step {
            Step::Commit { queue } => {
                let value = world.value();
                if broker.offsets.commit("T", "G", queue, value).is_some() {
                    world.note(queue, Some(value));
                }
            }
            Step::CommitReplicated { queue } => {
                let value = world.value();
                if let Some(number) = broker.offsets.commit("T", "G", queue, value) {
                    world.note(queue, Some(value));
                    tokio::time::timeout(PATIENCE, broker.db.followers().replicated(number, &[1])).await.unwrap();
                    let known = world.queues.get_mut(&queue).unwrap();
                    known.acknowledged = known.values.len() - 1;
                }
            }
            Step::Reset { queue } => {
                let value = world.value();
                broker.offsets.reset("T", "G", queue, value);
                world.note(queue, Some(value));
                assert_eq!(broker.offsets.take_reset("T", "G", queue), Some(value));
            }
            Step::ForgetGroup => {
                broker.offsets.remove_group("G");
                let queues: Vec<_> = world.queues.keys().copied().collect();
                queues.into_iter().for_each(|queue| world.note(queue, None));
            }
            Step::Topic { number, queues } => drop(broker.topics.put(topic(&format!("topic-{number}"), queues))),
            Step::DeleteTopic { number } => drop(broker.topics.remove(&format!("topic-{number}"))),
            Step::Group { number, retries } => {
                let group = GroupConfig { retry_max_times: retries, ..GroupConfig::new(format!("group-{number}")) };
                broker.groups.put(group);
            }
            Step::DeleteGroup { number } => drop(broker.groups.remove(&format!("group-{number}"))),
            Step::Delay { level } => {
                let value = world.value();
                broker.delay.set(level, value);
            }
            Step::Cut => world.proxy.cut(),
            Step::RestartSlave => {
                world.slave.stop().await;
                world.slave = Slave::start(world.dirs.1.path(), world.proxy.address).await;
            }
            Step::RestartMaster => {
                let address = world.master.bound();
                drop(broker);
                world.master.stop().await;
                world.master = start(world.dirs.0.path(), 0, Some(address)).await;
            }
            Step::Settle => until_equal(&broker, &world.slave.broker()).await,
        }
        world
    }

    /// What the slave has is what the master had when the last acknowledged change was made, or later.
    fn check(&self) {
        for (queue, known) in &self.queues {
            let has = self.slave.broker().offsets.get("T", "G", *queue);
            let later = known.values.get(known.acknowledged..).unwrap();
            let early = known.acknowledged == 0 && has.is_none();
            assert!(early || later.contains(&has), "queue {queue}: the slave has {has:?}, acknowledged was {later:?}");
        }
    }
}

#[test]
fn in_the_end_both_are_equal_and_what_was_acknowledged_is_never_older_at_the_slave() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let cases = Cases { cases: 10, max_shrink_iters: 20, failure_persistence: None, ..Cases::default() };
    let run = TestRunner::new(cases).run(&proptest::collection::vec(step(), 1..40), |steps| {
        runtime.block_on(async {
            let mut world = World::start().await;
            for step in steps {
                world = world.step(step).await;
                world.check();
            }
            until_equal(&world.master.broker(), &world.slave.broker()).await;
            world.check();
            world.slave.stop().await;
            world.master.stop().await;
        });
        Ok(())
    });
    run.unwrap();
}
