//! Answers the brokers' questions about half messages whose end they were not told.

use std::borrow::Cow;
use std::sync::Arc;

use orbitmq_common::message::message::{StoredMessage, decode_all};
use orbitmq_common::message::{property, sysflag};
use orbitmq_common::net::peer::Peer;
use orbitmq_common::protocol::code::request;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::transaction::{CheckTransactionRequest, EndTransactionRequest};
use tokio::sync::Semaphore;

use crate::receipt::SendReceipt;
use crate::transaction::{CheckBack, Decision};

/// Questions in hand at once; what comes beyond is asked again.
const AT_ONCE: usize = 256;
/// Bodies grow when they are decompressed; this is the most they may have to.
const BODY_LIMIT: usize = 64 << 20;

/// Finds the answers.
pub(crate) struct Questions {
    group: String,
    body_limit: usize,
    check: Arc<dyn CheckBack>,
    room: Arc<Semaphore>,
}

impl Questions {
    pub(crate) fn new(group: String, max_message_size: usize, check: Arc<dyn CheckBack>) -> Self {
        let room = Arc::new(Semaphore::new(AT_ONCE));
        Self { group, body_limit: BODY_LIMIT.max(max_message_size), check, room }
    }

    /// Takes a question, to be answered later; or tells why not.
    pub(crate) fn hear(&self, peer: &Arc<Peer>, frame: &Frame) -> Result<(), String> {
        let fields: CheckTransactionRequest<'_> = frame.fields().map_err(|error| error.to_string())?;
        let message = decode_all(&frame.body, self.body_limit).next().ok_or("it holds no message")?;
        let message: StoredMessage = message.map_err(|error| error.to_string())?;
        let group = message.property(property::PRODUCER_GROUP).unwrap_or_default();
        if group != self.group {
            return Err(format!("it is for group '{group}'"));
        }
        let place = Arc::clone(&self.room).try_acquire_owned().map_err(|_| "too many are in hand")?;
        let half = SendReceipt {
            message_id: message.message_id(),
            offset_message_id: fields.offset_msg_id.map(Cow::into_owned).unwrap_or_default(),
            topic: fields.topic.map(Cow::into_owned).unwrap_or_default(),
            broker: fields.broker_name.map(Cow::into_owned).unwrap_or_default(),
            queue_id: i32::try_from(message.queue_id).unwrap_or(0),
            queue_offset: fields.tran_state_table_offset,
            recall_handle: None,
        };
        let (physical, group, encoding) = (fields.commit_log_offset, self.group.clone(), frame.encoding);
        let (peer, check) = (Arc::clone(peer), Arc::clone(&self.check));
        tokio::spawn(async move {
            let decision = check.check(message).await;
            drop(place);
            tracing::debug!(message = half.message_id, ?decision, "a broker asked about a transaction");
            let mut fields = end(&half, physical, &group, decision);
            fields.from_transaction_check = Some(true);
            let answer = Frame::request(request::END_TRANSACTION, encoding).with_fields(&fields).oneway();
            if let Err(error) = peer.tell(answer) {
                tracing::debug!(message = half.message_id, %error, "an answer about a transaction was not sent");
            }
        });
        Ok(())
    }
}

/// The fields that tell a broker a decision.
pub(crate) fn end<'a>(
    half: &'a SendReceipt,
    physical: i64,
    group: &'a str,
    decision: Decision,
) -> EndTransactionRequest<'a> {
    let kind = match decision {
        Decision::Commit => sysflag::TRANSACTION_COMMIT,
        Decision::Rollback => sysflag::TRANSACTION_ROLLBACK,
        Decision::Unknown => sysflag::TRANSACTION_NONE,
    };
    EndTransactionRequest {
        topic: Some(half.topic.as_str().into()),
        producer_group: group.into(),
        tran_state_table_offset: half.queue_offset,
        commit_log_offset: physical,
        commit_or_rollback: kind.cast_signed(),
        from_transaction_check: Some(false),
        msg_id: Some(half.message_id.as_str().into()),
        transaction_id: Some(half.message_id.as_str().into()),
        broker_name: Some(half.broker.as_str().into()),
    }
}
