//! Routes as clients use them, by topic, read without locks.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::protocol::body::group::MessageQueue;
use crate::protocol::body::route::{BrokerData, MASTER_ID, QueueData, TopicRoute, perm};

/// A queue of a topic: which broker, which number.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Queue {
    /// Name of the broker that holds it.
    pub broker: Arc<str>,
    /// Number of the queue at that broker.
    pub id: i32,
}

impl Queue {
    /// The queue with its topic, as bodies name it.
    #[must_use]
    pub fn of_topic(&self, topic: &str) -> MessageQueue {
        MessageQueue { broker_name: self.broker.as_ref().to_owned(), queue_id: self.id, topic: topic.to_owned() }
    }
}

/// A master and its slaves, as one route names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// The shared name.
    pub name: Arc<str>,
    /// The cluster.
    pub cluster: String,
    /// `host:port` by broker id; 0 is the master.
    pub addresses: BTreeMap<i64, String>,
}

impl Broker {
    /// The master's `host:port`.
    #[must_use]
    pub fn master(&self) -> Option<&str> {
        self.addresses.get(&MASTER_ID).map(String::as_str)
    }

    /// The address of member `id`, else the master's, else any slave's.
    #[must_use]
    pub fn reader(&self, id: i64) -> Option<&str> {
        self.readers(id).next()
    }

    /// The addresses in the order in which a reader tries them: of member `first`, of the master, of slaves by number.
    pub fn readers(&self, first: i64) -> impl Iterator<Item = &str> {
        let others = self.addresses.iter().filter(move |(id, _)| **id != first).map(|(_, address)| address);
        self.addresses.get(&first).into_iter().chain(others).map(String::as_str)
    }
}

/// The route of one topic, sorted as RocketMQ's clients sort it so that all agree on the order of queues.
#[derive(Debug)]
pub struct Route {
    /// The topic.
    pub topic: String,
    /// Queues that take messages: their broker has a master and the topic may be written there.
    pub writable: Vec<Queue>,
    /// Queues that give messages.
    pub readable: Vec<Queue>,
    /// Whether the topic does not exist yet and this is what a send would create.
    pub provisional: bool,
    brokers: Vec<Broker>,
    turn: AtomicUsize,
}

impl Route {
    /// The view of a name server's answer.
    #[must_use]
    pub fn new(topic: &str, answer: &TopicRoute) -> Self {
        let mut brokers: Vec<Broker> = answer.broker_datas.iter().map(broker).collect();
        brokers.sort_by(|a, b| a.name.cmp(&b.name));
        let mut data: Vec<&QueueData> = answer.queue_datas.iter().collect();
        data.sort_by(|a, b| a.broker_name.cmp(&b.broker_name));
        let name_of = |name: &str| brokers.iter().find(|broker| broker.name.as_ref() == name);
        let mut writable = Vec::new();
        let mut readable = Vec::new();
        for queues in &data {
            let Some(broker) = name_of(&queues.broker_name) else { continue };
            if queues.perm & perm::READ != 0 {
                readable.extend((0..queues.read_queue_nums).map(|id| Queue { broker: Arc::clone(&broker.name), id }));
            }
            if queues.perm & perm::WRITE != 0 && broker.master().is_some() {
                writable.extend((0..queues.write_queue_nums).map(|id| Queue { broker: Arc::clone(&broker.name), id }));
            }
        }
        if let Some(fixed) = answer.order_topic_conf.as_deref().filter(|text| !text.is_empty()) {
            writable = fixed_layout(fixed, &brokers);
        }
        Self {
            topic: topic.to_owned(),
            writable,
            readable,
            provisional: false,
            brokers,
            turn: AtomicUsize::new(fastrand::usize(..1 << 20)),
        }
    }

    /// What a send would create under `topic`, given the route of the topic whose settings new ones take over.
    #[must_use]
    pub fn to_be_created(topic: &str, default: &TopicRoute, queues: i32) -> Self {
        let mut answer = default.clone();
        answer.order_topic_conf = None;
        for data in &mut answer.queue_datas {
            let queues = queues.min(data.write_queue_nums).max(1);
            data.read_queue_nums = queues;
            data.write_queue_nums = queues;
        }
        Self { provisional: true, ..Self::new(topic, &answer) }
    }

