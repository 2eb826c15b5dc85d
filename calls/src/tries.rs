//! The tries of one call: finds a node, asks it, and goes on elsewhere while policy and deadline allow.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::future::join_all;
use orbitmq_producer::{Message, Reply as Received, RequestError, SendError};
use tokio::time::{Instant, timeout_at};

use crate::call::{Job, Policy};
use crate::caller::Shared;
use crate::choose::Choice;
use crate::directory::{Offered, Sight};
use crate::error::{CallError, Fault, Refusal, Tried};
use crate::node::Node;
use crate::service::Address;
use crate::wire::{self, Status};

/// A result, still in its bytes.
#[derive(Debug)]
pub(crate) struct Reply {
    pub node: String,
    pub body: Bytes,
}

/// Does a call; see [`Policy`].
pub(crate) async fn run(shared: &Shared, job: &Job) -> Result<Reply, CallError> {
    tokio::select! {
        biased;
        () = shared.closed.cancelled() => Err(CallError::Closed),
        result = run_tries(shared, job) => result,
    }
}

async fn run_tries(shared: &Shared, job: &Job) -> Result<Reply, CallError> {
    let offered = shared.directory.service(job.service);
    let mut attempts = match job.policy {
        Policy::FailFast => 1,
        Policy::RetryElsewhere { attempts } => attempts.max(1),
    };
    let (mut tries, mut tried): (Vec<Tried>, Vec<Address>) = Default::default();
    loop {
        let node = match find(shared, &offered, job, &tried, tries.last()).await {
            Ok(node) => node,
            Err(error) => return Err(conclude(tries, Some(error))),
        };
        if let Err(error) = shared.may_go(job.deadline).await {
            return Err(conclude(tries, Some(error)));
        }
        let now = Instant::now();
        let part = u32::try_from(attempts).unwrap_or(u32::MAX);
        let until = now + job.deadline.saturating_duration_since(now) / part;
        tried.push(node.address.clone());
        let error = match ask(shared, &offered, &node, job, until).await {
            Ok(reply) => return Ok(reply),
            Err(error) => error,
        };
        tracing::debug!(service = job.service, method = job.method, node = %node.address, %error, "a call came to nothing");
        // A node that stops has done nothing, so that going elsewhere is no second attempt.
        let is_free = error.refusal() == Some(Refusal::Closing);
        attempts -= usize::from(!is_free);
        let goes_on = error.is_worth_elsewhere() && attempts > 0 && Instant::now() < job.deadline;
        tries.push(Tried { node: node.address.node().to_owned(), error });
        if !goes_on {
            return Err(conclude(tries, None));
        }
    }
}

/// One try speaks for itself; of several all are told. `last`: why there is no further one.
fn conclude(mut tries: Vec<Tried>, last: Option<CallError>) -> CallError {
    match (tries.pop(), last) {
        (None, last) => last.unwrap_or(CallError::Closed),
        (Some(only), _) if tries.is_empty() => only.error,
        (Some(latest), _) => {
            tries.push(latest);
            CallError::Nowhere { tries }
        }
    }
}

/// A node that was not tried. Waits for one where none is there, or where the last one has left.
async fn find(
    shared: &Shared,
    offered: &Offered,
    job: &Job,
    tried: &[Address],
    last: Option<&Tried>,
) -> Result<Arc<Node>, CallError> {
    let mut sight = offered.sight();
    let turn = offered.next_turn();
    let pick = |sight: &Sight| job.choice.pick(&sight.nodes, tried, turn);
    let now = pick(&sight.borrow_and_update());
    if let Some(node) = now {
        return Ok(node);
    }
    if last.is_none_or(|last| last.error.is_departure()) {
        let end = job.deadline.min(Instant::now() + shared.find_within());
        offered.look_again();
        while let Ok(Ok(())) = timeout_at(end, sight.changed()).await {
            let now = pick(&sight.borrow_and_update());
            if let Some(node) = now {
                return Ok(node);
            }
        }
    }
    Err(nobody(job, &sight.borrow()))
}

fn nobody(job: &Job, sight: &Sight) -> CallError {
    let service = job.service.to_owned();
    match &job.choice {
        Choice::Fixed(node) if !sight.nodes.is_empty() => {
            let known: Vec<&str> = sight.nodes.iter().map(|node| node.address.node()).collect();
            CallError::NoNode { service, node: node.clone(), known: known.join(", ") }
        }
        _ => CallError::NoProvider { service, cause: sight.cause.as_ref().map(|cause| cause.as_ref().to_owned()) },
    }
}

