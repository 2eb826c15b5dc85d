//! The in-sync set: the slaves that have everything that was acknowledged, and without which nothing more is.
//!
//! ```text
//! connected ──has all that is confirmed──▶ joining ──the controller agrees──▶ in the set ──behind for too long──▶ out
//!                                            └── from here on nothing is confirmed that it does not have ──┘
//! ```
//! A slave counts from the moment it begins to join, and counts until its removal is decided: so whoever is in the set as the
//! controller knows it has every acknowledged byte, and every acknowledged change of metadata.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Number of a slave. Slaves of RocketMQ's do not tell theirs: they get negative ones, a new one per connection.
pub type Member = i64;

/// What the set holds back. Called while the set is locked, so that an older ceiling never replaces a newer one.
pub trait Gate {
    /// Confirms nothing more until the ceiling is set, and tells what is confirmed.
    fn freeze(&self) -> u64;
    /// Nothing beyond this is confirmed.
    fn set(&self, ceiling: u64);
    /// Number of the newest change of metadata.
    fn newest_change(&self) -> u64;
    /// Whether a slave has stored all changes of metadata up to this one.
    fn has_change(&self, member: Member, number: u64) -> bool;
}

/// A slave as its master sees it.
#[derive(Debug, Clone)]
pub struct Follower {
    /// Where it connects from.
    pub address: String,
    /// Log offset up to which it has everything durably.
    pub acked: u64,
    /// Connections that it has; 0 when it is away.
    pub connections: usize,
    /// When it was last seen.
    pub seen: Instant,
    standing: Standing,
    /// What was confirmed without it when it began to join.
    floor: u64,
    /// Change of metadata up to which others may have been told without it.
    change: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Outside,
    /// Holds back what it does not have, and will be proposed once it has what others confirmed.
    Joining,
    /// Proposed, and perhaps in the set by now: it counts until that is known.
    Proposed,
    InSync,
}

/// A slave as figures show it.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Number of the slave.
    pub member: Member,
    /// Where it connects from.
    pub address: String,
    /// Log offset up to which it has everything durably.
    pub acked: u64,
    /// Whether it is in the set.
    pub in_sync: bool,
    /// Whether it is connected.
    pub connected: bool,
}

#[derive(Debug, Default)]
struct State {
    followers: BTreeMap<Member, Follower>,
    /// The log's end at earlier moments, oldest first.
    ends: VecDeque<(Instant, u64)>,
}

/// The slaves of a master.
#[derive(Debug, Default)]
pub struct InSync {
    state: Mutex<State>,
    /// Slaves in the set.
    size: AtomicUsize,
}

impl InSync {
    /// Copies that count, the master's own among them.
    pub fn copies(&self) -> usize {
        self.size.load(Ordering::Acquire) + 1
    }

    /// A slave has connected.
    pub fn connected(&self, member: Member, address: &str, acked: u64) {
        let mut state = self.state.lock();
        let now = Instant::now();
        let follower = state.followers.entry(member).or_insert_with(|| Follower::unknown(now));
        address.clone_into(&mut follower.address);
        follower.connections += 1;
        follower.seen = now;
        if follower.standing == Standing::Outside {
            follower.acked = acked;
        }
    }

    /// A connection of a slave has ended. One that is in the set stays there until it is judged.
    pub fn disconnected(&self, member: Member) {
        let mut state = self.state.lock();
        let Some(follower) = state.followers.get_mut(&member) else { return };
        follower.connections = follower.connections.saturating_sub(1);
        follower.seen = Instant::now();
        if follower.connections == 0 && follower.standing == Standing::Outside {
            state.followers.remove(&member);
        }
    }

    /// A slave has everything up to an offset.
    pub fn acked(&self, member: Member, acked: u64, gate: &impl Gate) {
        let mut state = self.state.lock();
        if let Some(follower) = state.followers.get_mut(&member) {
            follower.acked = follower.acked.max(acked);
            follower.seen = Instant::now();
        }
        gate.set(state.ceiling());
    }

    /// Numbers of the slaves that count: those in the set, and those that are on their way into it.
    pub fn counting(&self) -> Vec<Member> {
        let state = self.state.lock();
        let counting = state.followers.iter().filter(|(_, follower)| follower.standing != Standing::Outside);
        counting.map(|(member, _)| *member).collect()
    }

