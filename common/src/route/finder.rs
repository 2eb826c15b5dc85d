//! Asks name servers for routes, remembers them, and refreshes them on a timer and at the first sign of staleness.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::name::DEFAULT_TOPIC;
use crate::protocol::body::route::TopicRoute;
use crate::protocol::code::{request, response};
use crate::protocol::header::nameserver::RouteRequest;
use crate::protocol::relaxed;
use crate::route::error::{Attempt, Creation, RouteError};
use crate::route::links::Links;
use crate::route::table::{Route, RouteTable};

/// How routes are kept fresh.
#[derive(Debug, Clone)]
pub struct FinderOptions {
    /// How often every known route is asked for again; with many topics less often, at most 20 in a second.
    pub refresh: Duration,
    /// While there are signs of staleness, one topic is asked for so often.
    pub refresh_at_most: Duration,
    /// How long one name server may take to answer before the next is asked.
    pub ask_timeout: Duration,
}

impl Default for FinderOptions {
    fn default() -> Self {
        Self {
            refresh: Duration::from_secs(1),
            refresh_at_most: Duration::from_millis(100),
            ask_timeout: Duration::from_secs(1),
        }
    }
}

/// A topic is asked for so long after the last sign of staleness, unless its route changes before.
const SIGN_LASTS: Duration = Duration::from_millis(600);
/// Time between two questions of the timer.
const BETWEEN_TOPICS: Duration = Duration::from_millis(50);

/// Splits a list of name servers as people write it, `a:9876;b:9876`.
pub fn split_nameservers<S: AsRef<str>>(given: impl IntoIterator<Item = S>) -> Vec<String> {
    let mut servers: Vec<String> = Vec::new();
    for part in given {
        for server in part.as_ref().split([';', ',']).map(str::trim).filter(|server| !server.is_empty()) {
            if !servers.iter().any(|known| known == server) {
                servers.push(server.to_owned());
            }
        }
    }
    servers
}

#[derive(Debug, Default)]
struct Flight {
    /// When the last question about the topic was answered, and how.
    last: Option<(Instant, Result<(), RouteError>)>,
}

/// Signs that the route of a topic is stale.
#[derive(Debug)]
struct Signs {
    last: Instant,
    /// Whether a task asks for the route already.
    chased: bool,
}

#[derive(Debug)]
struct Inner {
    links: Arc<Links>,
    nameservers: Vec<String>,
    options: FinderOptions,
    /// Index of the name server that answered last.
    current: AtomicUsize,
    table: RouteTable,
    flights: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Flight>>>>,
    signs: Mutex<HashMap<String, Signs>>,
    changes: watch::Sender<u64>,
    stop: CancellationToken,
}

/// Finds routes. Cheap to clone; the timer ends with [`RouteFinder::stop`] or with the last clone.
#[derive(Debug, Clone)]
pub struct RouteFinder {
    inner: Arc<Inner>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl RouteFinder {
    /// A finder that asks `nameservers`; its timer starts at once, so a runtime must be there.
    ///
    /// # Errors
    /// [`RouteError::NoNameServers`].
    pub fn new(links: Arc<Links>, nameservers: Vec<String>, options: FinderOptions) -> Result<Self, RouteError> {
        if nameservers.is_empty() {
            return Err(RouteError::NoNameServers);
        }
        let inner = Arc::new(Inner {
            links,
            current: AtomicUsize::new(fastrand::usize(..nameservers.len())),
            nameservers,
            options,
            table: RouteTable::default(),
            flights: Mutex::default(),
            signs: Mutex::default(),
            changes: watch::Sender::new(0),
            stop: CancellationToken::new(),
        });
        tokio::spawn(refresh_by_timer(Arc::downgrade(&inner), inner.stop.clone(), inner.options.refresh));
        Ok(Self { inner })
    }

    /// The name servers it asks.
    #[must_use]
    pub fn nameservers(&self) -> &[String] {
        &self.inner.nameservers
    }

    /// The last known routes.
    #[must_use]
    pub fn table(&self) -> &RouteTable {
        &self.inner.table
    }

    /// A counter that rises whenever a route changes.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.inner.changes.subscribe()
    }

