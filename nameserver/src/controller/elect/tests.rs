//! Who is elected, and when nobody is.

use orbitmq_common::protocol::body::controller::Renewal;

use super::*;
use crate::controller::leases::Terms;
use crate::controller::state::Member;

const LEASE: Duration = Duration::from_millis(1_000);

struct Fixture {
    leases: Leases,
    group: Group,
    name: Name,
    now: Instant,
}

/// Master 1 of epoch 4 fell silent; the set is 1, 2 and 3.
fn fixture() -> Fixture {
    let began = Instant::now();
    let member = |store| Member { store, ..Member::default() };
    Fixture {
        leases: Leases::new(Terms { lease: LEASE }, began),
        group: Group {
            members: (1..=4).map(|id| (id, member(7))).collect(),
            master: Some(Process { id: 1, incarnation: 1 }),
            epoch: 4,
            in_sync: [1, 2, 3].into(),
            set_epoch: 6,
            heard_of: 0,
        },
        name: Name::new("c", "b"),
        now: began + 2 * LEASE,
    }
}

impl Fixture {
    fn heard(&mut self, id: i64, log: (i32, u64), store: u64) {
        let renewal = Renewal { id, incarnation: 1, log_epoch: log.0, log_end: log.1, store, ..Renewal::default() };
        self.leases.renew(&self.name, Some(&self.group), &renewal, self.now).unwrap();
    }

    fn decide(&self) -> Option<Option<i64>> {
        decide(&self.name, &self.group, &self.leases, self.now).map(|master| master.map(|master| master.id))
    }
}

#[test]
fn the_one_with_the_most_is_elected_and_of_equals_the_smallest() {
    let mut fixture = fixture();
    assert_eq!(fixture.decide(), Some(None), "nobody is alive");
    fixture.heard(4, (9, 999), 7);
    assert_eq!(fixture.decide(), Some(None), "4 is outside the set");
    fixture.heard(3, (3, 100), 7);
    assert_eq!(fixture.decide(), Some(Some(3)));
    fixture.heard(2, (4, 50), 7);
    assert_eq!(fixture.decide(), Some(Some(2)), "a newer epoch counts for more than a longer log");
    fixture.heard(3, (4, 50), 7);
    assert_eq!(fixture.decide(), Some(Some(2)));
}

#[test]
fn nothing_is_done_while_the_master_is_in_office_or_being_replaced() {
    let mut fixture = fixture();
    fixture.heard(2, (4, 50), 7);
    assert!(fixture.decide().is_some());
    fixture.leases.depose(&fixture.name);
    assert_eq!(fixture.decide(), None);
    fixture.leases.settle(&fixture.name, fixture.leases.reign());
    fixture.heard(1, (4, 40), 7);
    assert_eq!(fixture.decide(), None);
    fixture.group.master = None;
    assert_eq!(fixture.decide(), Some(Some(2)));
}

#[test]
fn a_group_without_master_waits_in_silence() {
    let mut fixture = fixture();
    fixture.group.master = None;
    assert_eq!(fixture.decide(), None);
}

#[test]
fn another_store_is_not_elected_even_before_the_quorum_knows_of_it() {
    let mut fixture = fixture();
    fixture.heard(2, (4, 50), 8);
    assert_eq!(fixture.decide(), Some(None));
    fixture.heard(3, (1, 1), 0);
    assert_eq!(fixture.decide(), Some(Some(3)), "a store that never told its number is trusted");
}
