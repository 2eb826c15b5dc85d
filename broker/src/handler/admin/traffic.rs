//! VIEW_BROKER_STATS_DATA (315): what came and went in the last minute, hour and day.

use orbitmq_common::protocol::body::examine::{TrafficData, TrafficItem};
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::examine::TrafficRequest;

use crate::broker::Broker;
use crate::refusal::Refusal;
use crate::traffic::window::{Over, Stretch};

/// What there is to ask for.
const NAMES: &str = "TOPIC_PUT_NUMS and TOPIC_PUT_SIZE of a topic; GROUP_GET_NUMS, GROUP_GET_SIZE and SNDBCK_PUT_NUMS of \
                     topic@group; BROKER_PUT_NUMS and BROKER_GET_NUMS of the cluster";

/// Handles the request. What was never counted since the broker's start is refused, as RocketMQ's tools expect.
pub fn call(broker: &Broker, frame: &Frame) -> Result<Frame, Refusal> {
    let header: TrafficRequest<'_> = frame.fields()?;
    let (name, key) = (header.stats_name.as_ref(), header.stats_key.as_ref());
    let traffic = &broker.traffic;
    let (topic, group) = key.split_once('@').unwrap_or((key, ""));
    let cluster = |over: Over| (key == broker.config.cluster).then_some(over);
    let (over, item): (_, fn(Stretch) -> TrafficItem) = match name {
        "TOPIC_PUT_NUMS" => (traffic.of_topic(broker, key), messages),
        "TOPIC_PUT_SIZE" => (traffic.of_topic(broker, key), bytes),
        "GROUP_GET_NUMS" => (traffic.of_reader(topic, group), messages),
        "GROUP_GET_SIZE" => (traffic.of_reader(topic, group), bytes),
        "SNDBCK_PUT_NUMS" => (traffic.of_returns(topic, group), messages),
        "BROKER_PUT_NUMS" => (cluster(traffic.of_broker(broker).0), messages),
        "BROKER_GET_NUMS" => (cluster(traffic.of_broker(broker).1), messages),
        _ => {
            let remark = format!("'{name}' is not counted here; there are {NAMES}");
            return Err(Refusal::new(response::SYSTEM_ERROR, remark));
        }
    };
    let Some(over) = over else {
        let remark = format!("nothing was counted for {name} of '{key}' since this broker's start");
        return Err(Refusal::new(response::SYSTEM_ERROR, remark));
    };
    let data = TrafficData { stats_day: item(over.day), stats_hour: item(over.hour), stats_minute: item(over.minute) };
    Ok(frame.answer(response::SUCCESS).with_json(&data))
}

fn messages(stretch: Stretch) -> TrafficItem {
    let sum = stretch.counted.messages;
    TrafficItem { avgpt: if sum > 0 { 1.0 } else { 0.0 }, sum: signed(sum), tps: stretch.messages_per_second() }
}

fn bytes(stretch: Stretch) -> TrafficItem {
    let counted = stretch.counted;
    let average = if counted.messages > 0 { counted.bytes as f64 / counted.messages as f64 } else { 0.0 };
    TrafficItem { avgpt: average, sum: signed(counted.bytes), tps: stretch.bytes_per_second() }
}

fn signed(sum: u64) -> i64 {
    i64::try_from(sum).unwrap_or(i64::MAX)
}
