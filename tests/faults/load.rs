//! Producers: lanes of one message at a time, which ask the name servers for another master when theirs fails.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use orbitmq_common::protocol::code::response;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::history::{History, Lane, Outcome};
use super::later::Later;
use super::proxy::{Member, group_name};
use crate::session::{Failure, Outgoing, Receipt, Session, properties, receipt};

/// The topic of all messages.
pub const TOPIC: &str = "Faults";
/// Queues of each group.
pub const QUEUES: u8 = 4;
/// Producers.
const PRODUCERS: u8 = 2;
/// A send that is not answered within this time is in doubt.
const DEADLINE: Duration = Duration::from_secs(3);
/// Time of a lane between two messages: enough of them, and time left for the daemons.
const PACE: Duration = Duration::from_millis(4);
/// Time before a failed lane tries again.
const PAUSE: Duration = Duration::from_millis(20);
/// How often routes are asked for when nobody complains.
const ROUTE_REFRESH: Duration = Duration::from_millis(200);
/// A name server that does not answer within this time is left for another.
const ROUTE_DEADLINE: Duration = Duration::from_millis(500);
/// Longest body, letters beside the name.
const PADDING: usize = 1_500;

/// What all clients of a round share.
pub struct World {
    /// What happens.
    pub history: History,
    /// What is to arrive later.
    pub later: Later,
    /// Addresses of the name servers, as clients reach them.
    pub nameservers: Vec<String>,
    /// Members by the address that clients reach them under.
    pub members: HashMap<String, Member>,
    /// Broker groups.
    pub groups: u8,
    /// Offset after the last acknowledged message by group and queue.
    ends: Vec<Vec<AtomicI64>>,
    routes: watch::Sender<Vec<Option<Member>>>,
    complaint: Notify,
    refusals: Mutex<BTreeMap<(i32, String), usize>>,
}

impl World {
    /// A world in which nothing has happened.
    #[must_use]
    pub fn new(nameservers: Vec<String>, members: HashMap<String, Member>, groups: u8) -> Arc<Self> {
        let queues = || (0..QUEUES).map(|_| AtomicI64::new(0)).collect();
        let ends = (0..groups).map(|_| queues()).collect();
        let routes = watch::channel(vec![None; usize::from(groups)]).0;
        let (history, later, complaint, refusals) = Default::default();
        Arc::new(Self { history, later, nameservers, members, groups, ends, routes, complaint, refusals })
    }

    /// The master of a group, as far as clients know.
    #[must_use]
    pub fn master(&self, group: u8) -> Option<Member> {
        self.routes.borrow()[usize::from(group)]
    }

    /// Changes of the masters.
    #[must_use]
    pub fn routes(&self) -> watch::Receiver<Vec<Option<Member>>> {
        self.routes.subscribe()
    }

    /// Offset after the last acknowledged message.
    #[must_use]
    pub fn end(&self, group: u8, queue: u8) -> i64 {
        self.ends[usize::from(group)][usize::from(queue)].load(Ordering::Relaxed)
    }

    /// Connections of one client to all members.
    #[must_use]
    pub fn sessions(&self) -> HashMap<Member, Session> {
        self.members.iter().map(|(address, member)| (*member, Session::new(address).within(DEADLINE))).collect()
    }

    /// Refused sends by code and the beginning of the remark.
    #[must_use]
    pub fn refusals(&self) -> BTreeMap<(i32, String), usize> {
        self.refusals.lock().clone()
    }

    fn refused(&self, code: i32, remark: &str) {
        // Numbers differ from one refusal to the next; the text around them does not.
        let kind = remark.chars().map(|letter| if letter.is_ascii_digit() { '#' } else { letter }).take(80).collect();
        *self.refusals.lock().entry((code, kind)).or_default() += 1;
    }

    /// Has routes asked for at once.
    pub fn complain(&self) {
        self.complaint.notify_one();
    }

    /// Starts whoever asks for routes.
    pub fn start_routes(self: &Arc<Self>, tasks: &mut JoinSet<()>, stop: &CancellationToken) {
        tasks.spawn(Arc::clone(self).follow_routes(stop.clone()));
    }

    /// Starts the producers, which end with what they have in hand.
    pub fn start_producers(self: &Arc<Self>, tasks: &mut JoinSet<()>, stop: &CancellationToken) {
        for producer in 0..PRODUCERS {
            let sessions = Arc::new(self.sessions());
            for (group, queue) in (0..self.groups).flat_map(|group| (0..QUEUES).map(move |queue| (group, queue))) {
                let (world, sessions) = (Arc::clone(self), Arc::clone(&sessions));
                let lane = Lane { producer, group, queue };
                let sender = Sender { world, sessions, lane, sequence: 0, chance: fastrand::Rng::new() };
                tasks.spawn(sender.run(stop.clone()));
            }
        }
    }

