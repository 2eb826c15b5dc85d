//! Leases by a clock that the test holds.

use super::*;
use crate::controller::state::Member;

const LEASE: Duration = Duration::from_millis(1_000);
const MASTER: Process = Process { id: 1, incarnation: 11 };

struct Fixture {
    leases: Leases,
    group: Group,
    name: Name,
    began: Instant,
}

fn fixture() -> Fixture {
    let began = Instant::now();
    let mut leases = Leases::new(Terms { lease: LEASE }, began);
    leases.begin(Reign { term: 1, leader: 1 }, Terms { lease: LEASE }, began);
    let mut group = Group { master: Some(MASTER), ..Group::default() };
    group.members.insert(1, Member { address: "h:1".to_owned(), ..Member::default() });
    Fixture { leases, group, name: Name::new("c", "b"), began }
}

impl Fixture {
    fn at(&self, ms: u64) -> Instant {
        self.began + Duration::from_millis(ms)
    }

    fn renew(&mut self, incarnation: u64, address: &str, ms: u64) -> Result<(), NotRenewed> {
        let renewal = Renewal { id: 1, incarnation, address: address.to_owned(), ..Renewal::default() };
        let at = self.at(ms);
        self.leases.renew(&self.name, Some(&self.group), &renewal, at)
    }

    fn in_office(&self, ms: u64) -> bool {
        self.leases.in_office(&self.name, &self.group, self.at(ms))
    }

    fn alive(&self, ms: u64) -> bool {
        self.leases.alive(&self.name, 1, self.at(ms)).is_some()
    }
}

#[test]
fn a_master_is_in_office_for_lease_and_margin_after_it_was_heard() {
    let mut fixture = fixture();
    fixture.renew(11, "h:1", 500).unwrap();
    assert!(fixture.in_office(1_700) && !fixture.in_office(1_701));
    assert!(fixture.alive(1_500) && !fixture.alive(1_501), "nobody silent is elected");
}

#[test]
fn a_new_leader_takes_every_lease_for_fresh_and_nobody_for_alive() {
    let mut fixture = fixture();
    assert!(fixture.in_office(1_200) && !fixture.in_office(1_201));
    assert!(!fixture.alive(0));
    fixture.renew(11, "h:1", 100).unwrap();
    let later = fixture.at(5_000);
    assert!(fixture.leases.begin(Reign { term: 2, leader: 2 }, Terms { lease: LEASE }, later));
    assert!(fixture.in_office(6_200) && !fixture.alive(5_000));
    assert!(!fixture.leases.begin(Reign { term: 1, leader: 1 }, Terms { lease: LEASE }, later), "it is over");
}

#[test]
fn a_process_at_the_same_address_has_replaced_the_other() {
    let mut fixture = fixture();
    fixture.renew(11, "h:1", 100).unwrap();
    fixture.renew(12, "h:1", 200).unwrap();
    assert!(!fixture.in_office(200));
    assert_eq!(fixture.renew(11, "h:1", 300), Err(NotRenewed::Ended), "what the dead one sent arrives late");
    assert!(!fixture.in_office(300) && fixture.alive(300));
}

#[test]
fn a_master_that_this_leader_never_heard_keeps_its_lease() {
    let mut fixture = fixture();
    // A renewal of another process, which may be older than the master.
    fixture.renew(10, "h:1", 100).unwrap();
    assert!(fixture.in_office(1_200));
    fixture.renew(11, "h:1", 1_000).unwrap();
    assert!(fixture.in_office(2_200) && !fixture.in_office(2_201));
}

#[test]
fn a_process_elsewhere_waits_for_the_end_of_the_other() {
    let mut fixture = fixture();
    assert_eq!(
        fixture.renew(12, "h:2", 1_200),
        Err(NotRenewed::Elsewhere("h:1".to_owned())),
        "never heard, but master"
    );
    fixture.renew(11, "h:1", 1_200).unwrap();
    assert_eq!(fixture.renew(12, "h:2", 2_400), Err(NotRenewed::Elsewhere("h:1".to_owned())));
    assert!(fixture.in_office(2_400));
    fixture.renew(12, "h:2", 2_401).unwrap();
    assert!(!fixture.in_office(2_401));
}

#[test]
fn a_process_that_stood_still_blames_nobody() {
    let mut fixture = fixture();
    fixture.renew(11, "h:1", 100).unwrap();
    let now = fixture.at(60_000);
    fixture.leases.excuse_all(now);
    assert!(fixture.in_office(61_200) && !fixture.alive(60_000));
}

#[test]
fn the_outcome_of_a_replacement_counts_under_its_own_leadership() {
    let mut fixture = fixture();
    let name = fixture.name.clone();
    assert!(fixture.leases.depose(&name) && !fixture.leases.depose(&name));
    fixture.leases.settle(&name, Reign { term: 9, leader: 9 });
    assert!(fixture.leases.is_deposed(&name));
    fixture.leases.settle(&name, Reign { term: 1, leader: 1 });
    assert!(!fixture.leases.is_deposed(&name));
}

#[test]
fn a_master_that_does_not_serve_loses_its_lease() {
    let mut fixture = fixture();
    fixture.group.epoch = 5;
    let renew = |fixture: &mut Fixture, epoch: i32, ms: u64| {
        let renewal = Renewal { id: 1, incarnation: 11, epoch, address: "h:1".to_owned(), ..Renewal::default() };
        let at = fixture.at(ms);
        fixture.leases.renew(&fixture.name, Some(&fixture.group), &renewal, at).unwrap();
        fixture.leases.idles(&fixture.name, &fixture.group)
    };
    // It has to learn of its election first.
    assert!(!renew(&mut fixture, 0, 0) && !renew(&mut fixture, 0, 1_000) && !renew(&mut fixture, 5, 1_100));
    assert!(!renew(&mut fixture, 0, 2_000) && !renew(&mut fixture, 4, 3_200));
    // From here on it is told that it is not master, and what it was told before runs out.
    assert!(renew(&mut fixture, 0, 3_201) && renew(&mut fixture, 0, 4_000));
    assert!(fixture.in_office(4_400) && !fixture.in_office(4_401) && fixture.alive(4_401));
    // Its next mastership begins afresh, before it has learnt of it.
    fixture.group.epoch = 6;
    assert!(fixture.in_office(4_401));
    assert!(!renew(&mut fixture, 0, 4_500) && fixture.in_office(5_700));
}
