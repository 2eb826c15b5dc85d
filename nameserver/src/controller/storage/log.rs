//! The log and the vote, as the consensus wants them kept.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{ErrorSubject, ErrorVerb, LogState, OptionalSend, RaftLogReader, Vote};

use crate::controller::raft::{Entry, Place, Types, decode, encode};
use crate::controller::storage::{Cause, Disk, Failure, failure};

const VOTE: &str = "vote";
const COMMITTED: &str = "committed";
const PURGED: &str = "purged";

/// The log. Clones share it.
#[derive(Debug, Clone)]
pub struct Log(pub Arc<Disk>);

impl Disk {
    fn entries(&self, from: u64, to: Option<u64>) -> Result<Vec<Entry>, Cause> {
        let from = from.to_be_bytes();
        let found = match to {
            Some(to) => self.log.range(from..to.to_be_bytes()),
            None => self.log.range(from..),
        };
        found.map(|entry| Ok(decode(&entry?.1)?)).collect()
    }

    fn log_state(&self) -> Result<LogState<Types>, Cause> {
        let last_purged_log_id: Option<Place> = self.read(PURGED)?;
        let last = self.log.last()?.map(|(_, bytes)| decode::<Entry>(&bytes)).transpose()?.map(|entry| entry.log_id);
        // After a crash in the middle of a purge, entries may be left that count as purged.
        Ok(LogState { last_purged_log_id, last_log_id: last.max(last_purged_log_id) })
    }

    fn append(&self, entries: &[Entry]) -> Result<(), Cause> {
        for entry in entries {
            self.log.insert(entry.log_id.index.to_be_bytes(), encode(entry)?)?;
        }
        self.sync()
    }

    /// Removes entries from the end on, so that a crash leaves no hole.
    fn truncate(&self, from: u64) -> Result<(), Cause> {
        for entry in self.log.range(from.to_be_bytes()..).rev() {
            self.log.remove(entry?.0)?;
        }
        self.sync()
    }

    /// Removes entries from the beginning on. They are in a snapshot: should they come back after a crash, nobody minds.
    fn purge(&self, to: Place) -> Result<(), Cause> {
        self.write(PURGED, &to)?;
        for key in self.log.range(..=to.index.to_be_bytes()).keys() {
            self.log.remove(key?)?;
        }
        self.db.flush()?;
        Ok(())
    }
}

impl RaftLogReader<Types> for Log {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry>, Failure> {
        let from = match range.start_bound() {
            Bound::Included(from) => *from,
            Bound::Excluded(before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(last) => last.checked_add(1),
            Bound::Excluded(to) => Some(*to),
            Bound::Unbounded => None,
        };
        if to.is_some_and(|to| to <= from) {
            return Ok(Vec::new());
        }
        self.0.entries(from, to).map_err(failure(ErrorSubject::Logs, ErrorVerb::Read))
    }
}

impl RaftLogStorage<Types> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, Failure> {
        self.0.log_state().map_err(failure(ErrorSubject::Logs, ErrorVerb::Read))
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<u64>) -> Result<(), Failure> {
        let vote = *vote;
        let written = self.0.blocking(move |disk| {
            disk.write(VOTE, &vote)?;
            disk.sync()
        });
        written.await.map_err(failure(ErrorSubject::Vote, ErrorVerb::Write))
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<u64>>, Failure> {
        self.0.read(VOTE).map_err(failure(ErrorSubject::Vote, ErrorVerb::Read))
    }

    /// A hint, for a start without a leader: it need not be the newest.
    async fn save_committed(&mut self, committed: Option<Place>) -> Result<(), Failure> {
        self.0.write(COMMITTED, &committed).map_err(failure(ErrorSubject::Store, ErrorVerb::Write))
    }

    async fn read_committed(&mut self) -> Result<Option<Place>, Failure> {
        let read: Result<Option<Option<Place>>, Cause> = self.0.read(COMMITTED);
        read.map(Option::flatten).map_err(failure(ErrorSubject::Store, ErrorVerb::Read))
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Result<(), Failure>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        match self.0.blocking(move |disk| disk.append(&entries)).await {
            Ok(()) => {
                callback.log_io_completed(Ok(()));
                Ok(())
            }
            Err(cause) => {
                callback.log_io_completed(Err(io::Error::other(cause.to_string())));
                Err(failure(ErrorSubject::Logs, ErrorVerb::Write)(cause))
            }
        }
    }

    async fn truncate(&mut self, from: Place) -> Result<(), Failure> {
        let done = self.0.blocking(move |disk| disk.truncate(from.index)).await;
        done.map_err(failure(ErrorSubject::Log(from), ErrorVerb::Delete))
    }

    async fn purge(&mut self, to: Place) -> Result<(), Failure> {
        let done = self.0.blocking(move |disk| disk.purge(to)).await;
        done.map_err(failure(ErrorSubject::Log(to), ErrorVerb::Delete))
    }
}
