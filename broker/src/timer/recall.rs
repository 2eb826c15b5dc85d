//! Taking a message back: the handle that its sender gets, and the record that takes it back.

use orbitmq_common::message::property::{self, Properties, PropertyError};
use orbitmq_common::message::recall::RecallHandle;
use orbitmq_common::name;

use crate::broker::Broker;

/// Body and tag of RocketMQ's records of this kind.
pub const BODY: &[u8] = b"0";
const TAG: &str = "_RECALL_TAG_";

/// The handle of a message that waits until `due`, if senders may take it back.
#[must_use]
pub fn handle(broker: &Broker, topic: &str, due: Option<i64>, key: Option<&str>) -> Option<String> {
    let may = broker.config.timers.recall && !topic.starts_with(name::RETRY_PREFIX);
    let (due, key) = due.filter(|_| may).zip(key)?;
    let (topic, broker, key) = (topic.to_owned(), broker.config.name.clone(), key.to_owned());
    Some(RecallHandle { topic, broker, due, key }.encode())
}

/// Properties of the record that takes a message back. RocketMQ's broker reads them as we do.
///
/// # Errors
/// The handle holds a character that no property can.
pub fn properties(handle: &RecallHandle, group: Option<&str>) -> Result<String, PropertyError> {
    let due = handle.due.to_string();
    let mut properties = Properties::new();
    properties
        .push(property::TAGS, TAG)?
        .push(property::TIMER_DEL_UNIQKEY, &format!("{}+{}", handle.topic, handle.key))?
        .push(property::UNIQ_KEY, &handle.key)?
        .push(property::TIMER_DELIVER_MS, &due)?
        .push(property::TIMER_OUT_MS, &due)?
        .push(property::REAL_TOPIC, &handle.topic)?
        .push(property::REAL_QUEUE_ID, "0")?;
    if let Some(group) = group.filter(|group| !group.is_empty()) {
        properties.push(property::PRODUCER_GROUP, group)?;
    }
    Ok(properties.into_text())
}
