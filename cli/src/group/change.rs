//! `orbitmq group create | delete`: at every master.

use clap::Args;
use orbitmq_common::protocol::body::group::GroupConfig;
use orbitmq_common::protocol::code::request;
use orbitmq_common::protocol::header::admin::{DeleteGroupRequest, GroupRequest};
use serde::Serialize;

use crate::failure::Failure;
use crate::group::parse_name;
use crate::report::Report;
use crate::session::{Nothing, Question, Session};

/// Create a group, or change its settings.
#[derive(Debug, Args)]
pub struct Create {
    /// The group.
    #[arg(value_parser = parse_name)]
    group: String,
    /// After how many returns a message goes to the group's dead letters.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(i32).range(0..))]
    retries: i32,
    /// The group consumes in order.
    #[arg(long)]
    orderly: bool,
    /// The group may not consume until this is changed.
    #[arg(long)]
    stopped: bool,
    /// The group may not broadcast.
    #[arg(long)]
    no_broadcast: bool,
}

/// Delete a group and its offsets.
#[derive(Debug, Args)]
pub struct Delete {
    /// The group.
    #[arg(value_parser = parse_name)]
    group: String,
    /// Keep its offsets: a group of that name goes on where this one was.
    #[arg(long)]
    keep_offsets: bool,
}

#[derive(Debug, Serialize)]
struct Done<'a> {
    group: &'a str,
    brokers: Vec<String>,
}

/// Creates the group.
pub async fn create(arguments: &Create, session: &Session) -> Result<Report, Failure> {
    let config = GroupConfig {
        retry_max_times: arguments.retries,
        consume_message_orderly: arguments.orderly,
        consume_enable: !arguments.stopped,
        consume_broadcast_enable: !arguments.no_broadcast,
        ..GroupConfig::new(&arguments.group)
    };
    let body = serde_json::to_vec(&config).map_err(|error| Failure::other(error.to_string()))?;
    let mut brokers = Vec::new();
    for master in session.masters().await? {
        let kind = request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP;
        session.broker(&master.address, &Question { kind, fields: &Nothing {}, body: body.clone().into() }).await?;
        brokers.push(master.name);
    }
    let text = format!("group '{}' is set at: {}", arguments.group, brokers.join(", "));
    Report::new(&Done { group: &arguments.group, brokers }, text)
}

/// Deletes the group where it is.
pub async fn delete(arguments: &Delete, session: &Session) -> Result<Report, Failure> {
    let group = arguments.group.as_str();
    let mut brokers = Vec::new();
    for master in session.masters().await? {
        if !exists(group, &master.address, session).await? {
            continue;
        }
        let fields = DeleteGroupRequest { group_name: group.into(), clean_offset: Some(!arguments.keep_offsets) };
        session.broker(&master.address, &Question::new(request::DELETE_SUBSCRIPTIONGROUP, &fields)).await?;
        brokers.push(master.name);
    }
    if brokers.is_empty() {
        return Err(unknown(group));
    }
    let text = format!("group '{group}' is deleted at: {}", brokers.join(", "));
    Report::new(&Done { group, brokers }, text)
}

/// Deletes a group and its offsets at every master that knows it.
pub async fn remove(session: &Session, group: &str) -> Result<(), Failure> {
    for master in session.masters().await? {
        let fields = DeleteGroupRequest { group_name: group.into(), clean_offset: Some(true) };
        session.broker(&master.address, &Question::new(request::DELETE_SUBSCRIPTIONGROUP, &fields)).await?;
    }
    Ok(())
}

/// Creates a group with RocketMQ's settings at one broker, unless that knows it.
pub async fn ensure(group: &str, address: &str, session: &Session) -> Result<(), Failure> {
    if exists(group, address, session).await? {
        return Ok(());
    }
    let body = serde_json::to_vec(&GroupConfig::new(group)).map_err(|error| Failure::other(error.to_string()))?;
    let kind = request::UPDATE_AND_CREATE_SUBSCRIPTIONGROUP;
    session.broker(address, &Question { kind, fields: &Nothing {}, body: body.into() }).await?;
    Ok(())
}

/// The failure of a command on a group that is nowhere.
pub fn unknown(group: &str) -> Failure {
    Failure::other(format!("no broker knows group '{group}': 'orbitmq group list' shows those there are"))
}

/// Whether a broker knows a group.
pub async fn exists(group: &str, address: &str, session: &Session) -> Result<bool, Failure> {
    let fields = GroupRequest { group: group.into() };
    match session.broker(address, &Question::new(request::GET_SUBSCRIPTIONGROUP_CONFIG, &fields)).await {
        // RocketMQ's broker answers with an empty body where it creates groups by itself.
        Ok(answer) => Ok(!answer.body.is_empty() && answer.body.as_ref() != b"null"),
        Err(Failure::Refused { .. }) => Ok(false),
        Err(failure) => Err(failure),
    }
}
