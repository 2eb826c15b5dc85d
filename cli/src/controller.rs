//! `orbitmq controller`: the quorum of name servers that decides who is master of each broker group.

use std::time::Duration;

use bytes::Bytes;
use clap::Subcommand;
use orbitmq_common::protocol::body::controller::{GroupStatus, MembersRequest, Quorum};
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::controller::{ElectMasterRequest, ElectMasterResponse};
use orbitmq_common::protocol::relaxed;
use serde::Serialize;

use crate::failure::{Failure, Server};
use crate::report::Report;
use crate::session::{Nothing, Question, Session};

mod status;

/// Changes wait for a lease to end, or for a member to catch up.
const CHANGE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_secs(5);

/// What can be asked of the controller.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the members of the quorum and the broker groups. Fails if there is no leader, or a group without master.
    Status,
    /// Take a name server into the quorum. Start it first, with an empty data directory and itself in controller_peers.
    Add {
        /// Its controller_id and address.
        #[arg(value_name = "ID=HOST:PORT", value_parser = parse_member)]
        member: (u64, String),
    },
    /// Take a name server out of the quorum. Stop it afterwards.
    Remove {
        /// Its controller_id.
        id: u64,
    },
    /// Make a member of a broker group its master, after the lease of the one before.
    Elect {
        /// Name of the group: what its brokers have as 'name'.
        group: String,
        /// Number of the member: what the broker has as 'id'.
        id: i64,
        /// The cluster, if several have such a group.
        #[arg(long, default_value = "")]
        cluster: String,
        /// Do it even if the member may lack acknowledged messages, which are lost then.
        #[arg(long)]
        accept_loss: bool,
    },
}

fn parse_member(text: &str) -> Result<(u64, String), String> {
    let expected = || "expected ID=HOST:PORT, such as 4=10.0.0.4:9876".to_owned();
    let (id, address) = text.split_once('=').ok_or_else(expected)?;
    let id = id.parse().ok().filter(|id| *id > 0).ok_or_else(expected)?;
    let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
    if matches!(port, Some(Ok(_))) { Ok((id, address.to_owned())) } else { Err(expected()) }
}

/// Runs one command.
pub async fn run(command: Command, session: Session) -> Result<Report, Failure> {
    match command {
        Command::Status => status::run(&session).await,
        Command::Add { member: (id, address) } => {
            let quorum = change(&MembersRequest::Add { id, address }, &session).await?;
            Report::new(&quorum, format!("member {id} belongs to the quorum now; members are {}", members(&quorum)))
        }
        Command::Remove { id } => {
            let quorum = change(&MembersRequest::Remove { id }, &session).await?;
            Report::new(&quorum, format!("member {id} is out of the quorum: stop it; members are {}", members(&quorum)))
        }
        Command::Elect { group, id, cluster, accept_loss } => {
            elect((&cluster, &group), id, accept_loss, &session).await
        }
    }
}

fn members(quorum: &Quorum) -> String {
    let members = quorum.members.iter().map(|member| format!("{}={}", member.id, member.address));
    members.collect::<Vec<_>>().join(", ")
}

async fn change(request: &MembersRequest, session: &Session) -> Result<Quorum, Failure> {
    let (answer, address) = ask_leader(session, &about_members(request)?).await?;
    relaxed::parse(&answer.body).map_err(|error| Failure::answer(&address, error))
}

fn about_members(asked: &MembersRequest) -> Result<Question<'static, Nothing>, Failure> {
    let body = serde_json::to_vec(asked).map_err(|error| Failure::other(error.to_string()))?;
    Ok(Question { kind: request::CONTROLLER_MEMBERS, fields: &Nothing {}, body: Bytes::from(body) })
}

/// The quorum as one name server sees it.
pub async fn seen_by(session: &Session, address: &str) -> Result<Quorum, Failure> {
    let question = about_members(&MembersRequest::List)?;
    let answer = session.exchange(Server::NameServer, address, &question, LOOK).await?;
    let answer = succeeded(answer, address, question.kind)?;
    relaxed::parse(&answer.body).map_err(|error| Failure::answer(address, error))
}

