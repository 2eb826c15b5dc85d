//! `orbitmq migrate check`: whether ours is a true copy of the old master, and what is not carried over.

use std::collections::BTreeMap;

use serde::Serialize;

use super::copy::{self, Progress};
use super::fence::Fence;
use super::metadata::Metadata;
use super::pair::{Pair, value};
use crate::failure::Failure;
use crate::report::{Report, Table};

const DELAY_LEVELS: &str = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h";
/// Differences that are named.
const NAMED: usize = 5;

/// How good something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// To be known before switching.
    Note,
    /// Not yet; it becomes so by itself.
    Wait,
    /// It stands in the way.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// What.
    pub what: &'static str,
    /// How good it is.
    pub state: State,
    /// In words.
    pub detail: String,
}

/// Looks at everything; fails unless a switch could follow.
pub async fn run(pair: &Pair<'_>) -> Result<Report, Failure> {
    let findings = findings(pair).await?;
    let mut table = Table::new(&["STATE", "WHAT", "DETAIL"]);
    for found in &findings {
        let state = format!("{:?}", found.state).to_lowercase();
        table.row([state, found.what.to_owned(), found.detail.clone()]);
    }
    let count = |state| findings.iter().filter(|found| found.state == state).count();
    let failure = match (count(State::Bad), count(State::Wait)) {
        (0, 0) => None,
        (0, wait) => Some(format!("{wait} of these need time: 'orbitmq migrate watch' waits for them")),
        (bad, _) => Some(format!("{bad} of these stand in the way")),
    };
    Ok(Report::new(&findings, table.text())?.failing(failure.map(Failure::other)))
}

/// Looks at everything.
pub async fn findings(pair: &Pair<'_>) -> Result<Vec<Finding>, Failure> {
    let (old, new) = (pair.session.settings(&pair.old).await?, pair.session.settings(&pair.new).await?);
    let progress = Progress::of(pair).await?;
    let ours = Metadata::of(pair.session, &pair.new).await?;
    let theirs = Metadata::of(pair.session, &pair.old).await?;
    let mut findings = vec![versions(pair).await?, segments(pair, &old, &new)?, kind(&old)];
    findings.push(if Fence::of(pair).await?.is_closed() {
        Finding::note(
            "old master",
            "takes no messages: a switch is under way or was broken off (orbitmq migrate release)",
        )
    } else {
        Finding::ok("old master", format!("{} takes messages", pair.old))
    });
    findings.push(log(progress));
    findings.push(match copy::compare(pair, &theirs, progress.new_end).await {
        Ok(records) => Finding::ok("copy", format!("{records} records compared byte by byte")),
        Err(failure @ Failure::Other(_)) => Finding::bad("copy", failure.to_string()),
        Err(failure) => return Err(failure),
    });
    let differences = theirs.differences(&ours);
    findings.push(equal("topics", theirs.topics.len(), &differences.topics));
    findings.push(equal("groups", theirs.groups.len(), &differences.groups));
    findings.push(equal("delay levels", theirs.delay.len(), &differences.delay));
    // Where groups consume, the two looks are never of the same moment.
    let offsets = equal("offsets", theirs.offsets.len(), &differences.offsets);
    let state = if offsets.state == State::Wait { State::Note } else { offsets.state };
    findings.push(Finding { state, ..offsets });
    findings.extend(left_behind(&old, &theirs));
    Ok(findings)
}

impl Finding {
    fn ok(what: &'static str, detail: impl Into<String>) -> Self {
        Self { what, state: State::Ok, detail: detail.into() }
    }

    fn note(what: &'static str, detail: impl Into<String>) -> Self {
        Self { what, state: State::Note, detail: detail.into() }
    }

    fn bad(what: &'static str, detail: impl Into<String>) -> Self {
        Self { what, state: State::Bad, detail: detail.into() }
    }
}

async fn versions(pair: &Pair<'_>) -> Result<Finding, Failure> {
    let figures = pair.session.figures(&pair.old).await?;
    let version = figures.get("brokerVersionDesc").map_or("unknown", String::as_str);
    let tried = version.starts_with("V5_5");
    let detail = format!("the old master is RocketMQ {version}{}", if tried { "" } else { "; tried was 5.5" });
    Ok(if tried { Finding::ok("version", detail) } else { Finding::note("version", detail) })
}

