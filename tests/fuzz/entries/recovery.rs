//! A store's directory with damaged files: it opens and keeps its promises, or says why it does not open.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use orbitmq_broker::store::Store;
use orbitmq_broker::store::options::{IndexSize, OnHole, Options};
use orbitmq_broker::store::read::{ReadLimit, ReadStatus};
use orbitmq_broker::store::search::{Boundary, KeySearch};
use orbitmq_common::message::entry::records;
use orbitmq_common::message::record::NewRecord;

/// Contents of all files of a directory.
type Files = BTreeMap<PathBuf, Vec<u8>>;

const MESSAGES: usize = 150;
/// Changes to the files that one input makes at most.
const MAX_CHANGES: usize = 12;
/// Bytes that describe a change.
const CHANGE: usize = 9;
/// A damaged file may claim a long queue; what lies below its first message is skipped at once.
const MAX_READS: usize = 2_000;

/// Damages a copy of a store as `data` says and opens it: the first byte chooses the store and how holes are treated, then
/// follow changes of nine bytes each.
pub fn recovery(data: &[u8]) {
    let Some((choice, changes)) = data.split_first() else { return };
    let templates = templates();
    let mut files = templates[usize::from(*choice) % templates.len()].clone();
    for change in changes.chunks_exact(CHANGE).take(MAX_CHANGES) {
        damage(&mut files, change);
    }
    let dir = scratch();
    write(dir.path(), &files);
    let on_hole = if choice & 0x80 == 0 { OnHole::Refuse } else { OnHole::Skip };
    let options = Options { on_hole, ..options(dir.path()) };
    match Store::open(options.clone()) {
        Ok(store) => use_it(store, options),
        Err(error) => assert!(error.to_string().len() > 20, "{error}"),
    }
}

fn scratch() -> tempfile::TempDir {
    // In memory where that exists: the disk is not what is tested here.
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a temporary directory")
}

fn options(dir: &Path) -> Options {
    Options {
        segment_size: 8 << 10,
        queue_file_entries: 20,
        index: Some(IndexSize { slots: 31, entries: 100 }),
        checkpoint_every: Duration::from_secs(3_600),
        ..Options::new(dir)
    }
}

fn append(store: &Store, number: usize) -> u64 {
    let host = SocketAddr::from(([127, 0, 0, 1], 10_911));
    let body = vec![b'a' + (number % 26) as u8; 1 + number * 37 % 200];
    let properties = format!("UNIQ_KEY\u{1}id-{number}\u{2}KEYS\u{1}k{}\u{2}TAGS\u{1}t{}\u{2}", number % 7, number % 3);
    let record = NewRecord {
        topic: ["alpha", "beta"][number % 2],
        queue_id: (number % 3) as u32,
        flag: 0,
        sys_flag: 0,
        born_timestamp: 1_700_000_000_000,
        born_host: host,
        store_host: host,
        reconsume_times: 0,
        prepared_offset: 0,
        body: &body,
        properties: properties.as_bytes(),
    };
    store.append(&record).expect("an open store takes messages").end
}

/// Waits until everything up to `end` is durable and can be read.
fn settle(store: &Store, end: u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let settled = async {
        store.durable(end).await.expect("durable");
        store.built(end).await;
    };
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), settled).await }).expect("no hang");
}

/// A store after a clean end, and one after a crash.
fn templates() -> &'static [Files; 2] {
    static TEMPLATES: OnceLock<[Files; 2]> = OnceLock::new();
    TEMPLATES.get_or_init(|| {
        let dir = scratch();
        let store = Store::open(options(dir.path())).expect("a new store");
        for number in 0..MESSAGES / 2 {
            append(&store, number);
        }
        store.close().expect("closed");
        let store = Store::open(options(dir.path())).expect("opened again");
        let end = (MESSAGES / 2..MESSAGES).map(|number| append(&store, number)).last().unwrap_or(0);
        settle(&store, end);
        let crashed = read(dir.path(), dir.path());
        store.close().expect("closed");
        [read(dir.path(), dir.path()), crashed]
    })
}

fn read(root: &Path, dir: &Path) -> Files {
    let mut files = Files::new();
    for entry in std::fs::read_dir(dir).expect("a listing") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(read(root, &path));
        } else {
            let name = path.strip_prefix(root).expect("below the root").to_owned();
            files.insert(name, std::fs::read(&path).expect("its content"));
        }
    }
    files
}

fn write(dir: &Path, files: &Files) {
    for (name, content) in files {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("created");
        std::fs::write(path, content).expect("written");
    }
}

