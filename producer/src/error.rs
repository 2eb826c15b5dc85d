//! What can go wrong, per operation.

use std::time::Duration;

use orbitmq_common::message::message::MessageError;
use orbitmq_common::message::recall::HandleError;
use orbitmq_common::name::NameError;
use orbitmq_common::protocol::code::response;
use orbitmq_common::route::error::RouteError;

use crate::receipt::{SendReceipt, Unconfirmed};

/// A producer could not be built.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BuildError {
    /// The group's name cannot be used.
    #[error(transparent)]
    Group(#[from] NameError),
    /// There is no name server to ask.
    #[error(transparent)]
    NameServers(#[from] RouteError),
}

/// One try of a send that failed.
#[derive(Debug, Clone, Default)]
pub struct FailedTry {
    /// Name of the broker.
    pub broker: String,
    /// Its `host:port`.
    pub address: String,
    /// Code of its answer; `None`: no answer.
    pub code: Option<i32>,
    /// What it said, or why it did not.
    pub cause: String,
    /// Whether no connection could be made, so that nothing was sent.
    pub unreachable: bool,
}

/// A message was not sent, or not surely.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SendError {
    /// The topic's name cannot be used.
    #[error(transparent)]
    Topic(#[from] NameError),
    /// The message has no form on the wire.
    #[error("the message cannot be sent: {0}")]
    Message(String),
    /// The message is larger than the producer sends.
    #[error(
        "the message has {size} bytes, this producer sends at most {limit}: raise max_message_size here and at the broker, or split it"
    )]
    TooLarge {
        /// Bytes of body and properties.
        size: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// No broker to send to is known.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// The topic has no queue that takes messages.
    #[error("topic '{topic}' has no queue that takes messages: {why}; 'orbitmq doctor {topic}' looks at the whole way")]
    NoQueue {
        /// The topic.
        topic: String,
        /// What is the matter with each of its brokers.
        why: String,
    },
    /// The broker refused the message, and would again.
    #[error("broker {broker} at {address} refused the message with code {code} ({}): {remark}", response::name(*code).unwrap_or("unknown"))]
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
    /// A broker has stored the message, but not as safely as it is set to: it may be lost if that broker dies now. It is
    /// not sent again by itself, for that would store it twice.
    #[error(
        "broker {} has stored message {} but does not vouch for it: {why} ({remark}); sending it again stores it twice",
        first(receipts).map_or("?", |receipt| &receipt.broker),
        first(receipts).map_or("?", |receipt| &receipt.message_id)
    )]
    Unconfirmed {
        /// What is missing.
        why: Unconfirmed,
        /// Where the message is stored; for a batch, the messages of its part.
        receipts: Vec<SendReceipt>,
        /// What the broker said.
        remark: String,
    },
    /// Every try failed.
    #[error("no broker took the message within {elapsed:?}: {}; {}", tries_text(tries), Cause::of(tries).cure())]
    Failed {
        /// Time spent.
        elapsed: Duration,
        /// The tries, oldest first; only the last ones when there were many.
        tries: Vec<FailedTry>,
        /// Whether one of the tries may have been stored although its answer never came.
        maybe_stored: bool,
    },
    /// The deadline passed while the send waited for room among those in hand.
    #[error("too much is in hand: no room for another message within {0:?}; send more slowly or raise max_in_flight")]
    NoRoom(Duration),
    /// The producer was closed.
    #[error("the producer is closed")]
    Closed,
}

/// A message was not taken back, or not surely.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RecallError {
    /// The text is no handle.
    #[error(transparent)]
    Handle(#[from] HandleError),
    /// The broker refused, and would again: the message is due, most often.
    #[error("broker {broker} at {address} does not take the message back, code {code} ({}): {remark}", response::name(*code).unwrap_or("unknown"))]
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
    /// The broker that has the message could not be reached in time, or did not answer: whether the message is taken back is not
    /// known. Asking again does no harm.
    #[error("broker {broker} did not take the message back within {elapsed:?}: {cause}")]
    Failed {
        /// Name of the broker.
        broker: String,
        /// Time spent.
        elapsed: Duration,
        /// What was the matter last.
        cause: String,
    },
}

