//! GET_ROUTEINFO_BY_TOPIC (105): where the queues of a topic are.

use std::net::IpAddr;

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

fn unknown(parts: &Parts, topic: &str) -> Refusal {
    let shown: String = topic.chars().take(256).collect();
    let remark = match parts.routes.broker_count() {
        0 => format!(
            "No topic route info in name server for the topic: {shown}; no broker is registered here at all: start one \
             with this name server in its list, or wait a moment if it is starting"
        ),
        brokers => format!(
            "No topic route info in name server for the topic: {shown}; {brokers} registered broker(s) do not have it: \
             create the topic, or send to it where brokers create topics automatically"
        ),
    };
    Refusal::new(response::TOPIC_NOT_EXIST, remark)
}
