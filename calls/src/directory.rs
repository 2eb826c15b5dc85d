//! Who offers a service now: name servers tell which brokers carry it, and those tell which nodes are connected.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use orbitmq_common::net::client::{Client, ClientOptions};
use orbitmq_common::protocol::body::group::ConsumerIds;
use orbitmq_common::protocol::body::route::MASTER_ID;
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::header::group::ConsumerGroupRequest;
use orbitmq_common::protocol::relaxed;
use orbitmq_common::route::error::RouteError;
use orbitmq_common::route::finder::{FinderOptions, RouteFinder};
use orbitmq_common::route::links::Links;
use orbitmq_common::route::table::Broker;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::node::Node;
use crate::service::{Address, topic_of};

/// How long one broker may take to answer.
const ASK_TIMEOUT: Duration = Duration::from_secs(1);
/// A node that brokers have not named for so long is gone: one that just started has yet to hear of it.
const GONE_AFTER: Duration = Duration::from_secs(1);
/// When none is named at all, brokers have more likely restarted; and there is nowhere to go.
const ALL_GONE_AFTER: Duration = Duration::from_secs(5);
/// Looks asked for by calls are at least so far apart.
const AT_MOST: Duration = Duration::from_millis(100);

/// Knows the nodes of services, each from the first time that it is asked about.
#[derive(Debug)]
pub(crate) struct Directory {
    pub links: Arc<Links>,
    pub finder: RouteFinder,
    every: Duration,
    services: Mutex<HashMap<String, Arc<Offered>>>,
    stop: CancellationToken,
}

/// A service.
#[derive(Debug)]
pub(crate) struct Offered {
    sight: watch::Sender<Sight>,
    look: Notify,
    turn: AtomicUsize,
}

/// What was seen at the last look.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sight {
    /// In order of their addresses.
    pub nodes: Arc<[Arc<Node>]>,
    /// Why there may be more.
    pub cause: Option<Arc<str>>,
}

impl Offered {
    pub(crate) fn sight(&self) -> watch::Receiver<Sight> {
        self.sight.subscribe()
    }

    /// The nodes of the last look.
    pub(crate) fn nodes(&self) -> Arc<[Arc<Node>]> {
        Arc::clone(&self.sight.borrow().nodes)
    }

    /// Something contradicts what was seen: look again soon.
    pub(crate) fn look_again(&self) {
        self.look.notify_one();
    }

    pub(crate) fn next_turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Directory {
    /// `every`: time between looks.
    ///
    /// # Errors
    /// No name server is given.
    pub(crate) fn new(nameservers: Vec<String>, every: Duration) -> Result<Self, RouteError> {
        let links = Arc::new(Links::new(Arc::new(Client::new(ClientOptions::default()))));
        let finder = RouteFinder::new(Arc::clone(&links), nameservers, FinderOptions::default())?;
        Ok(Self { links, finder, every, services: Mutex::default(), stop: CancellationToken::new() })
    }

    /// A service, whether anybody offers it or not.
    pub(crate) fn service(&self, service: &str) -> Arc<Offered> {
        let mut services = self.services.lock();
        if let Some(known) = services.get(service) {
            return Arc::clone(known);
        }
        let turn = AtomicUsize::new(fastrand::usize(..1 << 20));
        let offered = Arc::new(Offered { sight: watch::Sender::default(), look: Notify::new(), turn });
        services.insert(service.to_owned(), Arc::clone(&offered));
        let looker = Looker {
            topic: topic_of(service),
            links: Arc::clone(&self.links),
            finder: self.finder.clone(),
            offered: Arc::clone(&offered),
            missing: Vec::new(),
        };
        tokio::spawn(looker.run(self.every, self.stop.clone()));
        offered
    }

    pub(crate) fn stop(&self) {
        self.stop.cancel();
        self.finder.stop();
        self.links.close();
    }
}

/// Looks at one service again and again.
struct Looker {
    topic: String,
    links: Arc<Links>,
    finder: RouteFinder,
    offered: Arc<Offered>,
    /// Nodes that brokers do not name, and since when.
    missing: Vec<(Arc<Node>, Instant)>,
}

impl Looker {
    async fn run(mut self, every: Duration, stop: CancellationToken) {
        let mut changes = self.finder.changes();
        loop {
            let seen = tokio::select! { seen = self.look() => seen, () = stop.cancelled() => return };
            match seen {
                Ok((addresses, cause)) => self.note(&addresses, cause),
                // Whoever was there a moment ago is there still, for all we know.
                Err(cause) => self.offered.sight.send_modify(|sight| sight.cause = Some(cause.into())),
            }
            let pause = if self.missing.is_empty() { every } else { every.min(GONE_AFTER) };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = asked(&self.offered.look) => {}
                changed = changes.changed() => if changed.is_err() { return },
                () = stop.cancelled() => return,
            }
        }
    }

