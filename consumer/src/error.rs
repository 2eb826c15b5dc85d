//! What can go wrong, per operation.

use std::io;
use std::path::PathBuf;

use orbitmq_common::filter::syntax::SyntaxError;
use orbitmq_common::name::NameError;
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

/// A message could not be given back to its broker; this consumer delivers it again itself.
#[derive(Debug, Clone, thiserror::Error)]
#[error("message {message_id} could not be given back: {cause}; it will be delivered again here")]
pub struct RetryError {
    /// The message.
    pub message_id: String,
    /// What the brokers said.
    pub cause: String,
}
