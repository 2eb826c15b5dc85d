//! What brokers say to a producer unasked: questions about transactions, replies to its requests.

use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use orbitmq_common::net::connection::{Handler, Outcome};
use orbitmq_common::net::peer::Peer;
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::frame::Frame;
use tokio::sync::Notify;

use crate::questions::Questions;
use crate::replies::Replies;

/// Hears brokers. It exists before the producer does, since connections need it.
pub(crate) struct Notices {
    questions: Option<Questions>,
    pub replies: Replies,
    /// Rung when a connection ends whose broker has to know this producer.
    pub lost: Notify,
    /// Whether brokers have to find this producer at any time.
    asked: AtomicBool,
}

impl Debug for Notices {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notices").field("replies", &self.replies).finish_non_exhaustive()
    }
}

impl Notices {
    pub(crate) fn new(questions: Option<Questions>) -> Self {
        let asked = AtomicBool::new(questions.is_some());
        Self { questions, replies: Replies::default(), lost: Notify::new(), asked }
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }

    /// From now on brokers have to find this producer.
    pub(crate) fn set_asked(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }
}

impl Handler for Notices {
    fn call(&self, peer: &Arc<Peer>, frame: Frame) -> Outcome {
        match (frame.code, &self.questions) {
            (request::CHECK_TRANSACTION_STATE, Some(questions)) => {
                if let Err(why) = questions.hear(peer, &frame) {
                    tracing::debug!(broker = %peer.remote(), why, "a question about a transaction is passed over");
                }
                Outcome::Nothing
            }
            (request::PUSH_REPLY_MESSAGE_TO_CLIENT, _) => Outcome::Answer(match self.replies.deliver(&frame) {
                Ok(()) => frame.answer(response::SUCCESS),
                Err(why) => frame.refuse(response::SYSTEM_ERROR, why),
            }),
            (code, _) => {
                let remark = format!("request kind {code} is not understood by this producer");
                Outcome::Answer(frame.refuse(response::REQUEST_CODE_NOT_SUPPORTED, remark))
            }
        }
    }

    fn closed(&self, _: &Arc<Peer>) {
        if self.is_asked() {
            self.lost.notify_one();
        }
    }
}
