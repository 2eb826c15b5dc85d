//! Requests over the queue: a message is sent, whoever consumes it replies, and the reply comes back to this producer.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use orbitmq_common::message::message::Message;
use orbitmq_common::message::property;
use tokio::time::Instant;

use crate::error::SendError;
use crate::heartbeat;
use crate::producer::{Producer, Shared};
use crate::receipt::SendReceipt;
use crate::replies::Reply;

/// Why a request has no reply.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RequestError {
    /// The request was not sent, or not surely.
    #[error(transparent)]
    Send(#[from] SendError),
    /// No reply came. The request may have been dealt with all the same.
    #[error("no reply to message {} within {within:?}: nobody consumes topic '{}', or whoever does is slow or does not reply", sent.message_id, sent.topic)]
    Timeout {
        /// The request.
        sent: SendReceipt,
        /// How long was waited.
        within: Duration,
    },
    /// A reply came that cannot be read.
    #[error("the reply cannot be read: {0}")]
    Unreadable(String),
}

impl Producer {
    /// Sends a message and waits for the reply of whoever consumes it: a consumer of ours with `Delivery::reply`, or any client
    /// of RocketMQ's that replies. A request that is tried again may be consumed twice; the first reply counts.
    ///
    /// # Errors
    /// See [`RequestError`].
    #[tracing::instrument(level = "debug", skip_all, fields(topic = message.topic))]
    pub async fn request(&self, message: Message, within: Duration) -> Result<Reply, RequestError> {
        let deadline = Instant::now() + within;
        let shared = self.shared();
        be_known(shared, &message.topic).await?;
        let id = shared.next_id();
        let mut waiting = shared.notices.replies.expect(id.clone());
        let message = message
            .property(property::CORRELATION_ID, id)
            .property(property::REPLY_TO_CLIENT, shared.client_id.as_str())
            .property(property::TTL, within.as_millis().to_string());
        // A reply may overtake the acknowledgement of its request.
        let sent = tokio::select! {
            biased;
            Ok(reply) = &mut waiting.reply => return reply.map_err(RequestError::Unreadable),
            sent = self.send(message) => sent?,
        };
        tokio::select! {
            Ok(reply) = &mut waiting.reply => reply.map_err(RequestError::Unreadable),
            () = shared.stopped.cancelled() => Err(SendError::Closed.into()),
            () = tokio::time::sleep_until(deadline) => Err(RequestError::Timeout { sent, within }),
        }
    }
}

/// Makes sure that every broker through which a reply may come knows this producer.
async fn be_known(shared: &Arc<Shared>, topic: &str) -> Result<(), SendError> {
    shared.notices.set_asked();
    let route = shared.finder.find_or_default(topic, shared.config.default_topic_queues).await?;
    let clusters: BTreeSet<&str> = route.brokers().iter().map(|broker| broker.cluster.as_str()).collect();
    for cluster in clusters {
        let replies = format!("{cluster}_REPLY_TOPIC");
        if let Err(error) = shared.finder.find(&replies).await {
            tracing::debug!(topic = replies, %error, "replies come only through the brokers of the request's topic");
        }
    }
    let routes = *shared.finder.changes().borrow();
    if shared.notices.replies.known.load(Ordering::Relaxed) != routes {
        heartbeat::beat(shared).join_all().await;
        shared.notices.replies.known.store(routes, Ordering::Relaxed);
    }
    Ok(())
}
