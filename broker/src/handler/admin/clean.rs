//! Cleaning at an administrator's wish: queue files (306), queues of unknown topics (316), expired segments of the log (329).

use std::sync::Arc;

use orbitmq_common::name;
use orbitmq_common::net::connection::Outcome;
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;

use crate::broker::Broker;
use crate::store::upkeep;

/// CLEAN_EXPIRED_CONSUMEQUEUE (306): deletes queue and index files that speak of deleted segments only.
pub fn queues(broker: &Arc<Broker>, frame: &Frame) -> Outcome {
    on_a_thread(broker, frame, |broker| {
        upkeep::clean_queues(&broker.store).map_err(|error| error.to_string())?;
        tracing::info!("queue and index files were cleaned");
        Ok(())
    })
}

/// CLEAN_UNUSED_TOPIC (316): deletes the queues of topics that are not among this broker's topics.
pub fn topics(broker: &Arc<Broker>, frame: &Frame) -> Outcome {
    on_a_thread(broker, frame, |broker| {
        for topic in broker.store.topics() {
            if broker.topics.get(&topic).is_none() && !name::is_system_topic(&topic) {
                broker.deletions.delete(&topic);
                tracing::info!(topic, "queues of an unknown topic deleted");
            }
        }
        Ok(())
    })
}

/// DELETE_EXPIRED_COMMITLOG (329): deletes the segments that retention gives up.
pub fn log(broker: &Arc<Broker>, frame: &Frame) -> Outcome {
    on_a_thread(broker, frame, |broker| {
        let deleted = upkeep::delete_expired(&broker.store).map_err(|error| error.to_string())?;
        tracing::info!(deleted, "expired segments were deleted");
        Ok(())
    })
}

/// Files are removed, which takes its time on a thread of its own.
fn on_a_thread(
    broker: &Arc<Broker>,
    frame: &Frame,
    work: impl FnOnce(&Broker) -> Result<(), String> + Send + 'static,
) -> Outcome {
    let (broker, answer) = (Arc::clone(broker), frame.answer(response::SUCCESS));
    Outcome::later(async move {
        let done = tokio::task::spawn_blocking(move || work(&broker)).await;
        match done.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(()) => answer,
            Err(cause) => {
                answer.refuse(response::SYSTEM_ERROR, format!("not everything was cleaned: {cause}; ask again"))
            }
        }
    })
}
