//! `orbitmq doctor`: walks from the name servers to the groups of a topic and says what is wrong, and what to do.

mod brokers;
mod clock;
mod copies;
mod groups;
mod holders;
mod letters;
mod nameservers;
mod queues;

use clap::Args;
use serde::Serialize;

use crate::failure::Failure;
use crate::report::{Report, Table};
use crate::session::Session;
use crate::{group, topic};

/// Find out why a topic does not work.
///
/// Asks every name server, every broker of the topic, the controller if there is one, and the groups that read it. Changes nothing.
/// Exit code 0: all is well; 1: something has to be done, and the last line says what.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The topic.
    #[arg(value_parser = topic::parse_name)]
    topic: String,
    /// Only this group, which must be there; all groups that read the topic when left out.
    #[arg(long, value_parser = group::parse_name)]
    group: Option<String>,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// As it should be.
    Ok,
    /// Worth knowing, but nobody has to act.
    Notice,
    /// Somebody has to act.
    Trouble,
}

/// What was found about one thing.
#[derive(Debug, Serialize)]
pub struct Finding {
    step: &'static str,
    subject: String,
    state: State,
    finding: String,
}

/// Everything that was found so far.
#[derive(Debug, Default)]
pub struct Findings {
    all: Vec<Finding>,
}

impl Findings {
    /// Notes how something is.
    pub fn note(&mut self, step: &'static str, subject: &str, state: State, finding: impl Into<String>) {
        self.all.push(Finding { step, subject: subject.to_owned(), state, finding: finding.into() });
    }

    /// Notes that all of something is well, unless trouble with it was noted since `before` findings.
    pub fn well(&mut self, step: &'static str, subject: &str, before: usize, finding: impl Into<String>) {
        if self.all.iter().skip(before).all(|found| found.state != State::Trouble) {
            self.note(step, subject, State::Ok, finding);
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.all.len()
    }
}

#[derive(Debug, Serialize)]
struct Diagnosis {
    topic: String,
    healthy: bool,
    findings: Vec<Finding>,
}

/// Looks at everything that can be looked at and reports it.
pub async fn run(arguments: &Arguments, session: &Session) -> Result<Report, Failure> {
    let mut findings = Findings::default();
    let topic = arguments.topic.as_str();
    let seen = nameservers::look(topic, session, &mut findings).await;
    if let Some(route) = &seen {
        let answering = brokers::look(route, session, &mut findings).await;
        queues::look(topic, route, &answering, session, &mut findings).await;
        copies::look(route, &answering, session, &mut findings).await;
        groups::look(topic, arguments.group.as_deref(), &answering, session, &mut findings).await;
    }
    report(topic, findings)
}

fn report(topic: &str, findings: Findings) -> Result<Report, Failure> {
    let mut table = Table::new(&["STEP", "WHAT", "STATE", "FINDING"]);
    for found in &findings.all {
        let state = match found.state {
            State::Ok => "ok",
            State::Notice => "notice",
            State::Trouble => "TROUBLE",
        };
        table.row([found.step.to_owned(), found.subject.clone(), state.to_owned(), found.finding.clone()]);
    }
    let troubles: Vec<&Finding> = findings.all.iter().filter(|found| found.state == State::Trouble).collect();
    let failure = troubles.first().map(|first| {
        let more = match troubles.len() - 1 {
            0 => String::new(),
            more => format!("; and {more} more, see above"),
        };
        Failure::other(format!("{} {}: {}{more}", first.step, first.subject, first.finding))
    });
    let text = table.text();
    let diagnosis = Diagnosis { topic: topic.to_owned(), healthy: failure.is_none(), findings: findings.all };
    Ok(Report::new(&diagnosis, text)?.failing(failure))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_trouble_hides_no_other() {
        let mut findings = Findings::default();
        findings.note("broker", "a", State::Trouble, "is away");
        let before = findings.count();
        findings.well("topic", "T", before, "is well");
        findings.well("all", "", 0, "is well");
        assert_eq!(findings.count(), 2);
        assert_eq!(findings.all.iter().map(|found| found.state).collect::<Vec<_>>(), [State::Trouble, State::Ok]);
    }
}
