//! How far all half messages are ended, noted where RocketMQ's brokers note it: as offsets of a group of the system.

use orbitmq_common::name;

use crate::broker::Broker;
use crate::meta::offsets::Offsets;
use crate::transaction::Transactions;
use crate::transaction::table::Progress;

/// Progress that may be noted once the log is safe up to some offset.
#[derive(Debug, Clone, Copy)]
pub struct Pending {
    progress: Progress,
    end: u64,
}

/// What is noted; `None`: nothing, or something that cannot be.
pub fn stored(offsets: &Offsets) -> Option<Progress> {
    let get = |topic| offsets.get(topic, name::TRANSACTION_GROUP, 0).and_then(|offset| u64::try_from(offset).ok());
    Some(Progress { half: get(name::HALF_TOPIC)?, op: get(name::HALF_OP_TOPIC)? })
}

impl Transactions {
    /// Where the index could be built from, were the log safe as far as it goes.
    pub fn pending(&self, broker: &Broker) -> Pending {
        let mut table = self.table.lock();
        Pending { progress: table.progress(), end: broker.store.end() }
    }
}

impl Pending {
    /// Whether neither a power cut nor a change of masters can take back what ended those half messages.
    fn is_safe(&self, broker: &Broker) -> bool {
        let store = &broker.store;
        let slaves = broker.in_sync.shown();
        let copied = slaves.iter().filter(|slave| slave.connected).all(|slave| slave.acked >= self.end);
        copied && store.confirmed().min(store.flushed()) >= self.end
    }

    /// Notes the progress if the log is safe. Half messages first: a start in between looks at more notes than it has to.
    pub async fn note(&self, broker: &Broker) -> bool {
        if !self.is_safe(broker) {
            return false;
        }
        let Progress { half, op } = self.progress;
        if half == 0 {
            return true;
        }
        for (topic, offset) in [(name::HALF_TOPIC, half), (name::HALF_OP_TOPIC, op)] {
            let offset = offset.cast_signed();
            if broker.offsets.get(topic, name::TRANSACTION_GROUP, 0) == Some(offset) {
                continue;
            }
            let Some(number) = broker.offsets.commit(topic, name::TRANSACTION_GROUP, 0, offset) else { return true };
            if let Err(error) = broker.db.stored(number).await {
                tracing::warn!(%error, "the progress of transactions is not stored; it is tried again");
                return true;
            }
        }
        true
    }
}
