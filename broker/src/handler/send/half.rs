//! The first half of a transaction: stored where no consumer sees it, until its producer tells how it ends.

use orbitmq_common::message::record::NewRecord;
use orbitmq_common::message::{property, sysflag};
use orbitmq_common::name;
use orbitmq_common::net::peer::Peer;
use orbitmq_common::protocol::body::topic::TopicConfig;
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::send::SendRequest;

use super::wishes::{Wishes, push};
use super::{Place, Stored, once, record};
use crate::broker::Broker;
use crate::refusal::Refusal;
use crate::transaction::end::BeginError;
use crate::transaction::half::immunity;

/// Stores a half message; the queue and offset that are answered are those of the half message.
#[allow(clippy::too_many_arguments, reason = "what is known of the message by then")]
pub(super) fn store(
    broker: &Broker,
    peer: &Peer,
    frame: &Frame,
    header: &SendRequest<'_>,
    config: &TopicConfig,
    place: &Place<'_>,
    mut properties: String,
    wishes: Wishes,
) -> Result<Stored, Refusal> {
    if broker.config.transactions.reject {
        let remark = "this broker takes no half messages (reject_transactions); send without a transaction";
        return Err(Refusal::new(response::NO_PERMISSION, remark));
    }
    if place.delay > 0 {
        // It waits once it is committed.
        push(&mut properties, property::DELAY, &place.delay.to_string());
    }
    push(&mut properties, property::TRANSACTION_ID, wishes.unique_key.as_deref().unwrap_or_default());
    push(&mut properties, property::REAL_TOPIC, &place.topic);
    push(&mut properties, property::REAL_QUEUE_ID, &place.queue.to_string());
    if property::get(&properties, property::PRODUCER_GROUP).is_none() {
        push(&mut properties, property::PRODUCER_GROUP, &header.producer_group);
    }
    let ground = broker.ground();
    let wait = immunity(&properties).unwrap_or(ground.timeout);
    let record = record(broker, peer, header, name::HALF_TOPIC, 0, header.flag, &frame.body, &properties);
    let sys_flag = sysflag::with_transaction(record.sys_flag, sysflag::TRANSACTION_NONE);
    let begin = || {
        let begun = broker.transactions.begin(ground, &NewRecord { sys_flag, ..record }, wait);
        begun.map_err(|error| match error {
            BeginError::Append(error) => broker.not_appended(error),
            other => other.into(),
        })
    };
    let sent = once::append(broker, config, &wishes, place.queue, begin)?;
    Ok(Stored::single(broker, sent, wishes))
}
