//! Founds the quorum at its first start, unless there is one already.

use std::time::Duration;

use openraft::error::{InitializeError, RaftError};
use orbitmq_common::protocol::body::controller::{MembersRequest, Quorum};
use orbitmq_common::protocol::code::request as kind;

use crate::controller::Controller;

const PAUSE: Duration = Duration::from_millis(200);
const ASK_TIMEOUT: Duration = Duration::from_millis(500);

/// Asks the others until it is clear whether this member founds the quorum or is waited for by one. A member with an empty
/// directory must not found a second one with a list that names it: only when a majority has nothing either, all begin, each
/// with the same list.
pub async fn run(controller: &Controller) {
    let founding = async {
        loop {
            match controller.raft.is_initialized().await {
                Ok(false) => {}
                Ok(true) => return,
                Err(error) => return tracing::error!(%error, "the controller has ended"),
            }
            if controller.nobody_has_begun().await {
                return controller.found().await;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::select! {
        () = controller.stop.cancelled() => {}
        () = founding => {}
    }
}

impl Controller {
    /// Whether a majority of the list, this member included, has nothing, and nobody who answers has something.
    async fn nobody_has_begun(&self) -> bool {
        let Ok(body) = serde_json::to_vec(&MembersRequest::List) else { return false };
        let others = self.peers.iter().filter(|(id, _)| **id != self.me);
        let asked =
            others.map(|(_, address)| self.network.ask(address, kind::CONTROLLER_MEMBERS, body.clone(), ASK_TIMEOUT));
        let mut empty = 1;
        for answer in futures_util::future::join_all(asked).await {
            match answer.map(|body| serde_json::from_slice::<Quorum>(&body)) {
                Ok(Ok(quorum)) if !quorum.founded => empty += 1,
                Ok(Ok(_)) => return false,
                Ok(Err(error)) => {
                    tracing::warn!(%error, "a member of controller_peers answers what this version does not read")
                }
                Err(error) => tracing::debug!(%error, "a member of controller_peers does not answer yet"),
            }
        }
        empty > self.peers.len() / 2
    }

    async fn found(&self) {
        match self.raft.initialize(self.founders()).await {
            Ok(()) => tracing::info!(members = ?self.peers, "controller quorum founded"),
            // The founded quorum was faster.
            Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
            Err(error) => tracing::error!(%error, "the controller quorum is not founded"),
        }
    }
}
