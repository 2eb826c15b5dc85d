//! Traces of what was sent.

use orbitmq_common::message::id::parse_offset_id;
use orbitmq_common::message::property;
use orbitmq_common::message::trace::{Kind, Trace};

use crate::receipt::SendReceipt;
use crate::send::Sending;

/// What brokers of RocketMQ's say unless they are told otherwise; ours say nothing else.
const REGION: &str = "DefaultRegion";

/// Notes that a send has ended with these receipts.
pub(crate) fn note(sending: &Sending, receipts: &[SendReceipt], ok: bool) {
    let Some(courier) = &sending.shared.courier else { return };
    let parcel = &sending.parcel;
    if parcel.topic == courier.topic() {
        return;
    }
    // The messages of a batch have their properties within its body.
    let of_message = |name| if parcel.batch { None } else { property::get(&parcel.properties, name) };
    let body_length = parcel.body.len() / receipts.len().max(1);
    for receipt in receipts {
        let store_host =
            parse_offset_id(&receipt.offset_message_id).map(|(host, _)| host.to_string()).unwrap_or_default();
        courier.note(&Trace::Sent {
            time: parcel.born,
            region: REGION,
            group: &sending.shared.config.group,
            topic: &parcel.topic,
            id: &receipt.message_id,
            tags: of_message(property::TAGS),
            keys: of_message(property::KEYS),
            store_host: &store_host,
            body_length,
            cost: u64::try_from(sending.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            kind: if parcel.batch { Kind::Normal } else { Kind::of(&parcel.properties) },
            offset_id: &receipt.offset_message_id,
            ok,
        });
    }
}
