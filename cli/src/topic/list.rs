//! `orbitmq topic list`: topics of all brokers, with their queues.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use orbitmq_common::name;
use orbitmq_common::protocol::body::topic::{TopicConfig, TopicTable};
use orbitmq_common::protocol::code::request;
use serde::Serialize;

use crate::failure::Failure;
use crate::report::{Report, Table};
use crate::session::{Master, Nothing, Question, Session};
use crate::topic::show_perm;

/// List the topics of all brokers.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Also topics of the system itself and of returned messages.
    #[arg(long, short)]
    all: bool,
}

/// Before the names of topics that Apache RocketMQ's brokers create for themselves.
const SYSTEM_PREFIX: &str = "RMQ_SYS_";

/// What a topic is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    User,
    Retry,
    DeadLetters,
    System,
}

impl Kind {
    fn of(topic: &str, own_names: &BTreeSet<String>) -> Self {
        if topic.starts_with(name::RETRY_PREFIX) {
            Self::Retry
        } else if topic.starts_with(name::DEAD_LETTER_PREFIX) {
            Self::DeadLetters
        } else if name::is_system_topic(topic) || topic.starts_with(SYSTEM_PREFIX) || own_names.contains(topic) {
            Self::System
        } else {
            Self::User
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Retry => "retry",
            Self::DeadLetters => "dead letters",
            Self::System => "system",
        }
    }
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Row {
    topic: String,
    kind: Kind,
    read_queues: i32,
    write_queues: i32,
    perm: String,
    brokers: Vec<String>,
}

/// Lists the topics.
pub async fn run(arguments: &Arguments, session: &Session) -> Result<Report, Failure> {
    let masters = session.masters().await?;
    let mut rows = BTreeMap::new();
    for master in &masters {
        let question = Question::new(request::GET_ALL_TOPIC_CONFIG, &Nothing {});
        let table: TopicTable = session.broker_body(&master.address, &question).await?;
        for (topic, config) in table.topic_config_table {
            add(&mut rows, topic, &config, master, &own_names(&masters));
        }
    }
    let mut rows: Vec<Row> = rows.into_values().collect();
    rows.retain(|row| arguments.all || matches!(row.kind, Kind::User | Kind::DeadLetters));
    let mut table = Table::new(&["TOPIC", "KIND", "READ QUEUES", "WRITE QUEUES", "PERM", "BROKERS"]);
    for row in &rows {
        let brokers = row.brokers.join(",");
        let queues = [row.read_queues.to_string(), row.write_queues.to_string()];
        let [read, write] = queues;
        table.row([row.topic.clone(), row.kind.text().to_owned(), read, write, row.perm.clone(), brokers]);
    }
    Report::new(&rows, table.text())
}

/// Topics that brokers create under the names of clusters, of brokers, and of answers.
fn own_names(masters: &[Master]) -> BTreeSet<String> {
    let names = masters
        .iter()
        .flat_map(|master| [master.name.clone(), master.cluster.clone(), format!("{}_REPLY_TOPIC", master.cluster)]);
    names.collect()
}

fn add(
    rows: &mut BTreeMap<String, Row>,
    topic: String,
    config: &TopicConfig,
    master: &Master,
    own_names: &BTreeSet<String>,
) {
    let perm = show_perm(config.perm);
    let row = rows.entry(topic).or_insert_with_key(|topic| Row {
        topic: topic.clone(),
        kind: Kind::of(topic, own_names),
        read_queues: 0,
        write_queues: 0,
        perm: perm.clone(),
        brokers: Vec::new(),
    });
    row.read_queues += config.read_queue_nums;
    row.write_queues += config.write_queue_nums;
    row.brokers.push(master.name.clone());
    if row.perm != perm {
        "differs".clone_into(&mut row.perm);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_of_two_brokers_become_one_row() {
        let master = |name: &str| Master { name: name.into(), cluster: "C".into(), address: String::new() };
        let masters = [master("a"), master("b")];
        let mut rows = BTreeMap::new();
        for (master, perm) in masters.iter().zip([6, 4]) {
            add(&mut rows, "T".into(), &TopicConfig::new("T", 8, perm), master, &own_names(&masters));
        }
        let row = &rows["T"];
        assert_eq!((row.read_queues, row.perm.as_str(), row.brokers.len()), (16, "differs", 2));
    }

    #[test]
    fn kinds_are_told_by_name() {
        let own = BTreeSet::from(["broker-a".to_owned()]);
        let kinds = ["orders", "%RETRY%g", "%DLQ%g", "TBW102", "broker-a"].map(|topic| Kind::of(topic, &own).text());
        assert_eq!(kinds, ["user", "retry", "dead letters", "system", "system"]);
    }
}
