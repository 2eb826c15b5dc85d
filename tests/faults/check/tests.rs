//! Histories made by hand: one that is well, and one for each fault there is to find.

use super::*;
use crate::faults::history::{Epoch, Offset, Seen};

const A: Member = Member { group: 0, id: 1 };
const B: Member = Member { group: 0, id: 2 };
const LANE: Lane = Lane { producer: 1, group: 0, queue: 0 };

/// A round of five messages in one queue: A acknowledged three, B two after it; both members hold all, a consumer saw all.
#[derive(Clone)]
struct Round {
    records: Records,
    copies: Vec<Copy>,
}

fn send(sequence: u64, member: Member, started: u64, outcome: Outcome) -> Send {
    Send { id: LANE.id(sequence), member, started, ended: started + 5, outcome }
}

fn stored(sequence: u64) -> Outcome {
    let offset = i64::try_from(sequence).unwrap();
    Outcome::Stored { offset, physical: sequence * 100 }
}

fn place(sequence: u64, offset: i64) -> Place {
    Place { offset, physical: offset.cast_unsigned() * 100, id: Some(LANE.id(sequence)) }
}

fn seen(sequence: u64, offset: i64) -> Seen {
    Seen { id: Some(LANE.id(sequence)), group: 0, queue: 0, offset, at: 0 }
}

fn offset(member: Member, started: u64, offset: i64, committed: bool) -> Offset {
    Offset { member, queue: 0, started, ended: started + 5, offset, committed }
}

impl Round {
    fn well() -> Self {
        let master = |sequence| if sequence < 3 { A } else { B };
        let sends = (0..5).map(|sequence| send(sequence, master(sequence), sequence * 10, stored(sequence)));
        let seen = (0..5).map(|sequence| seen(sequence, sequence.cast_signed()));
        let epochs = vec![Epoch { number: 1, master: A }, Epoch { number: 2, master: B }];
        let popped = (0..5).map(|sequence| Some(LANE.id(sequence))).collect();
        let records = Records { sends: sends.collect(), seen: seen.collect(), popped, epochs, ..Records::default() };
        let copy = |member| {
            let places = (0..5).map(|sequence| place(sequence, sequence.cast_signed())).collect();
            Copy { member, is_master: member == B, queues: vec![places] }
        };
        Self { records, copies: vec![copy(A), copy(B)] }
    }

    /// Changes what both members hold.
    fn hold(&mut self, change: impl Fn(&mut Vec<Place>)) {
        self.copies.iter_mut().for_each(|copy| change(&mut copy.queues[0]));
    }

    fn verdict(&self) -> Verdict {
        Verdict { told: Vec::new(), ..check(&self.records, &self.copies) }
    }

    /// The verdict is that of a round that is well but for this.
    #[track_caller]
    fn comes_to(&self, expected: Verdict) {
        let acknowledged = self.records.acknowledged().count();
        assert_eq!(self.verdict(), Verdict { acknowledged, ..expected });
    }
}

#[test]
fn a_round_that_is_well_is_found_well() {
    let mut round = Round::well();
    assert!(!round.verdict().is_breach());
    // In doubt and refused ones may be there or not; those in doubt anywhere behind what came before.
    round.records.sends.push(send(5, B, 60, Outcome::Doubtful));
    round.records.sends.push(send(6, B, 60, Outcome::Refused));
    round.comes_to(Verdict::default());
    round.hold(|places| places.push(place(5, 5)));
    round.comes_to(Verdict::default());
}

#[test]
fn what_was_acknowledged_and_is_not_there_is_lost() {
    let mut round = Round::well();
    round.hold(|places| places.truncate(4));
    // A consumer saw what is not there any more.
    round.comes_to(Verdict { lost: 1, changed: 1, ..Verdict::default() });
    round.records.seen.pop();
    round.comes_to(Verdict { lost: 2, ..Verdict::default() });
}

#[test]
fn what_no_consumer_saw_is_lost() {
    let mut round = Round::well();
    round.records.seen.pop();
    round.comes_to(Verdict { lost: 1, ..Verdict::default() });
}

#[test]
fn what_was_popped_by_nobody_is_lost_and_what_was_never_sent_is_a_phantom() {
    let mut round = Round::well();
    round.records.popped.push(Some(LANE.id(2)));
    round.comes_to(Verdict { repopped: 1, ..Verdict::default() });
    round.records.popped.retain(|id| *id != Some(LANE.id(2)));
    round.comes_to(Verdict { lost: 1, ..Verdict::default() });
    round.records.popped.extend([Some(LANE.id(2)), Some(LANE.id(77)), None]);
    round.comes_to(Verdict { phantoms: 2, ..Verdict::default() });
}

#[test]
fn phantoms_are_found() {
    let mut round = Round::well();
    round.hold(|places| places.push(Place { id: None, ..place(0, 5) }));
    round.comes_to(Verdict { phantoms: 1, ..Verdict::default() });
    round.hold(|places| places[5] = place(77, 5));
    round.comes_to(Verdict { phantoms: 1, ..Verdict::default() });
    // Sent, but to another queue.
    let elsewhere = Lane { queue: 1, ..LANE }.id(0);
    round.records.sends.push(Send { id: elsewhere, ..send(0, B, 70, Outcome::Doubtful) });
    round.hold(|places| places[5].id = Some(elsewhere));
    round.comes_to(Verdict { phantoms: 1, ..Verdict::default() });
}

