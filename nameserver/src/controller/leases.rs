//! Who renewed when, by the clock of the leader that heard it. In memory: another leader begins anew.
//!
//! ```text
//! master    sends ─────── may acknowledge until sent + lease ───────┤
//! leader       hears ──── deposes after heard + lease + margin ──────────┤
//! ```
//! A renewal is heard after it was sent, and answered only if a quorum confirmed the leader in between. So whoever is elected
//! after the right end of the lower line begins when the upper one is over, as long as the two clocks run alike within the
//! margin.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use orbitmq_common::protocol::body::controller::Renewal;

use crate::controller::state::{Group, Name, Process, Reign};

/// Clocks may run apart by this part of a lease: a fifth.
const MARGIN_PART: u32 = 5;

/// How long a lease holds, and how long nothing is done after it.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// How long a master may acknowledge after it sent a renewal.
    pub lease: Duration,
}

impl Terms {
    /// Its length, as brokers are told it.
    pub fn lease_ms(self) -> u64 {
        u64::try_from(self.lease.as_millis()).unwrap_or(u64::MAX)
    }

    /// So long after the last sign of life a master has certainly stopped.
    pub fn until_deposed(self) -> Duration {
        self.lease + self.lease / MARGIN_PART
    }
}

/// The last renewal of a member.
#[derive(Debug, Clone)]
pub struct Seen {
    /// When it was heard.
    pub at: Instant,
    /// The process that sent it.
    pub process: Process,
    /// Its address.
    pub address: String,
    /// How far its log goes: newest epoch, end.
    pub log: (i32, u64),
    /// Its store; 0: it never told.
    pub store: u64,
    /// The mastership that it does not take up.
    idle: Option<Idle>,
    /// Incarnations of the member that have certainly ended; a renewal of theirs was under way for long.
    ended: Vec<u64>,
}

/// A mastership that is not taken up: its master is told of it with every renewal, and renews without that epoch.
#[derive(Debug, Clone, Copy)]
struct Idle {
    epoch: i32,
    since: Instant,
    /// The last renewal that was answered with it.
    granted: Instant,
}

/// Why a renewal does not count.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRenewed {
    /// Another process of the same member, elsewhere, may still be acknowledging.
    #[error("the member is alive at {0} too: stop one of the two, or give it another id")]
    Elsewhere(String),
    /// It was sent by a process that another one has followed.
    #[error("another process of this member has taken over: stop this one")]
    Ended,
}

/// The leases of one leadership.
#[derive(Debug)]
pub struct Leases {
    terms: Terms,
    reign: Reign,
    /// Before this, other leaders heard the renewals: every lease counts as fresh then.
    since: Instant,
    seen: HashMap<Name, HashMap<i64, Seen>>,
    /// Groups whose master is being replaced: until the outcome is known, nobody is told to be master.
    deposed: HashSet<Name>,
}

impl Leases {
    /// No leases.
    pub fn new(terms: Terms, now: Instant) -> Self {
        Self { terms, reign: Reign::default(), since: now, seen: HashMap::new(), deposed: HashSet::new() }
    }

    /// Begins anew under another leadership; what earlier ones heard no longer counts.
    pub fn begin(&mut self, reign: Reign, terms: Terms, now: Instant) -> bool {
        let new = reign > self.reign;
        if new {
            *self = Self { reign, ..Self::new(terms, now) };
        }
        new
    }

    /// How long they are.
    pub fn terms(&self) -> Terms {
        self.terms
    }

    /// The leadership whose leases these are.
    pub fn reign(&self) -> Reign {
        self.reign
    }

    /// This process stood still: nobody is to blame for renewals that were not heard.
    pub fn excuse_all(&mut self, now: Instant) {
        self.since = now;
    }

    /// Notes a renewal heard at `at`. A process at the address of the one before it has certainly replaced it; one elsewhere
    /// has to wait until the other's lease is over.
    pub fn renew(
        &mut self,
        name: &Name,
        group: Option<&Group>,
        renewal: &Renewal,
        at: Instant,
    ) -> Result<(), NotRenewed> {
        let process = Process { id: renewal.id, incarnation: renewal.incarnation };
        let before = self.seen_of(name, renewal.id).cloned();
        if before.as_ref().is_some_and(|seen| seen.ended.contains(&renewal.incarnation)) {
            return Err(NotRenewed::Ended);
        }
        let master = group.and_then(|group| group.master.filter(|master| master.id == renewal.id));
        let known = match (&before, master) {
            (Some(seen), _) => Some((seen.process, seen.address.clone())),
            (None, Some(master)) => {
                let address =
                    group.and_then(|group| group.members.get(&master.id)).map(|member| member.address.clone());
                address.map(|address| (master, address))
            }
            (None, None) => None,
        };
        if let Some((other, address)) = known
            && other != process
            && address != renewal.address
            && at <= self.over(before.as_ref().map(|seen| seen.at))
        {
            return Err(NotRenewed::Elsewhere(address));
        }
        let mut ended = Vec::new();
        let mut idle = None;
        if let Some(seen) = before {
            if seen.at > at {
                // A later one overtook it.
                return Ok(());
            }
            (ended, idle) = (seen.ended, seen.idle);
            if seen.process != process {
                ended.push(seen.process.incarnation);
            }
        }
        let idle = self.idle(group, renewal, idle, at);
        let log = (renewal.log_epoch, renewal.log_end);
        let seen = Seen { at, process, address: renewal.address.clone(), log, store: renewal.store, idle, ended };
        self.seen.entry(name.clone()).or_default().insert(renewal.id, seen);
        Ok(())
    }

