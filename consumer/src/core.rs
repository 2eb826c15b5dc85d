//! What all parts of one consumer share.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use orbitmq_common::clock::now_ms;
use orbitmq_common::net::client::Link;
use orbitmq_common::net::peer::CallError;
use orbitmq_common::protocol::body::route::MASTER_ID;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::route::courier::Courier;
use orbitmq_common::route::finder::RouteFinder;
use orbitmq_common::route::links::Links;
use orbitmq_common::route::table::{Broker, Queue};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broadcast::LocalOffsets;
use crate::config::Config;
use crate::figures::Figures;
use crate::heartbeat;
use crate::modes::{Mode, Subscription};
use crate::pop::assignment::LaneKey;
use crate::pop::desk::Desks;
use crate::pop::hand::InHand;
use crate::pop::lane::Lane;
use crate::queue::{Assigned, Freed, Unstored};
use crate::reach::Reach;
use crate::shelf::Shelf;
use crate::troubles::Troubles;

/// Names a queue within a consumer.
pub(crate) type QueueKey = (Arc<str>, Queue);

#[derive(Debug)]
pub(crate) struct Core {
    pub config: Config,
    pub subscriptions: Vec<Subscription>,
    /// Version of the subscriptions, ms since the epoch.
    pub version: i64,
    pub client_id: String,
    pub links: Arc<Links>,
    pub finder: RouteFinder,
    pub shelf: Shelf,
    pub reach: Reach,
    pub troubles: Troubles,
    pub queues: Mutex<BTreeMap<QueueKey, Arc<Assigned>>>,
    /// Queues being let go; they are not taken again before that is done.
    pub releasing: Mutex<BTreeSet<QueueKey>>,
    /// What this consumer had done in queues that it had to let go while their broker was away.
    pub unstored: Mutex<BTreeMap<QueueKey, Unstored>>,
    /// What is popped.
    pub lanes: Mutex<BTreeMap<LaneKey, Arc<Lane>>>,
    /// Popped messages that the application has.
    pub in_hand: InHand,
    pub desks: Desks,
    pub figures: Figures,
    /// Where traces go, if any are wanted.
    pub courier: Option<Courier>,
    /// Offsets kept here rather than at the broker.
    pub local: Option<LocalOffsets>,
    /// Rung when the sharing of queues has to be checked.
    pub rebalance: Arc<Notify>,
    /// Rung when a message comes back to be delivered again.
    pub returned: Notify,
    /// Rung when there is room for more messages.
    pub room: Notify,
    /// Rung when a delivery is settled.
    pub settled: Notify,
    pub tasks: TaskTracker,
    /// Cancelled first: nothing is fetched or delivered any more.
    pub closing: CancellationToken,
    /// Cancelled last: everything ends.
    pub stopped: CancellationToken,
    messages: AtomicUsize,
    bytes: AtomicUsize,
    /// Where background work runs, whichever thread asks for it.
    runtime: Handle,
    /// By address: on which connection the broker was told that we are here.
    told: Mutex<HashMap<String, Arc<tokio::sync::Mutex<u64>>>>,
}

impl Core {
    pub(crate) fn new(
        config: Config,
        subscriptions: Vec<Subscription>,
        client_id: String,
        links: Arc<Links>,
        finder: RouteFinder,
        local: Option<LocalOffsets>,
        rebalance: Arc<Notify>,
    ) -> Self {
        let traces_to = |topic: &String| Courier::new(topic, &config.group, Arc::clone(&links), finder.clone());
        let courier = config.trace.as_ref().map(traces_to);
        Self {
            config,
            subscriptions,
            version: now_ms(),
            client_id,
            links,
            finder,
            shelf: Shelf::default(),
            reach: Reach::default(),
            troubles: Troubles::default(),
            queues: Mutex::default(),
            releasing: Mutex::default(),
            unstored: Mutex::default(),
            lanes: Mutex::default(),
            in_hand: InHand::default(),
            desks: Desks::default(),
            figures: Figures::default(),
            courier,
            local,
            rebalance,
            returned: Notify::new(),
            room: Notify::new(),
            settled: Notify::new(),
            tasks: TaskTracker::new(),
            closing: CancellationToken::new(),
            stopped: CancellationToken::new(),
            messages: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            runtime: Handle::current(),
            told: Mutex::default(),
        }
    }

    pub(crate) fn is_broadcasting(&self) -> bool {
        matches!(self.config.mode, Mode::Broadcasting(_))
    }

    pub(crate) fn is_ordered(&self) -> bool {
        self.config.mode == Mode::Ordered
    }

    pub(crate) fn subscription(&self, topic: &str) -> Option<&Subscription> {
        self.subscriptions.iter().find(|subscription| subscription.topic.as_ref() == topic)
    }

