//! NOTIFICATION (200054): answers when there is something to pop; POLLING_INFO (200055): how many requests wait for it.

use std::sync::Arc;
use std::time::Duration;

use orbitmq_common::clock::now_ms;
use orbitmq_common::net::connection::Outcome;
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::pop::{
    NotificationRequest, NotificationResponse, PollingInfoRequest, PollingInfoResponse,
};
use tokio::time::Instant;

use crate::broker::Broker;
use crate::handler::popping::{self, Ground, MAX_HOLD, Watch};
use crate::pop::hall::notified;
use crate::refusal::Refusal;

/// What the requester would pop.
struct Asked {
    ground: Ground,
    is_ordered: bool,
    attempt: Option<String>,
}

impl Asked {
    /// Whether there is something, and what to wait for if there is not.
    fn look(&self, broker: &Broker) -> (bool, Watch) {
        let (ground, mut watch) = (&self.ground, Watch::default());
        let mut sources = ground.sources(broker);
        if !self.is_ordered {
            sources.extend(ground.retry_sources(broker));
        }
        for source in sources {
            let (topic, queue) = (&*source.topic, source.queue);
            let place = (topic, ground.group.as_str(), i32::try_from(queue).unwrap_or(i32::MAX));
            if self.is_ordered
                && let Some(free_at) = broker.orders.blocked(place, self.attempt.as_deref(), now_ms())
            {
                watch.free_at = Some(watch.free_at.map_or(free_at, |other| other.min(free_at)));
                continue;
            }
            let at = broker.pop.look(&broker.offsets, topic, &ground.group, queue, || ground.init(broker, &source));
            if broker.store.max_offset(topic, queue) > at {
                return (true, Watch::default());
            }
            watch.queues.push((source.topic, queue, at));
        }
        (false, watch)
    }
}

/// Handles the request; see the module.
pub fn call(broker: &Arc<Broker>, frame: &Frame) -> Result<Outcome, Refusal> {
    let header: NotificationRequest<'_> = frame.fields()?;
    let asked = Asked {
        ground: popping::check(broker, &header.topic, &header.consumer_group, header.queue_id)?,
        is_ordered: header.order == Some(true),
        attempt: header.attempt_id.map(|attempt| attempt.into_owned()).filter(|attempt| !attempt.is_empty()),
    };
    let hold = Duration::from_millis(u64::try_from(header.poll_time).unwrap_or(0)).min(MAX_HOLD);
    let (broker, request) = (Arc::clone(broker), frame.answer(response::SUCCESS));
    Ok(Outcome::later(async move {
        match wait(&broker, &asked, Instant::now() + hold).await {
            Ok(fields) => request.with_fields(&fields),
            Err(refusal) => refusal.answer(&request),
        }
    }))
}

async fn wait(broker: &Broker, asked: &Asked, end: Instant) -> Result<NotificationResponse, Refusal> {
    popping::ready(broker).await?;
    broker.store.built(broker.store.confirmed()).await;
    let Ground { topic, group, .. } = &asked.ground;
    let Some(waiting) = broker.pop.halls.enter(topic, &notified(group), -1) else {
        let (has_msg, _) = asked.look(broker);
        return Ok(NotificationResponse { has_msg, polling_full: !has_msg });
    };
    loop {
        let (has_msg, watch) = asked.look(broker);
        if has_msg || Instant::now() >= end || broker.stop.is_cancelled() {
            return Ok(NotificationResponse { has_msg, polling_full: false });
        }
        popping::news(broker, &waiting.hall, watch, end).await;
    }
}

/// POLLING_INFO (200055).
pub fn info(broker: &Broker, frame: &Frame) -> Result<Frame, Refusal> {
    let header: PollingInfoRequest<'_> = frame.fields()?;
    popping::check(broker, &header.topic, &header.consumer_group, header.queue_id)?;
    let waiting = broker.pop.halls.waiting(&header.topic, &header.consumer_group, header.queue_id);
    let fields = PollingInfoResponse { polling_num: i32::try_from(waiting).unwrap_or(i32::MAX) };
    Ok(frame.answer(response::SUCCESS).with_fields(&fields))
}
