//! Index files that are damaged at rest: mended when they are read, and only then.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orbitmq_common::message::record::RecordView;

use crate::store::Store;
use crate::store::index::form::{ENTRY_LEN, HEADER_LEN, first_of};
use crate::store::keeper::make_checkpoint;
use crate::store::options::{IndexSize, Options};
use crate::store::search::KeySearch;
use crate::store::tests::support::*;

/// Several pages of slots and several blocks of entries to a file.
const SIZE: IndexSize = IndexSize { slots: 2_500, entries: 2_800 };
const MESSAGES: usize = 1_300;

fn options(dir: &Path) -> Options {
    Options { index: Some(SIZE), segment_size: 256 << 10, ..small(dir) }
}

fn open(dir: &Path) -> Store {
    Store::open(options(dir)).unwrap()
}

fn checkpoint(store: &Store) {
    let _chores = store.shared.chores.lock();
    make_checkpoint(&store.shared).unwrap();
}

/// A closed store with one full index file and one that is not.
fn closed(dir: &Path) {
    let store = open(dir);
    fill(&store, MESSAGES, &mut Expected::new());
    settle(&store);
    store.close().unwrap();
}

fn first_file(dir: &Path) -> PathBuf {
    files(dir, "/index/").remove(0)
}

fn count_of(store: &Store, key: &str, unique: bool) -> usize {
    let search = |topic| KeySearch { topic, key, max: 10_000, begin: 0, end: i64::MAX, unique };
    let found: Vec<_> = ["alpha", "beta", "gamma"].into_iter().map(|topic| store.query(search(topic))).collect();
    assert!(found.iter().all(|found| found.failed.is_none()));
    found.iter().map(|found| found.records.len()).sum()
}

/// Asserts that messages from one on, of as many as there are, are found by each of their keys.
fn assert_found(store: &Store, from: usize, all: usize) {
    for number in from..all {
        assert_eq!(count_of(store, &format!("id-{number}"), true), 1, "id-{number}");
    }
    for key in 0..10 {
        let expected = (from..all).filter(|number| number % 10 == key).count();
        assert_eq!(count_of(store, &format!("k{key}"), false), expected, "k{key}");
    }
}

/// Does something to a copy of a closed store, and asserts that all keys are found in it, with so many repairs.
fn after(origin: &Path, harm: &dyn Fn(&Path), mends: impl Fn(u64) -> bool) {
    let dir = tempdir().unwrap();
    copy_dir(origin, dir.path());
    harm(dir.path());
    let store = open(dir.path());
    assert_found(&store, 0, MESSAGES);
    assert!(mends(store.stats().index_mended), "{} repairs", store.stats().index_mended);
    store.close().unwrap();
    drop(store);
    // Not only in memory.
    let store = open(dir.path());
    assert_found(&store, 0, MESSAGES);
    assert_eq!(store.stats().index_mended, 0);
}

fn overwrite(path: &Path, at: u64, change: &dyn Fn(&mut [u8]), len: usize) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, at).unwrap();
    change(&mut bytes);
    file.write_all_at(&bytes, at).unwrap();
}

#[test]
fn any_flipped_bit_is_mended() {
    let origin = tempdir().unwrap();
    closed(origin.path());
    let used = SIZE.entry_at(SIZE.entries) - 1;
    let mut chance = fastrand::Rng::with_seed(5);
    // The first entry's place is never used.
    let unused = SIZE.entry_at(0)..SIZE.entry_at(1);
    let header = (0..HEADER_LEN as u64).step_by(7);
    let anywhere = std::iter::repeat_with(|| chance.u64(0..used)).take(25).collect::<Vec<_>>();
    for at in header.chain(anywhere).filter(|at| !unused.contains(at)) {
        let flip = |dir: &Path| overwrite(&first_file(dir), at, &|bytes| bytes[0] ^= 1 << (at % 8), 1);
        after(origin.path(), &flip, |mends| mends == 1);
    }
}

