//! Gives messages back to their group whose invisible time is over: a copy in the group's retry topic, or a dead letter.
//!
//! The copy is appended first, then the note that the message is done with. After a crash in between the note is missing; so what
//! was due before this mastership began is looked for in the retry topic before it is copied.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use orbitmq_common::clock::now_ms;
use orbitmq_common::message::dead::{self, Origin};
use orbitmq_common::message::record::{NewRecord, RecordView};
use orbitmq_common::message::{id, property};
use orbitmq_common::name;
use orbitmq_common::protocol::body::route::perm;
use orbitmq_common::protocol::body::topic::TopicConfig;

use crate::broker::Broker;
use crate::pop::clock::{Watch, not_later_than};
use crate::pop::lanes::Lane;
use crate::pop::open::Due;
use crate::pop::{Counts, Pop};
use crate::refusal::Refusal;
use crate::store::read::{ReadLimit, ReadStatus};
use crate::store::search::KeySearch;

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// Checkpoints given back in one go.
const ROUND: usize = 128;
/// Time to the next attempt after one that failed, ms.
const AGAIN: i64 = 500;

/// Works until the broker stops.
pub async fn run(broker: &Arc<Broker>) {
    let began = now_ms();
    let mut clock = Watch::new(began, Instant::now());
    clock_moved(broker, began, not_later_than(began));
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = broker.stop.cancelled() => return,
        }
        let (steady, wall) = (Instant::now(), now_ms());
        // A process that stood still in between has read two different moments.
        if steady.elapsed() < LOOK
            && let Some(jump) = clock.look(wall, steady)
        {
            tracing::warn!(ms = jump.by, "the clock was set; receipts of popped messages move along");
            clock_moved(broker, jump.otherwise, |pop_time, due| jump.moves(pop_time, due));
        }
        for queue in 0..broker.pop.shelves().len() {
            while revive(broker, queue, began, now_ms()) > 0 && !broker.stop.is_cancelled() {
                tokio::task::yield_now().await;
            }
        }
    }
}

fn clock_moved(broker: &Broker, reached: i64, moves: impl Fn(i64, i64) -> i64) {
    broker.pop.clock_moved(reached, &moves);
    broker.orders.clock_moved(&moves);
}

/// Gives back some of what is due in a revive queue; returns how many checkpoints there were. `began`: when this broker became
/// master.
pub fn revive(broker: &Broker, queue: usize, began: i64, now: i64) -> usize {
    let pop = &broker.pop;
    let Some(shelf) = pop.shelves().get(queue) else { return 0 };
    let due = shelf.lock().open.take_due(now, ROUND);
    for due in &due {
        let mut done = Vec::with_capacity(due.offsets.len());
        let is_old = due.at < began || shelf.lock().open.doubts.may_be_shortened(due.key.pop_time);
        let result = give_back(broker, due, is_old, &mut done);
        if let Err(refusal) = result {
            tracing::warn!(reason = refusal.remark, "popped messages are given back later");
        }
        let mut shelf = shelf.lock();
        let queue = u32::try_from(queue).unwrap_or(0);
        // Without the note it would come once more after a crash; with no message done there is nothing to note.
        if !done.is_empty()
            && let Err(refusal) = pop.note_acks(queue, due.key, &done, &mut shelf)
        {
            tracing::warn!(reason = refusal.remark, "messages given back could not be noted");
        }
        shelf.open.revived(due.key, &done, now.saturating_add(AGAIN));
    }
    if !due.is_empty() {
        broker.store.nudge();
    }
    due.len()
}

/// Gives the messages back one by one; those in `done` are.
fn give_back(broker: &Broker, due: &Due, is_old: bool, done: &mut Vec<i64>) -> Result<(), Refusal> {
    let counts = &broker.pop.counts;
    let lane = broker.pop.lanes.numbered(due.key.lane);
    let Some(lane) = lane.filter(|lane| is_wanted(broker, lane)) else {
        Counts::add(&counts.lost, due.offsets.len());
        done.extend(&due.offsets);
        return Ok(());
    };
    for offset in &due.offsets {
        match find(broker, &lane, *offset) {
            Some(record) => give_back_one(broker, &lane, due, is_old, &record)?,
            None => {
                Counts::add(&counts.lost, 1);
                let (topic, queue, group) = (&*lane.topic, lane.queue, &*lane.group);
                tracing::warn!(
                    topic,
                    queue,
                    offset,
                    group,
                    "a popped message is no longer in the log; it cannot come back"
                );
            }
        }
        done.push(*offset);
    }
    Ok(())
}

