//! How the members of a group share the queues of a topic. Every member computes it by itself from the same sorted lists, so
//! all must compute the same: these are RocketMQ's ways, and members of both kinds may share a group.

use std::collections::BTreeSet;
use std::fmt::Debug;

use orbitmq_common::route::table::Queue;

mod ring;

/// A way to share queues.
pub trait Assign: Debug + Send + Sync {
    /// The queues of member `own`. `members` and `queues` are sorted; `own` is one of the members.
    fn assign(&self, topic: &str, own: &str, members: &[String], queues: &[Queue]) -> Vec<Queue>;
}

fn position(own: &str, members: &[String]) -> Option<usize> {
    members.iter().position(|member| member == own)
}

/// Neighbouring queues, as evenly as possible; RocketMQ's default.
#[derive(Debug, Clone, Copy, Default)]
pub struct Average;

impl Assign for Average {
    fn assign(&self, _: &str, own: &str, members: &[String], queues: &[Queue]) -> Vec<Queue> {
        let Some(index) = position(own, members) else { return Vec::new() };
        let (each, extra) = (queues.len() / members.len(), queues.len() % members.len());
        let start = index * each + index.min(extra);
        queues.iter().skip(start).take(each + usize::from(index < extra)).cloned().collect()
    }
}

/// Queues dealt out one by one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Circle;

impl Assign for Circle {
    fn assign(&self, _: &str, own: &str, members: &[String], queues: &[Queue]) -> Vec<Queue> {
        let Some(index) = position(own, members) else { return Vec::new() };
        queues.iter().skip(index).step_by(members.len()).cloned().collect()
    }
}

/// Queues on a ring of hashes: few of them move when members come and go.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConsistentHash;

impl Assign for ConsistentHash {
    fn assign(&self, topic: &str, own: &str, members: &[String], queues: &[Queue]) -> Vec<Queue> {
        let ring = ring::Ring::new(members);
        let is_own = |queue: &&Queue| ring.member_of(&ring::queue_text(topic, queue)) == Some(own);
        queues.iter().filter(is_own).cloned().collect()
    }
}

/// Only queues of brokers named `room@broker` whose room is listed, in neighbouring groups.
#[derive(Debug, Clone, Default)]
pub struct MachineRoom {
    rooms: BTreeSet<String>,
}

impl MachineRoom {
    /// Shares the queues of these rooms alone.
    pub fn new<S: Into<String>>(rooms: impl IntoIterator<Item = S>) -> Self {
        Self { rooms: rooms.into_iter().map(Into::into).collect() }
    }
}

impl Assign for MachineRoom {
    fn assign(&self, _: &str, own: &str, members: &[String], queues: &[Queue]) -> Vec<Queue> {
        let Some(index) = position(own, members) else { return Vec::new() };
        let in_rooms = |queue: &&Queue| {
            let mut parts = queue.broker.split('@');
            let (room, rest) = (parts.next(), parts.next());
            rest.is_some() && parts.next().is_none() && room.is_some_and(|room| self.rooms.contains(room))
        };
        let near: Vec<&Queue> = queues.iter().filter(in_rooms).collect();
        let (each, extra) = (near.len() / members.len(), near.len() % members.len());
        let mut own: Vec<Queue> = near.iter().skip(index * each).take(each).map(|queue| Queue::clone(queue)).collect();
        if index < extra {
            own.extend(near.get(index + each * members.len()).map(|queue| Queue::clone(queue)));
        }
        own
    }
}

#[cfg(test)]
mod tests;