    /// The mastership that the sender of a renewal does not take up, if it is such a one.
    fn idle(&self, group: Option<&Group>, renewal: &Renewal, before: Option<Idle>, at: Instant) -> Option<Idle> {
        let process = Process { id: renewal.id, incarnation: renewal.incarnation };
        let group = group.filter(|group| group.master == Some(process) && group.epoch != renewal.epoch)?;
        let begins = Idle { epoch: group.epoch, since: at, granted: at };
        let idle = before.filter(|idle| idle.epoch == group.epoch).unwrap_or(begins);
        Some(if self.is_too_long(idle, at) { idle } else { Idle { granted: at, ..idle } })
    }

    fn is_too_long(&self, idle: Idle, now: Instant) -> bool {
        now > idle.since + self.terms.until_deposed()
    }

    /// When the master of the group was last told to be one, if it has not taken that up for so long that its lease is no
    /// longer extended.
    fn given_up(&self, seen: &Seen, group: &Group) -> Option<Instant> {
        let idle = seen.idle.filter(|idle| idle.epoch == group.epoch && self.is_too_long(*idle, seen.at))?;
        Some(idle.granted)
    }

    /// Whether the master of the group has not taken that up for so long that it must no longer be told to be one.
    pub fn idles(&self, name: &Name, group: &Group) -> bool {
        let seen = group.master.and_then(|master| self.seen_of(name, master.id).filter(|seen| seen.process == master));
        seen.is_some_and(|seen| self.given_up(seen, group).is_some())
    }

    /// Notes at `at` another sign of life of the master, which its epoch proves to be the elected process.
    pub fn master_speaks(
        &mut self,
        name: &Name,
        group: &Group,
        master: Process,
        at: Instant,
    ) -> Result<(), NotRenewed> {
        let seen = self.seen.entry(name.clone()).or_default().entry(master.id).or_insert_with(|| Seen {
            at,
            process: master,
            address: group.members.get(&master.id).map(|member| member.address.clone()).unwrap_or_default(),
            log: (0, 0),
            store: 0,
            idle: None,
            ended: Vec::new(),
        });
        if seen.process != master {
            return Err(NotRenewed::Ended);
        }
        (seen.at, seen.idle) = (seen.at.max(at), None);
        Ok(())
    }

    fn seen_of(&self, name: &Name, id: i64) -> Option<&Seen> {
        self.seen.get(name)?.get(&id)
    }

    /// When a lease that began at `at`, or that no one saw begin under this leadership, is over with its margin.
    fn over(&self, at: Option<Instant>) -> Instant {
        at.map_or(self.since, |at| at.max(self.since)) + self.terms.until_deposed()
    }

    /// Whether the master of the group may still be acknowledging.
    pub fn in_office(&self, name: &Name, group: &Group, now: Instant) -> bool {
        let Some(master) = group.master else { return false };
        let replaced = self.seen_of(name, master.id).is_some_and(|seen| seen.ended.contains(&master.incarnation));
        !replaced && now <= self.stops(name, group, master)
    }

    /// When this master of the group stops if it is told nothing any more.
    pub fn stops(&self, name: &Name, group: &Group, master: Process) -> Instant {
        let seen = self.seen_of(name, master.id).filter(|seen| seen.process == master);
        self.over(seen.map(|seen| self.given_up(seen, group).unwrap_or(seen.at)))
    }

    /// A member that has renewed within its lease.
    pub fn alive(&self, name: &Name, id: i64, now: Instant) -> Option<&Seen> {
        self.seen_of(name, id).filter(|seen| now.saturating_duration_since(seen.at) <= self.terms.lease)
    }

    /// From now on nobody is told to be master of the group. `false`: somebody else is replacing its master.
    pub fn depose(&mut self, name: &Name) -> bool {
        self.deposed.insert(name.clone())
    }

    /// The replacement has an outcome that the state shows.
    pub fn settle(&mut self, name: &Name, reign: Reign) {
        if self.reign == reign {
            self.deposed.remove(name);
        }
    }

    /// Whether the group's master is being replaced.
    pub fn is_deposed(&self, name: &Name) -> bool {
        self.deposed.contains(name)
    }
}

#[cfg(test)]
mod tests;