/// Files of the log must have one length, for their names are offsets.
fn segments(
    pair: &Pair<'_>,
    old: &BTreeMap<String, String>,
    new: &BTreeMap<String, String>,
) -> Result<Finding, Failure> {
    let key = "mappedFileSizeCommitLog";
    let (theirs, ours) = (value(old, key, &pair.old)?, value(new, key, &pair.new)?);
    if theirs == ours {
        return Ok(Finding::ok("segment size", format!("{ours} bytes")));
    }
    let cure = format!("start ours with an empty data directory and --set segment_size={theirs}");
    Ok(Finding::bad("segment size", format!("{theirs} bytes there, {ours} here: {cure}")))
}

/// Kinds of masters whose replication is another one.
fn kind(old: &BTreeMap<String, String>) -> Finding {
    let set = |key: &&&str| old.get(**key).is_some_and(|text| text == "true");
    match ["enableControllerMode", "enableDLegerCommitLog", "duplicationEnable"].iter().find(set) {
        Some(key) => Finding::bad("replication", format!("the old master has {key}=true: its slaves speak otherwise")),
        None => Finding::ok("replication", "plain master and slave"),
    }
}

fn log(progress: Progress) -> Finding {
    let Progress { old_end, new_end, connected, master } = progress;
    let detail = format!("the old master's ends at {old_end}, ours at {new_end}, {} bytes behind", progress.lag());
    if master {
        return Finding::bad("log", "ours is a master: it copies nobody. Start it with --role slave --id 1");
    }
    if new_end > old_end {
        return Finding::bad("log", format!("{detail}: ours has what the old master has not"));
    }
    if !connected {
        let cure = "ours does not hear from a master: see its log, and the old master's haListenPort and brokerIP2";
        return Finding { what: "log", state: State::Wait, detail: format!("{detail}; {cure}") };
    }
    let state = if progress.lag() > 1 << 20 { State::Wait } else { State::Ok };
    Finding { what: "log", state, detail }
}

fn equal(what: &'static str, count: usize, differences: &[String]) -> Finding {
    if differences.is_empty() {
        return Finding::ok(what, format!("{count}, equal"));
    }
    let named = differences.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
    let more = differences.len().saturating_sub(NAMED);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    Finding { what, state: State::Wait, detail: format!("{} of {count} differ: {named}{more}", differences.len()) }
}

/// What ours has in its log, or the old master in its settings, without acting on it.
fn left_behind(settings: &BTreeMap<String, String>, theirs: &Metadata) -> Vec<Finding> {
    let mut found = Vec::new();
    for key in ["aclEnable", "authenticationEnabled", "authorizationEnabled"] {
        if settings.get(key).is_some_and(|text| text == "true") {
            found.push(format!("{key}=true: ours lets everyone in"));
        }
    }
    if let Some(levels) = settings.get("messageDelayLevel").filter(|levels| *levels != DELAY_LEVELS) {
        found.push(format!("messageDelayLevel={levels}: set the same in ours"));
    }
    if theirs.mapped > 0 {
        found.push(format!("{} static topics: ours has their queues, not their mappings", theirs.mapped));
    }
    if found.is_empty() {
        return vec![Finding::ok("left behind", "nothing")];
    }
    found.into_iter().map(|detail| Finding::note("left behind", detail)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_judged_by_its_end() {
        let at = |old_end, new_end, connected| log(Progress { old_end, new_end, connected, master: false }).state;
        assert_eq!(at(5 << 20, 5 << 20, true), State::Ok);
        assert_eq!(at(5 << 20, 1 << 20, true), State::Wait);
        assert_eq!(at(5 << 20, 5 << 20, false), State::Wait);
        assert_eq!(at(5 << 20, 6 << 20, true), State::Bad);
    }

    #[test]
    fn a_few_differences_are_named() {
        let many: Vec<String> = (0..7).map(|number| number.to_string()).collect();
        assert_eq!(equal("topics", 9, &many).detail, "7 of 9 differ: 0; 1; 2; 3; 4; and 2 more");
        assert_eq!(equal("topics", 9, &[]).state, State::Ok);
    }

    #[test]
    fn other_kinds_of_replication_stand_in_the_way() {
        let with = |key: &str| kind(&BTreeMap::from([(key.to_owned(), "true".to_owned())])).state;
        assert_eq!(with("enableControllerMode"), State::Bad);
        assert_eq!(with("anything"), State::Ok);
    }
}
