//! What each topic got: counted by its queues as messages enter them, so that those who append pay nothing for it.

use std::sync::Arc;

use crate::store::Store;
use crate::store::queue::Queue;

/// Messages, and the bytes of their records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// How many.
    pub messages: u64,
    /// Bytes of all of them together.
    pub bytes: u64,
}

impl Counted {
    /// What came since another count; nothing where the other one is ahead, as after a new beginning.
    #[must_use]
    pub fn since(self, base: Self) -> Self {
        Self { messages: self.messages.saturating_sub(base.messages), bytes: self.bytes.saturating_sub(base.bytes) }
    }
}

fn sum(queues: &[Arc<Queue>]) -> Counted {
    queues.iter().map(|queue| queue.counted()).fold(Counted::default(), |sum, one| Counted {
        messages: sum.messages + one.messages,
        bytes: sum.bytes + one.bytes,
    })
}

/// What every topic got since [`forget`]; topics that got nothing are left out. No queue comes into being meanwhile.
pub fn each_topic(store: &Store, each: &mut dyn FnMut(&Arc<str>, Counted)) {
    store.shared.derived.queues.each_topic(&mut |topic, queues| {
        let counted = sum(queues);
        if counted.messages > 0 {
            each(topic, counted);
        }
    });
}

/// What a topic got since [`forget`].
pub fn of_topic(store: &Store, topic: &str) -> Counted {
    sum(&store.shared.derived.queues.of(topic))
}

/// Counts from now on.
pub fn forget(store: &Store) {
    store.shared.derived.queues.each_topic(&mut |_, queues| queues.iter().for_each(|queue| queue.count_anew()));
}
