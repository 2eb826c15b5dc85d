//! Tells brokers that the producer is there, so that they can reach it, and that it leaves.

use std::sync::{Arc, Weak};
use std::time::Duration;

use orbitmq_common::protocol::body::heartbeat::{HeartbeatData, ProducerData};
use orbitmq_common::protocol::code::request;
use orbitmq_common::protocol::header::group::UnregisterClientRequest;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::producer::Shared;

const WITHIN: Duration = Duration::from_secs(3);
/// Time to the next heartbeat after one that was not heard, of a producer that is to be asked.
const AGAIN: Duration = Duration::from_secs(1);

/// Sends heartbeats to all brokers of all routes, slaves too, for one of them may be the next master: on a timer, and at once
/// when a route changed. A producer that brokers ask something is back as soon as they are.
pub(crate) async fn run(shared: Weak<Shared>, stopped: CancellationToken, mut changes: watch::Receiver<u64>) {
    loop {
        let (mut beats, every, notices) = {
            let Some(shared) = shared.upgrade() else { return };
            (beat(&shared), shared.config.heartbeat, Arc::clone(&shared.notices))
        };
        let pause = async {
            let mut heard = true;
            while let Some(beat) = beats.join_next().await {
                heard &= beat.unwrap_or(false);
            }
            let soon = !heard && notices.is_asked();
            tokio::time::sleep(if soon { every.min(AGAIN) } else { every }).await;
        };
        tokio::select! {
            () = pause => {}
            () = notices.lost.notified() => {}
            changed = changes.changed() => if changed.is_err() { return },
            () = stopped.cancelled() => return,
        }
    }
}

/// Tells all of them at the same time; one that hangs keeps none from hearing. Each tells whether it was heard.
pub(crate) fn beat(shared: &Arc<Shared>) -> JoinSet<bool> {
    let data = Arc::new(HeartbeatData {
        client_id: shared.client_id.clone(),
        producer_data_set: vec![ProducerData { group_name: shared.config.group.clone() }],
        ..HeartbeatData::default()
    });
    let mut beats = JoinSet::new();
    for address in shared.finder.table().addresses(true) {
        let (links, data) = (Arc::clone(&shared.links), Arc::clone(&data));
        beats.spawn(async move {
            let told = async {
                let link = links.get(&address, WITHIN).await?;
                link.call(link.request(request::HEART_BEAT).with_json(data.as_ref()), WITHIN).await
            };
            let told = told.await;
            if let Err(error) = &told {
                tracing::debug!(address, %error, "no heartbeat");
            }
            told.is_ok()
        });
    }
    beats
}

/// Tells every broker with an open connection that this producer leaves.
pub(crate) async fn unregister(shared: &Shared) {
    let fields = UnregisterClientRequest {
        client_id: shared.client_id.as_str().into(),
        producer_group: Some(shared.config.group.as_str().into()),
        consumer_group: None,
    };
    for address in shared.finder.table().addresses(true) {
        let Some(link) = shared.links.open(&address) else { continue };
        let farewell = link.request(request::UNREGISTER_CLIENT).with_fields(&fields);
        if let Err(error) = link.call(farewell, WITHIN).await {
            tracing::debug!(address, %error, "could not say good-bye");
        }
    }
}
