//! The agreed state: in memory, and on disk as a snapshot from which the log goes on.

use std::sync::Arc;

use openraft::storage::RaftStateMachine;
use openraft::{EntryPayload, ErrorSubject, ErrorVerb, OptionalSend, RaftSnapshotBuilder, Snapshot};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

use crate::controller::raft::{Entry, Membership, Meta, Place, Types, decode, encode, reign};
use crate::controller::state::{Refused, State};
use crate::controller::storage::{Cause, Disk, Failure, failure};

const SNAPSHOT: &str = "snapshot";
/// sled keeps longer values in files of their own, which nothing syncs.
const PART: usize = 64 * 1024;

/// What was applied.
#[derive(Debug, Clone, Default)]
pub struct Applied {
    /// The groups.
    pub state: State,
    last: Option<Place>,
    membership: Membership,
}

/// The state as readers share it.
pub type Shared = Arc<RwLock<Applied>>;

/// Keeps the state and its snapshots.
#[derive(Debug, Clone)]
pub struct Machine {
    disk: Arc<Disk>,
    applied: Shared,
}

/// The snapshot in force. It is written after its parts, which lie under `number | part`.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    number: u64,
    parts: u32,
    meta: Meta,
}

impl Disk {
    fn save_snapshot(&self, meta: Meta, bytes: &[u8]) -> Result<(), Cause> {
        let before: Option<Stored> = self.read(SNAPSHOT)?;
        let number = before.map_or(0, |stored| stored.number + 1);
        let mut parts = 0_u32;
        for part in bytes.chunks(PART) {
            self.snapshot.insert(part_key(number, parts), part)?;
            parts += 1;
        }
        self.sync()?;
        self.write(SNAPSHOT, &Stored { number, parts, meta })?;
        self.sync()?;
        for old in self.snapshot.range(..part_key(number, 0)).keys() {
            self.snapshot.remove(old?)?;
        }
        Ok(())
    }

    fn load_snapshot(&self) -> Result<Option<(Meta, Vec<u8>)>, Cause> {
        let Some(stored) = self.read::<Stored>(SNAPSHOT)? else { return Ok(None) };
        let mut bytes = Vec::new();
        for part in 0..stored.parts {
            bytes.extend_from_slice(&self.snapshot.get(part_key(stored.number, part))?.ok_or(Cause::Missing)?);
        }
        Ok(Some((stored.meta, bytes)))
    }
}

fn part_key(number: u64, part: u32) -> [u8; 12] {
    let mut key = [0; 12];
    let (left, right) = key.split_at_mut(8);
    left.copy_from_slice(&number.to_be_bytes());
    right.copy_from_slice(&part.to_be_bytes());
    key
}

impl Machine {
    /// The state of the newest snapshot. What came after it is applied from the log.
    pub fn open(disk: Arc<Disk>) -> Result<Self, Cause> {
        let applied = match disk.load_snapshot()? {
            Some((meta, bytes)) => Applied::of(&meta, &bytes)?,
            None => Applied::default(),
        };
        Ok(Self { disk, applied: Arc::new(RwLock::new(applied)) })
    }

    /// The state, for readers.
    pub fn shared(&self) -> Shared {
        Arc::clone(&self.applied)
    }

    async fn save(&self, meta: &Meta, bytes: Vec<u8>) -> Result<Vec<u8>, Failure> {
        let stored = meta.clone();
        let saved = self.disk.blocking(move |disk| {
            disk.save_snapshot(stored, &bytes)?;
            Ok(bytes)
        });
        saved.await.map_err(failure(ErrorSubject::Snapshot(Some(meta.signature())), ErrorVerb::Write))
    }
}

impl Applied {
    fn of(meta: &Meta, bytes: &[u8]) -> Result<Self, Cause> {
        Ok(Self { state: decode(bytes)?, last: meta.last_log_id, membership: meta.last_membership.clone() })
    }

    fn apply(&mut self, entry: Entry) -> Result<(), Refused> {
        self.last = Some(entry.log_id);
        match entry.payload {
            EntryPayload::Blank => Ok(()),
            EntryPayload::Normal(change) => self.state.apply(&change, reign(&entry.log_id.leader_id)),
            EntryPayload::Membership(membership) => {
                self.membership = Membership::new(Some(entry.log_id), membership);
                Ok(())
            }
        }
    }
}

impl RaftSnapshotBuilder<Types> for Machine {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types>, Failure> {
        let applied = self.applied.read().clone();
        let bytes = encode(&applied.state).map_err(Cause::Encode);
        let bytes = bytes.map_err(failure(ErrorSubject::StateMachine, ErrorVerb::Read))?;
        let snapshot_id = applied.last.map_or_else(|| "empty".to_owned(), |place| place.to_string());
        let meta = Meta { last_log_id: applied.last, last_membership: applied.membership, snapshot_id };
        let bytes = self.save(&meta, bytes).await?;
        tracing::debug!(%meta, bytes = bytes.len(), "snapshot of the controller's state");
        Ok(Snapshot { meta, snapshot: Box::new(bytes) })
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<Place>, Membership), Failure> {
        let applied = self.applied.read();
        Ok((applied.last, applied.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Result<(), Refused>>, Failure>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut applied = self.applied.write();
        Ok(entries.into_iter().map(|entry| applied.apply(entry)).collect())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Vec<u8>>, Failure> {
        Ok(Box::default())
    }

    async fn install_snapshot(&mut self, meta: &Meta, snapshot: Box<Vec<u8>>) -> Result<(), Failure> {
        let read = Applied::of(meta, &snapshot);
        let applied = read.map_err(failure(ErrorSubject::Snapshot(Some(meta.signature())), ErrorVerb::Read))?;
        self.save(meta, *snapshot).await?;
        *self.applied.write() = applied;
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Types>>, Failure> {
        let loaded = self.disk.load_snapshot().map_err(failure(ErrorSubject::Snapshot(None), ErrorVerb::Read))?;
        Ok(loaded.map(|(meta, bytes)| Snapshot { meta, snapshot: Box::new(bytes) }))
    }
}
