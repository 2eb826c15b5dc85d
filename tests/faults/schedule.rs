//! What goes wrong in a round, and when: a pure function of the round's seed.

use std::fmt;
use std::str::FromStr;

/// Faults begin after this much of a round, ms.
const CALM: u64 = 1_000;
/// A fault matters to what happens within so long after it, ms.
const AFTERMATH: u64 = 2_000;
/// A wounded member of a [`Kind::Strand`] is cut off for so long before everybody else dies, ms.
const STRANDED: u64 = 2_600;
/// Disks are slow for so long before their power is cut, ms.
const FALTERING: u64 = 400;
/// The master of a [`Kind::Blackout`] comes back so much later than the others, ms.
const MASTER_LATER: u64 = 2_000;
/// Those who die in a [`Kind::Relay`] come back after so long, ms.
const RELAYED: u64 = 3_000;

/// Whom a fault hits; masters and slaves are those of the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The master of a group.
    Master(u8),
    /// The n-th slave of a group, from 0 on; the master where there is none.
    Slave(u8, u8),
    /// A name server, from 1 on.
    Nameserver(u8),
    /// All clients.
    Clients,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let group = |group: u8| char::from(b'a' + group);
        match *self {
            Self::Master(of) => write!(f, "master-{}", group(of)),
            Self::Slave(of, number) => write!(f, "slave-{}{number}", group(of)),
            Self::Nameserver(number) => write!(f, "n{number}"),
            Self::Clients => write!(f, "clients"),
        }
    }
}

/// Kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// SIGKILL, and a restart later.
    Kill,
    /// SIGKILL, and what was not flushed is gone.
    Power,
    /// SIGTERM, and a restart later.
    Stop,
    /// SIGSTOP, and SIGCONT later.
    Pause,
    /// A node is cut off from all others.
    Isolate,
    /// A pair is cut off from each other.
    Cut,
    /// Nothing arrives in one direction.
    OneWay,
    /// Connections of a pair are silent and then reset.
    HalfOpen,
    /// Everything between a pair takes longer.
    Delay,
    /// Flushes take longer.
    SlowDisk,
    /// Flushes or writes fail.
    FailDisk,
    /// The wall clock jumps, and back.
    Clock,
    /// All members of a group lose power at once; in some the master comes back last.
    Blackout,
    /// A slave falls out of the in-sync set, then everybody else dies for a while.
    Strand,
    /// The master dies and comes back; soon after it everybody else dies for a while.
    Relay,
    /// A consumer is closed or dropped, and another one takes its place.
    Consumer,
}

const KINDS: [(Kind, &str, u32); 16] = [
    (Kind::Kill, "kill", 20),
    (Kind::Power, "power", 10),
    (Kind::Stop, "stop", 6),
    (Kind::Pause, "pause", 12),
    (Kind::Isolate, "isolate", 10),
    (Kind::Cut, "cut", 6),
    (Kind::OneWay, "one-way", 8),
    (Kind::HalfOpen, "half-open", 6),
    (Kind::Delay, "delay", 6),
    (Kind::SlowDisk, "slow-disk", 6),
    (Kind::FailDisk, "fail-disk", 6),
    (Kind::Clock, "clock", 6),
    (Kind::Blackout, "blackout", 5),
    (Kind::Strand, "strand", 5),
    (Kind::Relay, "relay", 5),
    (Kind::Consumer, "consumer", 8),
];

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = KINDS.iter().find(|(kind, ..)| kind == self).map_or("", |(_, name, _)| name);
        f.pad(name)
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || KINDS.map(|(_, name, _)| name).join(", ");
        let found = KINDS.iter().find(|(_, name, _)| *name == text);
        found.map(|(kind, ..)| *kind).ok_or_else(|| format!("{text} is none of {}", names()))
    }
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// When it begins, ms from the start of the round.
    pub at: u64,
    /// How long it lasts, ms.
    pub lasts: u64,
    /// What it is.
    pub kind: Kind,
    /// Whom it hits.
    pub target: Target,
    /// The other end of a pair.
    pub other: Target,
    /// What else there is to choose: the seed of a power cut, ms of a delay or of a clock.
    pub degree: u64,
}

impl Fault {
    /// When something happens, ms from its beginning on.
    #[must_use]
    pub fn phases(&self) -> Vec<u64> {
        match self.kind {
            Kind::Consumer => vec![0],
            Kind::Power => vec![0, FALTERING, FALTERING + self.lasts],
            Kind::Blackout => {
                let back = FALTERING + self.lasts;
                vec![0, FALTERING, back, back + MASTER_LATER]
            }
            Kind::Strand => vec![0, STRANDED, STRANDED + self.lasts],
            Kind::Relay => {
                let back = self.lasts + self.degree % 1_500;
                vec![0, self.lasts, back, back + RELAYED]
            }
            _ => vec![0, self.lasts],
        }
    }

