//! Queues and index that are missing or wrong: the log is right.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use orbitmq_common::message::record::RecordView;

use crate::store::Store;
use crate::store::checkpoint::{Checkpoint, FILE};
use crate::store::index::{Home, Index, KeyQuery};
use crate::store::io::{Disk, Io};
use crate::store::keys::Key;
use crate::store::options::IndexSize;
use crate::store::search::KeySearch;
use crate::store::segments::Segments;
use crate::store::tests::support::*;

fn by_key<'a>(topic: &'a str, key: &'a str) -> KeySearch<'a> {
    KeySearch { topic, key, max: 10_000, begin: 0, end: i64::MAX, unique: false }
}

/// Asserts that every message is found by its keys.
fn assert_indexed(store: &Store, count: usize) {
    for key in 0..10 {
        let key = format!("k{key}");
        let found: usize =
            ["alpha", "beta", "gamma"].iter().map(|topic| store.query(by_key(topic, &key)).records.len()).sum();
        assert_eq!(found, count / 10, "records with {key}");
    }
    for number in [0, 1, count / 2, count - 1] {
        let id = format!("id-{number}");
        let topic = ["alpha", "beta", "gamma"][number % 3];
        let unique = KeySearch { unique: true, ..by_key(topic, &id) };
        assert_eq!(store.query(unique).records.len(), 1, "{id}");
    }
}

#[test]
fn keys_lead_to_records_newest_first() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    let mut expected = Expected::new();
    fill(&store, 900, &mut expected);
    settle(&store);
    // From memory, from files, and from both.
    assert_indexed(&store, 900);
    store.shared.derived.write_out(u64::MAX).unwrap();
    assert_indexed(&store, 900);
    assert!(files(dir.path(), "/index/").len() > 2, "the files fill up");
    let found = store.query(KeySearch { max: 5, ..by_key("alpha", "all") });
    let offsets: Vec<u64> =
        found.records.iter().map(|record| RecordView::parse(record).unwrap().physical_offset).collect();
    assert_eq!(offsets.len(), 5);
    assert!(offsets.is_sorted_by(|a, b| a > b));
    assert!(found.last_update_physical > 0 && found.last_update_timestamp > 0);
    assert!(store.query(by_key("alpha", "nothing")).records.is_empty());
    assert!(store.query(KeySearch { unique: true, ..by_key("alpha", "k1") }).records.is_empty());
    let past = KeySearch { end: 1, ..by_key("alpha", "all") };
    assert!(store.query(past).records.is_empty());
}

fn prepared(dir: &Path) -> Expected {
    let store = open(dir);
    let mut expected = Expected::new();
    fill(&store, 600, &mut expected);
    settle(&store);
    crate::store::keeper::make_checkpoint(&store.shared).unwrap();
    fill(&store, 300, &mut expected);
    settle(&store);
    expected
}

/// Does something to every derived file in turn, and asserts that the store opens and holds everything.
fn after_each(harm: &dyn Fn(&Path)) {
    let dir = tempdir().unwrap();
    for closed in [false, true] {
        let origin = dir.path().join(format!("origin-{closed}"));
        let expected = prepared(&origin);
        if closed {
            open(&origin).close().unwrap();
        }
        let harmed = ["consumequeue/", "/index/", "orbitmq.index/", FILE]
            .iter()
            .flat_map(|kind| files(&origin, kind).into_iter().step_by(2));
        for (number, victim) in harmed.enumerate() {
            let copy = dir.path().join(format!("{closed}-{number}"));
            copy_dir(&origin, &copy);
            harm(&copy.join(victim.strip_prefix(&origin).unwrap()));
            let store = open(&copy);
            assert_holds(&store, &expected);
            assert_eq!(store.stats().damaged, 0);
            assert_indexed(&store, 900);
            drop(store);
            std::fs::remove_dir_all(copy).unwrap();
        }
    }
}

#[test]
fn missing_derived_files_are_built_again() {
    after_each(&|path| std::fs::remove_file(path).unwrap());
}

#[test]
fn zeroed_derived_files_are_built_again() {
    after_each(&|path| {
        let len = std::fs::metadata(path).unwrap().len();
        std::fs::write(path, vec![0; usize::try_from(len).unwrap()]).unwrap();
    });
}

