//! The provider: what users hold, how it is set up, and how it ends.

use std::collections::HashMap;
use std::fmt::{self, Debug, Formatter};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use orbitmq_common::route::finder::split_nameservers;
use orbitmq_consumer::{Consumer, StartFrom};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{Instant, timeout};

use crate::directory::Directory;
use crate::error::{BuildError, Fault, Refusal};
use crate::limit::{CallerLimits, Limit};
use crate::serve::{Counts, Incoming, Serve, Work};
use crate::service::{Address, Method, check_name, check_service, topic_of};
use crate::wire::{self, Answer, Status};

/// How long brokers may take to tell of a new provider.
const KNOWN_WITHIN: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Requests stored before the start may be for this run if the brokers' clocks are behind by less than this.
const CLOCKS_DIFFER: Duration = Duration::from_secs(60);
/// Messages held beside those that have a place: to be refused, or answered.
const ON_THE_WAY: usize = 1024;
const BYTES_IN_HAND: usize = 256 << 20;

/// Collects what a [`Provider`] offers and its settings. Name servers and one method are required.
pub struct ProviderBuilder {
    nameservers: Vec<String>,
    node: Option<String>,
    methods: Vec<(&'static str, &'static str, Work)>,
    concurrency: usize,
    waiting: usize,
    limits: CallerLimits,
    close_within: Duration,
}

impl Debug for ProviderBuilder {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderBuilder")
            .field("node", &self.node)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Default for ProviderBuilder {
    fn default() -> Self {
        Self {
            nameservers: Vec::new(),
            node: None,
            methods: Vec::new(),
            concurrency: 64,
            waiting: 256,
            limits: CallerLimits::default(),
            close_within: Duration::from_secs(10),
        }
    }
}

impl ProviderBuilder {
    /// Name servers as `host:port`, one by one or joined with `;`.
    #[must_use]
    pub fn nameservers<S: AsRef<str>>(mut self, servers: impl IntoIterator<Item = S>) -> Self {
        self.nameservers = split_nameservers(servers);
        self
    }

    /// Name of this node among those that offer the service; a random one by default. A node that keeps its name keeps its
    /// keys ([`crate::Choice::ConsistentHash`]).
    #[must_use]
    pub fn node(mut self, name: impl Into<String>) -> Self {
        self.node = Some(name.into());
        self
    }

    /// Offers a method. The handler's future is dropped at the request's deadline; its error travels to the caller, its panic
    /// as an error too.
    #[must_use]
    pub fn offer<Req, Resp, H, F>(mut self, method: Method<Req, Resp>, handler: H) -> Self
    where
        Req: DeserializeOwned + Send + 'static,
        Resp: Serialize + Send + 'static,
        H: Fn(Req, Incoming) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Resp, Fault>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let work: Work = Arc::new(move |body, incoming| {
            let handler = Arc::clone(&handler);
            Box::pin(async move {
                let request = match wire::decode::<Req>(&body) {
                    Ok(request) => request,
                    Err(cause) => {
                        let text = format!("the request cannot be read: {cause}; do both sides have the same types?");
                        return Answer::refused(Refusal::Unreadable, text);
                    }
                };
                match handler(request, incoming).await.as_ref().map(wire::encode) {
                    Ok(Ok(body)) => Answer { status: Status::Ok, body },
                    Ok(Err(cause)) => Answer::refused(Refusal::Broken, format!("the result has no form: {cause}")),
                    Err(fault) => Answer::fault(fault),
                }
            })
        });
        self.methods.push((method.service(), method.name(), work));
        self
    }

    /// Handlers that run at once (64).
    #[must_use]
    pub fn concurrency(mut self, requests: usize) -> Self {
        self.concurrency = requests.max(1);
        self
    }

    /// Requests that may wait for a handler (256); beyond, a request is answered 'busy'.
    #[must_use]
    pub fn waiting(mut self, requests: usize) -> Self {
        self.waiting = requests;
        self
    }

    /// How often each caller, by its name, may call the service, at all nodes together. Each node grants an even part of it, so
    /// all must be set alike; see `docs/calls.md`.
    #[must_use]
    pub fn limit_each_caller(mut self, limit: Limit) -> Self {
        self.limits.each = Some(limit);
        self
    }

    /// Another limit for one caller.
    #[must_use]
    pub fn limit_caller(mut self, name: impl Into<String>, limit: Limit) -> Self {
        self.limits.named.insert(name.into(), limit);
        self
    }

    /// How long [`Provider::close`] waits for requests in hand (10 s).
    #[must_use]
    pub fn close_within(mut self, time: Duration) -> Self {
        self.close_within = time;
        self
    }