/// Kind, file, two bytes of place, length, four bytes of material.
fn damage(files: &mut Files, change: &[u8]) {
    let [kind, file, high, low, length, material @ ..] = change else { return };
    let names: Vec<_> = files.keys().cloned().collect();
    let Some(name) = names.get(usize::from(*file) % names.len().max(1)) else { return };
    let other = names.get(usize::from(*length) % names.len()).cloned().unwrap_or_default();
    let content = files.get_mut(name).expect("a file by its name");
    let place = usize::from(u16::from_be_bytes([*high, *low]));
    let at = place % (content.len() + 1);
    let upto = (at + usize::from(*length)).min(content.len());
    match kind % 10 {
        0 => content.iter_mut().skip(at).zip(material).for_each(|(byte, new)| *byte = *new),
        1 => content.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (length % 8)),
        2 => content.iter_mut().take(upto).skip(at).for_each(|byte| *byte = 0),
        3 => content.truncate(at),
        4 => content.extend(std::iter::repeat_n(material.first().copied().unwrap_or(0), usize::from(*length) * 40)),
        5 => drop(files.remove(name)),
        6 => {
            // A piece of the file a second time, elsewhere in it.
            let piece: Vec<u8> = content.iter().copied().take(upto).skip(at).collect();
            let to = material.iter().fold(0, |to, byte| to << 8 | usize::from(*byte)) % (content.len() + 1);
            content.iter_mut().skip(to).zip(piece).for_each(|(byte, new)| *byte = new);
        }
        7 => {
            let theirs = files.get(&other).cloned().unwrap_or_default();
            files.insert(name.clone(), theirs);
        }
        8 => drop(files.insert(name.with_extension("foreign"), material.to_vec())),
        _ => {
            // Under another log or queue offset.
            let moved = files.remove(name).unwrap_or_default();
            files.insert(name.with_file_name(format!("{place:020}")), moved);
        }
    }
}

/// What opened keeps its promises: it reads, takes messages, closes, and opens again with them.
fn use_it(store: Store, options: Options) {
    read_all(&store);
    let numbers = MESSAGES..MESSAGES + 12;
    let before = count(&store);
    let end = numbers.clone().map(|number| append(&store, number)).last().unwrap_or(0);
    settle(&store, end);
    assert!(count(&store) >= before + numbers.len() as i64, "acknowledged messages are in their queues");
    let found = read_all(&store);
    for number in numbers.clone() {
        assert!(found.contains(&format!("id-{number}")), "message {number} can be read");
    }
    store.close().expect("a sound end");
    let store = Store::open(options).unwrap_or_else(|error| panic!("does not open after a sound end: {error}"));
    let found = read_all(&store);
    for number in numbers {
        assert!(found.contains(&format!("id-{number}")), "message {number} is there after a sound end");
    }
    store.close().expect("a sound end");
}

fn count(store: &Store) -> i64 {
    let queues = store.topics().into_iter().flat_map(|topic| {
        let ends: Vec<_> = store.queues(&topic).into_iter().map(|queue| store.max_offset(&topic, queue)).collect();
        ends
    });
    queues.fold(0, i64::saturating_add)
}

/// Reads every queue from its start to its end and gives the unique keys of what is there; asks by time and key as well.
fn read_all(store: &Store) -> std::collections::BTreeSet<String> {
    let limit = ReadLimit { max_messages: 32, max_bytes: 1 << 20 };
    let mut found = std::collections::BTreeSet::new();
    for topic in store.topics() {
        for queue in store.queues(&topic) {
            let (mut at, mut reads) = (store.min_offset(&topic, queue), 0);
            while at < store.max_offset(&topic, queue) {
                let page = store.read(&topic, queue, at, limit, &mut |_, _| true);
                for chunk in &page.chunks {
                    for record in records(chunk) {
                        let record = record.expect("a record");
                        record.verify().expect("only sound records are handed out");
                        assert_eq!((record.topic, record.queue_id), (topic.as_str(), queue));
                        found.insert(record.property("UNIQ_KEY").unwrap_or_default().to_owned());
                    }
                }
                assert!(
                    page.next_offset > at || page.status == ReadStatus::OffsetTooSmall,
                    "a read moves on: {page:?}"
                );
                at = page.next_offset.max(at + 1);
                reads += 1;
                assert!(reads < MAX_READS, "queue {queue} of {topic} has no end");
            }
            for boundary in [Boundary::Lower, Boundary::Upper] {
                let _ = store.offset_by_time(&topic, queue, 1_700_000_000_000, boundary);
            }
        }
        for key in ["k1", "id-1"] {
            let search = KeySearch { topic: &topic, key, max: 8, begin: 0, end: i64::MAX, unique: key == "id-1" };
            for record in store.query(search).records {
                records(&record).for_each(|record| record.expect("a record").verify().expect("sound"));
            }
        }
    }
    let _ = (store.earliest_timestamp(), store.stats());
    found
}