#[test]
fn short_derived_files_are_built_again() {
    after_each(&|path| {
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    });
}

#[test]
fn damaged_derived_files_are_built_again() {
    after_each(&|path| {
        let file = OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(&[0xA5; 300], 130).unwrap();
    });
}

#[test]
fn without_any_derived_file_everything_is_found() {
    let dir = tempdir().unwrap();
    let expected = prepared(dir.path());
    for gone in ["consumequeue", "index"] {
        std::fs::remove_dir_all(dir.path().join(gone)).unwrap();
    }
    let store = open(dir.path());
    assert_holds(&store, &expected);
    assert_indexed(&store, 900);
    drop(store);
    forget_checkpoint(dir.path());
    let store = open(dir.path());
    assert_holds(&store, &expected);
    assert_indexed(&store, 900);
}

#[test]
fn a_checkpoint_of_another_log_is_not_believed() {
    let dir = tempdir().unwrap();
    let expected = prepared(dir.path());
    let mut checkpoint = Checkpoint::load(dir.path()).unwrap();
    checkpoint.witness = checkpoint.witness.map(|(at, sum)| (at, sum ^ 1));
    for queue in &mut checkpoint.queues {
        queue.max += 5;
    }
    checkpoint.store(&crate::store::io::Disk, dir.path()).unwrap();
    let store = open(dir.path());
    assert_holds(&store, &expected);
    assert_indexed(&store, 900);
}

#[test]
fn opening_after_a_checkpoint_reads_the_tail_alone() {
    let dir = tempdir().unwrap();
    prepared(dir.path());
    let offset = Checkpoint::load(dir.path()).unwrap().offset;
    let store = open(dir.path());
    assert!(offset > 0 && store.shared.checked_from == offset);
}

#[test]
fn a_deleted_topic_stays_deleted_and_begins_again() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    for number in 0..100_u8 {
        put(&store, "gone", 0, &[number]);
        put(&store, "kept", 0, &[number]);
    }
    settle(&store);
    store.shared.derived.write_out(u64::MAX).unwrap();
    store.delete_topic("gone");
    assert_eq!(store.topics(), ["kept"]);
    assert!(files(dir.path(), "consumequeue/gone").is_empty());
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.topics(), ["kept"]);
    assert_eq!(put(&store, "gone", 0, b"new").queue_offset, 0);
    settle(&store);
    drop(store);
    let store = open(dir.path());
    assert_eq!(drain(&store, "gone", 0), [(0, b"new".to_vec())]);
    drop(store);
    // With nothing but the log, the later life of the topic counts.
    forget_checkpoint(dir.path());
    let store = open(dir.path());
    assert_eq!(drain(&store, "gone", 0), [(0, b"new".to_vec())]);
    assert_eq!(drain(&store, "kept", 0).len(), 100);
}

#[test]
fn a_checkpoint_flushes_every_index_file_that_changed() {
    let dir = tempdir().unwrap();
    let disk = Arc::new(FaultyDisk::recording());
    let store = open_on(dir.path(), &disk);
    // So many keys that several files fill up between two checkpoints.
    fill(&store, 900, &mut Expected::new());
    settle(&store);
    {
        let _chores = store.shared.chores.lock();
        crate::store::keeper::make_checkpoint(&store.shared).unwrap();
    }
    let changes = disk.changes.as_ref().unwrap().lock();
    let all = files(dir.path(), "/index/");
    assert!(all.len() > 3, "the files fill up");
    for file in all {
        let last = |what: &dyn Fn(&Change) -> bool| changes.iter().rposition(what);
        let written = last(&|change| matches!(change, Change::Write(path, ..) if *path == file));
        let synced = last(&|change| matches!(change, Change::Sync(path) if *path == file));
        assert!(written < synced, "{} is flushed", file.display());
    }
}

