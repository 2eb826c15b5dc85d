//! A message that an administrator has this consumer consume now (309), to see what becomes of it. It counts nowhere.

use std::sync::Arc;
use std::time::Duration;

use orbitmq_common::message::message::{StoredMessage, decode_all};
use orbitmq_common::protocol::body::running::{DirectResult, Outcome};
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::examine::ConsumeDirectlyRequest;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::core::Core;
use crate::fetch::own;

/// Brokers wait for 10 s.
const WITHIN: Duration = Duration::from_secs(9);

/// What became of it.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Acknowledged.
    Done,
    /// Given back, perhaps with a reason.
    Later(Option<String>),
    /// Dropped without a word.
    Dropped,
}

/// Whoever waits for the verdict.
#[derive(Debug)]
pub(crate) struct Direct {
    pub topic: Arc<str>,
    pub broker: Arc<str>,
    pub message: Arc<StoredMessage>,
    told: Option<oneshot::Sender<Verdict>>,
}

impl Direct {
    /// Tells the verdict; only the first counts.
    pub(crate) fn tell(&mut self, verdict: Verdict) {
        if let Some(told) = self.told.take() {
            // Who asked may be gone.
            drop(told.send(verdict));
        }
    }

    /// Whether somebody still waits.
    pub(crate) fn is_wanted(&self) -> bool {
        self.told.as_ref().is_some_and(|told| !told.is_closed())
    }
}

/// Hands the message of the request to the application and waits for what becomes of it.
pub(crate) async fn consume(core: Arc<Core>, request: Frame) -> Frame {
    let answer = request.answer(response::SUCCESS);
    let broker = match request.fields::<ConsumeDirectlyRequest<'_>>() {
        Ok(fields) => Arc::from(fields.broker_name.as_deref().unwrap_or_default()),
        Err(error) => return request.refuse(response::INVALID_PARAMETER, error.to_string()),
    };
    let message = match decode_all(&request.body, core.config.max_body).next() {
        Some(Ok(message)) => own(&core.config.group, message),
        Some(Err(error)) => return request.refuse(response::MESSAGE_ILLEGAL, error.to_string()),
        None => return request.refuse(response::MESSAGE_ILLEGAL, "the request holds no message"),
    };
    tracing::info!(id = message.message_id(), topic = message.topic, "an administrator has a message consumed");
    let (told, verdict) = oneshot::channel();
    let topic = message.topic.as_str().into();
    let direct = Direct { topic, broker, message: Arc::new(message), told: Some(told) };
    let began = Instant::now();
    if !core.shelf.offer_direct(direct) {
        return request.refuse(response::SYSTEM_ERROR, "this consumer is closing");
    }
    let verdict = tokio::time::timeout(WITHIN, verdict).await;
    let (outcome, remark) = match verdict {
        Ok(Ok(Verdict::Done)) => (Outcome::Success, None),
        Ok(Ok(Verdict::Later(reason))) => (Outcome::Later, reason),
        Ok(Ok(Verdict::Dropped) | Err(_)) => (Outcome::Nothing, Some("the delivery was dropped".to_owned())),
        Err(_) => (Outcome::Nothing, Some(format!("the application did not deal with it within {WITHIN:?}"))),
    };
    answer.with_json(&DirectResult {
        auto_commit: true,
        consume_result: Some(outcome),
        order: core.is_ordered(),
        remark,
        spent_time_mills: i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX),
    })
}