    /// The queues held now.
    pub(crate) fn held_queues(&self) -> Vec<Arc<Assigned>> {
        self.queues.lock().values().cloned().collect()
    }

    /// What is popped now.
    pub(crate) fn held_lanes(&self) -> Vec<Arc<Lane>> {
        self.lanes.lock().values().cloned().collect()
    }

    /// Runs something that whoever closes waits for.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn_on(work, &self.runtime);
    }

    /// A connection to a broker that knows this consumer: it was told so on this very connection.
    pub(crate) async fn link(&self, address: &str) -> Result<Link, CallError> {
        let link = self.links.get(address, self.config.client.connect_timeout).await?;
        let told = Arc::clone(self.told.lock().entry(address.to_owned()).or_default());
        let mut told = told.lock().await;
        if *told != link.peer().id() {
            heartbeat::tell(self, &link).await?;
            *told = link.peer().id();
        }
        Ok(link)
    }

    /// Asks a broker of which there may be a copy, and keeps in mind whether it answers.
    pub(crate) async fn ask(
        &self,
        address: &str,
        question: impl FnOnce(&Link) -> Frame,
        deadline: Duration,
    ) -> Result<Frame, CallError> {
        let asked = async {
            let link = self.link(address).await?;
            link.call(question(&link), deadline).await
        };
        let answer = asked.await;
        match &answer {
            Ok(_) => self.reach.answered(address),
            Err(_) => self.reach.failed(address),
        }
        answer
    }

    /// Resolves when the route says that `member` of a broker group is better asked elsewhere than at `address`: that has left
    /// the group, or the member has come, or it has moved.
    pub(crate) async fn has_moved(&self, topic: &str, group: &Broker, member: i64, address: &str) {
        let mut changes = self.finder.changes();
        loop {
            let route = self.finder.table().get(topic);
            let Some(now) = route.as_ref().and_then(|route| route.broker(&group.name)) else { return };
            let elsewhere = now.addresses.get(&member).filter(|now| now.as_str() != address);
            let moved = elsewhere.is_some() && elsewhere != group.addresses.get(&member);
            if moved || !now.addresses.values().any(|one| one == address) || changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Where offsets of a queue are stored: at its master, at a slave while there is none.
    pub(crate) fn keeper(&self, queue: &Assigned) -> Option<String> {
        let route = self.finder.table().get(&queue.topic)?;
        let broker = route.broker(&queue.queue.broker)?;
        // The first of the slaves, whether it answers or not: offsets that wander between them would help nobody.
        broker.reader(MASTER_ID).map(str::to_owned)
    }

    /// A broker does not know this consumer, or not its subscriptions: it is told before the next request.
    pub(crate) fn tell_again(&self, address: &str) {
        if let Some(told) = self.told.lock().get(address)
            && let Ok(mut told) = told.try_lock()
        {
            *told = 0;
        }
    }

    pub(crate) fn took(&self, new: Freed) {
        self.messages.fetch_add(new.messages, Ordering::Relaxed);
        self.bytes.fetch_add(new.bytes, Ordering::Relaxed);
    }

    pub(crate) fn freed(&self, freed: Freed) {
        self.messages.fetch_sub(freed.messages, Ordering::Relaxed);
        self.bytes.fetch_sub(freed.bytes, Ordering::Relaxed);
        self.room.notify_waiters();
    }

    /// Messages and bytes held in all queues.
    pub(crate) fn load(&self) -> (usize, usize) {
        (self.messages.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }

    /// How many more messages of this queue may be fetched now.
    fn room_of(&self, queue: &Assigned) -> usize {
        let config = &self.config;
        let (messages, bytes, span) = queue.load();
        let (all_messages, all_bytes) = self.load();
        let full = bytes >= config.max_bytes_per_queue
            || all_bytes >= config.max_bytes_in_hand
            || (span >= config.max_span && !self.is_ordered());
        let room = config.max_per_queue.saturating_sub(messages).min(config.max_in_hand.saturating_sub(all_messages));
        if full { 0 } else { room }
    }

    /// Waits until another fetch of this queue fits; tells how many messages it may bring.
    pub(crate) async fn wait_for_room(&self, queue: &Assigned) -> i32 {
        loop {
            let freed = self.room.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            match self.room_of(queue) {
                0 => freed.await,
                room => return i32::try_from(room).unwrap_or(i32::MAX).min(self.config.pull_batch),
            }
        }
    }
}

/// A pause after the n-th failure in a row: doubled from 50 ms up to half a second, with jitter.
pub(crate) fn pause_after(failures: u32) -> Duration {
    let longest = Duration::from_millis(50).saturating_mul(1 << failures.min(6)).min(Duration::from_millis(500));
    longest.mul_f64(0.5 + fastrand::f64() / 2.0)
}
