//! One call: its settings, and the ways to have its result.

use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::caller::Shared;
use crate::choose::Choice;
use crate::error::CallError;
use crate::service::{check_name, check_service, topic_of};
use crate::tries::{self, Reply};
use crate::wire;

/// What happens when a node gives no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// The call fails.
    #[default]
    FailFast,
    /// Another node is called, each at most once, while the call's deadline lasts. What the node before was doing may be done
    /// all the same: a method that is retried may run more than once.
    RetryElsewhere {
        /// Nodes called at most. Each but the last gets an even part of the time that is left.
        attempts: usize,
    },
}

/// What one node answered to a broadcast.
#[derive(Debug, Clone)]
pub struct Answered<Resp> {
    /// The node.
    pub node: String,
    /// Its result.
    pub result: Result<Resp, CallError>,
}

/// What all tries of one call have in common.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub service: &'static str,
    pub topic: String,
    pub method: &'static str,
    pub body: Bytes,
    pub deadline: Instant,
    pub choice: Choice,
    pub policy: Policy,
}

/// A call that is set up and not begun: await it, or end it in another way.
#[must_use = "a call does nothing until it is awaited, started or sent"]
pub struct Call<Resp> {
    shared: Arc<Shared>,
    service: &'static str,
    method: &'static str,
    body: Result<Bytes, CallError>,
    within: Duration,
    choice: Choice,
    policy: Policy,
    gives: PhantomData<fn() -> Resp>,
}

impl<Resp> std::fmt::Debug for Call<Resp> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Call({}.{})", self.service, self.method)
    }
}

impl<Resp: DeserializeOwned> Call<Resp> {
    pub(crate) fn new<Req: Serialize>(
        shared: Arc<Shared>,
        service: &'static str,
        method: &'static str,
        request: &Req,
        within: Duration,
    ) -> Self {
        let body = wire::encode(request).map_err(CallError::Request);
        let (choice, policy) = (Choice::default(), Policy::default());
        Self { shared, service, method, body, within, choice, policy, gives: PhantomData }
    }

    /// The deadline, from the beginning of the call on; a day at most.
    pub fn within(mut self, time: Duration) -> Self {
        self.within = time;
        self
    }

    /// How the node is chosen ([`Choice::RoundRobin`]).
    pub fn choice(mut self, choice: Choice) -> Self {
        self.choice = choice;
        self
    }

    /// What happens when a node gives no result ([`Policy::FailFast`]).
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    fn job(self) -> Result<(Arc<Shared>, Job), CallError> {
        check_service(self.service)?;
        check_name("method", self.method)?;
        let now = Instant::now();
        let job = Job {
            service: self.service,
            topic: topic_of(self.service),
            method: self.method,
            body: self.body?,
            deadline: now + self.within.min(wire::LONGEST),
            choice: self.choice,
            policy: self.policy,
        };
        Ok((self.shared, job))
    }

    async fn run(self) -> Result<Resp, CallError> {
        let (shared, job) = self.job()?;
        read(tries::run(&shared, &job).await?)
    }

    /// Begins the call at once and hands it out to be awaited later. Dropping it gives the call up: nothing is tried any more,
    /// and what a node is doing meanwhile comes to nothing.
    #[must_use = "dropping it gives the call up"]
    pub fn start(self) -> Pending<Resp>
    where
        Resp: Send + 'static,
    {
        Pending { task: AbortOnDropHandle::new(tokio::spawn(self.run())) }
    }

    /// Begins the call at once and has `done` called with its result.
    pub fn then(self, done: impl FnOnce(Result<Resp, CallError>) + Send + 'static)
    where
        Resp: Send + 'static,
    {
        tokio::spawn(async move { done(self.run().await) });
    }

    /// Sends the request and wants no answer. Returns the node it is for, when a broker has stored the request; the node does it
    /// if it comes to it before the deadline. The policy does not matter.
    ///
    /// # Errors
    /// The request was not sent, or not surely; see [`CallError`].
    pub async fn oneway(self) -> Result<String, CallError> {
        let (shared, job) = self.job()?;
        tries::tell(&shared, &job).await
    }

    /// Calls every node that offers the service now, all at the same time, and tells what each answered within the deadline.
    /// Choice and policy do not matter.
    ///
    /// # Errors
    /// There was nobody to call; see [`CallError`].
    pub async fn broadcast(self) -> Result<Vec<Answered<Resp>>, CallError> {
        let (shared, job) = self.job()?;
        let answers = tries::everywhere(&shared, &job).await?;
        let answered =
            |(node, answer): (String, Result<Reply, CallError>)| Answered { node, result: answer.and_then(read) };
        Ok(answers.into_iter().map(answered).collect())
    }
}

fn read<Resp: DeserializeOwned>(reply: Reply) -> Result<Resp, CallError> {
    wire::decode(&reply.body).map_err(|cause| CallError::Unreadable { node: reply.node, cause })
}

impl<Resp: DeserializeOwned + 'static> IntoFuture for Call<Resp> {
    type Output = Result<Resp, CallError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// A call that is under way.
#[derive(Debug)]
pub struct Pending<Resp> {
    task: AbortOnDropHandle<Result<Resp, CallError>>,
}

impl<Resp> Future for Pending<Resp> {
    type Output = Result<Resp, CallError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // It ends without a result only if the runtime does.
        Pin::new(&mut self.task).poll(cx).map(|done| done.unwrap_or(Err(CallError::Closed)))
    }
}
