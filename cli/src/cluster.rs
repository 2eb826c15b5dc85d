//! `orbitmq cluster`: all brokers that name servers know, and how they are.

use std::collections::BTreeMap;

use orbitmq_common::clock::now_ms;
use orbitmq_common::plain;
use orbitmq_common::protocol::body::route::MASTER_ID;
use serde::Serialize;

use crate::failure::Failure;
use crate::report::{Report, Table};
use crate::session::Session;

#[derive(Debug, Serialize)]
struct Row {
    cluster: String,
    broker: String,
    id: i64,
    role: &'static str,
    address: String,
    state: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    flush: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    up_ms: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stored_messages: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disk_used: Option<f64>,
}

/// Shows the brokers. One that does not answer is shown as such and is no failure.
pub async fn run(session: Session) -> Result<Report, Failure> {
    let mut rows = Vec::new();
    for (broker, data) in session.cluster().await?.broker_addr_table {
        for (id, address) in data.broker_addrs {
            rows.push(row(data.cluster.clone(), broker.clone(), id, address, &session).await);
        }
    }
    let mut table =
        Table::new(&["CLUSTER", "BROKER", "ID", "ROLE", "ADDRESS", "STATE", "FLUSH", "UP", "STORED", "DISK"]);
    for row in &rows {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        table.row([
            row.cluster.clone(),
            row.broker.clone(),
            row.id.to_string(),
            row.role.to_owned(),
            row.address.clone(),
            row.state.clone(),
            or_none(row.flush.clone()),
            or_none(row.up_ms.map(plain::length)),
            or_none(row.stored_messages.map(|messages| messages.to_string())),
            or_none(row.disk_used.map(|ratio| format!("{:.0}%", ratio * 100.0))),
        ]);
    }
    let text = if rows.is_empty() {
        format!("no broker is registered with {}", session.nameservers().join(", "))
    } else {
        table.text()
    };
    Report::new(&rows, text)
}

async fn row(cluster: String, broker: String, id: i64, address: String, session: &Session) -> Row {
    let role = if id == MASTER_ID { "master" } else { "slave" };
    let (state, figures) = match session.figures(&address).await {
        Ok(figures) => (state(&figures), figures),
        Err(failure) => (format!("unreachable: {failure}"), BTreeMap::new()),
    };
    let settings = session.settings(&address).await.unwrap_or_default();
    let started: Option<i64> = figures.get("bootTimestamp").and_then(|ms| ms.parse().ok());
    Row {
        cluster,
        broker,
        id,
        role,
        address,
        state,
        flush: settings.get("flushDiskType").cloned(),
        version: figures.get("brokerVersionDesc").cloned(),
        up_ms: started.map(|ms| now_ms().saturating_sub(ms)),
        stored_messages: figures.get("putMessageTimesTotal").and_then(|text| text.parse().ok()),
        disk_used: figures.get("commitLogDiskRatio").and_then(|text| text.parse().ok()),
    }
}

/// What a broker says of its own trouble.
fn state(figures: &BTreeMap<String, String>) -> String {
    if let Some(cause) = figures.get("poisoned").filter(|cause| !cause.is_empty()) {
        return format!("takes nothing more: {cause}");
    }
    if figures.get("diskFull").is_some_and(|full| full == "true") {
        return "disk full".to_owned();
    }
    "ok".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_shown() {
        let figures = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
        assert_eq!(state(&BTreeMap::new()), "ok");
        assert_eq!(state(&figures("poisoned", "")), "ok");
        assert_eq!(state(&figures("poisoned", "fdatasync failed")), "takes nothing more: fdatasync failed");
        assert_eq!(state(&figures("diskFull", "true")), "disk full");
    }
}
