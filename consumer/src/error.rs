//! What can go wrong, per operation.

use std::io;
use std::path::PathBuf;

use orbitmq_common::filter::syntax::SyntaxError;
use orbitmq_common::name::NameError;
use orbitmq_common::net::peer::CallError;
use orbitmq_common::protocol::code::response;
use orbitmq_common::route::error::RouteError;

/// A consumer could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The name of the group or of a topic cannot be used.
    #[error(transparent)]
    Name(#[from] NameError),
    /// No name server is given, or none answers.
    #[error(transparent)]
    NameServers(#[from] RouteError),
    /// There is nothing to consume.
    #[error("the consumer subscribes to no topic: call subscribe(topic, \"*\")")]
    NoTopic,
    /// A filter cannot be used.
    #[error(
        "the filter '{expression}' of topic '{topic}' is not valid: write tags as \"TagA || TagB\", or \"*\" for all"
    )]
    Filter {
        /// The topic.
        topic: String,
        /// The filter.
        expression: String,
    },
    /// A member wants a part of what its group has, where that cannot be.
    #[error("only_tags is for broadcasting groups that subscribe by tags: elsewhere nobody would see the rest")]
    Part,
    /// An SQL92 condition cannot be read.
    #[error("the condition of topic '{topic}' is not valid, {cause}")]
    Condition {
        /// The topic.
        topic: String,
        /// What is wrong, and where.
        cause: SyntaxError,
    },
    /// The offsets of a broadcasting group cannot be read.
    #[error("the offsets in {} cannot be read: {cause}; repair or remove the file", path.display())]
    Offsets {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
}

impl BuildError {
    /// Whether building the same consumer may succeed a moment later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::NameServers(error) if error.is_retryable())
    }
}

/// Why no messages come, of a queue or of a topic. The consumer goes on trying.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConsumeError {
    /// Name servers tell of no route.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// The broker that holds the queue has left the route.
    #[error(
        "broker '{broker}' is not in the route of topic '{topic}' any more, or has no address there: start it again, or look whether it \
         reaches the name servers"
    )]
    NoBroker {
        /// The topic.
        topic: String,
        /// Name of the broker.
        broker: String,
    },
    /// A broker without a master; slaves are not popped from.
    #[error(
        "broker '{broker}' has no master now, and slaves do not let consumers pop: start its master, or wait for the next one"
    )]
    NoMaster {
        /// Name of the broker.
        broker: String,
    },
    /// The offset at which a group begins to pop is not stored.
    #[error("broker '{broker}' does not take the offset at which the group begins in topic '{topic}': {cause}")]
    NotBegun {
        /// The topic.
        topic: String,
        /// Name of the broker.
        broker: String,
        /// Why not.
        cause: String,
    },
    /// The broker gives no answer.
    #[error("broker '{broker}' cannot be asked: {cause}")]
    Call {
        /// Name of the broker.
        broker: String,
        /// Why not.
        cause: CallError,
    },
    /// The broker refuses.
    #[error("broker '{broker}' at {address} refuses with code {code} ({}): {remark}", response::name(*code).unwrap_or("unknown"))]
    Refused {
        /// Name of the broker.
        broker: String,
        /// Its `host:port`.
        address: String,
        /// The code.
        code: i32,
        /// What the broker said.
        remark: String,
    },
    /// A slave has not copied that far.
    #[error(
        "the slave of broker '{broker}' at {address} does not have offset {offset} yet: its master is asked, as soon as there is one"
    )]
    Behind {
        /// Name of the broker.
        broker: String,
        /// The slave's `host:port`.
        address: String,
        /// What was asked for.
        offset: i64,
    },
    /// What the broker sent cannot be read.
    #[error("what broker '{broker}' at {address} sent cannot be read: {cause}; look at its disk and at the network")]
    Unreadable {
        /// Name of the broker.
        broker: String,
        /// Its `host:port`.
        address: String,
        /// What is wrong with it.
        cause: String,
    },
    /// No broker tells who else is in the group.
    #[error(
        "no broker of topic '{topic}' tells the members of group '{group}', so its queues cannot be shared out: {cause}"
    )]
    NoMembers {
        /// The topic.
        topic: String,
        /// The group.
        group: String,
        /// What each of them said.
        cause: String,
    },
    /// No broker tells whether the group pulls or pops.
    #[error("no broker of topic '{topic}' tells how group '{group}' consumes it: {cause}")]
    NoMode {
        /// The topic.
        topic: String,
        /// The group.
        group: String,
        /// What each of them said.
        cause: String,
    },
    /// A group that pulled pops from now on.
    #[error("the queues of topic '{topic}' that were pulled are still being let go; popping begins after that")]
    LettingGo {
        /// The topic.
        topic: String,
    },
    /// The brokers do not know this consumer, although it told them.
    #[error(
        "the brokers of topic '{topic}' do not count this consumer among the members of group '{group}': its heartbeats do not get \
         through, or are refused"
    )]
    NotCounted {
        /// The topic.
        topic: String,
        /// The group.
        group: String,
    },
    /// The broker refuses heartbeats.
    #[error("{address} refuses the heartbeat of group '{group}' with code {code} ({}): {remark}", response::name(*code).unwrap_or("unknown"))]
    NotWelcome {
        /// The broker's `host:port`.
        address: String,
        /// The group.
        group: String,
        /// The code.
        code: i32,
        /// What the broker said.
        remark: String,
    },
}

/// A message could not be given back to its broker. This consumer delivers it again itself; a popped one comes again, here or
/// elsewhere, when its invisible time is over.
#[derive(Debug, Clone, thiserror::Error)]
#[error("message {message_id} could not be given back: {cause}; it will be delivered again")]
pub struct RetryError {
    /// The message.
    pub message_id: String,
    /// What the brokers said.
    pub cause: String,
}
