//! What a send brings back.

use std::fmt::{self, Display};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use orbitmq_common::protocol::code::response;
use tokio::sync::oneshot;

use crate::error::SendError;

/// What a broker that has stored a message could not vouch for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unconfirmed {
    /// It was not flushed to the disk in time.
    FlushTimeout,
    /// Slaves did not confirm their copies in time.
    SlaveTimeout,
    /// Too few slaves are there to copy it.
    SlaveMissing,
}

impl Unconfirmed {
    /// What a code says is missing; `None`: it does not say that the message is stored at all, or nothing is missing.
    pub(crate) fn of(code: i32) -> Option<Self> {
        match code {
            response::FLUSH_DISK_TIMEOUT => Some(Self::FlushTimeout),
            response::FLUSH_SLAVE_TIMEOUT => Some(Self::SlaveTimeout),
            response::SLAVE_NOT_AVAILABLE => Some(Self::SlaveMissing),
            _ => None,
        }
    }
}

impl Display for Unconfirmed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FlushTimeout => "it was not flushed to the disk in time",
            Self::SlaveTimeout => "its slaves did not confirm their copies in time",
            Self::SlaveMissing => "too few slaves are there to copy it",
        })
    }
}

/// A broker has stored the message as safely as it is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendReceipt {
    /// The id that this producer gave the message; consumers see the same.
    pub message_id: String,
    /// The id that tells where the message is stored.
    pub offset_message_id: String,
    /// The topic.
    pub topic: String,
    /// Name of the broker that has it.
    pub broker: String,
    /// The queue it went to.
    pub queue_id: i32,
    /// Its position in the queue.
    pub queue_offset: i64,
    /// Takes the message back before it is due, see [`crate::Producer::recall`]; `None`: it was delivered at once, or its broker
    /// takes nothing back.
    pub recall_handle: Option<String>,
}

/// A send that was started; await it for its receipt. Dropping it gives up the receipt, not the send.
#[derive(Debug)]
pub struct Pending {
    pub(crate) result: oneshot::Receiver<Result<SendReceipt, SendError>>,
}

impl Future for Pending {
    type Output = Result<SendReceipt, SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.result).poll(cx).map(|result| result.unwrap_or(Err(SendError::Closed)))
    }
}
