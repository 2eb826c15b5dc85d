//! Checks of what is remembered of the departed.

use super::*;

fn broker(name: &str, at: Instant) -> GoneBroker {
    GoneBroker { name: name.to_owned(), addr: format!("{name}:1"), at, why: Left::Closed }
}

#[test]
fn the_latest_reason_counts() {
    let (mut gone, began) = (Gone::default(), Instant::now());
    let second = |n| began + Duration::from_secs(n);
    gone.left(broker("a", second(1)), vec!["T".into(), "U".into()]);
    gone.left(broker("b", second(2)), vec!["T".into()]);
    let names = |gone: &Gone, topic| gone.holders(topic).into_iter().map(|one| one.name).collect::<Vec<_>>();
    assert_eq!((names(&gone, "T"), names(&gone, "U")), (vec!["b".to_owned(), "a".to_owned()], vec!["a".to_owned()]));
    gone.deleted("U", second(3));
    assert_eq!((names(&gone, "U"), gone.when_deleted("U")), (vec![], Some(second(3))));
    gone.is_back("b");
    assert_eq!(names(&gone, "T"), ["a"]);
    // Created anew after its deletion, and gone with its broker again.
    gone.left(broker("a", second(4)), vec!["U".into()]);
    assert_eq!(names(&gone, "U"), ["a"]);
    assert_eq!(names(&gone, "T"), [""; 0]);
}

#[test]
fn memory_has_bounds() {
    let (mut gone, began) = (Gone::default(), Instant::now());
    for n in 0..3_u64 {
        let topics = (0..MAX_TOPICS).map(|topic| format!("{n}-{topic}")).collect();
        gone.left(broker(&n.to_string(), began + Duration::from_secs(n)), topics);
    }
    assert_eq!(gone.brokers.len(), 1);
    for n in 0..200_u64 {
        gone.left(broker(&n.to_string(), began + Duration::from_secs(10 + n)), vec!["T".into()]);
    }
    assert_eq!((gone.brokers.len(), gone.last().unwrap().name.as_str()), (MAX_BROKERS, "199"));
    for n in 0..2 * MAX_DELETED {
        gone.deleted(&n.to_string(), began + Duration::from_secs(n as u64));
    }
    assert_eq!((gone.deleted.len(), gone.when_deleted("0")), (MAX_DELETED, None));
}

#[test]
fn refusals_are_forgotten() {
    let (mut gone, now) = (Gone::default(), Instant::now());
    assert_eq!(gone.last_refused(now), None);
    gone.refused("why".into(), now);
    assert_eq!(gone.last_refused(now + Duration::from_secs(5)), Some((Duration::from_secs(5), "why")));
    assert_eq!(gone.last_refused(now + REFUSAL_LASTS), None);
}
