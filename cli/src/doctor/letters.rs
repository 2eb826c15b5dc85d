//! Messages that a group has given back: those that wait to come again, and those laid aside as dead.

use orbitmq_common::name;
use orbitmq_common::protocol::body::stats::{self, ConsumeOffset};
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::header::admin::ConsumeStatsRequest;

use super::{Findings, State};
use crate::dead::marks::Mark;
use crate::dead::shelf;
use crate::failure::Failure;
use crate::session::{Master, Question, Session};

const STEP: &str = "group";

/// Counts both at all masters.
pub async fn look(group: &str, masters: &[Master], session: &Session, findings: &mut Findings) {
    match dead(group, session).await {
        Ok(0) => {}
        Ok(dead) => {
            let finding = format!(
                "{dead} dead letters, which nobody gets any more: see why with 'orbitmq dead list {group}', and send them again with \
                 'orbitmq dead replay {group}'"
            );
            findings.note(STEP, group, State::Notice, finding);
        }
        Err(failure) => {
            findings.note(STEP, group, State::Notice, format!("its dead letters cannot be counted: {failure}"));
        }
    }
    let mut waiting = 0;
    for master in masters {
        match returned(group, &master.address, session).await {
            Ok(more) => waiting += more,
            Err(failure) => {
                let finding = format!("{} does not tell what was given back: {failure}", master.name);
                findings.note(STEP, group, State::Notice, finding);
            }
        }
    }
    if waiting > 0 {
        let finding = format!(
            "{waiting} messages that its members gave back are due to come again: their logs say why they failed"
        );
        findings.note(STEP, group, State::Notice, finding);
    }
}

/// Dead letters that were neither purged nor sent again.
async fn dead(group: &str, session: &Session) -> Result<i64, Failure> {
    match session.route(&name::dead_letter_topic(group)).await {
        Ok(_) => {}
        Err(failure) if failure.code() == Some(response::TOPIC_NOT_EXIST) => return Ok(0),
        Err(failure) => return Err(failure),
    }
    let mut dead = 0;
    for shelf in shelf::open(group, session).await? {
        let replayed = Mark::done(None).get(&shelf, session).await?.saturating_sub(shelf.first);
        dead += shelf.count() - replayed.clamp(0, shelf.count());
    }
    Ok(dead)
}

/// Messages in the group's retry topic that it has not consumed again.
async fn returned(group: &str, address: &str, session: &Session) -> Result<i64, Failure> {
    let topic = name::retry_topic(group);
    let fields = ConsumeStatsRequest { consumer_group: group.into(), topic: Some(topic.into()), topic_list: None };
    match session.broker(address, &Question::new(request::GET_CONSUME_STATS, &fields)).await {
        Ok(answer) => {
            let rows = stats::parse_table::<ConsumeOffset>(&answer.body);
            let rows = rows.map_err(|error| Failure::answer(address, error))?;
            Ok(rows.iter().map(|(_, at)| at.broker_offset.saturating_sub(at.consumer_offset).max(0)).sum())
        }
        // A group that has given nothing back has no figures.
        Err(failure) if failure.code().is_some() => Ok(0),
        Err(failure) => Err(failure),
    }
}
