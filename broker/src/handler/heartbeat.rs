//! Clients and their groups: heartbeat (34), leaving (35), members of a group (38), check of a subscription (46).

use std::sync::Arc;

use orbitmq_common::name;
use orbitmq_common::net::peer::Peer;
use orbitmq_common::protocol::body::group::ConsumerIds;
use orbitmq_common::protocol::body::heartbeat::{CheckClientRequest, ConsumerData, HeartbeatData};
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::group::{ConsumerGroupRequest, HeartbeatResponse, UnregisterClientRequest};
use orbitmq_common::protocol::relaxed;

use crate::broker::Broker;
use crate::members::member::Member;
use crate::refusal::Refusal;

/// HEART_BEAT (34).
pub fn beat(broker: &Broker, peer: &Arc<Peer>, frame: &Frame) -> Result<Frame, Refusal> {
    let data: HeartbeatData = relaxed::parse(&frame.body)?;
    let member = Member::new(peer, &data.client_id, frame);
    let mut subscription_changed = false;
    let mut refused = None;
    for producer in &data.producer_data_set {
        name::check_group(&producer.group_name)?;
        broker.members.producer_seen(&member, &producer.group_name);
    }
    for consumer in data.consumer_data_set {
        subscription_changed |=
            data.without_sub && broker.members.fingerprint_differs(&consumer.group_name, data.heartbeat_fingerprint);
        let seen = consumer_seen(broker, &member, consumer, data.heartbeat_fingerprint, data.without_sub);
        // The client's other groups are not to suffer for it.
        refused = refused.or(seen.err());
    }
    if let Some(refusal) = refused {
        return Err(refusal);
    }
    let fields = HeartbeatResponse { supports_v2: true, subscription_changed };
    Ok(frame.answer(response::SUCCESS).with_fields(&fields))
}

fn consumer_seen(
    broker: &Broker,
    member: &Member,
    data: ConsumerData,
    fingerprint: i32,
    without_sub: bool,
) -> Result<(), Refusal> {
    let group = data.group_name.as_str();
    name::check_group(group)?;
    let notify = match broker.groups.find_or_create(group, broker.tuned.auto_create_groups()) {
        Some(config) => {
            // Consumers ask for the route of their retry topic long before the first message comes back.
            broker.topics.ensure_retry(group, config.retry_queue_nums);
            config.notify_consumer_ids_changed_enable
        }
        None => true,
    };
    let name = group.to_owned();
    broker.members.consumer_seen(member, data, fingerprint, without_sub, notify).map_err(|conflict| {
        let remark = format!(
            "group '{name}': {conflict}; subscribe to the same in all members, or use a group of its own (subscription_conflicts = refuse)"
        );
        Refusal::new(response::NO_PERMISSION, remark)
    })
}

/// UNREGISTER_CLIENT (35).
pub fn leave(broker: &Broker, peer: &Peer, frame: &Frame) -> Result<Frame, Refusal> {
    let header: UnregisterClientRequest<'_> = frame.fields()?;
    if let Some(group) = header.producer_group.as_deref().filter(|group| !group.is_empty()) {
        broker.members.producer_left(peer, group);
    }
    if let Some(group) = header.consumer_group.as_deref().filter(|group| !group.is_empty()) {
        broker.locks.release(group, &header.client_id);
        broker.members.consumer_left(peer, group);
    }
    Ok(frame.answer(response::SUCCESS))
}

/// GET_CONSUMER_LIST_BY_GROUP (38). A group without members is an error: clients take an empty list for the truth.
pub fn list(broker: &Broker, frame: &Frame) -> Result<Frame, Refusal> {
    let header: ConsumerGroupRequest<'_> = frame.fields()?;
    let ids = broker.members.consumer_ids(&header.consumer_group);
    if ids.is_empty() {
        return Err(Refusal::new(response::SYSTEM_ERROR, broker.nobody_of(&header.consumer_group)));
    }
    Ok(frame.answer(response::SUCCESS).with_json(&ConsumerIds { consumer_id_list: ids }))
}

/// CHECK_CLIENT_CONFIG (46): whether the client's filter can be used.
pub fn check(broker: &Broker, frame: &Frame) -> Result<Frame, Refusal> {
    let request: CheckClientRequest = relaxed::parse(&frame.body)?;
    if let Some(subscription) = request.subscription_data {
        broker.filters.find(Some(&subscription.expression_type), &subscription.sub_string)?;
    }
    Ok(frame.answer(response::SUCCESS))
}
