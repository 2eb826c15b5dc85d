//! The types of the controller's consensus, and how they are written to disk and wire.

use openraft::error::{ClientWriteError, RaftError};
use openraft::{BasicNode, CommittedLeaderId, LogId, SnapshotMeta, StoredMembership};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::controller::state::{Change, Refused, Reign};

openraft::declare_raft_types!(
    /// What the quorum agrees on: changes of groups. A refusal is an agreed outcome too.
    pub Types:
        D = Change,
        R = Result<(), Refused>,
        SnapshotData = Vec<u8>,
);

/// A member of the quorum in this process.
pub type Raft = openraft::Raft<Types>;
/// A change with its place in the log.
pub type Entry = openraft::Entry<Types>;
/// Place in the log.
pub type Place = LogId<u64>;
/// Who belongs to the quorum, and since which place in the log.
pub type Membership = StoredMembership<u64, BasicNode>;
/// What a snapshot says of itself.
pub type Meta = SnapshotMeta<u64, BasicNode>;
/// A failed write.
pub type WriteError = RaftError<u64, ClientWriteError<u64, BasicNode>>;

/// The leadership under which a place in the log was written.
pub fn reign(leader: &CommittedLeaderId<u64>) -> Reign {
    Reign { term: leader.term, leader: leader.node_id }
}

/// Bytes for disk and wire. Fields carry their names, so that later versions can add some.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    rmp_serde::to_vec_named(value)
}

/// What [`encode`] wrote.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, rmp_serde::decode::Error> {
    rmp_serde::from_slice(bytes)
}