#[test]
fn duplicates_are_counted_and_bounded_by_requests() {
    let mut round = Round::well();
    round.records.sends.push(send(5, B, 60, Outcome::Doubtful));
    round.records.sends.push(send(5, B, 70, Outcome::Doubtful));
    round.hold(|places| places.extend([place(5, 5), place(5, 6)]));
    round.comes_to(Verdict { duplicates: 1, ..Verdict::default() });
    round.hold(|places| places.push(place(5, 7)));
    round.comes_to(Verdict { duplicates: 2, excess: 1, ..Verdict::default() });
}

#[test]
fn order_of_a_lane_is_that_of_its_acknowledgements() {
    let mut round = Round::well();
    // The fourth was sent after the third was acknowledged, and stands before it.
    round.records.sends[2].outcome = stored(3);
    round.records.sends[3].outcome = stored(2);
    round.hold(|places| (places[2].id, places[3].id) = (places[3].id, places[2].id));
    (round.records.seen[2].id, round.records.seen[3].id) = (round.records.seen[3].id, round.records.seen[2].id);
    round.comes_to(Verdict { reordered: 1, ..Verdict::default() });
}

#[test]
fn order_of_first_deliveries_is_that_of_offsets() {
    let mut round = Round::well();
    round.records.seen.push(seen(2, 2));
    round.comes_to(Verdict { redelivered: 1, ..Verdict::default() });
    round.records.seen.pop();
    round.records.seen.swap(1, 2);
    round.comes_to(Verdict { reordered: 1, ..Verdict::default() });
}

#[test]
fn an_offset_holds_one_message_for_ever() {
    let mut round = Round::well();
    round.records.sends[4].outcome = Outcome::Doubtful;
    round.records.sends.push(send(5, B, 60, Outcome::Doubtful));
    round.hold(|places| places[4] = place(5, 4));
    round.comes_to(Verdict { changed: 1, ..Verdict::default() });
}

#[test]
fn missing_offsets_and_differing_slaves_are_found() {
    let mut round = Round::well();
    round.copies[0].queues[0].pop();
    round.comes_to(Verdict { differing: 1, ..Verdict::default() });
    let mut round = Round::well();
    round.copies[0].queues[0][3].physical += 1;
    round.comes_to(Verdict { differing: 1, ..Verdict::default() });
    let mut round = Round::well();
    round.records.sends.push(send(5, B, 60, Outcome::Doubtful));
    round.hold(|places| places.push(place(5, 6)));
    round.comes_to(Verdict { gaps: 1, ..Verdict::default() });
}

#[test]
fn a_master_that_was_followed_acknowledges_nothing_more() {
    // B has acknowledged at 35; A acknowledges what was sent before, then what was sent after it.
    let mut round = Round::well();
    round.records.sends[4] = send(4, A, 34, stored(4));
    round.comes_to(Verdict::default());
    round.records.sends[4] = send(4, A, 36, stored(4));
    round.comes_to(Verdict { double_masters: 1, ..Verdict::default() });
    // With one more election all is well, also when nobody saw it happen.
    round.records.epochs.push(Epoch { number: 3, master: A });
    round.comes_to(Verdict::default());
    *round.records.epochs.last_mut().unwrap() = Epoch { number: 4, master: B };
    round.comes_to(Verdict::default());
}

#[test]
fn a_master_nobody_elected_acknowledges_nothing() {
    let mut round = Round::well();
    round.records.epochs.pop();
    round.comes_to(Verdict { double_masters: 2, ..Verdict::default() });
}

#[test]
fn committed_offsets_never_go_back() {
    let mut round = Round::well();
    round.records.offsets = vec![offset(A, 0, 3, true), offset(A, 6, 3, false), offset(B, 50, 3, false)];
    round.comes_to(Verdict::default());
    // A question that began before the commit was acknowledged may see what was before.
    round.records.offsets.push(offset(A, 4, 0, false));
    round.comes_to(Verdict::default());
    // The old master may not have heard of what was committed at the new one.
    round.records.offsets.extend([offset(B, 50, 4, true), offset(A, 60, 3, false)]);
    round.comes_to(Verdict::default());
    round.records.offsets.extend([offset(B, 60, 3, false), offset(B, 60, -1, false)]);
    round.comes_to(Verdict { offsets_back: 2, ..Verdict::default() });
}

#[test]
fn nothing_is_acknowledged_before_it_is_flushed() {
    let mut round = Round::well();
    let death = |member, since| Death { member, since, at: 100, unflushed: std::iter::once(400..500).collect() };
    // A slave outside the set need not have it; a process that started later never promised it.
    round.records.deaths = vec![death(A, 0), death(B, 50)];
    round.comes_to(Verdict::default());
    round.records.deaths = vec![death(B, 0)];
    round.comes_to(Verdict { unflushed: 1, ..Verdict::default() });
    // The send took from 40 to 45.
    for (from, to, unflushed) in [(30, 50, 1), (42, 50, 0), (30, 42, 0)] {
        round.records.deaths = vec![death(A, 0)];
        round.records.sets = vec![InSync { group: 0, number: 1, members: vec![1, 2], from, to }];
        round.comes_to(Verdict { unflushed, ..Verdict::default() });
        round.records.sets[0].members = vec![2];
        round.comes_to(Verdict::default());
    }
}
