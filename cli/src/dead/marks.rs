//! Marks that this tool keeps in queues of dead letters: offsets of groups of its own, durable and copied as any group's are.

use std::fmt::Write as _;

use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::header::offset::{OffsetResponse, QueryOffsetRequest, UpdateOffsetRequest};

use crate::dead::shelf::Shelf;
use crate::failure::Failure;
use crate::group::change;
use crate::session::{Question, Session};

/// Begins the names of the groups.
pub const PREFIX: &str = "orbitmq-dead-";
/// Names of topics up to this length stand in a mark's name as they are.
const LONGEST_TOPIC: usize = 90;

/// One mark, named as the group that it is.
#[derive(Debug, Clone)]
pub struct Mark {
    group: String,
}

impl Mark {
    /// Below it lies what was purged.
    pub fn purged() -> Self {
        Self { group: format!("{PREFIX}purged") }
    }

    /// Below it lies what was replayed to `target`; `None`: to where it came from.
    pub fn done(target: Option<&str>) -> Self {
        Self { group: format!("{PREFIX}done{}", suffix(target)) }
    }

    /// Below it lies what a replay to `target` may have sent.
    pub fn begun(target: Option<&str>) -> Self {
        Self { group: format!("{PREFIX}begun{}", suffix(target)) }
    }

    /// Where it stands in a queue; 0 if it was never set.
    ///
    /// # Errors
    /// The broker does not answer, or refuses.
    pub async fn get(&self, shelf: &Shelf, session: &Session) -> Result<i64, Failure> {
        let fields = QueryOffsetRequest {
            consumer_group: self.group.as_str().into(),
            topic: shelf.topic.as_str().into(),
            queue_id: shelf.queue,
            set_zero_if_not_found: Some(false),
        };
        let address = &shelf.broker.address;
        match session.broker(address, &Question::new(request::QUERY_CONSUMER_OFFSET, &fields)).await {
            Ok(answer) => {
                let stored: OffsetResponse = answer.fields().map_err(|error| Failure::answer(address, error))?;
                // One beyond the end is left from a topic of that name that was deleted.
                Ok(if stored.offset <= shelf.end { stored.offset } else { 0 })
            }
            Err(failure) if failure.code() == Some(response::QUERY_NOT_FOUND) => Ok(0),
            Err(failure) => Err(failure),
        }
    }

    /// Sets it; returns once the broker has kept it.
    ///
    /// # Errors
    /// The broker does not answer, or refuses.
    pub async fn set(&self, shelf: &Shelf, offset: i64, session: &Session) -> Result<(), Failure> {
        let fields = UpdateOffsetRequest {
            consumer_group: self.group.as_str().into(),
            topic: shelf.topic.as_str().into(),
            queue_id: shelf.queue,
            commit_offset: offset,
        };
        session.broker(&shelf.broker.address, &Question::new(request::UPDATE_CONSUMER_OFFSET, &fields)).await?;
        Ok(())
    }

    /// Creates its group where it is not there yet.
    ///
    /// # Errors
    /// The broker does not answer, or refuses.
    pub async fn prepare(&self, shelf: &Shelf, session: &Session) -> Result<(), Failure> {
        change::ensure(&self.group, &shelf.broker.address, session).await
    }
}

/// Names of groups are shorter than those of topics may be.
fn suffix(target: Option<&str>) -> String {
    match target {
        None => String::new(),
        Some(topic) if topic.len() <= LONGEST_TOPIC => format!("-{topic}"),
        Some(topic) => {
            let mut text = format!("-{}-", topic.get(..LONGEST_TOPIC - 20).unwrap_or_default());
            let hash = topic.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
            });
            // Writing to a text cannot fail.
            let _ = write!(text, "{hash:016x}");
            text
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_of_every_topic_are_groups() {
        for topic in ["t".to_owned(), "t".repeat(127), format!("{}x", "t".repeat(126))] {
            let group = Mark::begun(Some(&topic)).group;
            assert_eq!(orbitmq_common::name::check_group(&group), Ok(()), "{group}");
        }
        assert_ne!(suffix(Some(&"t".repeat(127))), suffix(Some(&format!("{}x", "t".repeat(126)))));
        assert_eq!(Mark::done(Some("orders")).group, "orbitmq-dead-done-orders");
        assert_eq!(Mark::done(None).group, "orbitmq-dead-done");
    }
}
