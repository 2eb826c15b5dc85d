//! Which queue a message goes to.

use std::sync::Arc;

use orbitmq_common::message::message::Message;
use orbitmq_common::message::property::tag_hash;
use orbitmq_common::route::table::{Queue, Route};

use crate::avoid::Avoided;

/// Chooses the queue of a message. All tries of one send ask again, since the queues may have changed.
pub trait Choose: Send + Sync {
    /// One of `queues`, which are sorted by broker and number and never empty; `None`: refuse to send.
    fn choose(&self, queues: &[Queue], message: &Message) -> Option<Queue>;
}

impl<F: Fn(&[Queue], &Message) -> Option<Queue> + Send + Sync> Choose for F {
    fn choose(&self, queues: &[Queue], message: &Message) -> Option<Queue> {
        self(queues, message)
    }
}

/// How one send finds its queue.
#[derive(Clone)]
pub(crate) enum Choice {
    /// In turn, around brokers that failed.
    Turn,
    /// Fixed by the sharding key, so tries stay with it.
    Key(String),
    /// One given queue.
    Fixed(Queue),
    /// The user's own rule, already applied to the message when the route was known.
    Custom(Arc<dyn Choose>, Arc<Message>),
}

impl Choice {
    /// The queue for the next try. `failed`: broker of the last try that failed.
    pub(crate) fn pick(&self, route: &Route, avoided: &Avoided, failed: Option<&str>) -> Option<Queue> {
        match self {
            Self::Turn => in_turn(route, avoided, failed),
            Self::Key(key) => by_hash(&route.writable, key).cloned(),
            Self::Fixed(queue) => route.writable.iter().find(|known| *known == queue).cloned(),
            Self::Custom(choose, message) if !route.writable.is_empty() => choose.choose(&route.writable, message),
            Self::Custom(..) => None,
        }
    }
}

/// The next queue whose broker neither failed this send nor is avoided; failing that, one of another broker; failing that, any.
fn in_turn(route: &Route, avoided: &Avoided, failed: Option<&str>) -> Option<Queue> {
    let queues = &route.writable;
    let count = queues.len();
    let start = route.next_turn().checked_rem(count)?;
    let turn = || queues.iter().cycle().skip(start).take(count);
    let another = |queue: &&Queue| Some(queue.broker.as_ref()) != failed;
    turn()
        .find(|queue| another(queue) && !avoided.contains(&queue.broker))
        .or_else(|| turn().find(another))
        .or_else(|| turn().next())
        .cloned()
}

/// The queue of a key as RocketMQ's clients choose it: Java's hash of the key, without its sign, modulo the queues.
#[must_use]
pub fn by_hash<'q>(queues: &'q [Queue], key: &str) -> Option<&'q Queue> {
    let hash = i32::try_from(tag_hash(key)).unwrap_or(0).checked_abs().unwrap_or(0);
    queues.get(usize::try_from(hash).unwrap_or(0).checked_rem(queues.len())?)
}

/// Chooses by sharding key (or first key) so that few keys move when queues come or go: each key goes to the queue with the
/// greatest hash of both.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConsistentHash;

impl Choose for ConsistentHash {
    fn choose(&self, queues: &[Queue], message: &Message) -> Option<Queue> {
        let key = message.sharding_key.as_deref().or(message.keys.first().map(String::as_str)).unwrap_or_default();
        queues.iter().max_by_key(|queue| weight(key, queue)).cloned()
    }
}

/// FNV-1a over key, broker and number, stirred so that all bits depend on all bytes. Stable: producers must agree on it.
fn weight(key: &str, queue: &Queue) -> u64 {
    let id = queue.id.to_be_bytes();
    let bytes = key.bytes().chain([0]).chain(queue.broker.bytes()).chain([0]).chain(id);
    let mut hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests;
