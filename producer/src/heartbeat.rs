//! Tells brokers that the producer is there, so that they can reach it, and that it leaves.

use std::sync::{Arc, Weak};
use std::time::Duration;

use orbitmq_common::protocol::body::heartbeat::{HeartbeatData, ProducerData};
use orbitmq_common::protocol::code::request;
use orbitmq_common::protocol::header::group::UnregisterClientRequest;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::producer::Shared;

const WITHIN: Duration = Duration::from_secs(3);

/// Sends heartbeats to the masters of all routes: on a timer, and when a route changed.
pub(crate) async fn run(shared: Weak<Shared>, stopped: CancellationToken, mut changes: watch::Receiver<u64>) {
    loop {
        let every = {
            let Some(shared) = shared.upgrade() else { return };
            beat(&shared, &stopped).await;
            shared.config.heartbeat
        };
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            changed = changes.changed() => if changed.is_err() { return },
            () = stopped.cancelled() => return,
        }
    }
}

async fn beat(shared: &Arc<Shared>, stopped: &CancellationToken) {
    let data = HeartbeatData {
        client_id: shared.client_id.clone(),
        producer_data_set: vec![ProducerData { group_name: shared.config.group.clone() }],
        ..HeartbeatData::default()
    };
    for address in shared.finder.table().addresses(false) {
        let told = async {
            let link = shared.links.get(&address, WITHIN).await?;
            link.call(link.request(request::HEART_BEAT).with_json(&data), WITHIN).await
        };
        tokio::select! {
            answer = told => if let Err(error) = answer { tracing::debug!(address, %error, "no heartbeat") },
            () = stopped.cancelled() => return,
        }
    }
}

/// Tells every broker with an open connection that this producer leaves.
pub(crate) async fn unregister(shared: &Shared) {
    let fields = UnregisterClientRequest {
        client_id: shared.client_id.as_str().into(),
        producer_group: Some(shared.config.group.as_str().into()),
        consumer_group: None,
    };
    for address in shared.finder.table().addresses(false) {
        let Some(link) = shared.links.open(&address) else { continue };
        let farewell = link.request(request::UNREGISTER_CLIENT).with_fields(&fields);
        if let Err(error) = link.call(farewell, WITHIN).await {
            tracing::debug!(address, %error, "could not say good-bye");
        }
    }
}
