//! Random sends, recalls, waits, kills and segments to free, against what a sender was promised.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{BEGIN, FOREVER, Limits, Site};
use crate::store::held::Wanted;

#[derive(Debug, Clone)]
enum Step {
    /// A message for a queue, due after so many ms.
    Send { queue: u32, wait: i64 },
    /// Takes the n-th message back.
    Recall { which: prop::sample::Index },
    /// Time passes, all that is due is delivered.
    Wait { by: i64 },
    /// Time passes, and so many rounds are done at most.
    Hurry { by: i64, rounds: usize },
    /// A kill; so many of the last marks are lost.
    Kill { lost: usize },
    /// Retention wants what lies before this part of the log.
    Free { part: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..3u32, 1..400i64).prop_map(|(queue, wait)| Step::Send { queue, wait: wait / 20 * 20 + 20 }),
        2 => any::<prop::sample::Index>().prop_map(|which| Step::Recall { which }),
        3 => (0..150i64).prop_map(|by| Step::Wait { by }),
        2 => (0..150i64, 0..3usize).prop_map(|(by, rounds)| Step::Hurry { by, rounds }),
        2 => (0..4usize).prop_map(|lost| Step::Kill { lost }),
        1 => (0..=100u64).prop_map(|part| Step::Free { part }),
    ]
}

struct Message {
    queue: u32,
    due: i64,
    recalled: bool,
}

fn check(site: &Site, messages: &BTreeMap<String, Message>, is_end: bool) {
    let delivered = site.delivered();
    for (key, places) in &delivered {
        let message = &messages[key];
        assert!(!message.recalled, "{key} was taken back, and came");
        assert!(message.due <= site.now, "{key} is due at {} and came before {}", message.due, site.now);
        assert_eq!(*places, [("T".to_owned(), message.queue)], "{key}");
    }
    if is_end {
        let missing: Vec<_> =
            messages.iter().filter(|(key, message)| !message.recalled && !delivered.contains_key(*key)).collect();
        assert!(missing.is_empty(), "never came: {:?}", missing.iter().map(|(key, _)| key).collect::<Vec<_>>());
    }
}

fn play(steps: Vec<Step>, limits: Limits) {
    let mut site = Site::new(limits, FOREVER);
    let mut messages: BTreeMap<String, Message> = BTreeMap::new();
    for step in steps {
        match step {
            Step::Send { queue, wait } => {
                let key = format!("k{:04}", messages.len());
                let due = site.send(&key, "T", queue, wait);
                messages.insert(key, Message { queue, due, recalled: false });
            }
            Step::Recall { which } if !messages.is_empty() => {
                let key = messages.keys().nth(which.index(messages.len())).unwrap().clone();
                let message = messages.get_mut(&key).unwrap();
                if site.recall(&key, "T", message.due) {
                    message.recalled = true;
                }
            }
            Step::Recall { .. } => {}
            Step::Wait { by } => site.advance(by),
            Step::Hurry { by, rounds } => {
                site.now += by;
                for _ in 0..rounds {
                    site.step();
                }
            }
            Step::Kill { lost } => site = site.crash(lost),
            Step::Free { part } => {
                let wanted = Wanted { upto: site.store.confirmed() / 100 * part, too_old: true };
                site.engine.make_room(wanted);
            }
        }
        check(&site, &messages, false);
    }
    site.advance(1_000);
    check(&site, &messages, true);
    let mut site = site.crash(usize::MAX);
    assert!(site.now > BEGIN);
    site.advance(1_000);
    check(&site, &messages, true);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn what_was_sent_comes_once_or_not_at_all_if_taken_back(steps in prop::collection::vec(step(), 1..60)) {
        play(steps, Limits { in_memory: 1_000, chunk: 3 });
    }

    #[test]
    fn also_when_memory_holds_few(steps in prop::collection::vec(step(), 1..60)) {
        play(steps, Limits { in_memory: 4, chunk: 2 });
    }
}
