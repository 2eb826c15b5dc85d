//! The groups that read the topic: whether anybody consumes, how far behind, what members disagree about.

use std::collections::{BTreeMap, BTreeSet};

use orbitmq_common::clock::now_ms;
use orbitmq_common::plain;
use orbitmq_common::protocol::body::group::{ConsumerConnection, GroupConfig, GroupList};
use orbitmq_common::protocol::body::heartbeat::MessageModel;
use orbitmq_common::protocol::body::stats::{self, ConsumeOffset, QueueTable};
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::header::admin::{ConsumeStatsRequest, GroupRequest, TopicRequest};
use orbitmq_common::protocol::header::group::ConsumerGroupRequest;
use orbitmq_common::protocol::relaxed;
use serde::Deserialize;

use super::holders::{self, Holders};
use super::{Findings, State, letters};
use crate::failure::Failure;
use crate::group::{change, list};
use crate::session::{Master, Question, Session};

const STEP: &str = "group";
/// A queue whose last consumed message is older than this, while there are newer ones, stands still.
const STANDS_STILL: i64 = 60_000;

/// What the masters tell of one group.
#[derive(Debug, Default)]
struct Group {
    known: bool,
    stopped_at: Vec<String>,
    /// Client ids by broker.
    members: BTreeMap<String, BTreeSet<String>>,
    broadcasting: bool,
    /// What it wants of the topic, by broker.
    wants: BTreeMap<String, String>,
    conflicts: BTreeSet<String>,
    queues: QueueTable<ConsumeOffset>,
}

/// Part of an answer that brokers of ours give besides RocketMQ's.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Conflict {
    subscription_conflict: Option<String>,
}

/// Looks at one group, or at all that read the topic or have read it.
pub async fn look(topic: &str, only: Option<&str>, masters: &[Master], session: &Session, findings: &mut Findings) {
    let mut names = BTreeSet::new();
    match only {
        Some(group) => drop(names.insert(group.to_owned())),
        None => {
            for master in masters {
                match readers(topic, &master.address, session).await {
                    Ok(groups) => names.extend(groups.into_iter().filter(|group| !list::is_system(group))),
                    Err(failure) => {
                        let finding = format!("does not tell who reads the topic: {failure}");
                        findings.note(STEP, &master.name, State::Notice, finding);
                    }
                }
            }
        }
    }
    if names.is_empty() && !masters.is_empty() {
        findings.note(STEP, "-", State::Notice, "no group has ever read the topic");
    }
    for name in names {
        match ask(topic, &name, masters, session).await {
            Ok(group) => {
                let holders = holders::ask(topic, &name, &group.members, masters, session).await;
                judge(topic, &name, &group, &holders, masters, findings);
                letters::look(&name, masters, session, findings).await;
            }
            Err(failure) => findings.note(STEP, &name, State::Trouble, format!("cannot be looked at: {failure}")),
        }
    }
}

async fn readers(topic: &str, address: &str, session: &Session) -> Result<Vec<String>, Failure> {
    let fields = TopicRequest { topic: topic.into() };
    let question = Question::new(request::QUERY_TOPIC_CONSUME_BY_WHO, &fields);
    let list: GroupList = session.broker_body(address, &question).await?;
    Ok(list.group_list)
}

async fn ask(topic: &str, name: &str, masters: &[Master], session: &Session) -> Result<Group, Failure> {
    let mut group = Group::default();
    for master in masters {
        let (address, broker) = (master.address.as_str(), master.name.as_str());
        if change::exists(name, address, session).await? {
            group.known = true;
            let fields = GroupRequest { group: name.into() };
            let question = Question::new(request::GET_SUBSCRIPTIONGROUP_CONFIG, &fields);
            let config: GroupConfig = session.broker_body(address, &question).await?;
            if !config.consume_enable {
                group.stopped_at.push(broker.to_owned());
            }
        }
        let fields = ConsumerGroupRequest { consumer_group: name.into() };
        match session.broker(address, &Question::new(request::GET_CONSUMER_CONNECTION_LIST, &fields)).await {
            Ok(answer) => {
                let said: ConsumerConnection =
                    relaxed::parse(&answer.body).map_err(|error| Failure::answer(address, error))?;
                let conflict: Conflict = relaxed::parse(&answer.body).unwrap_or_default();
                group.conflicts.extend(conflict.subscription_conflict);
                group.enter(topic, broker, said);
            }
            Err(failure) if failure.code() == Some(response::CONSUMER_NOT_ONLINE) => {}
            Err(failure) => return Err(failure),
        }
        let fields = ConsumeStatsRequest { consumer_group: name.into(), topic: Some(topic.into()), topic_list: None };
        // A group without an offset or a member has no figures at RocketMQ's brokers.
        if let Ok(answer) = session.broker(address, &Question::new(request::GET_CONSUME_STATS, &fields)).await {
            let rows = stats::parse_table(&answer.body).map_err(|error| Failure::answer(address, error))?;
            group.queues.extend(rows);
        }
    }
    Ok(group)
}

impl Group {
    fn enter(&mut self, topic: &str, broker: &str, said: ConsumerConnection) {
        self.known = true;
        self.broadcasting |= said.message_model == MessageModel::Broadcasting;
        if let Some(data) = said.subscription_table.get(topic) {
            let expression = if data.sub_string.is_empty() { "*" } else { data.sub_string.as_str() };
            self.wants.insert(broker.to_owned(), format!("{} {expression}", data.expression_type));
        }
        let clients = said.connection_set.into_iter().map(|one| one.client_id).collect();
        self.members.insert(broker.to_owned(), clients);
    }