    async fn follow_routes(self: Arc<Self>, stop: CancellationToken) {
        let sessions = self.nameservers.iter().map(|address| Session::new(address).within(ROUTE_DEADLINE));
        let sessions: Vec<Session> = sessions.collect();
        let mut asked = 0;
        while !stop.is_cancelled() {
            let asking = tokio::time::timeout(ROUTE_DEADLINE, sessions[asked].route(TOPIC));
            let Ok(Ok(Some(route))) = asking.await else {
                asked = (asked + 1) % sessions.len();
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let master = |group| {
                let data = route.broker_datas.iter().find(|data| data.broker_name == group_name(group))?;
                self.members.get(data.broker_addrs.get(&0)?).copied()
            };
            let masters: Vec<Option<Member>> = (0..self.groups).map(master).collect();
            self.routes.send_if_modified(|known| {
                let changed = *known != masters;
                *known = masters;
                changed
            });
            tokio::select! {
                () = tokio::time::sleep(ROUTE_REFRESH) => {}
                () = async { self.complaint.notified().await; tokio::time::sleep(PAUSE).await } => {
                    asked = (asked + 1) % sessions.len();
                }
            }
        }
    }
}

struct Sender {
    world: Arc<World>,
    sessions: Arc<HashMap<Member, Session>>,
    lane: Lane,
    sequence: u64,
    chance: fastrand::Rng,
}

impl Sender {
    async fn run(mut self, stop: CancellationToken) {
        let mut routes = self.world.routes();
        while !stop.is_cancelled() {
            let Some(master) = self.world.master(self.lane.group) else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            let (id, started) = (self.lane.id(self.sequence), self.world.history.now());
            let message =
                Outgoing { body: id.body(self.chance.usize(..PADDING)), properties: properties(&id.key(), 0) };
            let outcome = tokio::select! {
                outcome = self.send(master, message) => outcome,
                () = followed(&mut routes, master) => Outcome::Doubtful,
            };
            if let Outcome::Stored { offset, .. } = outcome {
                let end = &self.world.ends[usize::from(self.lane.group)][usize::from(self.lane.queue)];
                end.fetch_max(offset + 1, Ordering::Relaxed);
            }
            self.world.history.sent(id, master, started, outcome);
            // What is in doubt is sent again or left alone.
            self.sequence += match outcome {
                Outcome::Stored { .. } => 1,
                Outcome::Doubtful => u64::from(self.chance.bool()),
                Outcome::Refused => 0,
            };
            let well = matches!(outcome, Outcome::Stored { .. });
            if !well {
                self.world.complain();
            }
            tokio::time::sleep(if well { PACE } else { PAUSE }).await;
        }
    }

    async fn send(&self, master: Member, message: Outgoing) -> Outcome {
        let queue = i32::from(self.lane.queue);
        let answer = match self.sessions[&master].start_send(TOPIC, queue, &[message]).await {
            Ok(answer) => answer,
            Err(_) => return Outcome::Refused,
        };
        match receipt(answer.await) {
            Ok(Receipt { offset, physical, .. }) => Outcome::Stored { offset, physical: physical[0] },
            Err(Failure::Refused { code, remark }) => {
                self.world.refused(code, &remark);
                if is_doubtful(code) { Outcome::Doubtful } else { Outcome::Refused }
            }
            Err(Failure::Lost(_)) => Outcome::Doubtful,
        }
    }
}

/// Whether the message may be stored although the broker did not acknowledge it: the log takes it before what is waited for
/// fails. A broker whose disk fails says 14 like one that stored nothing.
fn is_doubtful(code: i32) -> bool {
    matches!(
        code,
        response::FLUSH_DISK_TIMEOUT
            | response::SLAVE_NOT_AVAILABLE
            | response::FLUSH_SLAVE_TIMEOUT
            | response::SERVICE_NOT_AVAILABLE
            | response::SYSTEM_ERROR
    )
}

/// Returns when somebody else is master.
async fn followed(routes: &mut watch::Receiver<Vec<Option<Member>>>, master: Member) {
    let other = |known: &Vec<Option<Member>>| known[usize::from(master.group)].is_some_and(|now| now != master);
    if routes.wait_for(other).await.is_err() {
        std::future::pending::<()>().await;
    }
}
