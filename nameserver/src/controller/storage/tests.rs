//! Storage: what the consensus demands of it, and what is there after a restart.

use openraft::storage::{RaftLogStorage, RaftLogStorageExt, RaftStateMachine};
use openraft::testing::{StoreBuilder, Suite};
use openraft::{CommittedLeaderId, EntryPayload, LogId, RaftLogReader, RaftSnapshotBuilder, Vote};

use super::*;
use crate::controller::raft::{Entry, Types};
use crate::controller::state::{Change, Member, Name, Process};
use crate::controller::storage::log::Log;
use crate::controller::storage::machine::Machine;

struct Builder;

impl StoreBuilder<Types, Log, Machine, tempfile::TempDir> for Builder {
    async fn build(&self) -> Result<(tempfile::TempDir, Log, Machine), Failure> {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path()).unwrap();
        Ok((dir, Log(Arc::clone(&disk)), Machine::open(disk).unwrap()))
    }
}

#[test]
fn the_suite_of_the_consensus_passes() {
    Suite::test_all(Builder).unwrap();
}

fn entry(index: u64) -> Entry {
    let change = Change::Register {
        group: Name::new("c", format!("b{index}")),
        process: Process { id: 1, incarnation: 2 },
        member: Member { address: "h:1".repeat(40), ..Member::default() },
        newest: 0,
    };
    Entry { log_id: LogId::new(CommittedLeaderId::new(1, 2), index), payload: EntryPayload::Normal(change) }
}

fn open(path: &Path) -> (Log, Machine) {
    let disk = Disk::open(path).unwrap();
    (Log(Arc::clone(&disk)), Machine::open(disk).unwrap())
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    {
        let (mut log, mut machine) = open(dir.path());
        log.save_vote(&Vote::new(3, 2)).await.unwrap();
        log.blocking_append((0..1_000).map(entry)).await.unwrap();
        log.save_committed(Some(entry(900).log_id)).await.unwrap();
        // The snapshot is longer than one part.
        machine.apply((0..800).map(entry)).await.unwrap();
        let snapshot = machine.build_snapshot().await.unwrap();
        assert!(snapshot.snapshot.len() > 64 * 1024, "{}", snapshot.snapshot.len());
        log.purge(entry(700).log_id).await.unwrap();
        log.truncate(entry(990).log_id).await.unwrap();
    }
    let (mut log, mut machine) = open(dir.path());
    assert_eq!(log.read_vote().await.unwrap(), Some(Vote::new(3, 2)));
    assert_eq!(log.read_committed().await.unwrap(), Some(entry(900).log_id));
    let state = log.get_log_state().await.unwrap();
    assert_eq!(state.last_purged_log_id, Some(entry(700).log_id));
    assert_eq!(state.last_log_id, Some(entry(989).log_id));
    let entries = log.try_get_log_entries(..).await.unwrap();
    assert_eq!((entries.len(), &entries[0]), (289, &entry(701)));
    assert_eq!(machine.applied_state().await.unwrap().0, Some(entry(799).log_id));
    assert_eq!(machine.shared().read().state.groups().count(), 800);
    let again = machine.build_snapshot().await.unwrap();
    let current = machine.get_current_snapshot().await.unwrap().unwrap();
    assert_eq!((again.meta, again.snapshot), (current.meta, current.snapshot));
}

#[test]
fn a_directory_belongs_to_one_member() {
    let dir = tempfile::tempdir().unwrap();
    {
        let disk = Disk::open(dir.path()).unwrap();
        assert_eq!(disk.owner(2).unwrap(), 2);
        let refused = Disk::open(dir.path()).unwrap_err();
        assert!(refused.to_string().contains("another name server"), "{refused}");
    }
    assert_eq!(Disk::open(dir.path()).unwrap().owner(3).unwrap(), 2);
}
