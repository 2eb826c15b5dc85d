//! Lists of topics (206, 224, 311, 312, 313), DELETE_TOPIC_IN_NAMESRV (216), REGISTER_TOPIC_IN_NAMESRV (217).

use orbitmq_common::protocol::body::route::{TopicList, TopicRoute};
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::nameserver::{ClusterRequest, NameServerTopicRequest};
use orbitmq_common::protocol::relaxed;

use crate::handler::{Parts, Refusal};

/// Bits of a topic's system flag.
const UNIT: i32 = 1;
const UNIT_SUBSCRIBED: i32 = 2;

/// Answers 206.
pub fn all(parts: &Parts, request: &Frame) -> Result<Frame, Refusal> {
    allowed(parts.options.current().all_topic_list, "enableAllTopicList")?;
    Ok(list(request, &parts.routes.topics()))
}

/// Answers 224.
pub fn of_cluster(parts: &Parts, request: &Frame) -> Result<Frame, Refusal> {
    allowed(parts.options.current().topic_list, "enableTopicList")?;
    let header: ClusterRequest<'_> = request.fields()?;
    Ok(list(request, &parts.routes.topics_of_cluster(&header.cluster)))
}

/// Answers 311.
pub fn unit(parts: &Parts, request: &Frame) -> Result<Frame, Refusal> {
    by_flag(parts, request, |flag| flag & UNIT != 0)
}

/// Answers 312.
pub fn unit_subscribed(parts: &Parts, request: &Frame) -> Result<Frame, Refusal> {
    by_flag(parts, request, |flag| flag & UNIT_SUBSCRIBED != 0)
}

/// Answers 313.
pub fn unit_subscribed_from_outside(parts: &Parts, request: &Frame) -> Result<Frame, Refusal> {
    by_flag(parts, request, |flag| flag & UNIT == 0 && flag & UNIT_SUBSCRIBED != 0)
}

/// Answers 216.
pub fn delete(parts: &Parts, request: &Frame) -> Result<Frame, Refusal> {
    let header: NameServerTopicRequest<'_> = request.fields()?;
    let deleted = parts.routes.delete_topic(&header.topic, header.cluster_name.as_deref());
    tracing::info!(topic = %header.topic, cluster = ?header.cluster_name, deleted, "topic deleted from the routes");
    Ok(request.answer(response::SUCCESS))
}

/// Answers 217.
pub fn register(parts: &Parts, request: &Frame) -> Result<Frame, Refusal> {
    let header: NameServerTopicRequest<'_> = request.fields()?;
    if header.topic.trim().is_empty() {
        return Err(Refusal::invalid("topic is empty"));
    }
    let route: TopicRoute = relaxed::parse(&request.body)?;
    parts.routes.register_topic(&header.topic, route.queue_datas).map_err(|broker| {
        let remark =
            format!("broker {broker} is not registered here: register it before its topics, or correct its name");
        Refusal::new(response::SYSTEM_ERROR, remark)
    })?;
    Ok(request.answer(response::SUCCESS))
}

fn by_flag(parts: &Parts, request: &Frame, wanted: impl Fn(i32) -> bool) -> Result<Frame, Refusal> {
    allowed(parts.options.current().topic_list, "enableTopicList")?;
    Ok(list(request, &parts.routes.topics_where(wanted)))
}

fn list(request: &Frame, topics: &TopicList) -> Frame {
    request.answer(response::SUCCESS).with_json(topics)
}

fn allowed(allowed: bool, switch: &str) -> Result<(), Refusal> {
    if allowed {
        Ok(())
    } else {
        let remark = format!(
            "disable: this name server runs with {switch}=false; switch it on with updateNamesrvConfig, or ask brokers for their topics"
        );
        Err(Refusal::new(response::SYSTEM_ERROR, remark))
    }
}
