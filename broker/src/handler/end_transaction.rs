//! END_TRANSACTION (37): a producer tells how a half message ends, unasked or because the broker asked.

use std::sync::Arc;

use orbitmq_common::message::sysflag;
use orbitmq_common::net::connection::Outcome as Answering;
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::transaction::EndTransactionRequest;

use crate::broker::Broker;
use crate::refusal::Refusal;
use crate::store::error::ReadError;
use crate::transaction::end::{Became, EndError, Outcome, Wish, became, half_of};

/// Handles the request; answers, if an answer is wanted, once the end is as durable as a message.
pub fn call(broker: &Arc<Broker>, frame: &Frame) -> Result<Answering, Refusal> {
    if !broker.role.is_master() {
        return Err(Refusal::new(response::SLAVE_NOT_AVAILABLE, broker.not_master().remark));
    }
    broker.admit()?;
    let header: EndTransactionRequest<'_> = frame.fields()?;
    let outcome = match header.commit_or_rollback.cast_unsigned() {
        sysflag::TRANSACTION_COMMIT => Outcome::Commit,
        sysflag::TRANSACTION_ROLLBACK => Outcome::Rollback,
        sysflag::TRANSACTION_NONE => {
            let answer =
                frame.answer(response::SUCCESS).with_remark("the half message stays open; the broker will ask");
            return Ok(Answering::Answer(answer));
        }
        other => {
            let remark = format!("commitOrRollback is {other}; 8 commits, 12 rolls back, 0 is not known yet");
            return Err(Refusal::invalid(remark));
        }
    };
    let physical = u64::try_from(header.commit_log_offset)
        .map_err(|_| Refusal::invalid(format!("{} is not a place in the log", header.commit_log_offset)))?;
    let group = header.producer_group.as_ref().to_owned();
    let (offset, asked) = (header.tran_state_table_offset, header.from_transaction_check == Some(true));
    let (broker, answer, oneway) = (Arc::clone(broker), frame.answer(response::SUCCESS), frame.is_oneway());
    Ok(Answering::later(async move {
        let wish = Wish { offset, physical, group: &group, outcome, asked };
        match settle(&broker, &wish, oneway).await {
            Ok(None) => answer,
            Ok(Some(remark)) => answer.with_remark(remark),
            Err(refusal) => {
                tracing::debug!(offset, physical, group, asked, ?outcome, %refusal.remark, "a half message is not ended");
                refusal.mark(answer)
            }
        }
    }))
}

/// Ends the half message; `Some`: it had ended so before.
async fn settle(broker: &Broker, wish: &Wish<'_>, oneway: bool) -> Result<Option<&'static str>, Refusal> {
    let limit = broker.config.acknowledge_timeout;
    let transactions = &broker.transactions;
    if !transactions.is_ready() && tokio::time::timeout(limit, transactions.ready()).await.is_err() {
        let remark = "[REJECTREQUEST]this broker has just become master and still counts its half messages; try again";
        return Err(Refusal::new(response::SYSTEM_BUSY, remark));
    }
    let mut ended = broker.transactions.end(broker.ground(), wish);
    if matches!(ended, Err(EndError::Read(ReadError::OutOfRange { offset, max, .. })) if offset >= max)
        && wish.physical < broker.store.end()
    {
        // Its sender did not wait until it was safe.
        broker.acknowledge(wish.physical.saturating_add(1)).await?;
        ended = broker.transactions.end(broker.ground(), wish);
    }
    match ended {
        Ok(end) => {
            if let Ok(offset) = u64::try_from(wish.offset) {
                broker.asked.forget(offset);
            }
            if oneway {
                broker.store.nudge();
                return Ok(None);
            }
            broker.acknowledge(end).await.map(|()| None)
        }
        Err(EndError::Ended) => ended_before(broker, wish).await.map(Some),
        Err(error) => Err(error.into()),
    }
}

/// Whether a half message that has ended became what is wished.
async fn ended_before(broker: &Broker, wish: &Wish<'_>) -> Result<&'static str, Refusal> {
    let end = broker.store.end();
    broker.acknowledge(end).await?;
    broker.store.built(end).await;
    let bytes = broker.store.record_at(wish.physical)?;
    let half = half_of(&bytes, wish.physical)?;
    let found = became(broker.ground(), &half).map_err(EndError::from)?;
    let otherwise =
        |how: &str| Err(Refusal::new(response::ILLEGAL_OPERATION, format!("the half message {how} before")));
    match (wish.outcome, found) {
        (Outcome::Commit, Some(Became::Committed)) => Ok("it was committed before"),
        (Outcome::Rollback, None) => Ok("it was rolled back before"),
        (Outcome::Commit, None) => otherwise("was rolled back"),
        (_, Some(Became::Committed)) => otherwise("was committed"),
        (_, Some(Became::GivenUp)) => otherwise("was given up (TRANS_CHECK_MAX_TIME_TOPIC; 323 resumes it)"),
        (Outcome::GiveUp { .. }, None) => otherwise("has ended"),
    }
}
