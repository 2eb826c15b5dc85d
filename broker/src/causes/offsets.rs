//! Offsets that lead nowhere (21), and groups without one (22).

use orbitmq_common::plain::{ago, date, length};
use orbitmq_common::protocol::code::response;

use crate::broker::Broker;
use crate::refusal::Refusal;
use crate::replica::role::Role;
use crate::store::read::{Read, ReadStatus};

/// A reader's place in a queue.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The queue.
    pub queue: u32,
    /// What was asked for.
    pub offset: i64,
}

impl Broker {
    /// Why a queue does not reach a reader's offset, which is corrected. The first word is RocketMQ's name for it.
    #[must_use]
    pub fn moved(&self, place: Place<'_>, read: &Read) -> String {
        let Place { topic, queue, offset } = place;
        let (min, max, next) = (read.min_offset, read.max_offset, read.next_offset);
        let asked = format!("offset {offset} of queue {queue} of '{topic}' was asked for");
        match read.status {
            ReadStatus::OffsetTooSmall if offset < 0 => {
                format!("OFFSET_TOO_SMALL: {asked}, which is none: offsets count from 0; the reader goes on at {next}")
            }
            ReadStatus::OffsetTooSmall => {
                let stored = self.store.store_timestamp(topic, queue, min);
                let first = stored.map_or_else(String::new, |ms| format!(" (stored {})", date(ms)));
                format!(
                    "OFFSET_TOO_SMALL: {asked}, the first one kept is {min}{first}: what was before it is deleted ({}); the reader goes \
                     on at {next}, and misses {} messages",
                    self.retention(),
                    min.saturating_sub(offset)
                )
            }
            ReadStatus::OffsetTooLarge => format!(
                "OFFSET_OVERFLOW_BADLY: {asked}, the queue ends at {max}: {}; the reader goes on at {next}",
                self.why_shorter(topic)
            ),
            _ => format!(
                "NO_MESSAGE_IN_QUEUE: {asked}, the queue is empty: {}; the reader goes on at {next}",
                self.why_shorter(topic)
            ),
        }
    }

    fn why_shorter(&self, topic: &str) -> String {
        match self.topics.removed.since(topic) {
            Some(since) => format!("the topic was deleted {} and created anew since, so its queues begin at 0 again", ago(since)),
            None => "the offset is another broker's or another topic's, or this broker's store was lost or set back since it was \
                     stored; if neither can be, look at the broker's log"
                .to_owned(),
        }
    }

    fn retention(&self) -> String {
        let retention = self.config.store.retention;
        let age = retention.max_age.and_then(|age| i64::try_from(age.as_millis()).ok());
        match (age, retention.max_bytes) {
            (Some(age), None) => format!("messages are kept for {}", length(age)),
            (Some(age), Some(bytes)) => format!("messages are kept for {}, {bytes} bytes of them at most", length(age)),
            (None, Some(bytes)) => format!("{bytes} bytes of messages are kept"),
            (None, None) => "by an administrator, for no retention is set".to_owned(),
        }
    }

    /// Why a slave does not have a reader's offset.
    #[must_use]
    pub fn not_copied(&self, place: Place<'_>, read: &Read) -> String {
        let Place { topic, queue, offset } = place;
        let master = match self.role.current() {
            Role::Slave { master: Some(master) } if !self.master_is_gone() => {
                format!("its master at {} may have it: ask there", master.client)
            }
            Role::Slave { master: Some(master) } => {
                format!(
                    "it hears nothing of its master at {}, which may have it: start that again, or wait for another one",
                    master.client
                )
            }
            _ => "and no master is known: ask again".to_owned(),
        };
        let (min, max) = (read.min_offset, read.max_offset);
        format!("this slave has offsets {min} to {max} of queue {queue} of '{topic}', and not {offset}; {master}")
    }

    /// Why a group has no offset in a queue.
    #[must_use]
    pub fn no_offset(&self, topic: &str, group: &str, queue: i32) -> Refusal {
        let begins = "its members begin where they are told to (consumeFromWhere), and the offset is there with their first commit; \
                      'orbitmq group reset' sets one";
        let cause = if self.topics.get(topic).is_none() {
            self.no_topic(topic, "correct its name, or create it").remark
        } else if self.offsets.groups_of(topic).iter().any(|known| known == group) {
            format!("it has offsets in other queues of the topic, so this one is new to it; {begins}")
        } else if !self.offsets.topics_of(group).is_empty() {
            format!("it has offsets in other topics, so it has never read this one at this broker; {begins}")
        } else if self.groups.get(group).is_none() {
            self.no_group(group, "asking for its offset").remark
        } else {
            format!("it has never stored an offset at this broker; {begins}")
        };
        Refusal::new(
            response::QUERY_NOT_FOUND,
            format!("group '{group}' has no offset in queue {queue} of '{topic}' yet: {cause}"),
        )
    }
}
