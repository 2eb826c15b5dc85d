//! `orbitmq group list | members`: groups and their connected consumers.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use orbitmq_common::protocol::body::group::{ConsumerConnection, GroupConfig, GroupTable};
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::header::group::ConsumerGroupRequest;
use serde::Serialize;

use crate::failure::Failure;
use crate::group::parse_name;
use crate::report::{Report, Table};
use crate::session::{Nothing, Question, Session};
use crate::{dead, tail};

/// Groups that Apache RocketMQ's brokers create for themselves, and those that this tool leaves.
const SYSTEM: [&str; 6] = [
    "DEFAULT_CONSUMER",
    "TOOLS_CONSUMER",
    "FILTERSRV_CONSUMER",
    "SELF_TEST_C_GROUP",
    "__MONITOR_CONSUMER",
    tail::watch::GROUP,
];
const SYSTEM_PREFIXES: [&str; 3] = ["CID_RMQ_SYS_", "CID_ONS", dead::PREFIX];

/// List the groups of all brokers with their connected members.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Also groups of the system itself.
    #[arg(long, short)]
    all: bool,
}

/// Show the connected members of a group and what they subscribe to.
#[derive(Debug, Args)]
pub struct Members {
    /// The group.
    #[arg(value_parser = parse_name)]
    group: String,
}

#[derive(Debug, Serialize)]
struct Row {
    group: String,
    members: usize,
    retries: i32,
    consume_enabled: bool,
    brokers: Vec<String>,
}

/// Lists the groups.
pub async fn run(arguments: &Arguments, session: &Session) -> Result<Report, Failure> {
    let mut groups: BTreeMap<String, (GroupConfig, Vec<String>)> = BTreeMap::new();
    for master in session.masters().await? {
        let question = Question::new(request::GET_ALL_SUBSCRIPTIONGROUP_CONFIG, &Nothing {});
        let table: GroupTable = session.broker_body(&master.address, &question).await?;
        for (group, config) in table.subscription_group_table {
            groups.entry(group).or_insert_with(|| (config, Vec::new())).1.push(master.name.clone());
        }
    }
    groups.retain(|group, _| arguments.all || !is_system(group));
    let mut rows = Vec::new();
    for (group, (config, brokers)) in groups {
        let members = connections(&group, session).await?.clients.len();
        let (retries, consume_enabled) = (config.retry_max_times, config.consume_enable);
        rows.push(Row { group, members, retries, consume_enabled, brokers });
    }
    let mut table = Table::new(&["GROUP", "MEMBERS", "RETRIES", "CONSUMES", "BROKERS"]);
    for row in &rows {
        table.row([
            row.group.clone(),
            row.members.to_string(),
            row.retries.to_string(),
            if row.consume_enabled { "yes" } else { "no" }.to_owned(),
            row.brokers.join(","),
        ]);
    }
    Report::new(&rows, table.text())
}

pub fn is_system(group: &str) -> bool {
    SYSTEM.contains(&group) || SYSTEM_PREFIXES.iter().any(|prefix| group.starts_with(prefix))
}

#[derive(Debug, Default, Serialize)]
struct Connections {
    group: String,
    model: Option<String>,
    subscriptions: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    conflict: Option<String>,
    clients: Vec<Client>,
}

#[derive(Debug, Serialize)]
struct Client {
    client: String,
    address: String,
    language: String,
    brokers: BTreeSet<String>,
}

/// What all masters know of a group's members.
async fn connections(group: &str, session: &Session) -> Result<Connections, Failure> {
    let mut all = Connections { group: group.to_owned(), ..Connections::default() };
    let mut clients: BTreeMap<String, Client> = BTreeMap::new();
    for master in session.masters().await? {
        let fields = ConsumerGroupRequest { consumer_group: group.into() };
        let question = Question::new(request::GET_CONSUMER_CONNECTION_LIST, &fields);
        let known: ConsumerConnection = match session.broker_body(&master.address, &question).await {
            Ok(known) => known,
            Err(failure) if failure.code() == Some(response::CONSUMER_NOT_ONLINE) => continue,
            Err(failure) => return Err(failure),
        };
        all.model = Some(format!("{:?}", known.message_model).to_lowercase());
        all.conflict = all.conflict.or(known.subscription_conflict);
        for (topic, data) in known.subscription_table {
            let expression = if data.sub_string.is_empty() { "*".to_owned() } else { data.sub_string };
            all.subscriptions.insert(topic, expression);
        }
        for one in known.connection_set {
            let client = clients.entry(one.client_id.clone()).or_insert_with(|| Client {
                client: one.client_id,
                address: one.client_addr,
                language: one.language,
                brokers: BTreeSet::new(),
            });
            client.brokers.insert(master.name.clone());
        }
    }
    all.clients = clients.into_values().collect();
    Ok(all)
}

/// Shows the members.
pub async fn members(Members { group }: &Members, session: &Session) -> Result<Report, Failure> {
    let all = connections(group, session).await?;
    let Some(model) = &all.model else {
        return Report::new(&all, format!("no consumer of group '{group}' is connected"));
    };
    let mut table = Table::new(&["CLIENT", "ADDRESS", "LANGUAGE", "BROKERS"]);
    for one in &all.clients {
        let brokers: Vec<&str> = one.brokers.iter().map(String::as_str).collect();
        table.row([one.client.clone(), one.address.clone(), one.language.clone(), brokers.join(",")]);
    }
    let subscriptions = all.subscriptions.iter().map(|(topic, expression)| format!("{topic} ({expression})"));
    let subscriptions = subscriptions.collect::<Vec<_>>().join(", ");
    let conflict = all.conflict.as_ref().map(|conflict| format!("\nconflict: {conflict}")).unwrap_or_default();
    Report::new(&all, format!("{}{model}, subscribed to {subscriptions}{conflict}", table.text()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_of_the_system_are_told_by_name() {
        assert!(is_system("CID_RMQ_SYS_TRANS") && is_system("orbitmq-tail"));
        assert!(is_system("orbitmq-dead-done-orders"));
        assert!(!is_system("CID_orders"));
    }
}