fn is_wanted(broker: &Broker, lane: &Lane) -> bool {
    let topic = name::popped_topic(&lane.topic, &lane.group);
    broker.topics.get(topic).is_some() && broker.groups.get(&lane.group).is_some()
}

/// The record of a message.
fn find(broker: &Broker, lane: &Lane, offset: i64) -> Option<Bytes> {
    let one = ReadLimit { max_messages: 1, max_bytes: 1 };
    let read = broker.store.read(&lane.topic, lane.queue, offset, one, &mut |_, _| true);
    let is_it = read.status == ReadStatus::Found && read.next_offset == offset.saturating_add(1);
    read.chunks.into_iter().next().filter(|_| is_it)
}

fn give_back_one(broker: &Broker, lane: &Lane, due: &Due, is_old: bool, record: &[u8]) -> Result<(), Refusal> {
    let Ok(record) = RecordView::parse(record) else { return Ok(()) };
    let limit = broker.groups.get(&lane.group).map_or(16, |group| group.retry_max_times);
    let is_dead = record.reconsume_times >= limit;
    let topic = name::popped_topic(&lane.topic, &lane.group);
    let target = if is_dead {
        name::dead_letter_topic(&lane.group)
    } else if lane.topic.starts_with(name::RETRY_PREFIX) {
        lane.topic.to_string()
    } else {
        name::pop_retry_topic(&lane.group, topic)
    };
    broker.topics.ensure(&target, || TopicConfig::new(target.clone(), 1, perm::READ | perm::WRITE));
    if is_old && was_given_back(broker, &target, due, &record) {
        return Ok(());
    }
    let mut properties = property::Properties::parse(record.properties);
    properties.remove(property::CRC32);
    let set = |properties: &mut property::Properties, name: &str, value: &str| {
        properties.set(name, value).map(drop).map_err(|error| Refusal::invalid(error.to_string()))
    };
    if properties.get(property::FIRST_POP_TIME).is_none() {
        set(&mut properties, property::FIRST_POP_TIME, &due.key.pop_time.to_string())?;
    }
    if !lane.topic.starts_with(name::RETRY_PREFIX) {
        let place = Origin { broker: &broker.config.name, queue: record.queue_id, offset: record.queue_offset };
        dead::note_return(&mut properties, &place, None);
    }
    if is_dead {
        set(&mut properties, property::RETRY_TOPIC, topic)?;
        if properties.get(property::ORIGIN_MESSAGE_ID).is_none() {
            let origin = id::offset_id(record.store_host, record.physical_offset);
            set(&mut properties, property::ORIGIN_MESSAGE_ID, &origin)?;
        }
        dead::note_death(&mut properties, &lane.group).map_err(|error| Refusal::invalid(error.to_string()))?;
    }
    broker.store.append(&NewRecord {
        reconsume_times: record.reconsume_times.saturating_add(1),
        ..record.copy_to(&target, 0, broker.address, properties.as_str())
    })?;
    let counts = &broker.pop.counts;
    Counts::add(if is_dead { &counts.dead } else { &counts.revived }, 1);
    Ok(())
}

/// Whether a crash has left the copy of this message behind.
fn was_given_back(broker: &Broker, target: &str, due: &Due, record: &RecordView<'_>) -> bool {
    let Some(key) = property::get(record.properties, property::UNIQ_KEY) else { return false };
    let search = KeySearch { topic: target, key, max: 64, begin: due.key.pop_time, end: i64::MAX, unique: true };
    let found = broker.store.query(search);
    found
        .records
        .iter()
        .filter_map(|bytes| RecordView::parse(bytes).ok())
        .any(|copy| copy.reconsume_times == record.reconsume_times + 1 && copy.physical_offset > record.physical_offset)
}

/// Reads the notes once this broker is master, then gives back and keeps until it stops.
pub fn start(broker: &Arc<Broker>, tasks: &tokio_util::task::TaskTracker) {
    let (broker, tasks_of_pop) = (Arc::clone(broker), tasks.clone());
    tasks.spawn(async move {
        let mut role = broker.role.watch();
        let master = role.wait_for(|role| matches!(role, crate::replica::role::Role::Master { .. }));
        tokio::select! {
            found = master => if found.is_err() { return },
            () = broker.stop.cancelled() => return,
        }
        let reading = Arc::clone(&broker);
        let read = tokio::task::spawn_blocking(move || Pop::rebuild(&reading.pop, &reading.offsets));
        if let Err(error) = read.await {
            tracing::error!(%error, "the notes of popped messages were not read; nothing can be popped here");
            return;
        }
        let giving = Arc::clone(&broker);
        tasks_of_pop.spawn(async move { run(&giving).await });
        tasks_of_pop.spawn(async move { super::keep::run(&broker).await });
    });
}