    fn check(&self) -> Result<(&'static str, HashMap<&'static str, Work>), BuildError> {
        let Some((service, ..)) = self.methods.first() else {
            return Err(BuildError::Methods("it offers none: call offer(method, handler)".to_owned()));
        };
        check_service(service)?;
        let mut methods = HashMap::new();
        for (of, name, work) in &self.methods {
            check_name("method", name)?;
            if of != service {
                let text = format!("this one has some of '{service}' and of '{of}'; build another for that");
                return Err(BuildError::Methods(text));
            }
            if methods.insert(*name, Arc::clone(work)).is_some() {
                return Err(BuildError::Methods(format!("'{name}' is offered twice")));
            }
        }
        Ok((service, methods))
    }

    /// Starts to offer the service. When this returns, callers find it. The service's topic is created if it is not there.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub async fn build(self) -> Result<Provider, BuildError> {
        let (service, methods) = self.check()?;
        let node = self.node.unwrap_or_else(|| format!("node-{:012x}", fastrand::u64(..1 << 48)));
        check_name("node", &node)?;
        let (address, topic) = (Address::new(&node), topic_of(service));
        let directory = Directory::new(self.nameservers.clone(), Duration::from_secs(1))?;
        let made = crate::topic::ensure(&directory, &topic).await;
        made.map_err(|cause| BuildError::Topic { topic: topic.clone(), cause })?;
        let held = self.concurrency.saturating_add(self.waiting).saturating_add(ON_THE_WAY);
        let consumer = Consumer::builder()
            .nameservers(&self.nameservers)
            .group(topic.as_str())
            .instance(address.as_str())
            .subscribe(topic.as_str(), "*")
            .only_tags(address.as_str())
            .broadcasting(None)
            .start_from(StartFrom::Time(SystemTime::now() - CLOCKS_DIFFER))
            // One slow request must not keep others from being fetched.
            .max_span(i64::MAX)
            .max_in_hand(held, BYTES_IN_HAND)
            .max_per_queue(held, BYTES_IN_HAND)
            .build()
            .await?;
        let room = (self.concurrency, self.waiting);
        let offered = directory.service(service);
        let serve = Arc::new(Serve::new(address, service, methods, offered, self.limits, room));
        tokio::spawn(Arc::clone(&serve).run(consumer.clone()));
        let handle = Handle { serve, consumer, _directory: directory, close_within: self.close_within, node };
        let provider = Provider { handle: Arc::new(handle) };
        provider.be_found().await?;
        Ok(provider)
    }
}

/// Ends everything when the last clone is gone.
struct Handle {
    serve: Arc<Serve>,
    consumer: Consumer,
    _directory: Directory,
    close_within: Duration,
    node: String,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.serve.stop.cancel();
    }
}

/// Offers a service at one node. Cheap to clone. Dropping the last clone ends it where it stands, requests in hand too;
/// [`Provider::close`] lets them be done.
#[derive(Clone)]
pub struct Provider {
    handle: Arc<Handle>,
}

impl Debug for Provider {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("address", &self.handle.serve.address).finish_non_exhaustive()
    }
}

impl Provider {
    /// Starts collecting what is offered.
    #[must_use]
    pub fn builder() -> ProviderBuilder {
        ProviderBuilder::default()
    }

    /// Name of this node.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.handle.node
    }

    /// Nodes that offer the service now, this one among them: they share the limits of callers.
    #[must_use]
    pub fn peers(&self) -> usize {
        self.handle.serve.offered.nodes().len()
    }

    /// What was done so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.handle.serve.counts()
    }

    /// Waits until brokers tell of this node, as they tell callers.
    async fn be_found(&self) -> Result<(), BuildError> {
        let serve = &self.handle.serve;
        let mut sight = serve.offered.sight();
        let end = Instant::now() + KNOWN_WITHIN;
        while !sight.borrow_and_update().nodes.iter().any(|node| node.address == serve.address) {
            if Instant::now() >= end {
                let cause = sight.borrow().cause.as_ref().map_or("they name others, or none", |cause| cause).to_owned();
                return Err(BuildError::NotFound { within: KNOWN_WITHIN, cause });
            }
            serve.offered.look_again();
            drop(timeout(LOOK_AGAIN, sight.changed()).await);
        }
        Ok(())
    }

    /// Refuses further requests, which callers take elsewhere, lets those in hand be done (at most
    /// [`ProviderBuilder::close_within`]), and leaves. All clones end.
    pub async fn close(&self) {
        let serve = &self.handle.serve;
        serve.closing.store(true, Ordering::Relaxed);
        if timeout(self.handle.close_within, serve.places.acquire_many(serve.room)).await.is_err() {
            tracing::warn!(service = serve.service, node = %serve.address, "closing although some requests are still in hand");
        }
        self.handle.consumer.close().await;
        serve.stop.cancel();
        serve.tasks.close();
        serve.tasks.wait().await;
    }
}
