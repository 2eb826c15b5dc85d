//! One round: a cluster under load and faults, then healed, read and judged.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::check::{Copy, Place as Stored, Verdict, check};
use super::cluster::{Cluster, Failover};
use super::consume::{Consumers, Farewell, ask};
use super::history::{Lane, Moment, Records, Seen, Send};
use super::later;
use super::load::{QUEUES, TOPIC, World};
use super::proxy::{Member, Node, group_name};
use super::schedule::{Kind, Plan};
use crate::daemon::Place;
use crate::ledger::Id;
use crate::session::Session;

/// A healed cluster that takes longer to serve, to be equal, or to deliver everything does not keep its promise.
const RECOVERY: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How rounds are run.
#[derive(Debug, Clone, Default)]
pub struct Manner {
    /// The program that plays the daemons.
    pub program: String,
    /// A bug that the daemons are to have.
    pub plant: Option<String>,
    /// Whether directories stay.
    pub keep: bool,
    /// Whether faults are told as they come.
    pub verbose: bool,
}

/// What a round came to.
#[derive(Debug, Clone)]
pub struct Report {
    /// The round.
    pub plan: Plan,
    /// What the checker found.
    pub verdict: Verdict,
    /// What did not come about in time, and daemons that ended by themselves.
    pub trouble: Vec<String>,
    /// Longest time without an acknowledgement of a group.
    pub gap: Duration,
    /// What kills of masters cost.
    pub failovers: Vec<Cost>,
}

/// What a kill of a master cost.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Whether nothing else was wrong.
    pub is_alone: bool,
    /// Time without an acknowledgement.
    pub gap: Duration,
    /// From the first acknowledgement of the next master to the first delivery of one of its messages.
    pub resumed: Option<Duration>,
}

impl Report {
    /// Whether a promise was broken.
    #[must_use]
    pub fn is_breach(&self) -> bool {
        self.verdict.is_breach() || !self.trouble.is_empty()
    }
}

/// Runs a round. Its daemons die with the calling thread.
pub async fn run(plan: &Plan, manner: &Manner) -> Report {
    let mut place = Place::new(&manner.program);
    if manner.keep {
        place.keep();
        println!("round of seed {}: {}", plan.seed, place.path().display());
    }
    let mut cluster = Cluster::start(&place, plan, manner.plant.as_deref()).await;
    let world = Arc::clone(&cluster.world);
    let (mut senders, enough) = (JoinSet::new(), CancellationToken::new());
    world.start_producers(&mut senders, &enough);
    let decider = later::start(&world, &mut senders, &enough).await;
    let (mut tasks, readers) = (JoinSet::new(), CancellationToken::new());
    world.start_routes(&mut tasks, &readers);
    let consumers = Consumers::start(&world, &mut tasks, &readers);
    if plan.members > 1 {
        cluster.observe(&mut tasks, &readers);
    }

    let begun = Instant::now();
    for (at, index, phase) in plan.moments() {
        tokio::time::sleep_until((begun + Duration::from_millis(at)).into()).await;
        let hit = cluster.advance(index, phase);
        let fault = &plan.faults[index];
        if fault.kind == Kind::Consumer {
            let farewell = if fault.degree & 1 == 0 { Farewell::Close } else { Farewell::Drop };
            consumers.replace(usize::from(fault.degree & 2 == 0), farewell);
        }
        if manner.verbose {
            let hit: Vec<String> = hit.iter().map(Node::to_string).collect();
            println!("  {:>8} us: {fault}, phase {phase}: {}", world.history.now(), hit.join(" "));
        }
    }
    tokio::time::sleep_until((begun + Duration::from_millis(plan.length)).into()).await;

    let mut trouble = cluster.heal();
    let healed = world.history.now();
    let masters = Vec::new();
    let mut recovery = Recovery { cluster: &cluster, groups: plan.groups, masters, trouble: &mut trouble };
    recovery.everybody_serves(healed).await;
    enough.cancel();
    end(senders).await;
    recovery.copies_are_equal().await;
    recovery.everything_is_delivered().await;
    recovery.what_was_to_come_is_there().await;
    recovery.masters_are_routed().await;
    // Nobody sees any more what might still be stored late.
    readers.cancel();
    end(tasks).await;
    decider.close().await;
    let copies = recovery.copies().await;
    recovery.offsets().await;
    let arrived = later::arrived(&recovery.sources()).await;
    let is_noticed = |group| world.history.read(|records| records.epochs.iter().any(|of| of.master.group == group));
    if plan.members > 1 && !(0..plan.groups).all(is_noticed) {
        trouble.push("the controller told no masters, so double masters were not looked for".to_owned());
    }
    if world.later.is_idle() {
        trouble.push("no timed message, or none in a transaction, was acknowledged".to_owned());
    }
    let mut verdict = world.history.read(|records| check(records, &copies));
    verdict.add_later(&world.later.compare(&arrived), world.later.promised());
    if manner.verbose {
        println!("  refused: {:?}; {} to arrive later", world.refusals(), world.later.promised());
    }
    let (gap, failovers) = world.history.read(|records| gaps(records, plan.groups, &cluster.failovers));
    if !trouble.is_empty() {
        let nodes = world.members.values().map(|member| Node::Broker(*member));
        trouble.extend(nodes.map(|node| format!("{node}: {}", cluster.tail(node))));
    }
    cluster.close().await;
    Report { plan: plan.clone(), verdict, trouble, gap, failovers }
}

