//! What the members of the quorum tell one another: frames over the same port that clients use.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use openraft::error::{Fatal, RPCError, RaftError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse};
use openraft::{BasicNode, OptionalSend, Snapshot, Vote};
use orbitmq_common::net::client::{Client, ClientOptions};
use orbitmq_common::protocol::code::{request as kind, response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::controller::raft::{Meta, Types, decode, encode};

/// After a failure a member is asked again so much later.
const PAUSE: Duration = Duration::from_millis(200);
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// What one member asks another.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ask<T> {
    /// Who is meant: a wrong address must not reach the wrong member.
    pub to: u64,
    /// What is asked.
    pub what: T,
}

/// A whole snapshot: the state is small.
#[derive(Debug, Serialize, Deserialize)]
pub struct WholeSnapshot {
    /// The leadership that sends it.
    pub vote: Vote<u64>,
    /// What it holds.
    pub meta: Meta,
    /// The state.
    pub state: Vec<u8>,
}

/// Reaches all members.
#[derive(Debug, Clone)]
pub struct Network {
    client: Arc<Client>,
}

impl Default for Network {
    fn default() -> Self {
        let options = ClientOptions { connect_timeout: CONNECT_TIMEOUT, ..ClientOptions::default() };
        Self { client: Arc::new(Client::new(options)) }
    }
}

impl Network {
    /// Asks the name server at an address.
    pub async fn ask(&self, address: &str, code: i32, body: Vec<u8>, time: Duration) -> io::Result<bytes::Bytes> {
        let ask = async {
            // A member that was gone is asked again at once when it is back: the pauses are the consensus's own.
            self.client.forget_failures(address);
            let link = self.client.link(address).await?;
            link.call(link.request(code).with_body(body), time).await
        };
        let answer = tokio::time::timeout(time, ask).await?.map_err(io::Error::other)?;
        match answer.code {
            response::SUCCESS => Ok(answer.body),
            _ => Err(io::Error::other(answer.remark.unwrap_or_else(|| format!("answered {}", answer.code)))),
        }
    }

    /// Ends all connections.
    pub fn close(&self) {
        self.client.close();
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, node: &BasicNode) -> Peer {
        Peer { network: self.clone(), id: target, address: node.addr.clone() }
    }
}

/// Another member.
#[derive(Debug)]
pub struct Peer {
    network: Network,
    id: u64,
    address: String,
}

impl Peer {
    async fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        code: i32,
        what: Q,
        time: Duration,
    ) -> Result<A, Unreachable> {
        let body = encode(&Ask { to: self.id, what }).map_err(|error| Unreachable::new(&error))?;
        let answer = self.network.ask(&self.address, code, body, time).await.map_err(|error| {
            tracing::debug!(member = self.id, address = %self.address, %error, "member of the quorum not reached");
            Unreachable::new(&error)
        })?;
        decode(&answer).map_err(|error| Unreachable::new(&error))
    }
}

type Rpc<T> = Result<T, RPCError<u64, BasicNode, RaftError<u64>>>;

impl RaftNetwork<Types> for Peer {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Rpc<AppendEntriesResponse<u64>> {
        Ok(self.ask(kind::RAFT_APPEND, rpc, option.hard_ttl()).await?)
    }

    async fn vote(&mut self, rpc: VoteRequest<u64>, option: RPCOption) -> Rpc<VoteResponse<u64>> {
        Ok(self.ask(kind::RAFT_VOTE, rpc, option.hard_ttl()).await?)
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote<u64>,
        snapshot: Snapshot<Types>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<u64>, StreamingError<Types, Fatal<u64>>> {
        let whole = WholeSnapshot { vote, meta: snapshot.meta, state: *snapshot.snapshot };
        tokio::select! {
            sent = self.ask(kind::RAFT_SNAPSHOT, whole, option.hard_ttl()) => Ok(sent?),
            closed = cancel => Err(closed.into()),
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(PAUSE))
    }
}
