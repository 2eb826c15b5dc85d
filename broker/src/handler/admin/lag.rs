//! How far groups lag: all groups of the broker (317), one group in time (303).

use orbitmq_common::clock::now_ms;
use orbitmq_common::protocol::body::examine::{ConsumeTimeSpan, QueueTimeSpan};
use orbitmq_common::protocol::body::stats::{self, AllConsumeStats};
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::examine::{AllConsumeStatsRequest, GroupTopicRequest};

use crate::broker::Broker;
use crate::handler::admin::progress::rows;
use crate::handler::admin::topic::message_queue;
use crate::refusal::Refusal;

/// GET_BROKER_CONSUME_STATS (317): every group in every topic that it reads.
pub fn all(broker: &Broker, frame: &Frame) -> Result<Frame, Refusal> {
    let header: AllConsumeStatsRequest = frame.fields()?;
    let mut groups = Vec::new();
    for group in broker.groups.snapshot().subscription_group_table.into_keys() {
        let mut topics = Vec::new();
        for topic in broker.offsets.topics_of(&group) {
            let Some(config) = broker.topics.get(&topic) else { continue };
            if (header.is_order && !config.order) || broker.members.reads_only_others(&group, &topic) {
                continue;
            }
            let per_second = broker.traffic.reads_per_second(&topic, &group);
            topics.push((rows(broker, &group, &config), per_second));
        }
        groups.push((group, topics));
    }
    let stats = AllConsumeStats { broker_addr: broker.address.to_string(), groups };
    Ok(frame.answer(response::SUCCESS).with_body(stats::all_consume_stats(&stats)))
}

/// QUERY_CONSUME_TIME_SPAN (303).
pub fn in_time(broker: &Broker, frame: &Frame) -> Result<Frame, Refusal> {
    let header: GroupTopicRequest<'_> = frame.fields()?;
    let (topic, group) = (header.topic.as_ref(), header.group.as_ref());
    let Some(config) = broker.topics.get(topic) else {
        return Err(broker.no_topic(topic, "topicList shows those there are"));
    };
    let queues = u32::try_from(config.write_queue_nums).unwrap_or(0);
    let spans = (0..queues).map(|queue| span(broker, topic, group, queue)).collect();
    Ok(frame.answer(response::SUCCESS).with_json(&ConsumeTimeSpan { consume_time_span_set: spans }))
}

fn span(broker: &Broker, topic: &str, group: &str, queue: u32) -> QueueTimeSpan {
    let time = |offset| broker.store.store_timestamp(topic, queue, offset).unwrap_or(-1);
    let (min, max) = (broker.store.min_offset(topic, queue), broker.store.max_offset(topic, queue));
    let consumed = broker.offsets.get(topic, group, i32::try_from(queue).unwrap_or(-1)).unwrap_or(0);
    let first = time(min);
    QueueTimeSpan {
        consume_time_stamp: if consumed > 0 { time(consumed - 1) } else { first },
        delay_time: if consumed < max { (now_ms() - time(consumed.max(min))).max(0) } else { 0 },
        max_time_stamp: time(max - 1),
        message_queue: message_queue(broker, topic, queue),
        min_time_stamp: first,
    }
}
