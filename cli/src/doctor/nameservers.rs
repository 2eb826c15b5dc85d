//! Whether every name server answers, knows the topic, and tells the same of it.

use orbitmq_common::protocol::body::route::{ClusterInfo, TopicRoute};
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::header::nameserver::RouteRequest;
use orbitmq_common::protocol::relaxed;

use super::{Findings, State};
use crate::failure::{Failure, Server};
use crate::session::{Nothing, Question, Session};

const STEP: &str = "name server";

/// What one name server tells.
struct Told {
    server: String,
    route: Option<TopicRoute>,
    /// Why there is none, if it says so.
    absence: Option<String>,
    brokers: Vec<String>,
}

/// Asks all of them. The first route that one knows comes back.
pub async fn look(topic: &str, session: &Session, findings: &mut Findings) -> Option<TopicRoute> {
    let mut told = Vec::new();
    for server in session.nameservers() {
        match ask(topic, server, session).await {
            Ok(one) => told.push(one),
            Err(failure) => {
                let cure = "; start it, or take it out of the list of name servers";
                findings.note(STEP, server, State::Trouble, format!("does not answer as one: {failure}{cure}"));
            }
        }
    }
    let first = told.iter().find(|one| one.route.is_some()).or_else(|| told.first())?;
    for other in &told {
        let (here, there) = (described(other), described(first));
        if here != there {
            findings.note(
                STEP,
                &other.server,
                State::Trouble,
                format!(
                    "tells {here}, but {} tells {there}: brokers must name every name server in their 'nameserver' setting and \
                     reach it",
                    first.server
                ),
            );
        } else if other.route.is_some() {
            let brokers = other.brokers.len();
            findings.note(STEP, &other.server, State::Ok, format!("answers; {brokers} brokers registered"));
        }
    }
    if first.route.is_none() {
        let said: Vec<String> =
            told.iter().filter_map(|one| Some(format!("{}: {}", one.server, one.absence.as_ref()?))).collect();
        findings.note("topic", topic, State::Trouble, nowhere(topic, &first.brokers, &said));
    }
    first.route.clone()
}

async fn ask(topic: &str, server: &str, session: &Session) -> Result<Told, Failure> {
    let answer = |kind| {
        move |answer: orbitmq_common::protocol::frame::Frame| match answer.code {
            response::SUCCESS => Ok(Some(answer)),
            code => {
                let remark = answer.remark.unwrap_or_default();
                Err(Failure::Refused { address: server.to_owned(), kind, code, remark })
            }
        }
    };
    let mut absence = None;
    let fields = RouteRequest { topic: topic.into(), accept_standard_json_only: Some(true) };
    let kind = request::GET_ROUTEINFO_BY_TOPIC;
    let asked = session.exchange(Server::NameServer, server, &Question::new(kind, &fields), session.timeout()).await;
    let asked = asked?;
    if asked.code == response::TOPIC_NOT_EXIST {
        // What stands before the semicolon says RocketMQ's name server too.
        absence = asked.remark.as_deref().and_then(|remark| remark.split_once("; ")).map(|(_, why)| why.to_owned());
    }
    let route = match if asked.code == response::TOPIC_NOT_EXIST { None } else { answer(kind)(asked)? } {
        Some(frame) => {
            let mut route: TopicRoute = relaxed::parse(&frame.body).map_err(|error| Failure::answer(server, error))?;
            route.queue_datas.sort_by(|a, b| a.broker_name.cmp(&b.broker_name));
            route.broker_datas.sort_by(|a, b| a.broker_name.cmp(&b.broker_name));
            Some(route)
        }
        None => None,
    };
    let kind = request::GET_BROKER_CLUSTER_INFO;
    let question = Question::new(kind, &Nothing {});
    let asked = session.exchange(Server::NameServer, server, &question, session.timeout()).await;
    let brokers = match asked.and_then(answer(kind))? {
        Some(frame) => {
            let cluster: ClusterInfo = relaxed::parse(&frame.body).map_err(|error| Failure::answer(server, error))?;
            cluster.broker_addr_table.into_keys().collect()
        }
        None => Vec::new(),
    };
    Ok(Told { server: server.to_owned(), route, absence, brokers })
}

/// What clients go by, in words: equal if and only if they are told the same.
fn described(told: &Told) -> String {
    let Some(route) = &told.route else { return "no route of the topic".to_owned() };
    let mut parts = Vec::new();
    for queues in &route.queue_datas {
        let name = &queues.broker_name;
        let data = route.broker_datas.iter().find(|data| data.broker_name == *name);
        let members = data.map_or_else(
            || "away".to_owned(),
            |data| data.broker_addrs.iter().map(|(id, at)| format!("{id}={at}")).collect::<Vec<_>>().join(" "),
        );
        let (read, write, perm) = (queues.read_queue_nums, queues.write_queue_nums, queues.perm);
        parts.push(format!("'{name}' ({members}; {read} queues to read, {write} to write, perm {perm})"));
    }
    parts.join(", ")
}

fn nowhere(topic: &str, brokers: &[String], said: &[String]) -> String {
    let said = if said.is_empty() { String::new() } else { format!(". Name servers say: {}", said.join("; ")) };
    if brokers.is_empty() {
        return format!(
            "no broker is registered with the name servers: start one that names them in its 'nameserver' setting; if one runs, its \
             log says why it does not register{said}"
        );
    }
    format!(
        "no registered broker has it: if it was never created, 'orbitmq topic create {topic}'; if it was, the brokers that hold it \
         are away, for registered are only: {}{said}",
        brokers.join(", ")
    )
}
