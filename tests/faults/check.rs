//! Compares what happened in a round with what every member of the cluster holds in the end.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::history::{Death, InSync, Lane, Outcome, Records, Send};
use super::later::Broken;
use super::masters;
use super::proxy::Member;
use crate::ledger::Id;

/// Faults told in words; beyond it they are only counted.
const TOLD: usize = 12;

/// One message of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Offset in its queue.
    pub offset: i64,
    /// Place in the log.
    pub physical: u64,
    /// The message; `None` when the body is none of ours.
    pub id: Option<Id>,
}

/// What one member holds when everything is healed.
#[derive(Debug, Clone)]
pub struct Copy {
    /// The member.
    pub member: Member,
    /// Whether it is the master.
    pub is_master: bool,
    /// Its messages by queue.
    pub queues: Vec<Vec<Place>>,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Messages acknowledged.
    pub acknowledged: usize,
    /// Acknowledged and not stored, or never seen by a consumer.
    pub lost: usize,
    /// Stored, or first delivered, in the wrong order.
    pub reordered: usize,
    /// Acknowledgements by a master that another one had followed.
    pub double_masters: usize,
    /// Messages stored again by a request that repeated one without an answer.
    pub duplicates: usize,
    /// Messages stored more often than requests can account for.
    pub excess: usize,
    /// Stored and never sent there.
    pub phantoms: usize,
    /// Queue offsets that held another message before.
    pub changed: usize,
    /// Queue offsets that are missing.
    pub gaps: usize,
    /// Queues in which a slave differs from its master.
    pub differing: usize,
    /// Acknowledged while the bytes were not flushed.
    pub unflushed: usize,
    /// Committed offsets that went back.
    pub offsets_back: usize,
    /// Deliveries beyond the first.
    pub redelivered: usize,
    /// The same of the group that pops.
    pub repopped: usize,
    /// The first faults in words.
    pub told: Vec<String>,
}