    /// The last known route, or a fresh one where none is known.
    ///
    /// # Errors
    /// See [`RouteError`].
    pub async fn find(&self, topic: &str) -> Result<Arc<Route>, RouteError> {
        match self.inner.table.get(topic) {
            Some(route) => Ok(route),
            None => self.fresh(topic).await,
        }
    }

    /// Asks name servers now, unless somebody else does already. When none answers, the last known route is still known to
    /// [`RouteFinder::find`].
    ///
    /// # Errors
    /// See [`RouteError`].
    pub async fn fresh(&self, topic: &str) -> Result<Arc<Route>, RouteError> {
        self.inner.fresh(topic).await?;
        self.inner.table.get(topic).ok_or_else(|| RouteError::NotFound {
            topic: topic.to_owned(),
            asked: Vec::new(),
            creation: Creation::NotAsked,
        })
    }

    /// Like [`RouteFinder::find`]; for a topic that is not known, the queues that a first send to it would create.
    ///
    /// # Errors
    /// Neither the topic nor the default topic is known: the error about the topic.
    pub async fn find_or_default(&self, topic: &str, queues: i32) -> Result<Arc<Route>, RouteError> {
        let (topic, asked) = match self.find(topic).await {
            Err(RouteError::NotFound { topic, asked, .. }) => (topic, asked),
            other => return other,
        };
        match self.inner.ask(DEFAULT_TOPIC).await {
            Ok(answer) => Ok(self.inner.keep(Route::to_be_created(&topic, &answer, queues))),
            Err(_) => Err(RouteError::NotFound { topic, asked, creation: Creation::NotPossible }),
        }
    }

    /// The error of whoever could not wait longer than `waited` for name servers.
    #[must_use]
    pub fn silent(&self, topic: &str, waited: Duration) -> RouteError {
        let attempt = |nameserver: &String| Attempt {
            nameserver: nameserver.clone(),
            answered: false,
            cause: format!("no answer within {waited:?}"),
        };
        RouteError::Unreachable { topic: topic.to_owned(), asked: self.inner.nameservers.iter().map(attempt).collect() }
    }

    /// Tells that something contradicts the route of a topic: it is asked for in the background, again and again for a moment
    /// until it changes. Whoever finds the contradiction lasting tells so again.
    pub fn stale(&self, topic: &str) {
        let now = Instant::now();
        {
            let mut signs = self.inner.signs.lock();
            if let Some(known) = signs.get_mut(topic) {
                known.last = now;
                if std::mem::replace(&mut known.chased, true) {
                    return;
                }
            } else {
                signs.insert(topic.to_owned(), Signs { last: now, chased: true });
            }
        }
        let (inner, topic) = (Arc::clone(&self.inner), topic.to_owned());
        tokio::spawn(async move {
            let stop = inner.stop.clone();
            tokio::select! {
                () = inner.chase(&topic) => {}
                () = stop.cancelled() => {}
            }
        });
    }

    /// Ends the timer.
    pub fn stop(&self) {
        self.inner.stop.cancel();
    }
}

impl Inner {
    /// One question per topic at a time; whoever waited for it shares its result.
    async fn fresh(&self, topic: &str) -> Result<(), RouteError> {
        let came = Instant::now();
        let flight = Arc::clone(self.flights.lock().entry(topic.to_owned()).or_default());
        let mut flight = flight.lock().await;
        if let Some((asked, result)) = &flight.last
            && *asked >= came
        {
            return result.clone();
        }
        let result = match self.ask(topic).await {
            Ok(answer) => {
                let route = self.keep(Route::new(topic, &answer));
                if matches!(flight.last, Some((_, Err(_)))) {
                    self.are_back(&route, |_| true);
                }
                Ok(())
            }
            Err(error) => {
                tracing::debug!(topic, %error, "no fresh route");
                Err(error)
            }
        };
        flight.last = Some((Instant::now(), result.clone()));
        result
    }

    /// Asks for a route until it is another one, or signs that it is stale have ended.
    async fn chase(&self, topic: &str) {
        let known = self.table.get(topic);
        loop {
            self.wait_for_turn(topic).await;
            let _ = self.fresh(topic).await;
            let changed = match (&known, self.table.get(topic)) {
                (Some(before), Some(now)) => !Arc::ptr_eq(before, &now),
                (before, now) => before.is_some() != now.is_some(),
            };
            let mut signs = self.signs.lock();
            let Some(signs) = signs.get_mut(topic) else { return };
            if changed || signs.last.elapsed() >= SIGN_LASTS {
                signs.chased = false;
                return;
            }
        }
    }

