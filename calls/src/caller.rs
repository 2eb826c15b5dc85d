//! The caller: what users hold, how it is set up, and what its calls share.

use std::sync::Arc;
use std::time::Duration;

use orbitmq_common::route::finder::split_nameservers;
use orbitmq_producer::Producer;
use parking_lot::Mutex;
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::call::Call;
use crate::directory::Directory;
use crate::error::{BuildError, CallError};
use crate::limit::{Limit, Used, WhenOver};
use crate::service::{Method, check_name, check_service};

/// The producers' group of all callers.
const GROUP: &str = "CALLERS";

/// Collects the settings of a [`Caller`]; all but the name servers have defaults.
#[derive(Debug, Clone)]
pub struct CallerBuilder {
    nameservers: Vec<String>,
    name: String,
    within: Duration,
    find_within: Duration,
    look_every: Duration,
    limit: Option<(Limit, WhenOver)>,
}

impl Default for CallerBuilder {
    fn default() -> Self {
        Self {
            nameservers: Vec::new(),
            name: "caller".to_owned(),
            within: Duration::from_secs(3),
            find_within: Duration::from_secs(2),
            look_every: Duration::from_secs(1),
            limit: None,
        }
    }
}

impl CallerBuilder {
    /// Name servers as `host:port`, one by one or joined with `;`. Required.
    #[must_use]
    pub fn nameservers<S: AsRef<str>>(mut self, servers: impl IntoIterator<Item = S>) -> Self {
        self.nameservers = split_nameservers(servers);
        self
    }

    /// The name under which providers know this caller, and by which they limit it. Processes that do the same work have the
    /// same (`caller`).
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Deadline of calls that set none, from their beginning on (3 s).
    #[must_use]
    pub fn within(mut self, time: Duration) -> Self {
        self.within = time;
        self
    }

    /// How long a call waits for a provider when none is there, within its deadline (2 s): one may be starting.
    #[must_use]
    pub fn find_within(mut self, time: Duration) -> Self {
        self.find_within = time;
        self
    }

    /// How often brokers are asked who offers a service (1 s). One that ends drops out of the choice with the next look.
    #[must_use]
    pub fn look_every(mut self, time: Duration) -> Self {
        self.look_every = time.max(Duration::from_millis(10));
        self
    }

    /// How often this caller calls at most, all services and tries together, and what a call does that would be more.
    #[must_use]
    pub fn limit(mut self, limit: Limit, when_over: WhenOver) -> Self {
        self.limit = Some((limit, when_over));
        self
    }

    /// Builds the caller. Connections are made when they are needed.
    ///
    /// # Errors
    /// The name cannot be used, or no name server is given.
    pub async fn build(self) -> Result<Caller, BuildError> {
        check_name("caller", &self.name)?;
        let directory = Directory::new(self.nameservers.clone(), self.look_every)?;
        let producer = Producer::builder().nameservers(&self.nameservers).group(GROUP).build().await?;
        let used = Mutex::default();
        let shared = Shared { settings: self, producer, directory, used, closed: CancellationToken::new() };
        Ok(Caller { shared: Arc::new(shared) })
    }
}

/// What calls share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub settings: CallerBuilder,
    pub producer: Producer,
    pub directory: Directory,
    pub closed: CancellationToken,
    used: Mutex<Used>,
}

impl Shared {
    pub(crate) fn name(&self) -> &str {
        &self.settings.name
    }

    pub(crate) fn find_within(&self) -> Duration {
        self.settings.find_within
    }

    /// Waits until this caller's own limit lets a request go.
    pub(crate) async fn may_go(&self, deadline: Instant) -> Result<(), CallError> {
        let Some((limit, when_over)) = self.settings.limit else { return Ok(()) };
        let now = Instant::now();
        let latest = if when_over == WhenOver::Wait { deadline } else { now };
        let turn = self.used.lock().take(limit, 1, now, latest);
        let turn = turn.map_err(|turn| CallError::OwnLimit(turn.saturating_duration_since(now)))?;
        if turn > now {
            tokio::time::sleep_until(turn).await;
        }
        Ok(())
    }
}

/// Calls services. Cheap to clone; clones share connections, knowledge of nodes, and the limit.
#[derive(Debug, Clone)]
pub struct Caller {
    shared: Arc<Shared>,
}

impl Caller {
    /// Starts collecting settings.
    #[must_use]
    pub fn builder() -> CallerBuilder {
        CallerBuilder::default()
    }

    /// A call to set up; what ends it says how it is done: `.await`, [`Call::start`], [`Call::then`], [`Call::oneway`],
    /// [`Call::broadcast`].
    pub fn call<Req: Serialize, Resp: DeserializeOwned>(&self, method: Method<Req, Resp>, request: &Req) -> Call<Resp> {
        Call::new(Arc::clone(&self.shared), method.service(), method.name(), request, self.shared.settings.within)
    }

    /// Names of the nodes that offer a service now, sorted; of the first look, if there was none before.
    ///
    /// # Errors
    /// The name cannot be used.
    pub async fn nodes(&self, service: &str) -> Result<Vec<String>, CallError> {
        check_service(service)?;
        let mut sight = self.shared.directory.service(service).sight();
        // A first look that fails tells a cause; one that finds nobody tells one too.
        let seen = sight.wait_for(|sight| !sight.nodes.is_empty() || sight.cause.is_some());
        drop(tokio::time::timeout(self.shared.find_within(), seen).await);
        let nodes = self.shared.directory.service(service).nodes();
        Ok(nodes.iter().map(|node| node.address.node().to_owned()).collect())
    }

    /// Ends all calls that are in hand, and all clones. Dropping the last clone instead lets calls that were started be done.
    pub async fn close(&self) {
        self.shared.closed.cancel();
        self.shared.directory.stop();
        self.shared.producer.close().await;
    }
}
