//! Changes of groups, and what none of them may break.

use proptest::prelude::*;

use super::*;

const REIGN: Reign = Reign { term: 3, leader: 1 };

fn name() -> Name {
    Name::new("c", "b")
}

fn member(store: u64) -> Member {
    Member { address: "h:1".to_owned(), ha_address: "h:2".to_owned(), store }
}

fn register(id: i64, store: u64) -> Change {
    Change::Register { group: name(), process: Process { id, incarnation: 1 }, member: member(store), newest: 0 }
}

#[test]
fn epochs_rise_above_those_from_before_the_controller() {
    let mut state = State::default();
    let process = Process { id: 1, incarnation: 1 };
    state.apply(&Change::Register { group: name(), process, member: member(7), newest: 6 }, REIGN).unwrap();
    assert_eq!(state.group(&name()).unwrap().epoch, 7);
}

fn election(group: &Group, master: Option<i64>, by_operator: bool) -> Election {
    Election {
        group: name(),
        epoch: group.epoch,
        set_epoch: group.set_epoch,
        reign: REIGN,
        master: master.map(|id| Process { id, incarnation: 1 }),
        by_operator,
    }
}

fn set(group: &Group, in_sync: &[i64]) -> SetChange {
    SetChange {
        cluster: "c".to_owned(),
        broker: "b".to_owned(),
        master: group.master.map_or(0, |master| master.id),
        epoch: group.epoch,
        set_epoch: group.set_epoch,
        in_sync: in_sync.to_vec(),
    }
}

/// Members 1 and 2 have everything, 3 has not.
fn state() -> State {
    let mut state = State::default();
    for id in 1..=3 {
        state.apply(&register(id, 7), REIGN).unwrap();
    }
    let change = set(state.group(&name()).unwrap(), &[1, 2]);
    state.apply(&Change::SetInSync(change), REIGN).unwrap();
    state
}

fn group(state: &State) -> Group {
    state.group(&name()).unwrap().clone()
}

fn code(result: Result<(), Refused>) -> i32 {
    result.unwrap_err().code
}

#[test]
fn an_election_holds_only_for_the_group_that_was_seen() {
    let mut state = state();
    let seen = group(&state);
    // The master drops member 2 from the set while 2 is being elected.
    state.apply(&Change::SetInSync(set(&seen, &[1])), REIGN).unwrap();
    let elected = state.apply(&Change::Elect(election(&seen, Some(2), false)), REIGN);
    assert_eq!(code(elected), response::CONTROLLER_ELECT_MASTER_FAILED);
    assert_eq!(group(&state).master.unwrap().id, 1);
    // The other way round: the master's change comes after its successor.
    let seen = group(&state);
    let change = set(&seen, &[1, 2]);
    state.apply(&Change::Elect(election(&seen, Some(1), false)), REIGN).unwrap();
    let changed = state.apply(&Change::SetInSync(change), REIGN);
    assert_eq!(code(changed), response::CONTROLLER_FENCED_MASTER_EPOCH);
}

#[test]
fn an_election_of_an_earlier_leader_is_void() {
    let mut state = state();
    let decided = election(&group(&state), Some(2), false);
    for later in [Reign { term: 4, leader: 1 }, Reign { term: 3, leader: 2 }] {
        let elected = state.apply(&Change::Elect(decided.clone()), later);
        assert_eq!(code(elected), response::CONTROLLER_ELECT_MASTER_FAILED);
    }
    state.apply(&Change::Elect(decided), REIGN).unwrap();
    assert_eq!((group(&state).master.unwrap().id, group(&state).epoch), (2, 2));
}

#[test]
fn only_an_operator_goes_outside_the_set() {
    let mut state = state();
    let elected = state.apply(&Change::Elect(election(&group(&state), Some(3), false)), REIGN);
    assert_eq!(code(elected), response::CONTROLLER_INVALID_REPLICAS);
    let elected = state.apply(&Change::Elect(election(&group(&state), Some(4), true)), REIGN);
    assert_eq!(code(elected), response::CONTROLLER_INVALID_REPLICAS);
    state.apply(&Change::Elect(election(&group(&state), Some(3), true)), REIGN).unwrap();
    let group = group(&state);
    assert_eq!((group.master.unwrap().id, group.in_sync), (3, BTreeSet::from([3])));
}

#[test]
fn leases_only_grow() {
    let mut state = State::default();
    for (ms, agreed) in [(1_500, 1_500), (500, 1_500), (9_000, 9_000)] {
        state.apply(&Change::Lease(ms), REIGN).unwrap();
        assert_eq!(state.lease_ms(), agreed);
    }
}

