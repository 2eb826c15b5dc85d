use proptest::prelude::*;

use super::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[test]
fn a_burst_then_evenly() {
    let (mut used, limit, begin) = (Used::default(), Limit::per_second(10).burst(3), Instant::now());
    let mut take = |at: u64| used.take(limit, 1, begin + ms(at), begin + ms(at)).is_ok();
    assert_eq!([take(0), take(0), take(0), take(0)], [true, true, true, false]);
    assert_eq!([take(99), take(100), take(150), take(200)], [false, true, false, true]);
    // A rest brings the burst back, and no more than it.
    assert_eq!([take(9_000), take(9_000), take(9_000), take(9_000)], [true, true, true, false]);
}

#[test]
fn who_waits_goes_in_turn() {
    let (mut used, limit, now) = (Used::default(), Limit::per_second(10), Instant::now());
    let mut turn = |latest: u64| used.take(limit, 1, now, now + ms(latest));
    assert_eq!([turn(0), turn(500), turn(500)], [Ok(now), Ok(now + ms(100)), Ok(now + ms(200))]);
    assert_eq!(turn(299), Err(now + ms(300)));
    assert_eq!(turn(300), Ok(now + ms(300)));
}

#[test]
fn names_beyond_measure_share_one_limit() {
    let limits = CallerLimits { each: Some(Limit::every(Duration::from_secs(60))), ..CallerLimits::default() };
    let now = Instant::now();
    for number in 0..MAX_CALLERS {
        limits.pass(&number.to_string(), 1, now).unwrap();
    }
    limits.pass("one more", 1, now).unwrap();
    assert!(limits.pass("and one more", 1, now).is_err());
    assert!(limits.pass("7", 1, now).is_err());
    assert!(limits.used.lock().len() <= MAX_CALLERS + 1);
    // Those that have rested make room.
    limits.pass("later", 1, now + Duration::from_secs(61)).unwrap();
    assert_eq!(limits.used.lock().len(), 1);
}

#[test]
fn named_callers_have_limits_of_their_own() {
    let named = HashMap::from([("batch".to_owned(), Limit::per_second(1))]);
    let (limits, now) = (CallerLimits { named, ..CallerLimits::default() }, Instant::now());
    assert!((0..100).all(|_| limits.pass("shop", 1, now).is_ok()));
    limits.pass("batch", 1, now).unwrap();
    assert_eq!(limits.pass("batch", 1, now), Err(Duration::from_secs(1)));
}

proptest! {
    /// Whatever comes when and where: in any stretch of time all nodes together let pass at most rate × time + burst.
    #[test]
    fn nodes_together_keep_the_limit(
        nodes in 1_u32..6,
        burst in 1_u32..30,
        calls in proptest::collection::vec((0_u64..40, 0_usize..6), 1..300),
    ) {
        let (limit, begin) = (Limit::per_second(100).burst(burst), Instant::now());
        let mut used = vec![Used::default(); nodes as usize];
        let (mut at, mut passed) = (0, Vec::new());
        for (pause, node) in calls {
            at += pause;
            let now = begin + ms(at);
            if used[node % nodes as usize].take(limit, nodes, now, now).is_ok() {
                passed.push(at);
            }
        }
        for (first, from) in passed.iter().enumerate() {
            for (last, to) in passed.iter().enumerate().skip(first) {
                let allowed = (to - from) / 10 + u64::from(burst.max(nodes));
                prop_assert!((last - first + 1) as u64 <= allowed, "{} within {} ms", last - first + 1, to - from);
            }
        }
    }
}
