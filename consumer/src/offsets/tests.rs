//! Checks of the window against a model that remembers everything.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    /// Fetch messages that lie so far apart, then skip so many.
    Receive(Vec<i64>, i64),
    /// Settle the n-th message held.
    Done(usize),
    /// Receive something that was received before.
    Again(usize),
    Reset(i64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (proptest::collection::vec(1..4_i64, 0..6), 0..3_i64).prop_map(|(gaps, skip)| Step::Receive(gaps, skip)),
        6 => (0..64_usize).prop_map(Step::Done),
        2 => (0..64_usize).prop_map(Step::Again),
        1 => (0..1000_i64).prop_map(Step::Reset),
    ]
}

proptest! {
    #[test]
    fn the_stored_offset_is_the_oldest_that_is_not_done(start in 0..100_i64, steps in proptest::collection::vec(step(), 0..60)) {
        let mut window = Window::new(start);
        let (mut next, mut open, mut stored) = (start, BTreeSet::new(), start);
        for step in steps {
            match step {
                Step::Receive(gaps, skip) => {
                    for gap in gaps {
                        let offset = next + gap - 1;
                        prop_assert!(window.receive(offset, 10));
                        open.insert(offset);
                        next = offset + 1;
                    }
                    next += skip;
                    window.scanned_to(next);
                }
                Step::Done(nth) => {
                    if let Some(offset) = open.iter().nth(nth % open.len().max(1)).copied() {
                        open.remove(&offset);
                        prop_assert_eq!(window.done(offset), Some(10));
                        prop_assert_eq!(window.done(offset), None);
                    }
                }
                Step::Again(nth) => {
                    if let Some(offset) = open.iter().nth(nth % open.len().max(1)).copied() {
                        prop_assert!(!window.receive(offset, 10));
                    }
                }
                Step::Reset(to) => {
                    let held = window.reset(to);
                    prop_assert_eq!(held, (open.len(), open.len() * 10));
                    open.clear();
                    (next, stored) = (to, to);
                }
            }
            let oldest = open.first().copied().unwrap_or(next);
            prop_assert_eq!(window.commit(), oldest);
            prop_assert!(window.commit() >= stored, "the stored offset went backwards");
            stored = window.commit();
            prop_assert_eq!((window.next(), window.held(), window.bytes()), (next, open.len(), open.len() * 10));
            prop_assert_eq!(window.span(), next - oldest);
        }
    }
}
