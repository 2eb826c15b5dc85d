//! What this consumer says about itself to whoever asks: where it is (221), and how it is (307).

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use orbitmq_common::protocol::body::running::{PopQueueInfo, RunningInfo};
use orbitmq_common::protocol::body::stats::client_status;
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::examine::{ConsumerStatusRequest, RunningInfoRequest};

use crate::core::Core;
use crate::heartbeat;
use crate::pop::lane::Lane;

/// GET_CONSUMER_STATUS_FROM_CLIENT (221): the offset of each queue of a topic.
pub(crate) fn offsets(core: &Core, request: &Frame) -> Frame {
    let topic = match request.fields::<ConsumerStatusRequest<'_>>() {
        Ok(fields) => fields.topic.into_owned(),
        Err(error) => return request.refuse(response::INVALID_PARAMETER, error.to_string()),
    };
    let held = core.held_queues().into_iter().filter(|queue| topic.is_empty() || *queue.topic == *topic);
    let rows = held.filter_map(|queue| Some((queue.queue.of_topic(&queue.topic), queue.position()?)));
    request.answer(response::SUCCESS).with_body(client_status(&rows.collect()))
}

/// GET_CONSUMER_RUNNING_INFO (307).
pub(crate) fn running(core: &Core, request: &Frame) -> Frame {
    let stacks = match request.fields::<RunningInfoRequest<'_>>() {
        Ok(fields) => fields.jstack_enable == Some(true),
        Err(error) => return request.refuse(response::INVALID_PARAMETER, error.to_string()),
    };
    let info = RunningInfo {
        properties: properties(core),
        subscriptions: heartbeat::subscriptions(core),
        pulled: core.held_queues().iter().map(|queue| (queue.queue.of_topic(&queue.topic), queue.info())).collect(),
        popped: core.held_lanes().iter().map(|lane| (lane.name(), pop_info(lane))).collect(),
        status: core
            .subscriptions
            .iter()
            .map(|one| (one.topic.to_string(), core.figures.of(&one.topic).status()))
            .collect(),
        user: BTreeMap::new(),
        stacks: stacks.then(|| in_hand(core)),
    };
    request.answer(response::SUCCESS).with_body(info.encode())
}

fn pop_info(lane: &Lane) -> PopQueueInfo {
    PopQueueInfo {
        wait_ack_count: i32::try_from(lane.held()).unwrap_or(i32::MAX),
        droped: lane.revoked.is_cancelled(),
        last_pop_timestamp: lane.popped_at.load(Ordering::Relaxed),
    }
}

fn properties(core: &Core) -> BTreeMap<String, String> {
    let config = &core.config;
    let settings = [
        ("PROP_CONSUME_TYPE", "CONSUME_PASSIVELY".to_owned()),
        ("PROP_CONSUMEORDERLY", core.is_ordered().to_string()),
        ("PROP_CONSUMER_START_TIMESTAMP", core.version.to_string()),
        ("PROP_NAMESERVER_ADDR", config.nameservers.join(";")),
        ("PROP_THREADPOOL_CORE_SIZE", config.concurrency.to_string()),
        ("consumerGroup", config.group.clone()),
        ("consumeFromWhere", format!("{:?}", config.start)),
        ("messageModel", if core.is_broadcasting() { "BROADCASTING" } else { "CLUSTERING" }.to_owned()),
        ("clientId", core.client_id.clone()),
        ("client", concat!("orbitmq-consumer ", env!("CARGO_PKG_VERSION")).to_owned()),
        ("fetch", format!("{:?}", config.fetch)),
        ("pullBatchSize", config.pull_batch.to_string()),
        ("pullThresholdForQueue", config.max_per_queue.to_string()),
        ("maxInHand", config.max_in_hand.to_string()),
        ("popInvisibleTime", config.invisible.as_millis().to_string()),
    ];
    settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// There are no threads to show: what the application has in hand tells more.
fn in_hand(core: &Core) -> String {
    let mut text =
        String::from("This consumer runs on tasks, not on threads. Deliveries that the application has in hand:\n");
    for queue in core.held_queues() {
        let count = queue.in_hand();
        if count > 0 {
            text.push_str(&format!("{} {} {}: {count}\n", queue.topic, queue.queue.broker, queue.queue.id));
        }
    }
    for popped in core.in_hand.all() {
        let message = popped.message();
        text.push_str(&format!(
            "{} {} {} popped: {}\n",
            popped.asked,
            popped.broker,
            popped.queue,
            message.message_id()
        ));
    }
    text
}
