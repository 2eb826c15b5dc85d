//! Settings of the controller in this name server.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use orbitmq_common::config::{ConfigError, Key, Settings};

/// Number of this member.
pub const ID: Key = Key { name: "controller_id", aliases: &[] };
/// All members.
pub const PEERS: Key = Key { name: "controller_peers", aliases: &[] };
/// Length of leases.
pub const LEASE: Key = Key { name: "controller_lease", aliases: &[] };
/// All of them.
pub const KEYS: [Key; 3] = [ID, PEERS, LEASE];

const DEFAULT_LEASE: Duration = Duration::from_millis(1_500);
/// Below it, a busy machine alone would end leases.
const SHORTEST_LEASE: Duration = Duration::from_millis(500);
const SNAPSHOT_AFTER: u64 = 1_000;
const PEERS_FORM: &str =
    "expected 1=host:port,2=host:port,3=host:port: number and address of every name server of the quorum";

/// What a member of the controller quorum is told at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControllerConfig {
    /// Its number.
    pub id: u64,
    /// Addresses of the members that found the quorum, by number; this one among them.
    pub peers: BTreeMap<u64, String>,
    /// How long a master may acknowledge after it sent a renewal.
    pub lease: Duration,
    /// Where it keeps its state.
    pub directory: PathBuf,
    /// Entries between two snapshots; as many stay in the log after one.
    pub snapshot_after: u64,
}

impl ControllerConfig {
    /// A member with the default lease, whose state is in the data directory of its name server.
    pub fn new(id: u64, peers: BTreeMap<u64, String>, data_dir: &Path) -> Self {
        Self { id, peers, lease: DEFAULT_LEASE, directory: data_dir.join("controller"), snapshot_after: SNAPSHOT_AFTER }
    }

    /// Reads the settings; without any there is no controller.
    pub fn read(settings: &Settings, data_dir: Option<&Path>) -> Result<Option<Self>, ConfigError> {
        let (id, peers): (Option<u64>, Option<Vec<String>>) = (settings.get(ID.name)?, settings.get(PEERS.name)?);
        let lease: Option<Duration> = settings.get(LEASE.name)?;
        let (id, peers) = match (id, peers) {
            (None, None) if lease.is_some() => {
                return Err(settings.refuse(LEASE.name, "it needs controller_id and controller_peers"));
            }
            (None, None) => return Ok(None),
            (Some(_), None) => return Err(settings.refuse(ID.name, "it needs controller_peers")),
            (None, Some(_)) => return Err(settings.refuse(PEERS.name, "it needs controller_id")),
            (Some(id), Some(peers)) => (id, peers),
        };
        let peers = parse_peers(&peers).map_err(|cause| settings.refuse(PEERS.name, &cause))?;
        if id == 0 || !peers.contains_key(&id) {
            return Err(settings.refuse(ID.name, "expected a number from 1 on that stands in controller_peers"));
        }
        if lease.is_some_and(|lease| lease < SHORTEST_LEASE) {
            return Err(settings.refuse(LEASE.name, "expected at least 500ms"));
        }
        let data_dir =
            data_dir.ok_or_else(|| settings.refuse(ID.name, "a controller needs data_dir to keep its state in"))?;
        let config = Self::new(id, peers, data_dir);
        Ok(Some(Self { lease: lease.unwrap_or(DEFAULT_LEASE), ..config }))
    }
}

fn parse_peers(items: &[String]) -> Result<BTreeMap<u64, String>, String> {
    let mut peers = BTreeMap::new();
    for item in items {
        let (id, address) = item.split_once('=').ok_or(PEERS_FORM)?;
        let id: u64 = id.trim().parse().ok().filter(|id| *id > 0).ok_or(PEERS_FORM)?;
        let address = address.trim();
        address
            .rsplit_once(':')
            .filter(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
            .ok_or(PEERS_FORM)?;
        if peers.values().any(|other| other == address) {
            return Err(format!("{address} stands there twice"));
        }
        if peers.insert(id, address.to_owned()).is_some() {
            return Err(format!("number {id} stands there twice"));
        }
    }
    Ok(peers)
}

#[cfg(test)]
mod tests;
