//! The open receipts against the simplest thing that could hold the same: a map.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Pop { lane: u32, start: i64, gaps: bool, count: i64, invisible: u32 },
    Ack { nth: usize, message: usize, is_written: bool },
    Close { nth: usize, message: usize },
    Wait { ms: i64 },
    Revive { done: bool },
    Again,
    Clock { by: i64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3_u32, 0..50_i64, any::<bool>(), 1..=32_i64, 1..2_000_u32)
            .prop_map(|(lane, start, gaps, count, invisible)| Step::Pop { lane, start, gaps, count, invisible }),
        8 => (0..20_usize, 0..40_usize, prop::bool::weighted(0.9))
            .prop_map(|(nth, message, is_written)| Step::Ack { nth, message, is_written }),
        2 => (0..20_usize, 0..40_usize).prop_map(|(nth, message)| Step::Close { nth, message }),
        3 => (1..700_i64).prop_map(|ms| Step::Wait { ms }),
        3 => prop::bool::weighted(0.8).prop_map(|done| Step::Revive { done }),
        1 => Just(Step::Again),
        1 => (-3..=3_i64).prop_map(|seconds| Step::Clock { by: seconds * 1_000 }),
    ]
}

/// Open offsets, time at which they are due, and note.
type Model = BTreeMap<Key, (Vec<i64>, i64, u64)>;

fn run(steps: &[Step]) {
    let (mut open, mut model, mut now, mut note) = (OpenPops::default(), Model::new(), 1_000_000_i64, 0_u64);
    let (mut shortened, mut reached): (Vec<i64>, i64) = (Vec::new(), i64::MIN);
    for step in steps {
        match *step {
            Step::Pop { lane, start, gaps, count, invisible } => {
                let offsets: Vec<i64> = (0..count).map(|n| start + if gaps { n * n } else { n }).collect();
                let key = Key { lane, start, pop_time: now };
                open.insert(key, invisible, &offsets, note);
                model.insert(key, (offsets, now + i64::from(invisible), note));
                note += 1;
            }
            Step::Ack { nth, message, is_written } => {
                let Some((key, (offsets, due, _))) = model.iter_mut().nth(nth) else { continue };
                let offset = offsets[message % offsets.len()];
                assert!(open.holds(*key, offset));
                assert_eq!(open.ack(*key, offset, *due, now), Acked::Now);
                assert!(!open.holds(*key, offset));
                let times = (shortened.iter().min(), shortened.iter().max());
                let is_certain = !matches!(times, (Some(from), Some(to)) if (from..=to).contains(&&key.pop_time));
                let again = if now.max(reached) < *due && is_certain { Acked::Before } else { Acked::Unknown };
                assert_eq!(open.ack(*key, offset, *due, now), again);
                open.written(*key, offset, is_written);
                if is_written {
                    offsets.retain(|other| *other != offset);
                    assert_eq!(open.ack(*key, offset, *due, now), again);
                }
            }
            Step::Close { nth, message } => {
                let Some((key, (offsets, ..))) = model.iter_mut().nth(nth) else { continue };
                let offset = offsets[message % offsets.len()];
                open.close(*key, offset);
                offsets.retain(|other| *other != offset);
            }
            Step::Wait { ms } => now += ms,
            Step::Revive { done } => {
                for due in open.take_due(now, usize::MAX) {
                    let (offsets, at, _) = model.get_mut(&due.key).unwrap();
                    assert!(*at <= now && due.at == *at);
                    assert_eq!(due.offsets, *offsets);
                    assert_eq!(open.ack(due.key, offsets[0], *at, now), Acked::Unknown);
                    let given = if done { offsets.len() } else { offsets.len() / 2 };
                    open.revived(due.key, &offsets[..given], now + 500);
                    (*offsets, *at) = (offsets.split_off(given), now + 500);
                }
                model.retain(|_, (offsets, ..)| !offsets.is_empty());
                assert!(model.values().all(|(_, due, _)| *due > now - TICK), "something due was not given back");
            }
            Step::Clock { by } => {
                open.clock_moved(now, |_, _| by);
                reached = reached.max(now);
                now += by;
                model.values_mut().for_each(|(_, due, _)| *due += by);
                if by < 0 {
                    shortened.extend(model.keys().map(|key| key.pop_time));
                }
            }
            Step::Again => {
                for (key, invisible, offsets) in open.old(2) {
                    let kept = model.get_mut(&key).unwrap();
                    assert_eq!(kept.0, offsets);
                    open.insert(key, invisible, &offsets, note);
                    kept.2 = note;
                    note += 1;
                }
            }
        }
        model.retain(|_, (offsets, ..)| !offsets.is_empty());
        assert_eq!(open.checkpoints(), model.len());
        assert_eq!(open.receipts(), model.values().map(|(offsets, ..)| offsets.len() as u64).sum::<u64>());
        assert_eq!(open.oldest(), model.values().map(|(_, _, note)| *note).min());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn open_receipts_are_those_that_a_map_would_hold(steps in proptest::collection::vec(step(), 1..80)) {
        run(&steps);
    }
}

/// Memory of this process that is backed by nothing but itself, KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

#[test]
fn a_million_open_receipts_are_small_and_cheap() {
    let (mut open, before) = (OpenPops::default(), resident());
    for n in 0..1_000_000_i64 {
        // The worst case: each message popped alone.
        open.insert(Key { lane: 1, start: n, pop_time: 1_000 + n / 100 }, 60_000, &[n], n.cast_unsigned());
    }
    assert_eq!(open.receipts(), 1_000_000);
    println!("a million receipts: {} bytes by count, {} KiB resident", open.bytes(), resident() - before);
    assert!(open.bytes() < 85_000_000, "{} bytes", open.bytes());
    let mut due = 0;
    loop {
        let some = open.take_due(i64::MAX / 2, 1_000);
        if some.is_empty() {
            break;
        }
        due += some.len();
        for one in some {
            open.revived(one.key, &one.offsets, 0);
        }
    }
    assert_eq!((due, open.receipts(), open.bytes()), (1_000_000, 0, 0));
}