    /// The brokers, by name.
    #[must_use]
    pub fn brokers(&self) -> &[Broker] {
        &self.brokers
    }

    /// The broker of that name.
    #[must_use]
    pub fn broker(&self, name: &str) -> Option<&Broker> {
        self.brokers.iter().find(|broker| broker.name.as_ref() == name)
    }

    /// The `host:port` of a broker's master.
    #[must_use]
    pub fn master(&self, name: &str) -> Option<&str> {
        self.broker(name).and_then(Broker::master)
    }

    /// Whether a broker of this route has that address.
    #[must_use]
    pub fn has_address(&self, address: &str) -> bool {
        self.brokers.iter().any(|broker| broker.addresses.values().any(|one| one == address))
    }

    /// A number that rises with each call, for taking queues in turn.
    pub fn next_turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::Relaxed)
    }

    /// Why no queue takes messages, broker by broker; for a route without [`Route::writable`].
    #[must_use]
    pub fn why_closed(&self) -> String {
        if self.brokers.is_empty() {
            return "name servers tell of no broker that holds it".to_owned();
        }
        let each = self.brokers.iter().map(|broker| match broker.master() {
            None => format!(
                "broker '{}' has no master (members {}): start it again, or have the controller choose one",
                broker.name,
                broker.addresses.keys().map(i64::to_string).collect::<Vec<_>>().join(", ")
            ),
            Some(master) => format!(
                "broker '{}' at {master} is closed to writers for this topic or as a whole, or has no queue to write to: an administrator \
                 opens it",
                broker.name
            ),
        });
        each.collect::<Vec<_>>().join("; ")
    }

    fn says_the_same(&self, other: &Self) -> bool {
        self.writable == other.writable
            && self.readable == other.readable
            && self.brokers == other.brokers
            && self.provisional == other.provisional
    }
}

fn broker(data: &BrokerData) -> Broker {
    Broker {
        name: data.broker_name.as_str().into(),
        cluster: data.cluster.clone(),
        addresses: data.broker_addrs.clone(),
    }
}

/// `brokerA:4;brokerB:4`
fn fixed_layout(text: &str, brokers: &[Broker]) -> Vec<Queue> {
    let mut queues = Vec::new();
    for part in text.split(';') {
        let Some((name, count)) = part.rsplit_once(':') else { continue };
        let known = brokers.iter().find(|broker| broker.name.as_ref() == name && broker.master().is_some());
        if let (Some(broker), Ok(count)) = (known, count.trim().parse::<i32>()) {
            queues.extend((0..count.min(65_536)).map(|id| Queue { broker: Arc::clone(&broker.name), id }));
        }
    }
    queues
}

/// The last known route of every topic that was asked for.
#[derive(Debug, Default)]
pub struct RouteTable {
    routes: ArcSwap<HashMap<String, Arc<Route>>>,
    write: Mutex<()>,
}

impl RouteTable {
    /// The last known route of a topic.
    #[must_use]
    pub fn get(&self, topic: &str) -> Option<Arc<Route>> {
        self.routes.load().get(topic).cloned()
    }

    /// All last known routes.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Route>> {
        self.routes.load().values().cloned().collect()
    }

    /// Keeps a route; tells the one now known, and whether it differs from the one before.
    pub fn put(&self, route: Route) -> (Arc<Route>, bool) {
        let _one_writer = self.write.lock();
        let known = self.routes.load();
        if let Some(before) = known.get(&route.topic)
            && before.says_the_same(&route)
        {
            return (Arc::clone(before), false);
        }
        let route = Arc::new(route);
        let mut routes = HashMap::clone(&known);
        routes.insert(route.topic.clone(), Arc::clone(&route));
        self.routes.store(Arc::new(routes));
        (route, true)
    }

    /// Addresses of all brokers in all routes: masters alone, or their slaves too.
    #[must_use]
    pub fn addresses(&self, with_slaves: bool) -> Vec<String> {
        let routes = self.routes.load();
        let brokers = routes.values().flat_map(|route| &route.brokers);
        let mut addresses: Vec<String> = brokers
            .flat_map(|broker| &broker.addresses)
            .filter(|(id, _)| with_slaves || **id == MASTER_ID)
            .map(|(_, address)| address.clone())
            .collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }
}

#[cfg(test)]
mod tests;
