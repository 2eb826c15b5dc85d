//! What brokers tell and ask a consumer: that the group's members changed, that offsets were reset, how it is, what becomes of a
//! message.

use std::sync::{Arc, OnceLock, Weak};

use orbitmq_common::net::connection::{Handler, Outcome};
use orbitmq_common::net::peer::Peer;
use orbitmq_common::protocol::body::stats::parse_table;
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::route::table::Queue;
use tokio::sync::Notify;

use crate::core::Core;
use crate::{direct, status};

/// Hears brokers. It exists before the consumer does, since connections need it.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    pub rebalance: Arc<Notify>,
    pub core: OnceLock<Weak<Core>>,
}

impl Handler for Notices {
    fn call(&self, _: &Arc<Peer>, request: Frame) -> Outcome {
        match request.code {
            request::NOTIFY_CONSUMER_IDS_CHANGED => {
                self.rebalance.notify_one();
                Outcome::Nothing
            }
            request::RESET_CONSUMER_CLIENT_OFFSET => {
                self.reset(&request);
                Outcome::Nothing
            }
            request::GET_CONSUMER_STATUS_FROM_CLIENT => self.answer(&request, |core| status::offsets(core, &request)),
            request::GET_CONSUMER_RUNNING_INFO => self.answer(&request, |core| status::running(core, &request)),
            request::CONSUME_MESSAGE_DIRECTLY => match self.core() {
                Some(core) => Outcome::later(direct::consume(core, request)),
                None => Outcome::Answer(not_here(&request)),
            },
            code => {
                let remark = format!("request kind {code} is not understood by this consumer");
                Outcome::Answer(request.refuse(response::REQUEST_CODE_NOT_SUPPORTED, remark))
            }
        }
    }

    fn closed(&self, peer: &Arc<Peer>) {
        if let Some(core) = self.core().filter(|core| core.is_ordered()) {
            // The broker has given its locks to whoever asks. They are asked for anew at once.
            let address = peer.remote().to_string();
            core.held_queues().iter().for_each(|queue| queue.lock_is_lost(&address));
        }
        self.rebalance.notify_one();
    }
}

fn not_here(request: &Frame) -> Frame {
    request.refuse(response::SYSTEM_ERROR, "this consumer starts or stops just now; ask again")
}

impl Notices {
    fn core(&self) -> Option<Arc<Core>> {
        self.core.get().and_then(Weak::upgrade)
    }

    fn answer(&self, request: &Frame, tell: impl FnOnce(&Core) -> Frame) -> Outcome {
        Outcome::Answer(self.core().map_or_else(|| not_here(request), |core| tell(&core)))
    }

    fn reset(&self, request: &Frame) {
        let Some(core) = self.core() else { return };
        let rows = match parse_table::<i64>(&request.body) {
            Ok(rows) => rows,
            Err(error) => return tracing::warn!(%error, "a reset of offsets does not parse"),
        };
        for (queue, offset) in rows {
            let key = (queue.topic.as_str().into(), Queue { broker: queue.broker_name.into(), id: queue.queue_id });
            let held = core.queues.lock().get(&key).cloned();
            if let Some(held) = held {
                tracing::info!(topic = queue.topic, id = queue.queue_id, offset, "offset reset by an administrator");
                core.freed(held.reset(offset));
            }
        }
    }
}