#[test]
fn blocks_and_pages_that_are_gone_are_made_anew() {
    let origin = tempdir().unwrap();
    closed(origin.path());
    let (entries, block) = (SIZE.entry_at(1), first_of(1) as usize * ENTRY_LEN);
    for (at, len) in [
        (entries, 3_000),
        (entries + block as u64 + 100, 9),
        (entries + 500, 2 * block),
        (HEADER_LEN as u64 + 5_000, 3_000),
        (0, SIZE.file_len() as usize),
    ] {
        after(origin.path(), &|dir| overwrite(&first_file(dir), at, &|bytes| bytes.fill(0), len), |mends| mends > 0);
        after(origin.path(), &|dir| overwrite(&first_file(dir), at, &|bytes| bytes.fill(0xA5), len), |mends| mends > 0);
    }
}

#[test]
fn checksums_that_are_lost_or_damaged_are_made_anew() {
    let origin = tempdir().unwrap();
    closed(origin.path());
    let sides = |dir: &Path| files(dir, "orbitmq.index/");
    assert!(sides(origin.path()).len() >= 2);
    after(origin.path(), &|dir| std::fs::remove_dir_all(dir.join("orbitmq.index")).unwrap(), |mends| mends == 0);
    for at in [0, 20, 60, 70] {
        let flip = |dir: &Path| sides(dir).iter().for_each(|side| overwrite(side, at, &|bytes| bytes[0] ^= 4, 1));
        after(origin.path(), &flip, |mends| mends == 0);
    }
}

#[test]
fn checksums_are_made_for_files_without_them_and_what_is_wrong_in_these_is_mended() {
    let dir = tempdir().unwrap();
    closed(dir.path());
    std::fs::remove_dir_all(dir.path().join("orbitmq.index")).unwrap();
    // A link that leads elsewhere, and a slot.
    overwrite(&first_file(dir.path()), SIZE.entry_at(700) + 16, &|bytes| bytes.fill(0), 4);
    overwrite(&first_file(dir.path()), SIZE.slot_at(300), &|bytes| bytes.fill(0), 8);
    let store = open(dir.path());
    // A file at a time.
    store.shared.derived.index.as_ref().unwrap().vouch().unwrap();
    store.shared.derived.index.as_ref().unwrap().vouch().unwrap();
    assert_eq!(store.stats().index_mended, 1);
    assert_found(&store, 0, MESSAGES);
    store.close().unwrap();
    assert_eq!(files(dir.path(), "orbitmq.index/").len(), 2);
}

#[test]
fn a_merge_mends_what_it_would_hide() {
    let dir = tempdir().unwrap();
    closed(dir.path());
    let last = files(dir.path(), "/index/").pop().unwrap();
    for page in 0..SIZE.pages() {
        overwrite(&last, SIZE.slot_at(page * 1_024 + 5), &|bytes| bytes.fill(0), 1_500);
    }
    let store = open(dir.path());
    let mut expected = Expected::new();
    expected.insert(("alpha".to_owned(), 0), vec![Vec::new(); MESSAGES]);
    fill(&store, 300, &mut expected);
    settle(&store);
    store.shared.derived.write_out(u64::MAX).unwrap();
    assert_eq!(store.stats().index_mended, 1);
    assert_found(&store, 0, MESSAGES + 300);
}

#[test]
fn a_crash_is_no_damage() {
    let dir = tempdir().unwrap();
    let mut expected = Expected::new();
    let mut all = 0;
    for round in 0..6 {
        let store = open(dir.path());
        assert_found(&store, 0, all);
        fill(&store, 150, &mut expected);
        settle(&store);
        checkpoint(&store);
        fill(&store, 150, &mut expected);
        settle(&store);
        // Keys behind the checkpoint get into the file, and sometimes checksums that no checkpoint relies on.
        store.shared.derived.write_out(u64::MAX).unwrap();
        if round % 2 == 0 {
            store.shared.derived.sync().unwrap();
        }
        all += 300;
        assert_found(&store, 0, all);
        assert_eq!(store.stats().index_mended, 0, "round {round}");
    }
}