/// The quorum as its leader sees it, if there is one, or else as somebody does.
pub async fn quorum(session: &Session) -> Result<Quorum, Failure> {
    let mut found = None;
    let mut failed = None;
    for address in session.nameservers() {
        match seen_by(session, address).await {
            Ok(quorum) => {
                let leader = quorum.members.iter().find(|member| Some(member.id) == quorum.leader);
                if let Some(leader) = leader
                    && let Ok(quorum) = seen_by(session, &leader.address).await
                {
                    return Ok(quorum);
                }
                found = Some(quorum);
            }
            Err(failure) => failed = Some(failure),
        }
    }
    found.ok_or_else(|| failed.unwrap_or_else(|| Failure::other("no name server is given")))
}

/// Asks the name servers until one of them, or one that they name, leads.
async fn ask_leader<T: Serialize>(session: &Session, question: &Question<'_, T>) -> Result<(Frame, String), Failure> {
    let mut left: Vec<String> = session.nameservers().iter().rev().cloned().collect();
    let mut asked = Vec::new();
    let mut failed = None;
    while let Some(address) = left.pop() {
        if asked.contains(&address) {
            continue;
        }
        match session.exchange(Server::NameServer, &address, question, CHANGE).await {
            Ok(answer) if answer.code == response::CONTROLLER_NOT_LEADER => {
                left.extend(answer.remark.filter(|leader| !leader.is_empty()));
            }
            Ok(answer) => return succeeded(answer, &address, question.kind).map(|answer| (answer, address)),
            Err(failure) => failed = Some(failure),
        }
        asked.push(address);
    }
    Err(failed.unwrap_or_else(|| {
        Failure::other(
            "the controller quorum has no leader: more than half of its members must be up and reach one another",
        )
    }))
}

fn succeeded(answer: Frame, address: &str, kind: i32) -> Result<Frame, Failure> {
    if answer.code == response::SUCCESS {
        return Ok(answer);
    }
    let remark = answer.remark.unwrap_or_default();
    Err(Failure::Refused { address: address.to_owned(), kind, code: answer.code, remark })
}

async fn elect(
    (cluster, broker): (&str, &str),
    id: i64,
    accept_loss: bool,
    session: &Session,
) -> Result<Report, Failure> {
    #[derive(Serialize)]
    struct Elected<'a> {
        group: &'a str,
        master: i64,
        address: &'a str,
        epoch: i32,
    }
    let wanted = |group: &&GroupStatus| group.broker == broker && (cluster.is_empty() || group.cluster == cluster);
    let quorum = quorum(session).await?;
    let group = quorum.groups.iter().find(wanted);
    if let Some(group) = group.filter(|group| !accept_loss && !group.view.in_sync.contains(&id)) {
        return Err(Failure::other(format!(
            "member {id} is not in the in-sync set {:?} of '{broker}' and may lack acknowledged messages: choose one of the \
             set, or add --accept-loss",
            group.view.in_sync
        )));
    }
    let fields = ElectMasterRequest {
        cluster_name: cluster.into(),
        broker_name: broker.into(),
        broker_id: Some(id),
        designate_elect: true,
    };
    let (answer, address) = ask_leader(session, &Question::new(request::CONTROLLER_ELECT_MASTER, &fields)).await?;
    let elected: ElectMasterResponse<'_> = answer.fields().map_err(|error| Failure::answer(&address, error))?;
    let (master, epoch, address) = (elected.master_broker_id, elected.master_epoch, elected.master_address.as_ref());
    let text = format!("member {master} at {address} is master of '{broker}' since epoch {epoch}");
    Report::new(&Elected { group: broker, master, address, epoch }, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_number_and_address() {
        assert_eq!(parse_member("4=10.0.0.4:9876"), Ok((4, "10.0.0.4:9876".to_owned())));
        for bad in ["", "4", "10.0.0.4:9876", "0=a:1", "x=a:1", "4=a", "4=:1", "4=a:99999"] {
            assert!(parse_member(bad).is_err(), "{bad}");
        }
    }
}
