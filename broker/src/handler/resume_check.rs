//! RESUME_CHECK_HALF_MESSAGE (323): an administrator has the producer asked again about a half message that was given up.

use std::sync::Arc;

use orbitmq_common::message::id;
use orbitmq_common::message::property::{self, Properties};
use orbitmq_common::message::record::RecordView;
use orbitmq_common::name;
use orbitmq_common::net::connection::Outcome;
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::transaction::ResumeCheckRequest;

use crate::broker::Broker;
use crate::refusal::Refusal;

/// Handles the request; answers once the half message is durable again.
pub fn call(broker: &Arc<Broker>, frame: &Frame) -> Result<Outcome, Refusal> {
    broker.admit()?;
    let header: ResumeCheckRequest<'_> = frame.fields()?;
    let (_, at) = id::parse_offset_id(&header.msg_id)
        .map_err(|error| Refusal::invalid(format!("message id '{}': {error}", header.msg_id)))?;
    let bytes = broker.store.record_at(at)?;
    let record = RecordView::parse(&bytes).map_err(|error| Refusal::new(response::SYSTEM_ERROR, error.to_string()))?;
    let answer = frame.answer(response::SUCCESS);
    match record.topic {
        name::HALF_TOPIC if broker.transactions.ask_anew(record.queue_offset) => {
            broker.asked.forget(record.queue_offset);
            Ok(Outcome::Answer(answer))
        }
        name::HALF_TOPIC => Err(Refusal::invalid(format!("the half message {} has ended", header.msg_id))),
        name::CHECK_MAX_TIME_TOPIC => {
            let (end, broker) = (resume(broker, &record)?, Arc::clone(broker));
            Ok(Outcome::later(async move {
                match broker.acknowledge(end).await {
                    Ok(()) => answer,
                    Err(shortfall) => shortfall.mark(answer),
                }
            }))
        }
        other => Err(Refusal::invalid(format!(
            "message {} is of topic '{other}': only half messages are resumed, by their id in {}",
            header.msg_id,
            name::CHECK_MAX_TIME_TOPIC
        ))),
    }
}

/// Stores it as a half message that is due at once; returns its end in the log.
fn resume(broker: &Broker, record: &RecordView<'_>) -> Result<u64, Refusal> {
    let mut properties = Properties::parse(record.properties);
    properties.remove(property::CRC32);
    properties.set(property::TRANSACTION_CHECK_TIMES, "0").map_err(|error| Refusal::invalid(error.to_string()))?;
    let half = record.copy_to(name::HALF_TOPIC, 0, broker.address, properties.as_str());
    Ok(broker.transactions.begin(broker.ground(), &half, 0)?.end)
}