    /// Waits until the last question about a topic is long enough ago.
    async fn wait_for_turn(&self, topic: &str) {
        let Some(flight) = self.flights.lock().get(topic).cloned() else { return };
        let asked = flight.lock().await.last.as_ref().map(|(asked, _)| *asked);
        if let Some(asked) = asked {
            tokio::time::sleep_until(asked + self.options.refresh_at_most).await;
        }
    }

    fn keep(&self, route: Route) -> Arc<Route> {
        let before = self.table.get(&route.topic);
        let (route, changed) = self.table.put(route);
        if changed {
            let known = |address: &str| before.as_ref().is_some_and(|route| route.has_address(address));
            self.are_back(&route, |address| !known(address));
            tracing::debug!(topic = route.topic, writable = route.writable.len(), "route changed");
            self.changes.send_modify(|count| *count = count.wrapping_add(1));
        }
        route
    }

    /// Brokers that name servers know anew are connected to at once, whatever failed before.
    fn are_back(&self, route: &Route, which: impl Fn(&str) -> bool) {
        let addresses = route.brokers().iter().flat_map(|broker| broker.addresses.values());
        addresses.filter(|address| which(address)).for_each(|address| self.links.forget_failures(address));
    }

    /// Asks one name server after the other, first the one that answered last. A topic counts as unknown only when none that
    /// answers knows it: a name server that just started knows little.
    async fn ask(&self, topic: &str) -> Result<TopicRoute, RouteError> {
        let first = self.current.load(Ordering::Relaxed);
        let mut asked = Vec::new();
        let mut answered = false;
        for step in 0..self.nameservers.len() {
            let index = (first + step) % self.nameservers.len();
            let Some(server) = self.nameservers.get(index) else { continue };
            match self.ask_one(server, topic).await {
                Ok(Ok(route)) => {
                    self.current.store(index, Ordering::Relaxed);
                    return Ok(route);
                }
                Ok(Err(cause)) => {
                    answered = true;
                    asked.push(Attempt { nameserver: server.clone(), answered: true, cause });
                }
                Err(cause) => asked.push(Attempt { nameserver: server.clone(), answered: false, cause }),
            }
        }
        let topic = topic.to_owned();
        let creation = Creation::NotAsked;
        Err(if answered {
            RouteError::NotFound { topic, asked, creation }
        } else {
            RouteError::Unreachable { topic, asked }
        })
    }

    /// Outer error: no usable answer. Inner error: the topic is unknown there.
    async fn ask_one(&self, server: &str, topic: &str) -> Result<Result<TopicRoute, String>, String> {
        let link = self.links.get(server, self.options.ask_timeout).await.map_err(|error| error.to_string())?;
        let fields = RouteRequest { topic: topic.into(), accept_standard_json_only: Some(true) };
        let question = link.request(request::GET_ROUTEINFO_BY_TOPIC).with_fields(&fields);
        let answer = link.call(question, self.options.ask_timeout).await.map_err(|error| error.to_string())?;
        let remark = || answer.remark.clone().unwrap_or_default();
        match answer.code {
            response::SUCCESS => relaxed::parse(&answer.body).map(Ok).map_err(|error| error.to_string()),
            response::TOPIC_NOT_EXIST => Ok(Err(remark())),
            code => Err(format!("code {code}: {}", remark())),
        }
    }
}

async fn refresh_by_timer(inner: std::sync::Weak<Inner>, stop: CancellationToken, every: Duration) {
    let every = every.max(Duration::from_millis(10));
    loop {
        let pause = every.mul_f64(0.9 + fastrand::f64() / 5.0);
        tokio::select! { () = tokio::time::sleep(pause) => {}, () = stop.cancelled() => return }
        let Some(inner) = inner.upgrade() else { return };
        for route in inner.table.all() {
            let asked = async {
                let _ = inner.fresh(&route.topic).await;
                tokio::time::sleep(BETWEEN_TOPICS.min(every)).await;
            };
            tokio::select! { () = asked => {}, () = stop.cancelled() => return }
        }
    }
}

#[cfg(test)]
mod tests;
