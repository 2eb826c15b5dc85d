//! Traces of deliveries.

use std::time::Duration;

use orbitmq_common::clock::now_ms;
use orbitmq_common::message::message::StoredMessage;
use orbitmq_common::message::property;
use orbitmq_common::message::trace::Trace;

use crate::core::Core;
use crate::source::Source;

/// A delivery whose beginning was traced: ties its end to it.
#[derive(Debug)]
pub(crate) struct Traced {
    request: Box<str>,
}

impl Traced {
    /// Traces the beginning, where traces are wanted.
    pub(crate) fn begin(core: &Core, source: &Source, message: &StoredMessage) -> Option<Self> {
        let courier = core.courier.as_ref()?;
        let is_traced = message.property(property::TRACE_ON) != Some("false") && message.topic != courier.topic();
        if !is_traced || matches!(source, Source::Direct(_)) {
            return None;
        }
        let request: Box<str> = format!("{:032X}", fastrand::u128(..)).into();
        courier.note(&Trace::Began {
            time: now_ms(),
            region: message.property(property::MSG_REGION).unwrap_or("DefaultRegion"),
            group: &core.config.group,
            request: &request,
            id: &message.message_id(),
            retries: message.reconsume_times,
            keys: message.property(property::KEYS),
        });
        Some(Self { request })
    }

    /// Traces the end.
    pub(crate) fn end(self, core: &Core, message: &StoredMessage, took: Duration, ok: bool) {
        let Some(courier) = &core.courier else { return };
        courier.note(&Trace::Ended {
            time: now_ms(),
            group: &core.config.group,
            request: &self.request,
            id: &message.message_id(),
            cost: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            ok,
            keys: message.property(property::KEYS),
        });
    }
}
