//! Tells brokers that the consumer is here and what it wants, and that it leaves.

use std::sync::Arc;

use orbitmq_common::message::property::tag_hash;
use orbitmq_common::net::client::Link;
use orbitmq_common::net::peer::CallError;
use orbitmq_common::protocol::body::heartbeat::{
    ConsumeType, ConsumerData, HeartbeatData, MessageModel, SubscriptionData,
};
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::header::group::UnregisterClientRequest;
use tokio::task::JoinSet;

use crate::core::Core;
use crate::error::ConsumeError;
use crate::modes::Subscription;

/// Tells one broker.
pub(crate) async fn tell(core: &Core, link: &Link) -> Result<(), CallError> {
    let beat = link.request(request::HEART_BEAT).with_json(&data(core));
    let answer = link.call(beat, core.config.call_timeout).await?;
    if answer.code != response::SUCCESS {
        let remark = answer.remark.unwrap_or_default();
        let (address, group) = (link.peer().remote().to_string(), core.config.group.clone());
        tracing::warn!(peer = address, code = answer.code, remark, "heartbeat refused");
        core.troubles.failed(&whole(), None, ConsumeError::NotWelcome { address, group, code: answer.code, remark });
    } else {
        core.troubles.over(&whole(), None);
    }
    Ok(())
}

/// Stands for all topics.
fn whole() -> Arc<str> {
    Arc::from("")
}

fn data(core: &Core) -> HeartbeatData {
    let model = if core.is_broadcasting() { MessageModel::Broadcasting } else { MessageModel::Clustering };
    let group = ConsumerData {
        consume_from_where: core.config.start.on_wire(),
        consume_type: ConsumeType::Passively,
        group_name: core.config.group.clone(),
        message_model: model,
        subscription_data_set: subscriptions(core),
        unit_mode: false,
    };
    HeartbeatData {
        client_id: core.client_id.clone(),
        consumer_data_set: vec![group],
        heartbeat_fingerprint: 0,
        producer_data_set: Vec::new(),
        without_sub: false,
    }
}

/// What this consumer wants, as bodies say it.
pub(crate) fn subscriptions(core: &Core) -> Vec<SubscriptionData> {
    core.subscriptions.iter().map(|one| subscription(one, core.version)).collect()
}

fn subscription(one: &Subscription, version: i64) -> SubscriptionData {
    SubscriptionData {
        class_filter_mode: false,
        code_set: one.tags.iter().map(|tag| i32::try_from(tag_hash(tag)).unwrap_or(0)).collect(),
        expression_type: one.kind.to_owned(),
        sub_string: one.expression.clone(),
        sub_version: version,
        tags_set: one.tags.clone(),
        topic: one.topic.as_ref().to_owned(),
    }
}

/// Tells all brokers of all routes, masters and slaves, on a timer and when a route changed.
pub(crate) async fn run(core: Arc<Core>) {
    let mut changes = core.finder.changes();
    loop {
        let told = async {
            beat(&core).await;
            tokio::time::sleep(core.config.heartbeat).await;
        };
        tokio::select! {
            () = told => {}
            changed = changes.changed() => if changed.is_err() { return },
        }
    }
}

/// Tells all brokers once, at the same time.
pub(crate) async fn beat(core: &Arc<Core>) {
    let mut tasks = JoinSet::new();
    for address in core.finder.table().addresses(true) {
        let core = Arc::clone(core);
        tasks.spawn(async move {
            core.tell_again(&address);
            if let Err(error) = core.link(&address).await {
                tracing::debug!(address, %error, "no heartbeat");
            }
        });
    }
    while tasks.join_next().await.is_some() {}
}

/// Tells every broker with an open connection that the consumer leaves.
pub(crate) async fn unregister(core: &Core) {
    let fields = UnregisterClientRequest {
        client_id: core.client_id.as_str().into(),
        producer_group: None,
        consumer_group: Some(core.config.group.as_str().into()),
    };
    for address in core.finder.table().addresses(true) {
        let Some(link) = core.links.open(&address) else { continue };
        let farewell = link.request(request::UNREGISTER_CLIENT).with_fields(&fields);
        if let Err(error) = link.call(farewell, core.config.call_timeout).await {
            tracing::debug!(address, %error, "could not say good-bye");
        }
    }
}
