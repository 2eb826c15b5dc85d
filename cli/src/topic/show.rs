//! `orbitmq topic show | route | stats`: one topic from near.

use std::collections::BTreeMap;

use clap::Args;
use orbitmq_common::plain;
use orbitmq_common::protocol::body::route::MASTER_ID;
use orbitmq_common::protocol::body::stats::{self, TopicOffset};
use orbitmq_common::protocol::body::topic::TopicConfig;
use orbitmq_common::protocol::code::request;
use orbitmq_common::protocol::header::admin::TopicRequest;
use serde::Serialize;

use crate::failure::Failure;
use crate::report::{Report, Table};
use crate::session::{Question, Session};
use crate::topic::{parse_name, show_perm};

/// One topic.
#[derive(Debug, Args)]
pub struct Topic {
    /// The topic.
    #[arg(value_parser = parse_name)]
    topic: String,
}

#[derive(Debug, Serialize)]
struct SettingsRow {
    broker: String,
    read_queues: i32,
    write_queues: i32,
    perm: String,
    order: bool,
    attributes: BTreeMap<String, String>,
}

/// Shows the settings at each master.
pub async fn settings(Topic { topic }: &Topic, session: &Session) -> Result<Report, Failure> {
    let mut rows = Vec::new();
    for master in session.masters_of(topic).await? {
        let fields = TopicRequest { topic: topic.as_str().into() };
        let question = Question::new(request::GET_TOPIC_CONFIG, &fields);
        let config: TopicConfig = session.broker_body(&master.address, &question).await?;
        rows.push(SettingsRow {
            broker: master.name,
            read_queues: config.read_queue_nums,
            write_queues: config.write_queue_nums,
            perm: show_perm(config.perm),
            order: config.order,
            attributes: config.attributes,
        });
    }
    let mut table = Table::new(&["BROKER", "READ QUEUES", "WRITE QUEUES", "PERM", "ORDER", "ATTRIBUTES"]);
    for row in &rows {
        let attributes: Vec<String> = row.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
        table.row([
            row.broker.clone(),
            row.read_queues.to_string(),
            row.write_queues.to_string(),
            row.perm.clone(),
            row.order.to_string(),
            attributes.join(","),
        ]);
    }
    Report::new(&rows, table.text())
}

#[derive(Debug, Serialize)]
struct RouteRow {
    broker: String,
    cluster: String,
    master: Option<String>,
    slaves: Vec<String>,
    read_queues: i32,
    write_queues: i32,
    perm: String,
}

/// Shows what name servers tell clients.
pub async fn route(Topic { topic }: &Topic, session: &Session) -> Result<Report, Failure> {
    let route = session.route(topic).await?;
    let mut rows = Vec::new();
    for queues in route.queue_datas {
        let data = route.broker_datas.iter().find(|data| data.broker_name == queues.broker_name);
        let addresses = data.map(|data| data.broker_addrs.clone()).unwrap_or_default();
        rows.push(RouteRow {
            cluster: data.map(|data| data.cluster.clone()).unwrap_or_default(),
            master: addresses.get(&MASTER_ID).cloned(),
            slaves: addresses.into_iter().filter(|(id, _)| *id != MASTER_ID).map(|(_, address)| address).collect(),
            read_queues: queues.read_queue_nums,
            write_queues: queues.write_queue_nums,
            perm: show_perm(queues.perm),
            broker: queues.broker_name,
        });
    }
    rows.sort_by(|a, b| a.broker.cmp(&b.broker));
    let mut table = Table::new(&["BROKER", "CLUSTER", "MASTER", "SLAVES", "READ QUEUES", "WRITE QUEUES", "PERM"]);
    for row in &rows {
        table.row([
            row.broker.clone(),
            row.cluster.clone(),
            row.master.clone().unwrap_or_else(|| "-".to_owned()),
            if row.slaves.is_empty() { "-".to_owned() } else { row.slaves.join(",") },
            row.read_queues.to_string(),
            row.write_queues.to_string(),
            row.perm.clone(),
        ]);
    }
    Report::new(&rows, table.text())
}

#[derive(Debug, Serialize)]
struct StatsRow {
    broker: String,
    queue: i32,
    first_offset: i64,
    next_offset: i64,
    messages: i64,
    last_stored_ms: Option<i64>,
}

/// Shows how many messages each queue holds.
pub async fn stats(Topic { topic }: &Topic, session: &Session) -> Result<Report, Failure> {
    let mut rows = Vec::new();
    for master in session.masters_of(topic).await? {
        let fields = TopicRequest { topic: topic.as_str().into() };
        let answer = session.broker(&master.address, &Question::new(request::GET_TOPIC_STATS_INFO, &fields)).await?;
        let table =
            stats::parse_table::<TopicOffset>(&answer.body).map_err(|error| Failure::answer(&master.address, error))?;
        rows.extend(table.into_iter().map(|(queue, offset)| StatsRow {
            broker: queue.broker_name,
            queue: queue.queue_id,
            first_offset: offset.min_offset,
            next_offset: offset.max_offset,
            messages: offset.max_offset.saturating_sub(offset.min_offset),
            last_stored_ms: Some(offset.last_update_timestamp).filter(|ms| *ms > 0),
        }));
    }
    rows.sort_by(|a, b| (&a.broker, a.queue).cmp(&(&b.broker, b.queue)));
    let mut table = Table::new(&["BROKER", "QUEUE", "FIRST OFFSET", "NEXT OFFSET", "MESSAGES", "LAST STORED"]);
    for row in &rows {
        table.row([
            row.broker.clone(),
            row.queue.to_string(),
            row.first_offset.to_string(),
            row.next_offset.to_string(),
            row.messages.to_string(),
            plain::date(row.last_stored_ms.unwrap_or(0)),
        ]);
    }
    let total: i64 = rows.iter().map(|row| row.messages).sum();
    Report::new(&rows, format!("{}{total} messages in {} queues", table.text(), rows.len()))
}