#[test]
fn keys_of_a_future_that_a_crash_undid_hide_no_older_ones() {
    let dir = tempdir().unwrap();
    let io: Arc<dyn Io> = Arc::new(Disk);
    let log = Segments::new(Arc::clone(&io), dir.path().to_owned(), 4_096, VecDeque::new());
    let size = IndexSize { slots: 7, entries: 100 };
    let home = Home { io, dir: dir.path().to_owned(), size, log: Arc::new(log), counters: Arc::default() };
    std::fs::create_dir_all(home.index()).unwrap();
    let key = |hash| Key { hash, physical_offset: u64::from(hash), store_timestamp: 1 };
    let index = Index::create(home.clone()).unwrap();
    index.put(key(3));
    index.merge(u64::MAX).unwrap();
    let mark = index.sync().unwrap();
    // This key leads back to the first one, and is lost; another takes its place.
    index.put(key(10));
    index.merge(u64::MAX).unwrap();
    for (round, hash) in [(0, 4), (1, 17)] {
        let index = Index::open(home.clone(), &mark, true).unwrap().unwrap();
        index.put(key(hash));
        index.merge(u64::MAX).unwrap();
        let mut found = Vec::new();
        let query = KeyQuery { hash: 3, begin: 0, end: i64::MAX };
        let mut note = |physical| {
            found.push(physical);
            true
        };
        index.find(query, &mut note).unwrap();
        assert_eq!(found, [3], "round {round}");
    }
}

#[test]
fn a_wrong_tag_in_a_queue_file_is_healed() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    put(&store, "t", 0, b"first");
    put(&store, "t", 0, b"second");
    settle(&store);
    store.close().unwrap();
    drop(store);
    let queue = files(dir.path(), "consumequeue/t/0/").remove(0);
    OpenOptions::new().write(true).open(queue).unwrap().write_all_at(b"\x01", 12).unwrap();
    let store = open(dir.path());
    let red = orbitmq_common::message::property::tag_hash("red");
    let read = store.read("t", 0, 0, ALL, &mut |hash, _| hash == red);
    assert_eq!(contents(&read).len(), 2);
}

/// Writes 400 messages of which the first segment is then gone; their places in the log, and the first that is kept.
fn first_segment_gone(dir: &Path) -> (Vec<u64>, u64) {
    let store = open(dir);
    let places: Vec<u64> = (0..400).map(|_| put(&store, "t", 0, &[7; 600]).physical_offset).collect();
    settle(&store);
    store.close().unwrap();
    drop(store);
    std::fs::remove_file(&files(dir, "commitlog/")[0]).unwrap();
    let first = places.iter().position(|place| *place >= 64 << 10).unwrap() as u64;
    (places, first)
}

/// Makes a message's entry lead elsewhere; all messages from it on are shown all the same.
fn lead_astray_and_read(dir: &Path, first: u64, physical: u64) {
    let entries = files(dir, "consumequeue/t/0/");
    let file = OpenOptions::new().write(true).open(&entries[(first / 50) as usize]).unwrap();
    file.write_all_at(&physical.to_be_bytes(), first % 50 * 20).unwrap();
    let store = open(dir);
    assert_eq!(store.min_offset("t", 0), first as i64);
    assert_eq!(drain(&store, "t", 0).len(), 400 - first as usize);
}

#[test]
fn a_first_message_that_seems_to_be_expired_is_healed() {
    let dir = tempdir().unwrap();
    let (_, first) = first_segment_gone(dir.path());
    // The entry of the first message that is kept leads before the one that is gone.
    lead_astray_and_read(dir.path(), first, 1);
}

#[test]
fn a_first_message_that_seems_to_be_expired_is_known_from_the_checkpoint() {
    let dir = tempdir().unwrap();
    let (places, first) = first_segment_gone(dir.path());
    open(dir.path()).close().unwrap();
    // Its entry leads into what is gone, behind the message before it: their order does not tell.
    lead_astray_and_read(dir.path(), first, places[first as usize - 1] + 1);
}

#[test]
fn a_damaged_checkpoint_brings_no_deleted_topic_back() {
    let dir = tempdir().unwrap();
    let store = open(dir.path());
    put(&store, "gone", 0, b"first");
    put(&store, "t", 0, b"second");
    settle(&store);
    store.delete_topic("gone");
    drop(store);
    for name in crate::store::checkpoint::FILES {
        let path = dir.path().join(name);
        let sound = std::fs::read(&path).unwrap();
        std::fs::write(&path, b"damaged").unwrap();
        let store = open(dir.path());
        assert_eq!((store.max_offset("gone", 0), store.max_offset("t", 0)), (0, 1));
        drop(store);
        std::fs::write(&path, sound).unwrap();
    }
}
