//! Whether the brokers of a route answer at the addresses that clients are told, are who they should be, and can store.

use std::collections::BTreeMap;

use orbitmq_common::clock::now_ms;
use orbitmq_common::net::client::hello;
use orbitmq_common::protocol::body::route::{BrokerData, MASTER_ID, TopicRoute};
use orbitmq_common::protocol::code::request;

use super::{Findings, State, clock};
use crate::failure::{Failure, Server};
use crate::session::{Master, Question, Session};

const STEP: &str = "broker";
/// From here on somebody should look for space; RocketMQ's brokers begin to delete early at 0.75 and refuse at 0.9.
const DISK_FILLS: f64 = 0.85;

/// Looks at every broker of the route. Masters that answer come back.
pub async fn look(route: &TopicRoute, session: &Session, findings: &mut Findings) -> Vec<Master> {
    let mut answering = Vec::new();
    for queues in &route.queue_datas {
        let name = queues.broker_name.as_str();
        let Some(data) = route.broker_datas.iter().find(|data| data.broker_name == name) else {
            let finding = "holds queues of the topic and is not registered any more: start it again";
            findings.note(STEP, name, State::Trouble, finding);
            continue;
        };
        if !data.broker_addrs.contains_key(&MASTER_ID) {
            findings.note(STEP, name, State::Trouble, no_master(name, data));
        }
        for (id, address) in &data.broker_addrs {
            let subject = format!("{name}/{id} at {address}");
            let before = findings.count();
            match member(name, address, &subject, session, findings).await {
                Ok(said) => {
                    findings.well(STEP, &subject, before, said);
                    if *id == MASTER_ID {
                        let (name, cluster, address) = (name.to_owned(), data.cluster.clone(), address.clone());
                        answering.push(Master { name, cluster, address });
                    }
                }
                Err(failure) => {
                    let finding = format!("does not serve the address that clients are told: {failure}");
                    findings.note(STEP, &subject, State::Trouble, finding);
                }
            }
        }
    }
    answering
}

fn no_master(name: &str, data: &BrokerData) -> String {
    let slaves: Vec<String> = data.broker_addrs.keys().map(i64::to_string).collect();
    format!(
        "has no master, so its queues take no messages; members {} are registered: start the master again, or choose one with \
         'orbitmq controller elect {name} ID' where a controller decides",
        slaves.join(", ")
    )
}

/// Looks at one address; what is well comes back in words.
async fn member(
    name: &str,
    address: &str,
    subject: &str,
    session: &Session,
    findings: &mut Findings,
) -> Result<String, Failure> {
    // Any answer will do: RocketMQ's brokers do not know the question.
    let question = Question { kind: request::HELLO, fields: &hello(None), body: bytes::Bytes::new() };
    session.exchange(Server::Broker, address, &question, session.timeout()).await?;
    let settings = session.settings(address).await.unwrap_or_default();
    if let Some(other) = settings.get("brokerName").filter(|said| *said != name) {
        findings.note(
            STEP,
            subject,
            State::Trouble,
            format!("is the broker '{other}': correct the advertised address of '{name}' ('advertise', brokerIP1)"),
        );
    }
    if let Some(closed) = settings.get("brokerPermission").filter(|perm| *perm != "6" && *perm != "7") {
        let finding = format!("is closed as a whole (brokerPermission = {closed}): set it to 6");
        findings.note(STEP, subject, State::Trouble, finding);
    }
    let figures = session.figures(address).await?;
    for trouble in troubles(&figures) {
        findings.note(STEP, subject, State::Trouble, trouble);
    }
    let disk: Option<f64> = figures.get("commitLogDiskRatio").and_then(|text| text.parse().ok());
    if let Some(ratio) = disk.filter(|ratio| *ratio >= DISK_FILLS) {
        let finding = format!("its disk is {:.0}% full: free space or shorten the retention", ratio * 100.0);
        findings.note(STEP, subject, State::Notice, finding);
    }
    if let Some(finding) = clock::time_of(&figures).and_then(|there| clock::differs(there, now_ms())) {
        findings.note(STEP, subject, State::Notice, finding);
    }
    if let Some(cause) = second_port(address, session).await {
        findings.note(STEP, subject, State::Notice, cause);
    }
    let version = figures.get("brokerVersionDesc").map_or("?", String::as_str);
    let disk = disk.map_or_else(String::new, |ratio| format!(", disk {:.0}% used", ratio * 100.0));
    Ok(format!("answers as {version}{disk}"))
}

/// What is the matter with the port two below, which clients with `vipChannelEnabled` and slaves of RocketMQ's use.
async fn second_port(address: &str, session: &Session) -> Option<String> {
    let (host, port) = address.rsplit_once(':')?;
    let port = port.parse::<u16>().ok()?.checked_sub(2).filter(|port| *port > 0)?;
    let cause = session.reaches(&format!("{host}:{port}")).await.err()?;
    Some(format!(
        "does not answer at port {port}, two below ({cause}): clients with vipChannelEnabled = true cannot send, and slaves of \
         RocketMQ's get no metadata; open it (fast_port), or leave it if there are none"
    ))
}

/// What a broker says of its own trouble.
fn troubles(figures: &BTreeMap<String, String>) -> Vec<String> {
    let mut troubles = Vec::new();
    if let Some(cause) = figures.get("poisoned").filter(|cause| !cause.is_empty()) {
        troubles
            .push(format!("stores nothing since a write or flush failed ({cause}): look at its disk, then restart it"));
    }
    if figures.get("diskFull").is_some_and(|full| full == "true") {
        troubles.push("stores nothing, for its disk is full: free space or shorten the retention".to_owned());
    }
    if figures.get("brokerActive").is_some_and(|active| active == "false") {
        troubles.push("says that it is not active (an isolated or starting broker): look at its log".to_owned());
    }
    troubles
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_tell_their_troubles() {
        let figures = |pairs: &[(&str, &str)]| {
            troubles(&pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
        };
        assert_eq!(figures(&[("poisoned", ""), ("diskFull", "false"), ("brokerActive", "true")]), [""; 0]);
        assert!(figures(&[("poisoned", "fdatasync: EIO")])[0].contains("fdatasync: EIO"));
        assert!(figures(&[("diskFull", "true")])[0].contains("free space"));
    }
}
