//! Ways to consume: what is wanted, from where on, how it gets here and who gets it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use orbitmq_common::protocol::body::heartbeat::ConsumeFromWhere;

/// Where a group starts in a queue of which it has no stored offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StartFrom {
    /// After the last message; in a young topic, all of which brokers still hold at hand, at the first one.
    #[default]
    Last,
    /// At the first message.
    First,
    /// At the first message stored at or after this time.
    Time(SystemTime),
}

impl StartFrom {
    pub(crate) fn on_wire(self) -> ConsumeFromWhere {
        match self {
            Self::Last => ConsumeFromWhere::LastOffset,
            Self::First => ConsumeFromWhere::FirstOffset,
            Self::Time(_) => ConsumeFromWhere::Timestamp,
        }
    }
}

/// How the members of a group deal with its messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Each message goes to one member.
    Clustering,
    /// Each goes to one member, and those of one queue come one after the other.
    Ordered,
    /// Every member gets every message; offsets are kept in a file of this directory, or not at all.
    Broadcasting(Option<PathBuf>),
}

/// How messages get from brokers to a consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fetch {
    /// Each member pulls from queues that are its own for the time being, and stores how far it is.
    #[default]
    Pull,
    /// Members pop single messages from queues that they share. A member that is slow holds up what it has in hand and nothing
    /// else, and there may be more members than queues. All members of the group must pop.
    Pop,
    /// As the group's request mode says, which brokers keep for each topic (`mqadmin setConsumeMode`); pulling by default. It is
    /// followed while the consumer runs. For groups that share their topics with Java clients whose `clientRebalance` is off.
    ByGroup,
}

/// A topic and what is wanted of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub topic: Arc<str>,
    /// `TAG` or `SQL92`.
    pub kind: &'static str,
    pub expression: String,
    /// Tags wanted; empty: all, or the broker alone filters.
    pub tags: Vec<String>,
    /// What this member takes of it, said with each pull.
    pub part: Option<Part>,
    /// Holds what was given back of this popped topic: pulled by a group that pulls again.
    pub given_back_of: Option<Arc<str>>,
}

/// What one member of a broadcasting group takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub expression: String,
    pub tags: Vec<String>,
}
