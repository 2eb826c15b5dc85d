//! What can go wrong with calls and providers, and what was done all the same.

use std::time::Duration;

use orbitmq_common::route::error::RouteError;
use orbitmq_consumer::BuildError as ConsumerError;
use orbitmq_producer::{BuildError as ProducerError, SendError};
use serde::{Deserialize, Serialize};

use crate::service::NameError;

/// What a method answers instead of its result: the error of the handler, as the caller gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("fault {code}: {text}")]
pub struct Fault {
    /// A number of the service's own, for programs.
    pub code: i32,
    /// What happened, for people.
    pub text: String,
}

impl Fault {
    /// A fault.
    pub fn new(code: i32, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

/// Why a node gives no result though it has the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// It does not offer the method.
    NoMethod,
    /// It cannot read the request's body or properties.
    Unreadable,
    /// It has as many requests in hand as it takes.
    Busy,
    /// The request came, or would be done, after its deadline by the node's clock.
    Overdue,
    /// The caller calls more often than it may.
    Limited,
    /// It stops.
    Closing,
    /// The handler panicked.
    Panicked,
    /// The result is too large for an answer, or has no form on the wire.
    Broken,
}

impl Refusal {
    pub(crate) const ALL: [Self; 8] = [
        Self::NoMethod,
        Self::Unreadable,
        Self::Busy,
        Self::Overdue,
        Self::Limited,
        Self::Closing,
        Self::Panicked,
        Self::Broken,
    ];

    /// Stable: travels.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NoMethod => "no-method",
            Self::Unreadable => "unreadable",
            Self::Busy => "busy",
            Self::Overdue => "overdue",
            Self::Limited => "limited",
            Self::Closing => "closing",
            Self::Panicked => "panicked",
            Self::Broken => "broken",
        }
    }

    /// Whether another node may do better.
    fn is_worth_elsewhere(self) -> bool {
        matches!(self, Self::NoMethod | Self::Busy | Self::Overdue | Self::Limited | Self::Closing)
    }

    /// Whether the handler may have run, wholly or in part.
    fn may_have_run(self) -> bool {
        matches!(self, Self::Overdue | Self::Panicked | Self::Broken)
    }
}

/// A node that was called in vain.
#[derive(Debug, Clone)]
pub struct Tried {
    /// The node.
    pub node: String,
    /// What came of it.
    pub error: CallError,
}

/// A call has no result.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// A name cannot be used.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The request has no form on the wire.
    #[error("the request cannot be written: {0}")]
    Request(String),
    /// Nobody offers the service.
    #[error("no provider of service '{service}' is there{}", cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default())]
    NoProvider {
        /// The service.
        service: String,
        /// What stood in the way of finding one.
        cause: Option<String>,
    },
    /// The node that was asked for does not offer the service now.
    #[error("node '{node}' does not offer service '{service}' now; these do: {known}")]
    NoNode {
        /// The service.
        service: String,
        /// The node.
        node: String,
        /// Nodes that do.
        known: String,
    },
    /// This caller's own limit: not sent.
    #[error("this caller has used up its limit; the next call may go in {0:?}")]
    OwnLimit(Duration),
    /// The request was not sent, or not surely.
    #[error(transparent)]
    Send(#[from] SendError),
    /// No answer came in time.
    #[error("node '{node}' did not answer within {within:?}: it is slow, or stands still")]
    NoAnswer {
        /// The node.
        node: String,
        /// How long it had.
        within: Duration,
    },
    /// The node ended before it answered.
    #[error("node '{node}' is gone and has not answered")]
    Gone {
        /// The node.
        node: String,
    },
    /// The node refused, or failed.
    #[error("node '{node}' says {}: {text}", refusal.as_str())]
    Refused {
        /// The node.
        node: String,
        /// The kind.
        refusal: Refusal,
        /// Cause and cure.
        text: String,
    },
    /// The method's own error.
    #[error("node '{node}' answers with {fault}")]
    Fault {
        /// The node.
        node: String,
        /// What the handler said.
        fault: Fault,
    },
    /// An answer came that cannot be read.
    #[error("the answer of node '{node}' cannot be read: {cause}; do both sides have the same types?")]
    Unreadable {
        /// The node.
        node: String,
        /// Why.
        cause: String,
    },
    /// Several nodes were tried.
    #[error("{} nodes were tried: {}", tries.len(), list(tries))]
    Nowhere {
        /// What came of each, in order.
        tries: Vec<Tried>,
    },
    /// The caller was closed.
    #[error("the caller is closed")]
    Closed,
}

fn list(tries: &[Tried]) -> String {
    let each: Vec<String> = tries.iter().map(|tried| tried.error.to_string()).collect();
    each.join("; ")
}

impl CallError {
    /// Whether a handler may have run all the same, once or, with retries, more often.
    #[must_use]
    pub fn may_have_run(&self) -> bool {
        match self {
            Self::NoAnswer { .. } | Self::Gone { .. } | Self::Fault { .. } | Self::Unreadable { .. } => true,
            Self::Refused { refusal, .. } => refusal.may_have_run(),
            Self::Send(error) => error.maybe_stored(),
            Self::Nowhere { tries } => tries.iter().any(|tried| tried.error.may_have_run()),
            _ => false,
        }
    }

    /// What the method itself said, if it did.
    #[must_use]
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Fault { fault, .. } => Some(fault),
            Self::Nowhere { tries } => tries.last().and_then(|tried| tried.error.fault()),
            _ => None,
        }
    }

    /// Why the node refused, if it did; of several nodes the last.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused { refusal, .. } => Some(*refusal),
            Self::Nowhere { tries } => tries.last().and_then(|tried| tried.error.refusal()),
            _ => None,
        }
    }

    /// Whether another node may do better.
    pub(crate) fn is_worth_elsewhere(&self) -> bool {
        match self {
            Self::NoAnswer { .. } | Self::Gone { .. } => true,
            Self::Refused { refusal, .. } => refusal.is_worth_elsewhere(),
            Self::Send(error) => error.is_retryable(),
            _ => false,
        }
    }

    /// Whether the node leaves or has left, so that others may come.
    pub(crate) fn is_departure(&self) -> bool {
        self.refusal() == Some(Refusal::Closing) || matches!(self, Self::Gone { .. })
    }
}

/// A caller or a provider could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A name cannot be used.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A provider that offers nothing, or methods of two services, or one method twice.
    #[error("a provider offers the methods of one service, each once: {0}")]
    Methods(String),
    /// The service's topic is not there and cannot be made.
    #[error(
        "topic '{topic}' is not there and cannot be created: {cause}; create it with `orbitmq topic create {topic} --queues 1`"
    )]
    Topic {
        /// The topic.
        topic: String,
        /// What stood in the way.
        cause: String,
    },
    /// Callers would not find this provider.
    #[error("brokers do not tell of this provider within {within:?}: {cause}")]
    NotFound {
        /// How long was waited.
        within: Duration,
        /// What they say.
        cause: String,
    },
    /// No name server is given.
    #[error(transparent)]
    NameServers(#[from] RouteError),
    /// The part that sends.
    #[error(transparent)]
    Producer(#[from] ProducerError),
    /// The part that receives.
    #[error(transparent)]
    Consumer(#[from] ConsumerError),
}