    /// The group it hits, if it does.
    #[must_use]
    pub fn group(&self) -> Option<u8> {
        match self.target {
            Target::Master(group) | Target::Slave(group, _) => Some(group),
            Target::Nameserver(_) | Target::Clients => None,
        }
    }

    /// By how much the wall clock jumps, ms.
    #[must_use]
    pub fn clock(&self) -> i64 {
        let size = i64::try_from(1_000 + self.degree % 600_000).unwrap();
        if self.degree & 1 << 40 == 0 { size } else { -size }
    }

    fn end(&self) -> u64 {
        self.at + self.phases().last().unwrap()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, lasts, kind, target, other, .. } = self;
        write!(f, "{:>6.2}s {kind:<9} {target}", seconds(*at))?;
        match kind {
            Kind::Cut | Kind::OneWay | Kind::HalfOpen | Kind::Delay => write!(f, " > {other}")?,
            Kind::Clock => write!(f, " {:+}s", self.clock() / 1000)?,
            _ => {}
        }
        if *kind == Kind::Consumer { Ok(()) } else { write!(f, " for {:.2}s", seconds(*lasts)) }
    }
}

fn seconds(ms: u64) -> f64 {
    f64::from(u32::try_from(ms).unwrap_or(u32::MAX)) / 1000.0
}

/// What the schedules of a run have in common; what is not given is chosen by the seed.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// Broker groups.
    pub groups: Option<u8>,
    /// Members of each group; 1: plain brokers without a controller.
    pub members: Option<u8>,
    /// Kinds of faults; empty: all.
    pub only: Vec<Kind>,
}

/// A round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Its seed.
    pub seed: u64,
    /// Length of the load under faults, ms.
    pub length: u64,
    /// Broker groups.
    pub groups: u8,
    /// Members of each.
    pub members: u8,
    /// The faults, in the order of their beginnings.
    pub faults: Vec<Fault>,
}

impl Plan {
    /// Whether nothing else is wrong shortly before a fault and until a master should have been found.
    #[must_use]
    pub fn is_alone(&self, index: usize) -> bool {
        let this = &self.faults[index];
        let harmless = |fault: &Fault| matches!(fault.kind, Kind::Consumer | Kind::Clock);
        let near = |fault: &Fault| fault.end() + AFTERMATH > this.at && fault.at < this.at + AFTERMATH;
        let others = self.faults.iter().enumerate().filter(|(other, _)| *other != index);
        !others.map(|(_, fault)| fault).any(|fault| near(fault) && !harmless(fault))
    }

    /// Moments at which something happens: ms, index of the fault, its phase.
    #[must_use]
    pub fn moments(&self) -> Vec<(u64, usize, usize)> {
        let of = |(index, fault): (usize, &Fault)| {
            let at = fault.at;
            fault.phases().into_iter().enumerate().map(move |(phase, after)| (at + after, index, phase))
        };
        let mut moments: Vec<_> = self.faults.iter().enumerate().flat_map(of).collect();
        moments.retain(|(at, ..)| *at < self.length);
        moments.sort_unstable();
        moments
    }
}

