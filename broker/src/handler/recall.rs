//! RECALL_MESSAGE (370): a sender takes a message back that is not due yet.

use std::borrow::Cow;
use std::sync::Arc;

use orbitmq_common::clock::now_ms;
use orbitmq_common::message::recall::RecallHandle;
use orbitmq_common::message::record::NewRecord;
use orbitmq_common::name;
use orbitmq_common::net::connection::Outcome;
use orbitmq_common::net::peer::Peer;
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::send::{RecallRequest, RecallResponse};

use crate::broker::Broker;
use crate::handler::send::{REGION, canonical};
use crate::refusal::Refusal;
use crate::timer::{identity, recall};

/// Handles the request; answers once the recall is as safe as a message: it is never delivered then.
pub fn call(broker: &Arc<Broker>, peer: &Peer, frame: &Frame) -> Result<Outcome, Refusal> {
    broker.admit()?;
    let header: RecallRequest<'_> = frame.fields()?;
    let handle = check(broker, &header)?;
    let properties = recall::properties(&handle, header.producer_group.as_deref());
    let properties = properties.map_err(|error| Refusal::invalid(error.to_string()))?;
    let record = NewRecord {
        topic: name::TIMER_TOPIC,
        queue_id: 0,
        flag: 0,
        sys_flag: 0,
        born_timestamp: now_ms(),
        born_host: canonical(peer.remote()),
        store_host: broker.address,
        reconsume_times: 0,
        prepared_offset: 0,
        body: recall::BODY,
        properties: properties.as_bytes(),
    };
    let message = identity::of_message(&handle.topic, &handle.key);
    let end = broker.timers.gate.recall(handle.due, message, || broker.store.append(&record))?.end;
    let fields = RecallResponse { msg_id: Cow::Owned(handle.key), region: Some(REGION.into()) };
    let answer = frame.answer(response::SUCCESS).with_fields(&fields);
    let broker = Arc::clone(broker);
    Ok(Outcome::later(async move {
        match broker.acknowledge(end).await {
            Ok(()) => answer,
            Err(shortfall) => shortfall.mark(answer),
        }
    }))
}

fn check(broker: &Broker, header: &RecallRequest<'_>) -> Result<RecallHandle, Refusal> {
    if !broker.config.timers.recall {
        let remark = "messages cannot be taken back at this broker (recall = false)";
        return Err(Refusal::new(response::NO_PERMISSION, remark));
    }
    let topic = header.topic.as_ref();
    if broker.topics.get(topic).is_none() {
        return Err(broker.no_topic(topic, "a message can be taken back from an existing topic only"));
    }
    let illegal = |remark: String| Refusal::new(response::ILLEGAL_OPERATION, remark);
    let handle = RecallHandle::decode(&header.recall_handle).map_err(|error| illegal(error.to_string()))?;
    if handle.topic != topic {
        return Err(illegal(format!("the handle is of a message of topic '{}', not '{topic}'", handle.topic)));
    }
    if handle.broker != broker.config.name {
        let (theirs, ours) = (&handle.broker, &broker.config.name);
        return Err(illegal(format!("the message is at broker '{theirs}', this is '{ours}': ask there")));
    }
    Ok(handle)
}