/// Asks one node.
async fn ask(
    shared: &Shared,
    offered: &Offered,
    node: &Arc<Node>,
    job: &Job,
    until: Instant,
) -> Result<Reply, CallError> {
    let name = || node.address.node().to_owned();
    let within = until.saturating_duration_since(Instant::now());
    let asked = shared.producer.request(message(shared, node, job, within), within);
    let _active = node.enter();
    let answer = tokio::select! {
        biased;
        answer = timeout_at(until, asked) => answer,
        () = node.gone.cancelled() => {
            node.leaves();
            return Err(CallError::Gone { node: name() });
        }
    };
    let reply = match answer {
        Ok(Ok(reply)) => reply,
        Ok(Err(RequestError::Unreadable(cause))) => return Err(CallError::Unreadable { node: name(), cause }),
        Ok(Err(RequestError::Send(error))) => return Err(not_sent(error)),
        Ok(Err(RequestError::Timeout { .. })) | Err(_) => {
            node.was_silent();
            offered.look_again();
            return Err(CallError::NoAnswer { node: name(), within });
        }
    };
    let result = read(name(), reply);
    match &result {
        Err(error) if error.refusal() == Some(Refusal::Closing) => {
            node.leaves();
            offered.look_again();
        }
        _ => node.answered(),
    }
    result
}

fn not_sent(error: SendError) -> CallError {
    if matches!(error, SendError::Closed) { CallError::Closed } else { CallError::Send(error) }
}

fn message(shared: &Shared, node: &Node, job: &Job, within: Duration) -> Message {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Message::new(job.topic.as_str(), job.body.clone())
        .tag(node.address.as_str())
        .property(wire::METHOD, job.method)
        .property(wire::CALLER, shared.name())
        .property(wire::DEADLINE, now.saturating_add(within).as_millis().to_string())
}

/// What an answer says.
fn read(node: String, reply: Received) -> Result<Reply, CallError> {
    let status = reply.property(wire::STATUS);
    match status.and_then(Status::parse) {
        Some(Status::Ok) => Ok(Reply { node, body: reply.body }),
        Some(Status::Fault) => Err(match wire::decode::<Fault>(&reply.body) {
            Ok(fault) => CallError::Fault { node, fault },
            Err(cause) => CallError::Unreadable { node, cause },
        }),
        Some(Status::Refused(refusal)) => {
            let text = String::from_utf8_lossy(&reply.body).into_owned();
            Err(CallError::Refused { node, refusal, text })
        }
        None => {
            let cause = format!("its status is '{}'", status.unwrap_or_default());
            Err(CallError::Unreadable { node, cause })
        }
    }
}

/// Sends a request that wants no answer; tells which node it is for.
pub(crate) async fn tell(shared: &Shared, job: &Job) -> Result<String, CallError> {
    let told = async {
        let offered = shared.directory.service(job.service);
        let node = find(shared, &offered, job, &[], None).await?;
        shared.may_go(job.deadline).await?;
        let left = job.deadline.saturating_duration_since(Instant::now());
        let sent = timeout_at(job.deadline, shared.producer.send(message(shared, &node, job, left))).await;
        let name = node.address.node().to_owned();
        match sent {
            Ok(Ok(_)) => Ok(name),
            Ok(Err(error)) => Err(not_sent(error)),
            Err(_) => Err(CallError::NoAnswer { node: name, within: left }),
        }
    };
    tokio::select! {
        biased;
        () = shared.closed.cancelled() => Err(CallError::Closed),
        told = told => told,
    }
}

/// Asks all nodes at the same time.
pub(crate) async fn everywhere(
    shared: &Shared,
    job: &Job,
) -> Result<Vec<(String, Result<Reply, CallError>)>, CallError> {
    let all = async {
        let offered = shared.directory.service(job.service);
        find(shared, &offered, &Job { choice: Choice::Random, ..job.clone() }, &[], None).await?;
        let nodes = offered.nodes();
        let asked = nodes.iter().map(|node| async {
            let answer = match shared.may_go(job.deadline).await {
                Ok(()) => ask(shared, &offered, node, job, job.deadline).await,
                Err(error) => Err(error),
            };
            (node.address.node().to_owned(), answer)
        });
        Ok(join_all(asked).await)
    };
    tokio::select! {
        biased;
        () = shared.closed.cancelled() => Err(CallError::Closed),
        answers = all => answers,
    }
}
