//! Copies of the topic's brokers: whether slaves follow, and what the controller has decided, where there is one.

use orbitmq_common::protocol::body::controller::GroupStatus;
use orbitmq_common::protocol::body::replica::HaStatus;
use orbitmq_common::protocol::body::route::{BrokerData, MASTER_ID, TopicRoute};
use orbitmq_common::protocol::code::request;

use super::{Findings, State};
use crate::controller;
use crate::session::{Master, Nothing, Question, Session};

const STEP: &str = "copies";
/// A slave that is further behind is not just writing the last batch.
const FAR_BEHIND: u64 = 64 << 20;

/// Looks at the replication of each broker that has slaves or a controller.
pub async fn look(route: &TopicRoute, masters: &[Master], session: &Session, findings: &mut Findings) {
    let quorum = controller::quorum(session).await.ok().filter(|quorum| quorum.founded);
    if let Some(quorum) = &quorum
        && quorum.leader.is_none()
    {
        let finding = "the quorum has no leader, so no master is replaced: more than half of its name servers must be up and \
                       reach one another (see 'orbitmq controller status')";
        findings.note("controller", "quorum", State::Trouble, finding);
    }
    for data in &route.broker_datas {
        let before = findings.count();
        let name = data.broker_name.as_str();
        let group = quorum.as_ref().and_then(|quorum| {
            quorum.groups.iter().find(|group| group.broker == name && group.cluster == data.cluster)
        });
        if let Some(group) = group {
            decided(group, data, findings);
        }
        let slaves = data.broker_addrs.keys().filter(|id| **id != MASTER_ID).count();
        let Some(master) = masters.iter().find(|master| master.name == name) else { continue };
        if slaves == 0 && group.is_none() {
            continue;
        }
        let question = Question::new(request::GET_BROKER_HA_STATUS, &Nothing {});
        match session.broker_body::<HaStatus, _>(&master.address, &question).await {
            Ok(status) => {
                let port = if status.ha_connection_info.len() < slaves { ha_port(master, session).await } else { None };
                following(name, slaves, &status, port.as_deref(), findings);
                let (connected, in_sync) = (status.ha_connection_info.len(), status.in_sync_slave_nums);
                findings.well(STEP, name, before, format!("{connected} slaves follow, {in_sync} of them in sync"));
            }
            Err(failure) => {
                findings.note(STEP, name, State::Notice, format!("the master does not tell of its slaves: {failure}"));
            }
        }
    }
}

/// What the controller says of a broker group against what name servers tell.
fn decided(group: &GroupStatus, data: &BrokerData, findings: &mut Findings) {
    let (name, view) = (&data.broker_name, &group.view);
    match (&view.master, data.broker_addrs.get(&MASTER_ID)) {
        (None, _) => {
            let finding = format!(
                "the controller finds no master: start a member of the in-sync set {:?}, or choose one with 'orbitmq controller \
                 elect {name} ID'",
                view.in_sync
            );
            findings.note(STEP, name, State::Trouble, finding);
        }
        (Some(master), Some(told)) if master.address != *told => {
            let finding = format!(
                "the controller has member {} at {} as master, name servers tell {told}: one of them is about to follow; look \
                 again in a moment",
                master.id, master.address
            );
            findings.note(STEP, name, State::Notice, finding);
        }
        _ => {}
    }
    let outside: Vec<String> = (view.replicas.iter())
        .filter(|replica| !view.in_sync.contains(&replica.id))
        .map(|replica| format!("{} at {}", replica.id, replica.address))
        .collect();
    if !outside.is_empty() {
        let finding = format!("members outside the in-sync set, so they cannot take over: {}", outside.join(", "));
        findings.note(STEP, name, State::Notice, finding);
    }
    if let Some(alive) = &group.alive {
        let away: Vec<i64> = view.in_sync.iter().filter(|id| !alive.contains(id)).copied().collect();
        if !away.is_empty() {
            let finding = format!("members {away:?} of the in-sync set are away: start them again");
            findings.note(STEP, name, State::Trouble, finding);
        }
    }
}

/// How a master's replication port looks from here.
async fn ha_port(master: &Master, session: &Session) -> Option<String> {
    let settings = session.settings(&master.address).await.ok()?;
    let (host, _) = master.address.rsplit_once(':')?;
    let address = format!("{host}:{}", settings.get("haListenPort")?);
    Some(match session.reaches(&address).await {
        Ok(()) => format!(" (from here {address} can be reached)"),
        Err(cause) => format!(" (from here {address} cannot be reached either: {cause})"),
    })
}

/// What a master says of its slaves.
fn following(name: &str, registered: usize, status: &HaStatus, port: Option<&str>, findings: &mut Findings) {
    let connected = status.ha_connection_info.len();
    if connected < registered {
        let finding = format!(
            "{registered} slaves are registered and {connected} follow the master: their logs say why they cannot reach its \
             replication port{}",
            port.unwrap_or_default()
        );
        findings.note(STEP, name, State::Trouble, finding);
    }
    for slave in &status.ha_connection_info {
        if slave.diff > FAR_BEHIND {
            let finding = format!("the slave at {} is {} MiB behind", slave.addr, slave.diff >> 20);
            findings.note(STEP, name, State::Notice, finding);
        }
    }
}
