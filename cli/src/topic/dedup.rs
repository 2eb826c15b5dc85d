//! `orbitmq topic dedup`: whether brokers drop what is sent to a topic twice.

use std::collections::BTreeMap;

use clap::Args;
use orbitmq_common::name::DEFAULT_TOPIC;
use orbitmq_common::protocol::body::dedup::{self, Dedup};
use orbitmq_common::protocol::body::topic::TopicConfig;
use orbitmq_common::protocol::code::request;
use orbitmq_common::protocol::header::admin::{CreateTopicRequest, TopicRequest};
use serde::Serialize;

use crate::failure::Failure;
use crate::report::{Report, Table};
use crate::session::{Master, Question, Session};
use crate::topic::parse_name;

/// Have brokers drop what is sent to a topic twice; without options: show whether they do.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The topic.
    #[arg(value_parser = parse_name)]
    topic: String,
    /// Know a message for so long after it was stored: 1s to 7d, such as 10m.
    #[arg(long, value_name = "DURATION", value_parser = parse_window)]
    window: Option<String>,
    /// Know at most so many messages at each broker, the newest (1000000 if never set).
    #[arg(long, value_name = "N", value_parser = parse_count)]
    count: Option<String>,
    /// Store duplicates again.
    #[arg(long, conflicts_with_all = ["window", "count"])]
    off: bool,
}

fn parse_window(text: &str) -> Result<String, String> {
    checked(&[(dedup::WINDOW, text)]).map(|()| text.to_owned())
}

fn parse_count(text: &str) -> Result<String, String> {
    checked(&[(dedup::WINDOW, "1s"), (dedup::COUNT, text)]).map(|()| text.to_owned())
}

fn checked(attributes: &[(&str, &str)]) -> Result<(), String> {
    let attributes = attributes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Dedup::of("any", &attributes).map(drop).map_err(|error| error.to_string())
}

/// The changes in the form that brokers take; empty: none.
fn changes(arguments: &Arguments) -> String {
    if arguments.off {
        return format!("-{},-{}", dedup::WINDOW, dedup::COUNT);
    }
    let set = |key: &str, value: &Option<String>| value.as_ref().map(|value| format!("+{key}={value}"));
    let set = [set(dedup::WINDOW, &arguments.window), set(dedup::COUNT, &arguments.count)];
    set.into_iter().flatten().collect::<Vec<_>>().join(",")
}

#[derive(Debug, Serialize)]
struct Row {
    broker: String,
    drops_duplicates: bool,
    window_ms: Option<u64>,
    count: Option<usize>,
}

/// Changes the topic at each of its masters, and shows what holds then.
pub async fn run(arguments: &Arguments, session: &Session) -> Result<Report, Failure> {
    let (topic, changes) = (arguments.topic.as_str(), changes(arguments));
    let mut rows = Vec::new();
    for master in session.masters_of(topic).await? {
        let mut config = config(session, &master, topic).await?;
        if !changes.is_empty() {
            change(session, &master, &config, &changes).await?;
            config = self::config(session, &master, topic).await?;
        }
        rows.push(row(master.name, topic, &config.attributes).map_err(Failure::other)?);
    }
    let mut table = Table::new(&["BROKER", "DUPLICATES", "WINDOW", "COUNT"]);
    for row in &rows {
        let verb = if row.drops_duplicates { "dropped" } else { "stored" };
        let window = row.window_ms.map_or_else(|| "-".to_owned(), |ms| format!("{} s", ms / 1_000));
        let count = row.count.map_or_else(|| "-".to_owned(), |count| count.to_string());
        table.row([row.broker.clone(), verb.to_owned(), window, count]);
    }
    Report::new(&rows, table.text())
}

fn row(broker: String, topic: &str, attributes: &BTreeMap<String, String>) -> Result<Row, String> {
    let dedup = Dedup::of(topic, attributes).map_err(|error| error.to_string())?;
    let window_ms = dedup.map(|dedup| u64::try_from(dedup.window.as_millis()).unwrap_or(u64::MAX));
    Ok(Row { broker, drops_duplicates: dedup.is_some(), window_ms, count: dedup.map(|dedup| dedup.count) })
}

async fn config(session: &Session, master: &Master, topic: &str) -> Result<TopicConfig, Failure> {
    let fields = TopicRequest { topic: topic.into() };
    session.broker_body(&master.address, &Question::new(request::GET_TOPIC_CONFIG, &fields)).await
}

/// Sets attributes, and everything else as it is.
async fn change(session: &Session, master: &Master, config: &TopicConfig, changes: &str) -> Result<(), Failure> {
    let fields = CreateTopicRequest {
        topic: config.topic_name.as_str().into(),
        default_topic: DEFAULT_TOPIC.into(),
        read_queue_nums: config.read_queue_nums,
        write_queue_nums: config.write_queue_nums,
        perm: config.perm,
        topic_filter_type: Some(config.topic_filter_type.as_str().into()),
        topic_sys_flag: Some(config.topic_sys_flag),
        order: config.order,
        attributes: Some(changes.into()),
        ..CreateTopicRequest::default()
    };
    session.broker(&master.address, &Question::new(request::UPDATE_AND_CREATE_TOPIC, &fields)).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_become_changes() {
        let arguments = |window: Option<&str>, count: Option<&str>, off| Arguments {
            topic: "T".to_owned(),
            window: window.map(str::to_owned),
            count: count.map(str::to_owned),
            off,
        };
        assert_eq!(changes(&arguments(None, None, false)), "");
        let both = "+orbitmq.dedup.window=10m,+orbitmq.dedup.count=5";
        assert_eq!(changes(&arguments(Some("10m"), Some("5"), false)), both);
        assert_eq!(changes(&arguments(None, None, true)), "-orbitmq.dedup.window,-orbitmq.dedup.count");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert!(parse_window("10m").is_ok() && parse_count("5").is_ok());
        for (refused, told) in [(parse_window("1y"), "from 1s to 7d"), (parse_count("0"), "from 1 to")] {
            assert!(refused.as_ref().is_err_and(|error| error.contains(told)), "{refused:?}");
        }
    }

    #[test]
    fn a_row_tells_what_holds() {
        let attributes = BTreeMap::from([(dedup::WINDOW.to_owned(), "10m".to_owned())]);
        let found = row("a".to_owned(), "T", &attributes).unwrap();
        assert_eq!((found.drops_duplicates, found.window_ms, found.count), (true, Some(600_000), Some(1_000_000)));
        assert!(!row("a".to_owned(), "T", &BTreeMap::new()).unwrap().drops_duplicates);
    }
}
