//! The two brokers of a migration, and how far each has come.

use std::collections::BTreeMap;

use orbitmq_common::protocol::body::replica::HaStatus;
use orbitmq_common::protocol::body::route::{ClusterInfo, MASTER_ID};
use orbitmq_common::protocol::code::request;
use orbitmq_common::protocol::header::offset::{OffsetResponse, QueueRequest};
use orbitmq_common::protocol::relaxed;

use super::Which;
use crate::failure::{Failure, Server};
use crate::session::{Nothing, Question, Session};

/// The old master and ours.
#[derive(Debug)]
pub struct Pair<'s> {
    /// The cluster's name servers, and connections.
    pub session: &'s Session,
    /// Name of both brokers.
    pub name: String,
    /// The old master's `host:port`.
    pub old: String,
    /// Our broker's `host:port`.
    pub new: String,
}

/// Reads `host:port`.
pub fn parse_address(text: &str) -> Result<String, String> {
    let good = text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if good { Ok(text.to_owned()) } else { Err("expected host:port, such as 127.0.0.1:10911".to_owned()) }
}

/// A setting or a figure of a broker that must be there.
pub fn value<'t>(table: &'t BTreeMap<String, String>, key: &str, address: &str) -> Result<&'t str, Failure> {
    let missing = || Failure::answer(address, format!("'{key}' is missing"));
    table.get(key).map(String::as_str).ok_or_else(missing)
}

/// The same as a number.
pub fn number(table: &BTreeMap<String, String>, key: &str, address: &str) -> Result<u64, Failure> {
    let text = value(table, key, address)?;
    text.parse().map_err(|_| Failure::answer(address, format!("'{key}' is no number: '{text}'")))
}

impl<'s> Pair<'s> {
    /// Finds the two brokers.
    ///
    /// # Errors
    /// One of them is not there, or they do not belong together.
    pub async fn find(which: &Which, session: &'s Session) -> Result<Self, Failure> {
        let settings = session.settings(&which.to).await?;
        let name = value(&settings, "brokerName", &which.to)?.to_owned();
        if let Some(wanted) = which.name.as_ref().filter(|wanted| **wanted != name) {
            return Err(Failure::other(format!(
                "the broker at {} has the name '{name}', not '{wanted}': start it with --name {wanted}",
                which.to
            )));
        }
        let old = match &which.from {
            Some(old) => old.clone(),
            None => registered(&session.cluster().await?, &name).ok_or_else(|| {
                Failure::other(format!(
                    "no master is registered under the name '{name}': name the old one with --from, or start it"
                ))
            })?,
        };
        if old == which.to {
            return Err(Failure::other(format!(
                "{old} is registered as the master of '{name}' already; name the old master with --from if it still runs"
            )));
        }
        Ok(Self { session, name, old, new: which.to.clone() })
    }

    /// End of the old master's log.
    pub async fn old_end(&self) -> Result<u64, Failure> {
        number(&self.session.figures(&self.old).await?, "commitLogMaxOffset", &self.old)
    }

    /// Our broker's view of the replication.
    pub async fn replication(&self) -> Result<HaStatus, Failure> {
        self.session.broker_body(&self.new, &Question::new(request::GET_BROKER_HA_STATUS, &Nothing {})).await
    }

    /// First offset of a queue (GET_MIN_OFFSET) or the one after its last (GET_MAX_OFFSET).
    pub async fn queue_end(&self, address: &str, kind: i32, topic: &str, queue_id: i32) -> Result<i64, Failure> {
        let fields = QueueRequest { topic: topic.into(), queue_id, committed: None };
        let answer = self.session.broker(address, &Question::new(kind, &fields)).await?;
        let found: OffsetResponse = answer.fields().map_err(|error| Failure::answer(address, error))?;
        Ok(found.offset)
    }

    /// Whom each name server has as master of the name.
    pub async fn routed(&self) -> Result<Vec<(String, Option<String>)>, Failure> {
        let mut routed = Vec::new();
        for server in self.session.nameservers() {
            let question = Question::new(request::GET_BROKER_CLUSTER_INFO, &Nothing {});
            let answer = self.session.exchange(Server::NameServer, server, &question, self.session.timeout()).await?;
            let cluster: ClusterInfo = relaxed::parse(&answer.body).map_err(|error| Failure::answer(server, error))?;
            routed.push((server.clone(), registered(&cluster, &self.name)));
        }
        Ok(routed)
    }
}

fn registered(cluster: &ClusterInfo, name: &str) -> Option<String> {
    cluster.broker_addr_table.get(name)?.broker_addrs.get(&MASTER_ID).cloned()
}