    /// The addresses that any broker names, and what some of them said instead.
    async fn look(&self) -> Result<(BTreeSet<Address>, Option<String>), String> {
        let route = match self.finder.find(&self.topic).await {
            Ok(route) => route,
            Err(error @ RouteError::NotFound { .. }) => return Ok((BTreeSet::new(), Some(error.to_string()))),
            Err(error) => return Err(error.to_string()),
        };
        let mut asked = JoinSet::new();
        for broker in route.brokers() {
            asked.spawn(members_of(Arc::clone(&self.links), broker.clone(), self.topic.clone()));
        }
        let (mut ids, mut causes, mut answers) = (BTreeSet::new(), Vec::new(), 0);
        for answer in asked.join_all().await {
            match answer {
                Ok(some) => {
                    answers += 1;
                    ids.extend(some.iter().filter_map(|id| Address::of_client(id)));
                }
                Err(cause) => causes.push(cause),
            }
        }
        if !causes.is_empty() {
            self.finder.stale(&self.topic);
        }
        let cause = (!causes.is_empty()).then(|| causes.join("; "));
        if answers == 0 { Err(cause.unwrap_or_else(|| "no broker carries it".to_owned())) } else { Ok((ids, cause)) }
    }

    /// Nodes that stay missing are gone.
    fn note(&mut self, addresses: &BTreeSet<Address>, cause: Option<String>) {
        let before = self.offered.nodes();
        let known = |address: &Address| {
            let mut all = before.iter().chain(self.missing.iter().map(|(node, _)| node));
            all.find(|node| node.address == *address).cloned()
        };
        let node = |address: &Address| {
            known(address).unwrap_or_else(|| {
                tracing::debug!(topic = self.topic, node = %address, "a node has come");
                Arc::new(Node::new(address.clone()))
            })
        };
        let nodes: Arc<[Arc<Node>]> = addresses.iter().map(node).collect();
        let now = Instant::now();
        let after = if nodes.is_empty() { ALL_GONE_AFTER } else { GONE_AFTER };
        if before.is_empty() && !nodes.is_empty() {
            // The others may come a moment after the first.
            self.missing.iter_mut().for_each(|(_, since)| *since = now);
        }
        let left = before.iter().filter(|node| !addresses.contains(&node.address));
        self.missing.extend(left.map(|node| (Arc::clone(node), now)));
        self.missing.retain(|(node, since)| {
            if addresses.contains(&node.address) {
                return false;
            }
            let is_gone = now.duration_since(*since) >= after;
            if is_gone {
                tracing::info!(topic = self.topic, node = %node.address, "the node is gone");
                node.gone.cancel();
            }
            !is_gone
        });
        self.offered.sight.send_replace(Sight { nodes, cause: cause.map(Into::into) });
    }
}

async fn asked(look: &Notify) {
    tokio::time::sleep(AT_MOST).await;
    look.notified().await;
}

/// The members of the providers' group that one broker, or a slave of it, knows; consumers tell slaves too that they are there.
async fn members_of(links: Arc<Links>, broker: Broker, group: String) -> Result<Vec<String>, String> {
    let mut causes = Vec::new();
    for address in broker.readers(MASTER_ID) {
        match members_at(&links, address, &group).await {
            Ok(members) => return Ok(members),
            Err(cause) => causes.push(format!("{address}: {cause}")),
        }
    }
    Err(causes.join("; "))
}

async fn members_at(links: &Links, address: &str, group: &str) -> Result<Vec<String>, String> {
    let link = links.get(address, ASK_TIMEOUT).await.map_err(|error| error.to_string())?;
    let fields = ConsumerGroupRequest { consumer_group: group.into() };
    let question = link.request(request::GET_CONSUMER_LIST_BY_GROUP).with_fields(&fields);
    let answer = link.call(question, ASK_TIMEOUT).await.map_err(|error| error.to_string())?;
    match answer.code {
        response::SUCCESS => {
            let body: ConsumerIds = relaxed::parse(&answer.body).map_err(|error| error.to_string())?;
            Ok(body.consumer_id_list)
        }
        // A group without members.
        response::SYSTEM_ERROR => Ok(Vec::new()),
        code => Err(format!("code {code}: {}", answer.remark.unwrap_or_default())),
    }
}
