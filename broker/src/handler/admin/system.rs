//! GET_SYSTEM_TOPIC_LIST_FROM_BROKER (305): topics that are not users'.

use orbitmq_common::name;
use orbitmq_common::protocol::body::route::TopicList;
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;

use crate::broker::Broker;

/// Handles the request.
pub fn call(broker: &Broker, frame: &Frame) -> Frame {
    let config = &broker.config;
    let reply = format!("{}_REPLY_TOPIC", config.cluster);
    let of_system = |topic: &String| {
        name::is_system_topic(topic) || *topic == config.cluster || *topic == config.name || *topic == reply
    };
    let mut topic_list: Vec<String> = broker.topics.names().into_iter().filter(of_system).collect();
    topic_list.sort_unstable();
    frame.answer(response::SUCCESS).with_json(&TopicList { broker_addr: None, topic_list })
}
