//! `orbitmq controller status`: the members of the quorum, and the broker groups as it has them.

use orbitmq_common::protocol::body::controller::{GroupStatus, Quorum, QuorumMember};
use serde::Serialize;

use crate::controller::{quorum, seen_by};
use crate::failure::Failure;
use crate::report::{Report, Table};
use crate::session::Session;

#[derive(Debug, Serialize)]
struct Status {
    leader: Option<u64>,
    term: u64,
    members: Vec<Member>,
    groups: Vec<Group>,
}

#[derive(Debug, Serialize)]
struct Member {
    id: u64,
    address: String,
    state: &'static str,
    voter: bool,
    applied: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Group {
    cluster: String,
    broker: String,
    master: Option<i64>,
    address: Option<String>,
    epoch: i32,
    in_sync: Vec<i64>,
    set_epoch: i32,
    members: Vec<i64>,
    alive: Option<Vec<i64>>,
}

/// Shows quorum and groups, and fails if one of them needs an operator.
pub async fn run(session: &Session) -> Result<Report, Failure> {
    let quorum = quorum(session).await?;
    let mut members = Vec::new();
    for member in &quorum.members {
        members.push(look_at(member, quorum.leader, session).await);
    }
    let groups = quorum.groups.iter().map(group).collect();
    let status = Status { leader: quorum.leader, term: quorum.term, members, groups };
    let failure = needs_an_operator(&status, &quorum);
    Ok(Report::new(&status, text(&status))?.failing(failure))
}

async fn look_at(member: &QuorumMember, leader: Option<u64>, session: &Session) -> Member {
    let seen = seen_by(session, &member.address).await.ok();
    let state = match &seen {
        None => "away",
        Some(_) if leader == Some(member.id) => "leads",
        Some(_) => "follows",
    };
    let applied = seen.map(|quorum| quorum.applied);
    Member { id: member.id, address: member.address.clone(), state, voter: member.voter, applied }
}

fn group(status: &GroupStatus) -> Group {
    let view = &status.view;
    Group {
        cluster: status.cluster.clone(),
        broker: status.broker.clone(),
        master: view.master.as_ref().map(|master| master.id),
        address: view.master.as_ref().map(|master| master.address.clone()),
        epoch: view.epoch,
        in_sync: view.in_sync.clone(),
        set_epoch: view.set_epoch,
        members: view.replicas.iter().map(|replica| replica.id).collect(),
        alive: status.alive.clone(),
    }
}

fn needs_an_operator(status: &Status, quorum: &Quorum) -> Option<Failure> {
    if !quorum.founded {
        return Some(Failure::other("the controller quorum has not begun: start more than half of controller_peers"));
    }
    let leads = status.members.iter().any(|member| member.state == "leads");
    if !leads {
        return Some(Failure::other(
            "the controller quorum has no leader that answers: more than half of its members must be up and reach one another",
        ));
    }
    let group = status.groups.iter().find(|group| group.master.is_none())?;
    Some(Failure::other(format!(
        "group '{}' has no master: start a member of its in-sync set {:?}, or choose another one with 'orbitmq controller elect'",
        group.broker, group.in_sync
    )))
}

fn text(status: &Status) -> String {
    let mut members = Table::new(&["MEMBER", "ADDRESS", "STATE", "VOTES", "APPLIED"]);
    for member in &status.members {
        members.row([
            member.id.to_string(),
            member.address.clone(),
            member.state.to_owned(),
            if member.voter { "yes" } else { "no" }.to_owned(),
            member.applied.map_or_else(|| "-".to_owned(), |applied| applied.to_string()),
        ]);
    }
    if status.groups.is_empty() {
        return format!("{}\nno broker group has registered", members.text());
    }
    let mut groups = Table::new(&["CLUSTER", "GROUP", "MASTER", "ADDRESS", "EPOCH", "IN SYNC", "ALIVE", "MEMBERS"]);
    for group in &status.groups {
        groups.row([
            group.cluster.clone(),
            group.broker.clone(),
            group.master.map_or_else(|| "-".to_owned(), |id| id.to_string()),
            group.address.clone().unwrap_or_else(|| "-".to_owned()),
            group.epoch.to_string(),
            list(&group.in_sync),
            group.alive.as_deref().map_or_else(|| "?".to_owned(), list),
            list(&group.members),
        ]);
    }
    format!("{}\n{}", members.text(), groups.text())
}

fn list(ids: &[i64]) -> String {
    if ids.is_empty() { "-".to_owned() } else { ids.iter().map(i64::to_string).collect::<Vec<_>>().join(" ") }
}