async fn end(mut tasks: JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}

/// What has to come about when everything is healed.
struct Recovery<'a> {
    cluster: &'a Cluster,
    groups: u8,
    /// Masters by group, once they are known for good.
    masters: Vec<Member>,
    trouble: &'a mut Vec<String>,
}

impl Recovery<'_> {
    fn world(&self) -> &Arc<World> {
        &self.cluster.world
    }

    async fn wait(&mut self, what: String, mut probe: impl AsyncFnMut() -> bool) {
        let asked = Instant::now();
        while !probe().await {
            if asked.elapsed() > RECOVERY {
                self.trouble.push(format!("not within {RECOVERY:?} after everything was healed: {what}"));
                return;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn everybody_serves(&mut self, healed: Moment) {
        let cluster = self.cluster;
        for group in 0..self.groups {
            let served = |records: &Records| {
                records.acknowledged().any(|(send, ..)| send.member.group == group && send.started > healed)
            };
            let probe = async || cluster.world.history.read(served);
            self.wait(format!("{} acknowledges", group_name(group)), probe).await;
        }
    }

    /// The members of each group, its master first.
    fn members(&self) -> Vec<(Member, Vec<Member>)> {
        let of = |group| {
            let known = self.masters.get(usize::from(group)).copied();
            let master = known.or_else(|| self.world().master(group)).unwrap_or(Member { group, id: 1 });
            let slaves = self.cluster.members(group).into_iter().filter(|member| *member != master);
            (master, slaves.collect())
        };
        (0..self.groups).map(of).collect()
    }

    async fn copies_are_equal(&mut self) {
        for (master, slaves) in self.members() {
            let source = self.cluster.direct(Node::Broker(master));
            for slave in slaves {
                let copy = self.cluster.direct(Node::Broker(slave));
                let probe = async || {
                    for queue in 0..i32::from(QUEUES) {
                        match (source.max_offset(TOPIC, queue).await, copy.max_offset(TOPIC, queue).await) {
                            (Ok(one), Ok(other)) if one == other => {}
                            _ => return false,
                        }
                    }
                    true
                };
                self.wait(format!("{} has what {} has", Node::Broker(slave), Node::Broker(master)), probe).await;
            }
        }
    }

    fn sources(&self) -> Vec<Session> {
        self.members().into_iter().map(|(master, _)| self.cluster.direct(Node::Broker(master))).collect()
    }

    async fn what_was_to_come_is_there(&mut self) {
        let (cluster, sources) = (self.cluster, self.sources());
        let probe = async || cluster.world.later.compare(&later::arrived(&sources).await).missing.is_empty();
        self.wait("timed messages and committed ones are there".to_owned(), probe).await;
    }

    async fn everything_is_delivered(&mut self) {
        let cluster = self.cluster;
        let probe = async || {
            cluster.world.history.read(|records| {
                let seen: HashSet<Id> = records.seen.iter().filter_map(|seen| seen.id).collect();
                let popped: HashSet<Id> = records.popped.iter().copied().flatten().collect();
                records.acknowledged().all(|(send, ..)| seen.contains(&send.id) && popped.contains(&send.id))
            })
        };
        self.wait("consumers have everything acknowledged".to_owned(), probe).await;
    }

    /// A name server that has just come back may know no master for a moment.
    async fn masters_are_routed(&mut self) {
        let (cluster, groups) = (self.cluster, self.groups);
        let known = || (0..groups).map(|group| cluster.world.master(group)).collect::<Option<Vec<Member>>>();
        self.wait("routes name a master of each group".to_owned(), async || known().is_some()).await;
        self.masters = known().unwrap_or_default();
    }

    /// What every member holds.
    async fn copies(&mut self) -> Vec<Copy> {
        let mut copies = Vec::new();
        for (master, slaves) in self.members() {
            for member in std::iter::once(master).chain(slaves) {
                let session = self.cluster.direct(Node::Broker(member));
                let mut queues = Vec::new();
                for queue in 0..i32::from(QUEUES) {
                    match session.read_queue(TOPIC, queue, 0).await {
                        Ok(records) => queues.push(records.into_iter().map(stored).collect()),
                        Err(failure) => {
                            let node = Node::Broker(member);
                            self.trouble.push(format!("{node} does not show queue {queue}: {failure:?}"));
                            queues.push(Vec::new());
                        }
                    }
                }
                copies.push(Copy { member, is_master: member == master, queues });
            }
        }
        copies
    }

    /// The masters know every committed offset.
    async fn offsets(&mut self) {
        for (master, _) in self.members() {
            let session = self.cluster.direct(Node::Broker(master));
            for queue in 0..QUEUES {
                if !ask(self.world(), &session, master, queue).await {
                    self.trouble.push(format!("{master:?} does not tell the offset of queue {queue}"));
                }
            }
        }
    }
}

fn stored(record: crate::session::Stored) -> Stored {
    Stored { offset: record.offset, physical: record.physical, id: Id::of(&record.body) }
}

/// The longest gap, and what kills of masters cost.
fn gaps(records: &Records, groups: u8, failovers: &[Failover]) -> (Duration, Vec<Cost>) {
    let answers = |group| -> Vec<Moment> { records.answers(group).map(|send| send.ended).collect() };
    let answers: Vec<Vec<Moment>> = (0..groups).map(answers).collect();
    let longest = answers.iter().flat_map(|of| of.windows(2).map(|pair| pair[1] - pair[0])).max().unwrap_or(0);
    let cost = |failover: &Failover| {
        let of = &answers[usize::from(failover.group)];
        // What was on its way when the master died may still arrive.
        let settled = failover.at + 20_000;
        let next = of.partition_point(|answer| *answer < settled);
        let (before, after) = (next.checked_sub(1)?, *of.get(next)?);
        let of_next = |send: &Send| send.member.group == failover.group && send.ended >= settled;
        let stored = records.acknowledged().filter(|(send, ..)| of_next(send));
        let stored: HashSet<(u8, i64)> = stored.map(|(send, offset, _)| (Lane::of(send.id).queue, offset)).collect();
        let is_next = |seen: &&Seen| seen.group == failover.group && stored.contains(&(seen.queue, seen.offset));
        let resumed = records.seen.iter().find(is_next);
        // A delivery may overtake its acknowledgement.
        let resumed = resumed.map(|seen| Duration::from_micros(seen.at.saturating_sub(after)));
        Some(Cost { is_alone: failover.is_alone, gap: Duration::from_micros(after - of[before]), resumed })
    };
    (Duration::from_micros(longest), failovers.iter().filter_map(cost).collect())
}
