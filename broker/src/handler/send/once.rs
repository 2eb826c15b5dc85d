//! Sends to a topic that drops duplicates: what it has already is answered with the place of the first.

use std::sync::Arc;

use orbitmq_common::message::property;
use orbitmq_common::message::record::{NewRecord, RecordView};
use orbitmq_common::net::connection::Outcome;
use orbitmq_common::net::peer::Peer;
use orbitmq_common::protocol::body::topic::TopicConfig;
use orbitmq_common::protocol::frame::Frame;

use super::wishes::Wishes;
use super::{decode, stored};
use crate::broker::Broker;
use crate::duplicates::memory::Sent;
use crate::duplicates::window::First;
use crate::refusal::Refusal;
use crate::store::tail::Appended;

/// Beside an answer that names a place where something was stored before.
pub(super) const REMARK: &str =
    "this topic had a message with the same unique key; it is not stored again (orbitmq.dedup.window)";

/// Appends a message, unless its topic drops duplicates and has it.
pub(super) fn append(
    broker: &Broker,
    config: &TopicConfig,
    wishes: &Wishes,
    queue: i32,
    append: impl FnOnce() -> Result<Appended, Refusal>,
) -> Result<Sent, Refusal> {
    match (broker.duplicates.of(config)?, wishes.key()) {
        (Some(memory), Some(key)) => memory.append(key, queue, append),
        _ => append().map(|appended| Sent::new(&appended, queue)),
    }
}

/// Appends the messages of a batch of which the topic has none yet; tells where each is.
pub(super) fn append_batch<'a>(
    broker: &Broker,
    config: &TopicConfig,
    keys: impl Iterator<Item = Option<&'a str>>,
    queue: i32,
    records: &[NewRecord<'_>],
) -> Result<Vec<Sent>, Refusal> {
    let Some(memory) = broker.duplicates.of(config)? else {
        let appended = broker.store.append_batch(records).map_err(|error| broker.not_appended(error))?;
        return Ok(appended.iter().map(|appended| Sent::new(appended, queue)).collect());
    };
    let keys: Vec<Option<&str>> = keys.collect();
    memory.append_batch(&keys, queue, |new| {
        if new.len() == records.len() {
            return broker.store.append_batch(records).map_err(|error| broker.not_appended(error));
        }
        let new: Vec<NewRecord<'_>> = new.iter().filter_map(|number| records.get(*number).copied()).collect();
        broker.store.append_batch(&new).map_err(|error| broker.not_appended(error))
    })
}

/// When the first of two messages is due that wait for a time: its sender's handle has to name that time, and times may be counted
/// from the arrival. `None` where it cannot be read yet.
pub(super) fn due_of_first(broker: &Broker, due: Option<i64>, first: First) -> Option<i64> {
    due?;
    let bytes = broker.store.record_at(first.physical).ok()?;
    RecordView::parse(&bytes).ok()?.property(property::TIMER_OUT_MS)?.parse().ok()
}

/// The topic of a send, if what it remembers has yet to be read from the log.
pub(super) fn unread(broker: &Broker, frame: &Frame) -> Option<String> {
    let header = decode(frame).ok()?;
    let config = broker.topics.get(&header.topic)?;
    let is_read = broker.duplicates.of(&config).is_ok_and(|memory| memory.is_none_or(|memory| memory.is_read()));
    (!is_read).then(|| config.topic_name.clone())
}

/// Stores the message once that is read; a sender waits no longer than for an acknowledgement.
pub(super) fn later(broker: &Arc<Broker>, peer: &Arc<Peer>, frame: Frame, topic: String) -> Outcome {
    let (broker, peer) = (Arc::clone(broker), Arc::clone(peer));
    Outcome::Later(Box::pin(async move {
        // Too late is refused below.
        let _ = tokio::time::timeout(broker.config.acknowledge_timeout, broker.duplicates.read(&topic)).await;
        match stored(&broker, &peer, frame) {
            Outcome::Answer(answer) => Some(answer),
            Outcome::Later(later) => later.await,
            Outcome::Nothing => None,
        }
    }))
}