#[test]
fn groups_and_members_are_bounded() {
    let mut state = State::default();
    let members = i64::try_from(MAX_MEMBERS).unwrap();
    for id in 1..=members {
        state.apply(&register(id, 7), REIGN).unwrap();
    }
    assert_eq!(code(state.apply(&register(members + 1, 7), REIGN)), response::CONTROLLER_INVALID_REQUEST);
    state.apply(&register(1, 7), REIGN).unwrap();
}

/// What may happen to a group: valid and stale alike.
#[derive(Debug, Clone)]
enum Event {
    Register { id: i64, store: u64 },
    Elect { master: Option<i64>, stale: i32, other_reign: bool, by_operator: bool },
    SetInSync { in_sync: Vec<i64>, master: Option<i64>, stale: i32, stale_set: i32 },
}

fn event() -> impl Strategy<Value = Event> {
    let id = 1..5_i64;
    let stale = prop_oneof![4 => Just(0), 1 => -1..2];
    prop_oneof![
        (id.clone(), 0..3_u64).prop_map(|(id, store)| Event::Register { id, store }),
        (proptest::option::of(id.clone()), stale.clone(), prop::bool::weighted(0.1), prop::bool::weighted(0.2))
            .prop_map(|(master, stale, other_reign, by_operator)| Event::Elect {
                master,
                stale,
                other_reign,
                by_operator
            }),
        (prop::collection::vec(id.clone(), 0..5), proptest::option::weighted(0.2, id), stale.clone(), stale)
            .prop_map(|(in_sync, master, stale, stale_set)| Event::SetInSync { in_sync, master, stale, stale_set }),
    ]
}

fn change(event: &Event, now: &Group) -> (Change, Reign) {
    match event {
        Event::Register { id, store } => (register(*id, *store), REIGN),
        Event::Elect { master, stale, other_reign, by_operator } => {
            let election = Election { epoch: now.epoch + stale, ..election(now, *master, *by_operator) };
            (Change::Elect(election), if *other_reign { Reign { term: 9, leader: 9 } } else { REIGN })
        }
        Event::SetInSync { in_sync, master, stale, stale_set } => {
            let change = set(now, in_sync);
            let change = SetChange {
                master: master.unwrap_or(change.master),
                epoch: change.epoch + stale,
                set_epoch: change.set_epoch + stale_set,
                ..change
            };
            (Change::SetInSync(change), REIGN)
        }
    }
}

/// What holds of every group after every change.
fn check(before: &Group, after: &Group, event: &Event, result: &Result<(), Refused>) -> Result<(), TestCaseError> {
    prop_assert!(after.in_sync.iter().all(|id| after.members.contains_key(id)));
    prop_assert!(after.master.is_none_or(|master| after.in_sync.contains(&master.id)), "a master has everything");
    prop_assert!(after.epoch >= before.epoch && after.set_epoch >= before.set_epoch);
    if after.in_sync != before.in_sync {
        prop_assert_eq!(after.set_epoch, before.set_epoch + 1);
    }
    if result.is_err() {
        prop_assert_eq!(before, after, "what is refused changes nothing");
    }
    if let Some(master) = after.master.filter(|_| after.master != before.master) {
        prop_assert_eq!(after.epoch, before.epoch + 1, "no two masters in one epoch");
        let by_operator = matches!(event, Event::Elect { by_operator: true, .. });
        let first = before.members.is_empty();
        prop_assert!(by_operator || first || before.in_sync.contains(&master.id), "elected outside the set");
    }
    match event {
        Event::Elect { other_reign: true, .. } => prop_assert!(result.is_err()),
        Event::Elect { stale, .. } | Event::SetInSync { stale, .. } if *stale != 0 => prop_assert!(result.is_err()),
        Event::SetInSync { stale_set, .. } if *stale_set != 0 => prop_assert!(result.is_err()),
        _ => {}
    }
    Ok(())
}

proptest! {
    #[test]
    fn invariants_hold(events in prop::collection::vec(event(), 1..60)) {
        let mut state = State::default();
        for event in &events {
            let before = state.group(&name()).cloned().unwrap_or_default();
            let (change, reign) = change(event, &before);
            let result = state.apply(&change, reign);
            let after = state.group(&name()).cloned().unwrap_or_default();
            check(&before, &after, event, &result)?;
        }
        let bytes = crate::controller::raft::encode(&state).unwrap();
        prop_assert_eq!(crate::controller::raft::decode::<State>(&bytes).unwrap(), state);
    }

    #[test]
    fn foreign_bytes_are_refused_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = crate::controller::raft::decode::<State>(&bytes);
        let _ = crate::controller::raft::decode::<Change>(&bytes);
    }
}
