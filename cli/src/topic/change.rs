//! `orbitmq topic create | delete`: at the brokers, and what name servers tell of it.

use std::time::{Duration, Instant};

use clap::Args;
use orbitmq_common::name::DEFAULT_TOPIC;
use orbitmq_common::protocol::body::route::perm;
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::header::admin::{CreateTopicRequest, TopicRequest};
use orbitmq_common::protocol::header::nameserver::NameServerTopicRequest;
use serde::Serialize;

use crate::failure::Failure;
use crate::report::Report;
use crate::session::{Master, Question, Session};
use crate::topic::{parse_name, parse_perm};

/// Longest time until a new topic has a route.
const ROUTED_WITHIN: Duration = Duration::from_secs(15);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Create a topic, or change its queues and permission.
#[derive(Debug, Args)]
pub struct Create {
    /// The topic.
    #[arg(value_parser = parse_name)]
    topic: String,
    /// Queues at each broker.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(i32).range(1..=65_536))]
    queues: i32,
    /// What may be done with it: r, w or rw.
    #[arg(long, default_value = "rw", value_parser = parse_perm)]
    perm: i32,
    /// Only at this broker; may be given several times.
    #[arg(long, value_name = "NAME")]
    broker: Vec<String>,
}

/// Delete a topic with its messages and every group's offsets in it.
#[derive(Debug, Args)]
pub struct Delete {
    /// The topic.
    #[arg(value_parser = parse_name)]
    topic: String,
}

#[derive(Debug, Serialize)]
struct Done<'a> {
    topic: &'a str,
    brokers: Vec<String>,
}

fn names(masters: &[Master]) -> Vec<String> {
    masters.iter().map(|master| master.name.clone()).collect()
}

/// Creates the topic, or changes it, and waits until clients find it.
pub async fn create(arguments: &Create, session: &Session) -> Result<Report, Failure> {
    let mut masters = session.masters().await?;
    if let Some(unknown) = arguments.broker.iter().find(|name| masters.iter().all(|master| master.name != **name)) {
        let known = names(&masters).join(", ");
        return Err(Failure::other(format!("no broker '{unknown}' has a registered master; these have: {known}")));
    }
    masters.retain(|master| arguments.broker.is_empty() || arguments.broker.contains(&master.name));
    let topic = arguments.topic.as_str();
    put(session, &masters, topic, arguments.queues, arguments.perm).await?;
    await_route(session, topic).await?;
    let brokers = names(&masters);
    let text = format!("topic '{topic}' has {} queues at each of: {}", arguments.queues, brokers.join(", "));
    Report::new(&Done { topic, brokers }, text)
}

/// Creates a topic at every master unless clients find it already.
pub async fn ensure(session: &Session, topic: &str, queues: i32) -> Result<(), Failure> {
    if is_routed(session, topic).await? {
        return Ok(());
    }
    put(session, &session.masters().await?, topic, queues, perm::READ | perm::WRITE).await?;
    await_route(session, topic).await
}

async fn put(session: &Session, masters: &[Master], topic: &str, queues: i32, perm: i32) -> Result<(), Failure> {
    for master in masters {
        let fields = CreateTopicRequest {
            topic: topic.into(),
            default_topic: DEFAULT_TOPIC.into(),
            read_queue_nums: queues,
            write_queue_nums: queues,
            perm,
            topic_filter_type: Some("SINGLE_TAG".into()),
            topic_sys_flag: Some(0),
            ..CreateTopicRequest::default()
        };
        session.broker(&master.address, &Question::new(request::UPDATE_AND_CREATE_TOPIC, &fields)).await?;
    }
    Ok(())
}

async fn await_route(session: &Session, topic: &str) -> Result<(), Failure> {
    let end = Instant::now() + ROUTED_WITHIN;
    while !is_routed(session, topic).await? {
        if Instant::now() >= end {
            return Err(Failure::other(format!(
                "topic '{topic}' is created but has no route after {ROUTED_WITHIN:?}: do its brokers name these name servers?"
            )));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

async fn is_routed(session: &Session, topic: &str) -> Result<bool, Failure> {
    match session.route(topic).await {
        Ok(route) => Ok(!route.queue_datas.is_empty()),
        Err(failure) if failure.code() == Some(response::TOPIC_NOT_EXIST) => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// Deletes a topic that must be there.
pub async fn delete(arguments: &Delete, session: &Session) -> Result<Report, Failure> {
    let topic = arguments.topic.as_str();
    let brokers = names(&session.masters_of(topic).await?);
    remove(session, topic).await?;
    let text = format!("topic '{topic}' is deleted at: {}", brokers.join(", "));
    Report::new(&Done { topic, brokers }, text)
}

/// Deletes a topic at every master, then at the name servers.
pub async fn remove(session: &Session, topic: &str) -> Result<(), Failure> {
    for master in session.masters().await? {
        let fields = TopicRequest { topic: topic.into() };
        session.broker(&master.address, &Question::new(request::DELETE_TOPIC_IN_BROKER, &fields)).await?;
    }
    let fields = NameServerTopicRequest { topic: topic.into(), cluster_name: None };
    session.all_nameservers(&Question::new(request::DELETE_TOPIC_IN_NAMESRV, &fields)).await
}