#[test]
fn what_another_broker_added_to_a_file_is_no_damage() {
    let dir = tempdir().unwrap();
    let mut expected = Expected::new();
    let store = open(dir.path());
    fill(&store, 200, &mut expected);
    settle(&store);
    store.close().unwrap();
    drop(store);
    let before = tempdir().unwrap();
    copy_dir(dir.path(), before.path());
    let store = open(dir.path());
    fill(&store, 200, &mut expected);
    settle(&store);
    store.close().unwrap();
    drop(store);
    // As RocketMQ leaves it: log and index went on, our own files did not.
    for ours in ["orbitmq.checkpoint", "orbitmq.checkpoint.copy"] {
        std::fs::copy(before.path().join(ours), dir.path().join(ours)).unwrap();
    }
    std::fs::remove_dir_all(dir.path().join("orbitmq.index")).unwrap();
    copy_dir(&before.path().join("orbitmq.index"), &dir.path().join("orbitmq.index"));
    let store = open(dir.path());
    assert_found(&store, 0, 400);
    fill(&store, 100, &mut expected);
    settle(&store);
    store.shared.derived.write_out(u64::MAX).unwrap();
    assert_found(&store, 0, 500);
    assert_eq!(store.stats().index_mended, 0);
}

#[test]
fn entries_whose_records_are_gone_hide_no_others() {
    let dir = tempdir().unwrap();
    closed(dir.path());
    let segments = files(dir.path(), "commitlog/");
    std::fs::remove_file(&segments[0]).unwrap();
    let store = open(dir.path());
    let start = store.min_physical();
    drop(store);
    let number = |body: &[u8]| std::str::from_utf8(&body[..6]).unwrap().parse::<usize>().unwrap();
    let store = open(dir.path());
    let kept = ["alpha", "beta", "gamma"].into_iter().flat_map(|topic| [0, 1].map(|queue| drain(&store, topic, queue)));
    let first = kept.flatten().map(|(_, body)| number(&body)).min().unwrap();
    assert!(start > 0 && first > 100);
    drop(store);
    let number = first as u32 * 3;
    for number in [10, number, (number + 1_100).min(SIZE.entries - 30)] {
        let at = SIZE.entry_at(number);
        let copy = tempdir().unwrap();
        copy_dir(dir.path(), copy.path());
        overwrite(&first_file(copy.path()), at, &|bytes| bytes.fill(0x5A), 400);
        let store = open(copy.path());
        assert_found(&store, first, MESSAGES);
        assert_eq!(store.stats().index_mended, 1);
    }
}

#[test]
fn what_cannot_be_mended_is_no_answer() {
    let dir = tempdir().unwrap();
    closed(dir.path());
    overwrite(&first_file(dir.path()), SIZE.entry_at(5), &|bytes| bytes.fill(0x5A), 40);
    let disk = Arc::new(FaultyDisk { lazy: true, ..FaultyDisk::default() });
    let store = Store::open(Options { io: disk.clone(), ..options(dir.path()) }).unwrap();
    let search = KeySearch { topic: "alpha", key: "id-0", max: 9, begin: 0, end: i64::MAX, unique: true };
    disk.derived.set(0);
    assert!(store.query(search).failed.is_some());
    disk.derived.set(i64::MAX);
    assert_eq!(store.query(search).records.len(), 1);
    assert_eq!(store.stats().index_mended, 1);
}

#[test]
fn damage_in_log_and_index_hides_the_damaged_record_alone() {
    let origin = tempdir().unwrap();
    closed(origin.path());
    // Three keys to a message: the record of an entry inside a block, and of the last before it.
    for hit in [400, 1_024 / 3 - 1, 1_024 / 3] {
        let dir = tempdir().unwrap();
        copy_dir(origin.path(), dir.path());
        let store = open(dir.path());
        let unique = format!("id-{hit}");
        let topic = ["alpha", "beta", "gamma"][hit % 3];
        let search = KeySearch { topic, key: &unique, max: 9, begin: 0, end: i64::MAX, unique: true };
        let record = store.query(search).records.remove(0);
        let at = RecordView::parse(&record).unwrap().physical_offset;
        drop((record, store));
        overwrite(&files(dir.path(), "commitlog/")[0], at + 95, &|bytes| bytes.fill(0x5A), 20);
        overwrite(&first_file(dir.path()), SIZE.entry_at(1_100), &|bytes| bytes.fill(0x5A), 400);
        let store = open(dir.path());
        for number in (0..MESSAGES).filter(|number| *number != hit) {
            assert_eq!(count_of(&store, &format!("id-{number}"), true), 1, "id-{number}");
        }
        assert_eq!(count_of(&store, &unique, true), 0);
        assert_eq!(store.stats().index_mended, 1);
    }
}