/// The seed of a round; the first round has the run's own.
#[must_use]
pub fn round_seed(seed: u64, round: u64) -> u64 {
    if round == 0 {
        return seed;
    }
    // splitmix64, so that neighbours have nothing in common; short enough to be typed.
    let mut mixed = seed.wrapping_add(round.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    (mixed ^ mixed >> 31) >> 24
}

/// The round of a seed.
#[must_use]
pub fn plan(seed: u64, length: u64, wishes: &Wishes) -> Plan {
    let mut chance = fastrand::Rng::with_seed(seed);
    // Drawn in any case, so that a wish changes as little as can be.
    let (groups, members) = (chance.u8(1..=2), if chance.u8(0..3) == 0 { 2 } else { 3 });
    let mut draw = Draw { groups: wishes.groups.unwrap_or(groups), members: wishes.members.unwrap_or(members), chance };
    let mut faults: Vec<Fault> = Vec::new();
    let mut at = CALM;
    while at < length {
        let fault = draw.fault(at, &wishes.only);
        // Mostly one after the other within a group, so that there is something to break; some at the same time.
        let busy = faults.iter().any(|before| before.group() == fault.group() && before.end() > fault.at);
        if !busy || draw.chance.u8(0..4) == 0 {
            faults.push(fault);
        }
        at += draw.chance.u64(100..1_500);
    }
    Plan { seed, length, groups: draw.groups, members: draw.members, faults }
}

struct Draw {
    chance: fastrand::Rng,
    groups: u8,
    members: u8,
}

impl Draw {
    fn fault(&mut self, at: u64, only: &[Kind]) -> Fault {
        let kind = self.kind(only);
        let group = self.chance.u8(0..self.groups);
        let degree = self.chance.u64(..);
        let lasts = match kind {
            Kind::Pause => self.chance.u64(500..6_000),
            Kind::Delay => self.chance.u64(1_000..6_000),
            Kind::Clock | Kind::SlowDisk => self.chance.u64(1_000..5_000),
            Kind::FailDisk | Kind::Blackout | Kind::Relay => self.chance.u64(200..2_000),
            Kind::Strand => self.chance.u64(2_000..4_000),
            Kind::Consumer => 0,
            _ => self.chance.u64(100..5_000),
        };
        let target = match kind {
            Kind::Power | Kind::SlowDisk | Kind::FailDisk => self.member(group),
            Kind::Blackout | Kind::Relay => Target::Master(group),
            Kind::Strand => Target::Slave(group, self.slave()),
            Kind::Consumer => Target::Clients,
            _ => self.anybody(group),
        };
        let (target, other) = match kind {
            Kind::Cut | Kind::OneWay | Kind::HalfOpen | Kind::Delay => self.pair(group),
            _ => (target, Target::Clients),
        };
        Fault { at, lasts, kind, target, other, degree }
    }

    fn kind(&mut self, only: &[Kind]) -> Kind {
        let wanted = KINDS.iter().filter(|(kind, ..)| only.is_empty() || only.contains(kind));
        let tickets: Vec<Kind> =
            wanted.flat_map(|(kind, _, weight)| std::iter::repeat_n(*kind, *weight as usize)).collect();
        tickets[self.chance.usize(0..tickets.len())]
    }

    fn slave(&mut self) -> u8 {
        self.chance.u8(0..self.members.max(2) - 1)
    }

    fn member(&mut self, group: u8) -> Target {
        if self.chance.u8(0..3) > 0 { Target::Master(group) } else { Target::Slave(group, self.slave()) }
    }

    fn anybody(&mut self, group: u8) -> Target {
        if self.chance.u8(0..5) == 0 { Target::Nameserver(self.chance.u8(1..=3)) } else { self.member(group) }
    }

    fn pair(&mut self, group: u8) -> (Target, Target) {
        let (master, slave) = (Target::Master(group), Target::Slave(group, self.slave()));
        let nameserver = self.chance.u8(1..=3);
        let (one, other) = match self.chance.u8(0..8) {
            0..3 => (master, slave),
            3 => (master, Target::Clients),
            4 => (master, Target::Nameserver(nameserver)),
            5 => (slave, Target::Nameserver(nameserver)),
            6 => (Target::Nameserver(nameserver), Target::Nameserver(nameserver % 3 + 1)),
            _ => (Target::Slave(group, 0), Target::Slave(group, 1)),
        };
        if self.chance.bool() { (one, other) } else { (other, one) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(seed: u64) -> Plan {
        plan(seed, 30_000, &Wishes::default())
    }

    #[test]
    fn the_same_seed_gives_the_same_schedule() {
        for seed in 0..100 {
            assert_eq!(of(seed), of(seed));
        }
        assert_ne!(of(1), of(2));
        assert_eq!(round_seed(7, 0), 7);
        assert_eq!(round_seed(7, 3), round_seed(7, 3));
        assert_ne!(round_seed(7, 3), round_seed(8, 3));
    }

    #[test]
    fn every_kind_and_every_shape_comes_about() {
        let plans: Vec<Plan> = (0..100).map(|round| of(round_seed(1, round))).collect();
        for (kind, ..) in KINDS {
            assert!(plans.iter().flat_map(|plan| &plan.faults).any(|fault| fault.kind == kind), "{kind}");
        }
        for (groups, members) in [(1, 2), (1, 3), (2, 2), (2, 3)] {
            assert!(plans.iter().any(|plan| (plan.groups, plan.members) == (groups, members)));
        }
    }

    #[test]
    fn wishes_are_kept() {
        let wishes = Wishes { groups: Some(2), members: Some(1), only: vec![Kind::Power, Kind::Clock] };
        let plan = plan(5, 15_000, &wishes);
        assert_eq!((plan.groups, plan.members), (2, 1));
        assert!(plan.faults.iter().all(|fault| wishes.only.contains(&fault.kind)));
        assert!(plan.moments().iter().all(|(at, ..)| *at < 15_000) && plan.moments().is_sorted());
    }
}
