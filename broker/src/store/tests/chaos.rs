//! Random damage to any file of a store: opening says what is wrong or serves what is right, and nothing else.

use std::collections::BTreeSet;
use std::path::Path;

use orbitmq_common::clock::now_ms;
use proptest::prelude::*;

use crate::store::Store;
use crate::store::error::OpenError;
use crate::store::options::{OnHole, Options};
use crate::store::search::KeySearch;
use crate::store::tests::support::*;

#[derive(Debug, Clone)]
struct Harm {
    file: prop::sample::Index,
    at: prop::sample::Index,
    bytes: Vec<u8>,
    cut: bool,
}

fn harm() -> impl Strategy<Value = Harm> {
    let bytes = prop_oneof![Just(vec![0; 600]), prop::collection::vec(any::<u8>(), 1..40)];
    (any::<prop::sample::Index>(), any::<prop::sample::Index>(), bytes, prop::bool::weighted(0.1))
        .prop_map(|(file, at, bytes, cut)| Harm { file, at, bytes, cut })
}

fn inflict(dir: &Path, harm: &Harm) {
    let mut all = files(dir, "");
    all.retain(|path| !path.ends_with("lock"));
    let path = harm.file.get(&all);
    let mut content = std::fs::read(path).unwrap();
    if content.is_empty() {
        return;
    }
    // Files are mostly empty space: aim at what is used.
    let used = content.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1);
    let at = harm.at.index(used);
    if harm.cut && !path.to_string_lossy().contains("commitlog") {
        content.truncate(at);
    } else {
        let end = content.len().min(at + harm.bytes.len());
        content[at..end].copy_from_slice(&harm.bytes[..end - at]);
    }
    std::fs::write(path, content).unwrap();
}

fn survive(harms: &[Harm], closed: bool) {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let mut expected = Expected::new();
    fill(&store, 120, &mut expected);
    settle(&store);
    crate::store::keeper::make_checkpoint(&store.shared).unwrap();
    fill(&store, 180, &mut expected);
    settle(&store);
    if closed {
        store.close().unwrap();
    }
    drop(store);
    for harm in harms {
        inflict(dir.path(), harm);
    }
    let options = Options { on_hole: OnHole::Skip, ..small(dir.path()) };
    let store = match Store::open(options) {
        Ok(store) => store,
        Err(OpenError::SegmentLength { .. } | OpenError::Hole { .. }) => return,
        Err(other) => panic!("{other}"),
    };
    let genuine: BTreeSet<&[u8]> = expected.values().flatten().map(Vec::as_slice).collect();
    for ((topic, queue), bodies) in &expected {
        let found = drain(&store, topic, *queue);
        assert!(found.is_sorted_by(|a, b| a.0 < b.0));
        for (offset, body) in found {
            assert!(bodies.get(offset as usize) == Some(&body), "{topic}/{queue} at {offset}");
        }
        let search = KeySearch { topic, key: "all", max: 1_000, begin: 0, end: i64::MAX, unique: false };
        for record in store.query(search).records {
            let record = orbitmq_common::message::record::RecordView::parse(&record).unwrap();
            assert!(genuine.contains(record.body));
        }
        store.offset_by_time(topic, *queue, now_ms(), crate::store::search::Boundary::Lower);
    }
    let placed = put(&store, "alpha", 0, b"goes on");
    settle(&store);
    let last = drain(&store, "alpha", 0).pop().unwrap();
    assert_eq!(last, (placed.queue_offset, b"goes on".to_vec()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, max_shrink_iters: 200, ..ProptestConfig::default() })]
    #[test]
    fn damage_is_noticed_or_healed(harms in prop::collection::vec(harm(), 1..6), closed: bool) {
        survive(&harms, closed);
    }
}