fn first(receipts: &[SendReceipt]) -> Option<&SendReceipt> {
    receipts.first()
}

fn tries_text(tries: &[FailedTry]) -> String {
    let each: Vec<String> = tries
        .iter()
        .map(|one| match one.code {
            Some(code) => {
                let name = response::name(code).unwrap_or("unknown");
                format!("{} at {}: code {code} ({name}) '{}'", one.broker, one.address, one.cause)
            }
            None => format!("{}: {}", one.broker, one.cause),
        })
        .collect();
    each.join("; ")
}

/// What all the tries of a send have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// There was time for none.
    NoTime,
    /// Brokers take nothing for the moment (2).
    Busy,
    /// Brokers do not serve for the moment (14), as their remarks say.
    NotServing,
    /// Brokers refuse for another reason, as their remarks say.
    Refused,
    /// Brokers cannot be reached at the addresses that name servers tell.
    Unreachable,
    /// Brokers do not answer, or not in time.
    Silent,
    /// Not all tries failed in the same way.
    Various,
}

impl Cause {
    /// Of failed tries.
    #[must_use]
    pub fn of(tries: &[FailedTry]) -> Self {
        let mut causes = tries.iter().map(|one| match one.code {
            Some(response::SYSTEM_BUSY) => Self::Busy,
            Some(response::SERVICE_NOT_AVAILABLE | response::GO_AWAY) => Self::NotServing,
            Some(_) => Self::Refused,
            None if one.unreachable => Self::Unreachable,
            None => Self::Silent,
        });
        let Some(first) = causes.next() else { return Self::NoTime };
        if causes.all(|cause| cause == first) { first } else { Self::Various }
    }

    /// What helps.
    #[must_use]
    pub fn cure(self) -> &'static str {
        match self {
            Self::NoTime => "not one try had the time it takes: raise send_timeout",
            Self::Busy => "more is sent than the brokers take: send more slowly, or add brokers",
            Self::NotServing => {
                "the brokers say what keeps them from serving; a send waits for that as long as send_timeout"
            }
            Self::Refused => "the brokers say what has to be done",
            Self::Unreachable => {
                "can this machine reach the addresses that name servers tell? Brokers set theirs with 'advertise' (brokerIP1)"
            }
            Self::Silent => {
                "the brokers hang or are overloaded, or the network loses packets; messages may be stored although no receipt came"
            }
            Self::Various => "the tries failed in different ways; 'orbitmq doctor' with the topic looks at each broker",
        }
    }
}

impl From<MessageError> for SendError {
    fn from(error: MessageError) -> Self {
        Self::Message(error.to_string())
    }
}

impl SendError {
    /// Whether sending the same message again may succeed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Topic(_) | Self::Message(_) | Self::TooLarge { .. } | Self::Refused { .. } | Self::Closed => false,
            // It would be stored twice; who does not mind sends again.
            Self::Unconfirmed { .. } => false,
            Self::Route(error) => error.is_retryable(),
            Self::NoQueue { .. } | Self::Failed { .. } | Self::NoRoom(_) => true,
        }
    }

    /// What the tries of a failed send have in common.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        match self {
            Self::Failed { tries, .. } => Some(Cause::of(tries)),
            _ => None,
        }
    }

    /// Whether the message may be stored although no receipt came.
    #[must_use]
    pub fn maybe_stored(&self) -> bool {
        matches!(self, Self::Failed { maybe_stored: true, .. } | Self::Unconfirmed { .. })
    }
}

/// A batch was not sent, or only its first part.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{} of {total} messages of the batch were sent, then: {cause}", sent.len())]
pub struct BatchError {
    /// Receipts of the messages that were sent, in the batch's order.
    pub sent: Vec<SendReceipt>,
    /// Messages in the batch.
    pub total: usize,
    /// Why the next part was not.
    pub cause: SendError,
}
