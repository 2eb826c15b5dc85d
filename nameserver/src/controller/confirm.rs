//! Confirms that this member still leads the quorum: one round for everybody who waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use openraft::error::{CheckIsLeaderError, RaftError};
use openraft::{BasicNode, LogId};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::controller::raft::{Raft, reign};
use crate::controller::refusal::ControllerError;
use crate::controller::state::Reign;

/// A round may fail because answers came late; so many are tried.
const ROUNDS: u32 = 3;

const GATHER: Duration = Duration::from_millis(5);
const LONGEST_ROUND: Duration = Duration::from_secs(1);

type Confirmed = Result<Reign, ControllerError>;

/// Gathers those who wait. Each gets the outcome of a round that began after it came.
#[derive(Debug)]
pub struct Confirm {
    /// How many have come.
    came: AtomicU64,
    wake: Notify,
    /// How many of them the last round was for, and its outcome.
    done: watch::Sender<(u64, Confirmed)>,
}

impl Default for Confirm {
    fn default() -> Self {
        Self {
            came: AtomicU64::new(0),
            wake: Notify::new(),
            done: watch::channel((0, Err(ControllerError::Stopping))).0,
        }
    }
}

impl Confirm {
    /// Waits until a quorum has confirmed after this call that this member leads. The state shows by then whatever was agreed
    /// on before the call.
    pub async fn confirmed(&self) -> Confirmed {
        let mut done = self.done.subscribe();
        let number = self.came.fetch_add(1, Ordering::SeqCst) + 1;
        self.wake.notify_one();
        match done.wait_for(|(rounds, _)| *rounds >= number).await {
            Ok(outcome) => outcome.1.clone(),
            Err(_) => Err(ControllerError::Stopping),
        }
    }

    /// Makes the rounds until `stop`.
    pub async fn run(&self, raft: &Raft, stop: &CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.wake.notified() => {}
            }
            // Renewals come at any time: those of a moment share a round.
            tokio::time::sleep(GATHER).await;
            let number = self.came.load(Ordering::SeqCst);
            let outcome = tokio::select! {
                () = stop.cancelled() => break,
                outcome = tokio::time::timeout(LONGEST_ROUND, round(raft)) => outcome,
            };
            // A leader that loses its quorum before its first entry is agreed on would wait for that.
            let outcome = outcome.unwrap_or(Err(ControllerError::NotLeader(None)));
            drop(self.done.send_replace((number, outcome)));
        }
        drop(self.done.send_replace((u64::MAX, Err(ControllerError::Stopping))));
    }
}

async fn round(raft: &Raft) -> Confirmed {
    let mut tries = 0;
    loop {
        tries += 1;
        match raft.ensure_linearizable().await {
            // A leader's place to read from is one of its own.
            Ok(place) => {
                return place.map(|LogId { leader_id, .. }| reign(&leader_id)).ok_or(ControllerError::NotLeader(None));
            }
            Err(RaftError::APIError(CheckIsLeaderError::QuorumNotEnough(_))) if tries < ROUNDS => {}
            Err(error) => return Err(refusal(error)),
        }
    }
}

fn refusal(error: RaftError<u64, CheckIsLeaderError<u64, BasicNode>>) -> ControllerError {
    match error {
        RaftError::APIError(CheckIsLeaderError::ForwardToLeader(to)) => {
            ControllerError::NotLeader(to.leader_node.map(|node| node.addr))
        }
        RaftError::APIError(CheckIsLeaderError::QuorumNotEnough(_)) => ControllerError::NotLeader(None),
        RaftError::Fatal(fatal) => ControllerError::Ended(fatal.to_string()),
    }
}
