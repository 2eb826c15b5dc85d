//! What brokers tell a consumer unasked: that the group's members changed, that offsets were reset.

use std::sync::{Arc, OnceLock, Weak};

use orbitmq_common::net::connection::{Handler, Outcome};
use orbitmq_common::net::peer::Peer;
use orbitmq_common::protocol::body::stats::parse_table;
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::route::table::Queue;
use tokio::sync::Notify;

use crate::core::Core;
use crate::running;

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
            request::GET_CONSUMER_RUNNING_INFO => Outcome::Answer(self.running_info(&request)),
            code => {
                let remark = format!("request kind {code} is not understood by this consumer");
                Outcome::Answer(request.refuse(response::REQUEST_CODE_NOT_SUPPORTED, remark))
            }
        }
    }

    fn closed(&self, _: &Arc<Peer>) {
        self.rebalance.notify_one();
    }
}

impl Notices {
    fn running_info(&self, request: &Frame) -> Frame {
        let Some(core) = self.core.get().and_then(Weak::upgrade) else {
            return request.refuse(response::SYSTEM_ERROR, "this consumer has just started, or ends; ask again");
        };
        request.answer(response::SUCCESS).with_body(running::info(&core).encode())
    }

    fn reset(&self, request: &Frame) {
        let Some(core) = self.core.get().and_then(Weak::upgrade) else { return };
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
