//! RocketMQ's ring of hashes: ten points per member, each the first four bytes of an MD5 sum.

use std::collections::BTreeMap;

use md5::{Digest, Md5};
use orbitmq_common::route::table::Queue;

const POINTS: usize = 10;

/// Members on the ring.
pub(super) struct Ring<'m> {
    points: BTreeMap<u32, &'m str>,
}

impl<'m> Ring<'m> {
    pub(super) fn new(members: &'m [String]) -> Self {
        let points = members
            .iter()
            .flat_map(|member| (0..POINTS).map(move |point| (hash(&format!("{member}-{point}")), member.as_str())))
            .collect();
        Self { points }
    }

    /// The first member at or after the text's own point.
    pub(super) fn member_of(&self, text: &str) -> Option<&'m str> {
        self.points.range(hash(text)..).chain(&self.points).next().map(|(_, member)| *member)
    }
}

/// How RocketMQ's Java client prints a queue, which is what it hashes.
pub(super) fn queue_text(topic: &str, queue: &Queue) -> String {
    format!("MessageQueue [topic={topic}, brokerName={}, queueId={}]", queue.broker, queue.id)
}

fn hash(text: &str) -> u32 {
    let [a, b, c, d, ..] = <[u8; 16]>::from(Md5::digest(text));
    u32::from_be_bytes([a, b, c, d])
}
