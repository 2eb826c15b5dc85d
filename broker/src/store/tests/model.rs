//! The store against the simplest thing that could hold the same: a list per queue.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::store::keeper::make_checkpoint;
use crate::store::read::{ReadLimit, ReadStatus};
use crate::store::tests::support::*;

const TOPICS: [&str; 3] = ["a", "b", "%RETRY%c"];

#[derive(Debug, Clone)]
enum Step {
    Append { topic: usize, queue: u32, len: usize },
    Batch { topic: usize, queue: u32, count: usize },
    Read { topic: usize, queue: u32, from: u64, count: usize },
    Delete { topic: usize },
    WriteOut,
    Checkpoint,
    Close,
    Crash,
    Rest,
}

fn step() -> impl Strategy<Value = Step> {
    let (topic, queue) = (0..TOPICS.len(), 0..3_u32);
    prop_oneof![
        10 => (topic.clone(), queue.clone(), 0..6_000_usize).prop_map(|(topic, queue, len)| Step::Append { topic, queue, len }),
        4 => (topic.clone(), queue.clone(), 1..40_usize).prop_map(|(topic, queue, count)| Step::Batch { topic, queue, count }),
        8 => (topic.clone(), queue, 0..150_u64, 1..70_usize)
            .prop_map(|(topic, queue, from, count)| Step::Read { topic, queue, from, count }),
        1 => topic.prop_map(|topic| Step::Delete { topic }),
        2 => Just(Step::WriteOut),
        2 => Just(Step::Checkpoint),
        1 => Just(Step::Close),
        2 => Just(Step::Crash),
        1 => Just(Step::Rest),
    ]
}

type Model = BTreeMap<(usize, u32), Vec<Vec<u8>>>;

fn check_read(store: &crate::store::Store, model: &Model, key: (usize, u32), from: u64, count: usize) {
    let limit = ReadLimit { max_messages: count, max_bytes: usize::MAX };
    let got = store.read(TOPICS[key.0], key.1, from.cast_signed(), limit, &mut |_, _| true);
    let Some(bodies) = model.get(&key).filter(|bodies| !bodies.is_empty()) else {
        assert!(matches!(got.status, ReadStatus::QueueMissing | ReadStatus::NoMessageInQueue), "{:?}", got.status);
        return;
    };
    let len = bodies.len() as u64;
    assert_eq!((got.min_offset, got.max_offset), (0, len.cast_signed()));
    let expected: Vec<_> = (from..len).take(count).map(|offset| (offset, bodies[offset as usize].clone())).collect();
    assert!(contents(&got) == expected);
    let status = match from.cmp(&len) {
        std::cmp::Ordering::Less => ReadStatus::Found,
        std::cmp::Ordering::Equal => ReadStatus::OffsetAtEnd,
        std::cmp::Ordering::Greater => ReadStatus::OffsetTooLarge,
    };
    assert_eq!(got.status, status);
}

fn run(steps: &[Step]) {
    let dir = tempdir().unwrap();
    let mut store = open(dir.path());
    let mut model = Model::new();
    let mut number = 0_u8;
    for step in steps {
        number = number.wrapping_add(1);
        match *step {
            Step::Append { topic, queue, len } => {
                let (body, bodies) = (vec![number; len], model.entry((topic, queue)).or_default());
                assert_eq!(put(&store, TOPICS[topic], queue, &body).queue_offset, bodies.len() as u64);
                bodies.push(body);
            }
            Step::Batch { topic, queue, count } => {
                let (body, bodies) = (vec![number; count], model.entry((topic, queue)).or_default());
                let batch: Vec<_> = (0..count).map(|_| message(TOPICS[topic], queue, &body, "")).collect();
                let placed = store.append_batch(&batch).unwrap();
                assert!(placed.iter().map(|place| place.queue_offset).eq((bodies.len() as u64..).take(count)));
                bodies.extend(std::iter::repeat_n(body, count));
            }
            Step::Read { topic, queue, from, count } => {
                settle(&store);
                check_read(&store, &model, (topic, queue), from, count);
            }
            Step::Delete { topic } => {
                settle(&store);
                store.delete_topic(TOPICS[topic]);
                model.retain(|key, _| key.0 != topic);
            }
            Step::WriteOut => store.shared.derived.write_out(u64::MAX).unwrap(),
            Step::Checkpoint => {
                let _chores = store.shared.chores.lock();
                make_checkpoint(&store.shared).unwrap();
            }
            Step::Rest => store.shared.derived.queues.all().iter().for_each(|queue| queue.rest()),
            Step::Close | Step::Crash => {
                settle(&store);
                if matches!(step, Step::Close) {
                    store.close().unwrap();
                }
                drop(store);
                store = open(dir.path());
            }
        }
    }
    settle(&store);
    for (key, bodies) in &model {
        let numbered: Vec<_> = (0..).zip(bodies.iter().cloned()).collect();
        assert!(drain(&store, TOPICS[key.0], key.1) == numbered);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_store_holds_what_a_list_would(steps in proptest::collection::vec(step(), 1..60)) {
        run(&steps);
    }
}
