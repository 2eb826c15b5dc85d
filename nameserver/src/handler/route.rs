//! GET_ROUTEINFO_BY_TOPIC (105): where the queues of a topic are.

use std::net::IpAddr;
use std::time::Instant;

use bytes::Bytes;
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::nameserver::RouteRequest;

use crate::handler::{Parts, Refusal};
use crate::routes::Seen;
use crate::settings::ORDER_TOPICS;

/// Answers 105. Map keys are always quoted: every client reads that.
pub fn route(parts: &Parts, request: &Frame, asker: IpAddr) -> Result<Frame, Refusal> {
    let header: RouteRequest<'_> = request.fields()?;
    // Read before the table and the switches: an answer built in between is outdated rather than wrong.
    let version = parts.routes.version();
    let body = match parts.answers.get(&header.topic, version, asker) {
        Some(body) => body,
        None => build(parts, &header.topic, version, asker)?,
    };
    Ok(request.answer(response::SUCCESS).with_body(body))
}

fn build(parts: &Parts, topic: &str, version: u64, asker: IpAddr) -> Result<Bytes, Refusal> {
    let switches = parts.options.current();
    let seen = parts.routes.route(topic, switches.acting_master, asker);
    let Seen { mut route, networks } = seen.ok_or_else(|| unknown(parts, topic))?;
    if switches.order_message {
        route.order_topic_conf = parts.settings.get(ORDER_TOPICS, topic);
    }
    let body = serde_json::to_vec(&route).map(Bytes::from).map_err(|error| {
        Refusal::new(response::SYSTEM_ERROR, format!("the route of {topic} has no JSON form: {error}"))
    })?;
    parts.answers.put(topic, version, networks, asker, body.clone());
    Ok(body)
}

/// Users look for the first words; RocketMQ's name servers say them too.
fn unknown(parts: &Parts, topic: &str) -> Refusal {
    let shown: String = topic.chars().take(256).collect();
    let absence = parts.routes.absence(topic, Instant::now());
    let remark = format!("No topic route info in name server for the topic: {shown}; {absence}");
    Refusal::new(response::TOPIC_NOT_EXIST, remark)
}
