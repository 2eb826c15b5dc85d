//! The broker's settings: tells them (26), changes those that may be changed while it runs (25).

use std::sync::Arc;

use orbitmq_common::net::connection::Outcome;
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::examine::SettingsResponse;

use crate::broker::Broker;
use crate::config::replication::Acknowledge;
use crate::handler::admin::topic::routed;
use crate::refusal::Refusal;
use crate::store::options::Flush;
use crate::tuned;

/// UPDATE_BROKER_CONFIG (25): properties text; all of it or nothing. Answers once it survives a power cut and name servers know of it.
pub fn update(broker: &Arc<Broker>, frame: &Frame) -> Result<Outcome, Refusal> {
    let text = std::str::from_utf8(&frame.body).map_err(|_| Refusal::invalid("the body is not UTF-8 text"))?;
    let changes = tuned::parse(text)?;
    let told = || (broker.tuned.permission(), broker.tuned.auto_create_topics());
    let before = told();
    broker.tuned.apply(&changes);
    if told() != before {
        // Name servers are told at once.
        broker.topics.touch();
    }
    Ok(routed(broker, frame))
}

/// GET_BROKER_CONFIG (26): properties text under RocketMQ's names.
pub fn get(broker: &Broker, frame: &Frame) -> Frame {
    let config = &broker.config;
    let flush = match config.store.flush {
        Flush::Sync => "SYNC_FLUSH",
        Flush::Async => "ASYNC_FLUSH",
    };
    let role = match config.acknowledge {
        _ if !broker.role.is_master() => "SLAVE",
        Acknowledge::Replica => "SYNC_MASTER",
        _ => "ASYNC_MASTER",
    };
    let hours = config.store.retention.max_age.map(|age| (age.as_secs() / 3600).to_string());
    let lines = [
        ("brokerName", config.name.clone()),
        ("brokerClusterName", config.cluster.clone()),
        ("brokerId", broker.route_id().to_string()),
        ("brokerRole", role.to_owned()),
        ("brokerIP1", broker.address.ip().to_string()),
        ("listenPort", broker.address.port().to_string()),
        ("haListenPort", broker.ha_address.port().to_string()),
        ("namesrvAddr", config.nameservers.join(";")),
        ("storePathRootDir", config.store.dir.display().to_string()),
        ("flushDiskType", flush.to_owned()),
        ("mappedFileSizeCommitLog", config.store.segment_size.to_string()),
        ("fileReservedTime", hours.unwrap_or_default()),
        ("defaultTopicQueueNums", config.default_topic_queues.to_string()),
        ("traceTopicEnable", config.trace_topic.to_string()),
        ("slaveReadEnable", "true".to_owned()),
        ("traceOn", "true".to_owned()),
        ("enablePropertyFilter", config.filtering.sql.to_string()),
    ];
    let mut text: String = lines.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    text.extend(broker.tuned.shown().iter().map(|(key, value)| format!("{key}={value}\n")));
    let version = serde_json::to_string(&broker.tuned.version()).unwrap_or_default();
    frame.answer(response::SUCCESS).with_fields(&SettingsResponse { version: version.into() }).with_body(text)
}
