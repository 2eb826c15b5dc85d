//! Groups: create or change (200, 225), delete (207), list (201), one (352), their connected members (203, 204).

use std::sync::Arc;

use orbitmq_common::name;
use orbitmq_common::net::connection::Outcome;
use orbitmq_common::protocol::body::examine::GroupConfigList;
use orbitmq_common::protocol::body::group::{ConsumerConnection, GroupConfig, ProducerConnection};
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::admin::{AllGroupsRequest, AllGroupsResponse, DeleteGroupRequest, GroupRequest};
use orbitmq_common::protocol::header::group::{ConsumerGroupRequest, ProducerGroupRequest};
use orbitmq_common::protocol::relaxed;

use crate::broker::Broker;
use crate::handler::admin::topic::{page, synced};
use crate::members::member::Member;
use crate::refusal::Refusal;

/// UPDATE_AND_CREATE_SUBSCRIPTIONGROUP (200). Answers once the group survives a power cut.
pub fn create(broker: &Arc<Broker>, frame: &Frame) -> Result<Outcome, Refusal> {
    let config: GroupConfig = relaxed::parse(&frame.body)?;
    check(&config)?;
    tracing::info!(group = config.group_name, "group set");
    broker.groups.put(config);
    Ok(synced(broker, frame))
}

/// UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST (225): all or none.
pub fn create_list(broker: &Arc<Broker>, frame: &Frame) -> Result<Outcome, Refusal> {
    let list: GroupConfigList = relaxed::parse(&frame.body)?;
    list.group_config_list.iter().try_for_each(check)?;
    for config in list.group_config_list {
        tracing::info!(group = config.group_name, "group set");
        broker.groups.put(config);
    }
    Ok(synced(broker, frame))
}

fn check(config: &GroupConfig) -> Result<(), Refusal> {
    name::check_group(&config.group_name)?;
    if !(0..=1024).contains(&config.retry_queue_nums) {
        return Err(Refusal::invalid(format!("retryQueueNums = {}; expected 0 to 1024", config.retry_queue_nums)));
    }
    Ok(())
}

/// DELETE_SUBSCRIPTIONGROUP (207), with its offsets if asked to.
pub fn delete(broker: &Arc<Broker>, frame: &Frame) -> Result<Outcome, Refusal> {
    let header: DeleteGroupRequest<'_> = frame.fields()?;
    broker.groups.remove(&header.group_name);
    broker.forbidden.remove_group(&header.group_name);
    if header.clean_offset == Some(true) {
        broker.offsets.remove_group(&header.group_name);
    }
    broker.orders.forget(None, Some(&header.group_name));
    broker.request_modes.forget(None, Some(&header.group_name));
    broker.pop.forget(|lane| *lane.group == *header.group_name);
    tracing::info!(group = %header.group_name, "group deleted");
    Ok(synced(broker, frame))
}

/// GET_ALL_SUBSCRIPTIONGROUP_CONFIG (201): a page by name, or everything.
pub fn list(broker: &Broker, frame: &Frame) -> Result<Frame, Refusal> {
    let header: AllGroupsRequest<'_> = frame.fields()?;
    let mut table = broker.groups.snapshot();
    table.forbidden_table = broker.forbidden.snapshot();
    let total = i32::try_from(table.subscription_group_table.len()).unwrap_or(i32::MAX);
    if let (Some(first), Some(most)) = (header.group_seq, header.max_group_num) {
        table.subscription_group_table = page(table.subscription_group_table, first, most);
    }
    Ok(frame.answer(response::SUCCESS).with_fields(&AllGroupsResponse { total_group_num: total }).with_json(&table))
}

/// GET_SUBSCRIPTIONGROUP_CONFIG (352).
pub fn one(broker: &Broker, frame: &Frame) -> Result<Frame, Refusal> {
    let header: GroupRequest<'_> = frame.fields()?;
    let config = broker.groups.get(&header.group).ok_or_else(|| broker.no_group(&header.group, "asking for it"))?;
    Ok(frame.answer(response::SUCCESS).with_json(config.as_ref()))
}

/// GET_CONSUMER_CONNECTION_LIST (203).
pub fn consumers(broker: &Broker, frame: &Frame) -> Result<Frame, Refusal> {
    let header: ConsumerGroupRequest<'_> = frame.fields()?;
    let Some(group) = broker.members.consumer_group(&header.consumer_group) else {
        return Err(Refusal::new(response::CONSUMER_NOT_ONLINE, broker.nobody_of(&header.consumer_group)));
    };
    let body = ConsumerConnection {
        connection_set: group.members().map(Member::connection).collect(),
        consume_from_where: group.consume_from_where,
        consume_type: group.consume_type,
        message_model: group.message_model,
        subscription_conflict: group.conflict().map(ToString::to_string),
        subscription_table: group.subscriptions().map(|data| (data.topic.clone(), data.clone())).collect(),
    };
    Ok(frame.answer(response::SUCCESS).with_json(&body))
}

/// GET_PRODUCER_CONNECTION_LIST (204).
pub fn producers(broker: &Broker, frame: &Frame) -> Result<Frame, Refusal> {
    let header: ProducerGroupRequest<'_> = frame.fields()?;
    let members = broker.members.producer_group(&header.producer_group);
    if members.is_empty() {
        let remark = format!(
            "no producer of group '{}' is connected to this broker: none runs, or none has sent to a queue here yet",
            header.producer_group
        );
        return Err(Refusal::new(response::SYSTEM_ERROR, remark));
    }
    let body = ProducerConnection { connection_set: members.iter().map(Member::connection).collect() };
    Ok(frame.answer(response::SUCCESS).with_json(&body))
}