    /// Numbers of the slaves in the set.
    pub fn members(&self) -> Vec<Member> {
        self.state.lock().members()
    }

    /// All slaves.
    pub fn shown(&self) -> Vec<Shown> {
        let state = self.state.lock();
        let show = |(member, follower): (&Member, &Follower)| Shown {
            member: *member,
            address: follower.address.clone(),
            acked: follower.acked,
            in_sync: follower.standing == Standing::InSync,
            connected: follower.connections > 0,
        };
        state.followers.iter().map(show).collect()
    }

    /// Looks who is behind for too long and who could join, the log being vouched for up to `end` by the master alone. Who could
    /// join counts from now on. Returns the set as it should be, if that differs from what it is.
    pub fn judge(&self, now: Instant, end: u64, patience: Duration, gate: &impl Gate) -> Option<Vec<Member>> {
        let mut state = self.state.lock();
        state.ends.push_back((now, end));
        while state.ends.get(1).is_some_and(|(at, _)| now.saturating_duration_since(*at) >= patience) {
            state.ends.pop_front();
        }
        let near = state.ends.front().map_or(0, |(_, end)| *end);
        let oldest = state.ends.front().filter(|(at, _)| now.saturating_duration_since(*at) >= patience);
        let due = oldest.map_or(0, |(_, end)| *end);
        let is_late = |follower: &Follower| {
            follower.acked < due
                || (follower.connections == 0 && now.saturating_duration_since(follower.seen) >= patience)
        };
        let unsettled = state.followers.values().any(|follower| follower.standing == Standing::Proposed);
        let mut wanted = BTreeSet::new();
        for (member, follower) in &mut state.followers {
            let late = is_late(follower);
            match follower.standing {
                Standing::InSync | Standing::Proposed if !late => drop(wanted.insert(*member)),
                Standing::InSync | Standing::Proposed => {}
                Standing::Joining if late => follower.standing = Standing::Outside,
                Standing::Joining => {
                    if follower.acked >= follower.floor && gate.has_change(*member, follower.change) {
                        wanted.insert(*member);
                    }
                }
                Standing::Outside if follower.connections > 0 && !late && follower.acked >= near => {
                    follower.standing = Standing::Joining;
                    // What others have been told without it; only beyond that does it hold anything back.
                    follower.floor = gate.freeze();
                    follower.change = gate.newest_change();
                }
                Standing::Outside => {}
            }
        }
        gate.set(state.ceiling());
        state.followers.retain(|_, follower| follower.connections > 0 || follower.standing != Standing::Outside);
        let wanted: Vec<Member> = wanted.into_iter().collect();
        (unsettled || wanted != state.members()).then_some(wanted)
    }

    /// The set is proposed to whoever decides: its new members count until the answer is known.
    pub fn proposed(&self, set: &[Member]) {
        let mut state = self.state.lock();
        for (member, follower) in &mut state.followers {
            if follower.standing == Standing::Joining && set.contains(member) {
                follower.standing = Standing::Proposed;
            }
        }
    }

    /// The set as it was decided.
    pub fn decided(&self, set: &[Member], gate: &impl Gate) {
        let mut state = self.state.lock();
        for member in set {
            state
                .followers
                .entry(*member)
                .or_insert_with(|| Follower { floor: gate.freeze(), ..Follower::unknown(Instant::now()) });
        }
        for (member, follower) in &mut state.followers {
            follower.standing = match (set.contains(member), follower.standing) {
                (true, _) => Standing::InSync,
                (false, Standing::Joining) => Standing::Joining,
                (false, _) => Standing::Outside,
            };
        }
        self.size.store(state.members().len(), Ordering::Release);
        gate.set(state.ceiling());
    }
}

impl Follower {
    fn unknown(now: Instant) -> Self {
        Self {
            address: String::new(),
            acked: 0,
            connections: 0,
            seen: now,
            standing: Standing::Outside,
            floor: 0,
            change: 0,
        }
    }
}

impl State {
    fn members(&self) -> Vec<Member> {
        let inside = self.followers.iter().filter(|(_, follower)| follower.standing == Standing::InSync);
        inside.map(|(member, _)| *member).collect()
    }

    fn ceiling(&self) -> u64 {
        let counting = self.followers.values().filter(|follower| follower.standing != Standing::Outside);
        counting.map(|follower| follower.acked.max(follower.floor)).min().unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests;
