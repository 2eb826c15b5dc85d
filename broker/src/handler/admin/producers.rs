//! GET_ALL_PRODUCER_INFO (328): every connected producer.

use orbitmq_common::protocol::body::examine::ProducerTable;
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;

use crate::broker::Broker;

/// Handles the request.
pub fn call(broker: &Broker, frame: &Frame) -> Frame {
    frame.answer(response::SUCCESS).with_json(&ProducerTable { data: broker.members.producers() })
}
