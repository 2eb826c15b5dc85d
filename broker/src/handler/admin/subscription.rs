//! What a group reads: topics in which it has offsets (343), its subscription to one (345).

use orbitmq_common::protocol::body::examine::Subscribed;
use orbitmq_common::protocol::body::route::TopicList;
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::admin::GroupRequest;
use orbitmq_common::protocol::header::examine::GroupTopicRequest;

use crate::broker::Broker;
use crate::refusal::Refusal;

/// QUERY_TOPICS_BY_CONSUMER (343).
pub fn topics(broker: &Broker, frame: &Frame) -> Result<Frame, Refusal> {
    let header: GroupRequest<'_> = frame.fields()?;
    let mut topic_list = broker.offsets.topics_of(&header.group);
    topic_list.sort_unstable();
    let body = TopicList { broker_addr: Some(broker.address.to_string()), topic_list };
    Ok(frame.answer(response::SUCCESS).with_json(&body))
}

/// QUERY_SUBSCRIPTION_BY_CONSUMER (345).
pub fn one(broker: &Broker, frame: &Frame) -> Result<Frame, Refusal> {
    let header: GroupTopicRequest<'_> = frame.fields()?;
    let subscription = broker.members.subscription(&header.group, &header.topic);
    let body = Subscribed {
        group: header.group.into_owned(),
        subscription_data: subscription.map(|subscription| subscription.data.clone()),
        topic: header.topic.into_owned(),
    };
    Ok(frame.answer(response::SUCCESS).with_json(&body))
}