    fn clients(&self) -> BTreeSet<&str> {
        self.members.values().flatten().map(String::as_str).collect()
    }

    fn lag(&self) -> i64 {
        self.queues.iter().map(|(_, offset)| lag(offset)).sum()
    }
}

fn lag(offset: &ConsumeOffset) -> i64 {
    offset.broker_offset.saturating_sub(offset.consumer_offset).max(0)
}

fn judge(topic: &str, name: &str, group: &Group, holders: &Holders, masters: &[Master], findings: &mut Findings) {
    let before = findings.count();
    let (clients, behind) = (group.clients(), group.lag());
    let mut trouble = |finding: String| findings.note(STEP, name, State::Trouble, finding);
    if !group.known {
        trouble("no broker knows it: start its consumers, or correct the name ('orbitmq group list')".to_owned());
        return;
    }
    if !group.stopped_at.is_empty() {
        let brokers = group.stopped_at.join(", ");
        trouble(format!("may not consume at {brokers}: let it with 'orbitmq group create {name}'"));
    }
    if clients.is_empty() && behind > 0 {
        trouble(format!(
            "is {behind} messages behind and no member is connected: start its consumers (if it is not needed any more, \
             'orbitmq group delete {name}')"
        ));
    } else if !clients.is_empty() && group.wants.is_empty() {
        trouble(format!(
            "has {} members connected, and none subscribes to '{topic}': add the topic to their subscriptions",
            clients.len()
        ));
    } else if !clients.is_empty() {
        for master in masters.iter().filter(|master| !group.members.contains_key(&master.name)) {
            trouble(format!(
                "its members are not connected to broker {}, so nobody reads its queues: can they reach {}?",
                master.name, master.address
            ));
        }
    }
    for conflict in &group.conflicts {
        trouble(format!("its members disagree: {conflict}; give all of them the same subscriptions"));
    }
    let wants: BTreeSet<&str> = group.wants.values().map(String::as_str).collect();
    if wants.len() > 1 {
        let each =
            group.wants.iter().map(|(broker, want)| format!("'{want}' at {broker}")).collect::<Vec<_>>().join(", ");
        trouble(format!("its members disagree on '{topic}': {each}; give all of them the same subscription"));
    }
    still(name, group, &clients, holders, findings);
    if !clients.is_empty() && !group.broadcasting {
        shared(topic, name, group, holders, findings);
    }
    match clients.len() {
        0 if findings.count() > before => {}
        0 => findings.note(STEP, name, State::Notice, "no member is connected, and nothing waits for one"),
        members => findings.well(STEP, name, before, format!("{members} members connected, {behind} messages behind")),
    }
}

/// Queues that wait although members are there.
fn still(name: &str, group: &Group, clients: &BTreeSet<&str>, holders: &Holders, findings: &mut Findings) {
    if clients.is_empty() || group.broadcasting {
        return;
    }
    let now = now_ms();
    for (queue, offset) in &group.queues {
        let since = now.saturating_sub(offset.last_timestamp);
        if lag(offset) == 0 || offset.last_timestamp <= 0 || since < STANDS_STILL {
            continue;
        }
        let finding = format!(
            "queue {} at {} is {} messages and {} behind, with {} members connected: {}; look at its log, or add members",
            queue.queue_id,
            queue.broker_name,
            lag(offset),
            plain::length(since),
            clients.len(),
            match holders.of(&queue.broker_name, queue.queue_id) {
                Some(holder) => format!("{holder} holds it and is stuck or too slow"),
                None if holders.is_whole() => "no member holds it".to_owned(),
                None => "no member holds it, or one is stuck or too slow".to_owned(),
            }
        );
        findings.note(STEP, name, State::Trouble, finding);
    }
    if clients.len() > group.queues.len() && !group.queues.is_empty() {
        let finding = format!(
            "{} members for {} queues: some have nothing to do; give the topic more queues if they should",
            clients.len(),
            group.queues.len()
        );
        findings.note(STEP, name, State::Notice, finding);
    }
}

/// Whether each queue has one holder, as far as members say.
fn shared(topic: &str, name: &str, group: &Group, holders: &Holders, findings: &mut Findings) {
    for (client, cause) in &holders.silent {
        let finding = format!("its member '{client}' does not tell which queues it holds: {cause}");
        findings.note(STEP, name, State::Notice, finding);
    }
    for ((broker, queue), members) in holders.by_queue.iter().filter(|(_, members)| members.len() > 1) {
        let finding = format!(
            "queue {queue} at {broker} is held by {} at once, so messages come twice: if that stays, the members do not see one another \
             (do all of them reach every broker of '{topic}', and share queues in the same way?)",
            members.iter().map(|one| format!("'{one}'")).collect::<Vec<_>>().join(" and ")
        );
        findings.note(STEP, name, State::Trouble, finding);
    }
    if !holders.is_whole() {
        return;
    }
    let free = group
        .queues
        .iter()
        .filter(|(queue, _)| queue.topic == topic && holders.of(&queue.broker_name, queue.queue_id).is_none());
    for (queue, offset) in free {
        let (state, behind) = if lag(offset) > 0 { (State::Trouble, lag(offset)) } else { (State::Notice, 0) };
        let finding = format!(
            "queue {} at {} is held by no member, {behind} messages behind: members are sharing queues anew just now; if that stays, a \
             member that is connected does not take part, or reads another topic",
            queue.queue_id, queue.broker_name
        );
        findings.note(STEP, name, state, finding);
    }
}