impl Verdict {
    /// Broken promises by name.
    fn broken(&self) -> [(&'static str, usize); 10] {
        [
            ("lost", self.lost),
            ("reordered", self.reordered),
            ("double masters", self.double_masters),
            ("stored too often", self.excess),
            ("phantoms", self.phantoms),
            ("offsets changed", self.changed),
            ("offsets missing", self.gaps),
            ("queues differ", self.differing),
            ("not flushed", self.unflushed),
            ("commits back", self.offsets_back),
        ]
    }

    /// Whether a promise was broken.
    #[must_use]
    pub fn is_breach(&self) -> bool {
        self.broken().iter().any(|(_, count)| *count > 0)
    }

    /// The broken promises, counted.
    #[must_use]
    pub fn counts(&self) -> String {
        let broken = self.broken().into_iter().filter(|(_, count)| *count > 0);
        broken.map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
    }

    /// Enters what was to arrive later.
    pub fn add_later(&mut self, broken: &Broken, promised: usize) {
        self.acknowledged += promised;
        self.lost += broken.missing.len();
        self.excess += broken.repeated.len();
        self.phantoms += broken.unwanted.len();
        let all = [
            ("did not arrive", &broken.missing),
            ("arrived again", &broken.repeated),
            ("was not to arrive", &broken.unwanted),
        ];
        for (what, body) in all.iter().flat_map(|(what, bodies)| bodies.iter().map(move |body| (what, body))) {
            self.tell(|| format!("'{body}' {what}"));
        }
    }

    pub(super) fn tell(&mut self, fault: impl FnOnce() -> String) {
        if self.told.len() < TOLD {
            self.told.push(fault());
        }
    }
}

/// Checks a round. `copies`: all members of all groups.
#[must_use]
pub fn check(records: &Records, copies: &[Copy]) -> Verdict {
    let mut verdict = Verdict { acknowledged: records.acknowledged().count(), ..Verdict::default() };
    let sent: HashSet<Id> = records.sends.iter().map(|send| send.id).collect();
    for copy in copies.iter().filter(|copy| copy.is_master) {
        check_master(&mut verdict, records, copy, &sent);
        let slaves = copies.iter().filter(|other| !other.is_master && other.member.group == copy.member.group);
        for slave in slaves {
            check_slave(&mut verdict, copy, slave);
        }
        masters::check(&mut verdict, records, copy.member.group);
    }
    check_deliveries(&mut verdict, records);
    check_pops(&mut verdict, records, &sent);
    check_offsets(&mut verdict, records);
    check_deaths(&mut verdict, records);
    verdict
}

fn check_master(verdict: &mut Verdict, records: &Records, copy: &Copy, sent: &HashSet<Id>) {
    let group = copy.member.group;
    let mut stored: HashMap<Id, Vec<i64>> = HashMap::new();
    let mut held: HashMap<(u8, i64), Option<Id>> = HashMap::new();
    for (queue, places) in (0..).zip(&copy.queues) {
        for (expected, place) in (0..).zip(places) {
            if place.offset != expected {
                verdict.gaps += 1;
                verdict.tell(|| format!("{group} {queue}: offset {} stands at {expected}", place.offset));
            }
            held.insert((queue, place.offset), place.id);
            let known = |id: &Id| sent.contains(id) && (Lane::of(*id).group, Lane::of(*id).queue) == (group, queue);
            match place.id.filter(known) {
                Some(id) => stored.entry(id).or_default().push(place.offset),
                None => {
                    verdict.phantoms += 1;
                    verdict.tell(|| format!("{group} {queue} {}: {:?} was never sent there", place.offset, place.id));
                }
            }
        }
    }
    let saw = |verdict: &mut Verdict, queue: u8, offset: i64, id: Option<Id>, who: &str| {
        let now = held.get(&(queue, offset)).copied();
        if now != Some(id) {
            verdict.changed += 1;
            verdict.tell(|| format!("{group} {queue} {offset}: {who} {id:?}, and in the end it holds {now:?}"));
        }
    };
    for (send, offset, _) in records.acknowledged().filter(|(send, ..)| send.member.group == group) {
        if stored.contains_key(&send.id) {
            saw(verdict, Lane::of(send.id).queue, offset, Some(send.id), "acknowledged was");
        } else {
            verdict.lost += 1;
            verdict.tell(|| format!("lost: {send:?}"));
        }
    }
    for seen in records.seen.iter().filter(|seen| seen.group == group) {
        saw(verdict, seen.queue, seen.offset, seen.id, "a consumer saw");
    }
    check_order(verdict, records, &stored);
    check_copies(verdict, records, &stored);
}

/// Whatever is stored of a message stands behind all earlier messages of its lane that were acknowledged: each was before
/// the next one began.
fn check_order(verdict: &mut Verdict, records: &Records, stored: &HashMap<Id, Vec<i64>>) {
    let mut acknowledged: BTreeMap<Id, i64> = BTreeMap::new();
    for (send, offset, _) in records.acknowledged().filter(|(send, ..)| stored.contains_key(&send.id)) {
        acknowledged.insert(send.id, offset);
    }
    let mut in_order: Vec<(&Id, &Vec<i64>)> = stored.iter().collect();
    in_order.sort_unstable();
    let mut last: Option<(Id, i64)> = None;
    for (id, offsets) in in_order {
        last = last.filter(|(before, _)| before.sender == id.sender);
        if let Some((before, bound)) = last
            && let Some(offset) = offsets.iter().find(|offset| **offset <= bound)
        {
            verdict.reordered += 1;
            verdict.tell(|| format!("{id:?} at {offset} stands before {before:?} at {bound}"));
        }
        if let Some(offset) = acknowledged.get(id) {
            last = Some(last.filter(|(_, bound)| bound > offset).unwrap_or((*id, *offset)));
        }
    }
}

/// Each request stores its message at most once.
fn check_copies(verdict: &mut Verdict, records: &Records, stored: &HashMap<Id, Vec<i64>>) {
    let mut requests: HashMap<Id, usize> = HashMap::new();
    for send in records.sends.iter().filter(|send| send.outcome != Outcome::Refused) {
        *requests.entry(send.id).or_default() += 1;
    }
    for (id, offsets) in stored {
        verdict.duplicates += offsets.len() - 1;
        let most = requests.get(id).copied().unwrap_or(0);
        if offsets.len() > most {
            verdict.excess += offsets.len() - most;
            verdict.tell(|| format!("{id:?} is stored at {offsets:?} after {most} requests that may have stored it"));
        }
    }
}

fn check_slave(verdict: &mut Verdict, master: &Copy, slave: &Copy) {
    for (queue, (theirs, ours)) in master.queues.iter().zip(&slave.queues).enumerate() {
        if theirs != ours {
            let (group, id) = (slave.member.group, slave.member.id);
            let at = theirs.iter().zip(ours).position(|(one, other)| one != other);
            let (master_has, slave_has) = (theirs.len(), ours.len());
            verdict.differing += 1;
            verdict.tell(|| {
                format!(
                    "{group} {queue}: member {id} has {slave_has} of {master_has}, the first that differs is {at:?}"
                )
            });
        }
    }
}

/// Consumers saw everything acknowledged, and of each queue new messages in the order of their offsets.
fn check_deliveries(verdict: &mut Verdict, records: &Records) {
    let mut newest: HashMap<(u8, u8), i64> = HashMap::new();
    let mut known: HashSet<(u8, u8, i64)> = HashSet::new();
    let mut messages: HashSet<Id> = HashSet::new();
    for seen in &records.seen {
        messages.extend(seen.id);
        if !known.insert((seen.group, seen.queue, seen.offset)) {
            verdict.redelivered += 1;
            continue;
        }
        let newest = newest.entry((seen.group, seen.queue)).or_insert(seen.offset);
        if *newest > seen.offset {
            let newest = *newest;
            verdict.reordered += 1;
            verdict.tell(|| format!("{seen:?} came after offset {newest}"));
        }
        *newest = (*newest).max(seen.offset);
    }
    for (send, ..) in records.acknowledged().filter(|(send, ..)| !messages.contains(&send.id)) {
        verdict.lost += 1;
        verdict.tell(|| format!("never consumed: {send:?}"));
    }
}

/// The group that pops was given everything acknowledged, and nothing that was not sent.
fn check_pops(verdict: &mut Verdict, records: &Records, sent: &HashSet<Id>) {
    let mut popped: HashSet<Id> = HashSet::new();
    for id in &records.popped {
        match id.filter(|id| sent.contains(id)) {
            Some(id) => verdict.repopped += usize::from(!popped.insert(id)),
            None => {
                verdict.phantoms += 1;
                verdict.tell(|| format!("{id:?} was popped and never sent"));
            }
        }
    }
    for (send, ..) in records.acknowledged().filter(|(send, ..)| !popped.contains(&send.id)) {
        verdict.lost += 1;
        verdict.tell(|| format!("never popped: {send:?}"));
    }
}

/// A master answers no less than what was committed before the question began, unless somebody else was master in between.
fn check_offsets(verdict: &mut Verdict, records: &Records) {
    let is_question = |offset: &&super::history::Offset| !offset.committed;
    for question in records.offsets.iter().filter(is_question) {
        let earlier = |ended: u64, group: u8| ended < question.started && group == question.member.group;
        let commits = records.offsets.iter().filter(|commit| {
            commit.committed && commit.queue == question.queue && earlier(commit.ended, commit.member.group)
        });
        let Some(highest) = commits.max_by_key(|commit| commit.offset) else { continue };
        // A master that has been followed and does not know it yet may answer what it knew.
        let last = records.answers(question.member.group).take_while(|send| send.ended < question.started).last();
        let followed = last.is_some_and(|send| send.member != question.member);
        if !followed && question.offset < highest.offset {
            verdict.offsets_back += 1;
            verdict.tell(|| format!("{question:?} is lower than {highest:?}"));
        }
    }
}

/// What a killed process had not flushed was not acknowledged by it, nor by anybody else while it was in the in-sync set:
/// it might have been the next master.
fn check_deaths(verdict: &mut Verdict, records: &Records) {
    for death in &records.deaths {
        let (group, id) = (death.member.group, i64::from(death.member.id));
        let sets = records.sets.iter().filter(|set| set.group == group && set.members.contains(&id));
        let sets: Vec<&InSync> = sets.collect();
        let in_set = |send: &Send| sets.iter().any(|set| set.from < send.started && send.ended < set.to);
        let promised = |send: &Send| {
            let alive = send.started > death.since && send.ended < death.at;
            alive && send.member.group == group && (send.member == death.member || in_set(send))
        };
        for (send, _, physical) in records.acknowledged() {
            if death.unflushed.iter().any(|bytes| bytes.contains(&physical)) && promised(send) {
                let Death { member, at, .. } = death;
                verdict.unflushed += 1;
                verdict.tell(|| format!("{send:?} was not flushed by {member:?} when it died at {at}"));
            }
        }
    }
}

#[cfg(test)]
mod tests;
