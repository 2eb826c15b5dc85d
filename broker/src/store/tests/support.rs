//! Small stores, messages to put into them, and a disk that fails when told.

use std::collections::BTreeMap;
use std::fs::File;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use orbitmq_common::message::entry::records;
use orbitmq_common::message::record::NewRecord;
use parking_lot::Mutex;
use tempfile::TempDir;

use crate::store::Store;
use crate::store::checkpoint;
use crate::store::io::Io;
use crate::store::options::{IndexSize, Options};
use crate::store::read::{Read, ReadLimit};
use crate::store::tail::Appended;

pub const HOST: &str = "127.0.0.1:10911";

/// Options for files small enough to roll in a test.
pub fn small(dir: &Path) -> Options {
    Options {
        segment_size: 64 << 10,
        queue_file_entries: 50,
        index: Some(IndexSize { slots: 1_009, entries: 500 }),
        reserve_retry: Duration::from_millis(20),
        checkpoint_every: Duration::from_secs(3_600),
        io: Arc::new(FaultyDisk { lazy: true, ..FaultyDisk::default() }),
        ..Options::new(dir)
    }
}

/// A directory in memory where there is such a place: these tests are not about the disk's speed.
pub fn tempdir() -> io::Result<TempDir> {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())
}

pub fn open(dir: &Path) -> Store {
    Store::open(small(dir)).expect("opens")
}

/// A message of a topic's queue.
pub fn message<'a>(topic: &'a str, queue_id: u32, body: &'a [u8], properties: &'a str) -> NewRecord<'a> {
    let host: SocketAddr = HOST.parse().expect("address");
    NewRecord {
        topic,
        queue_id,
        flag: 0,
        sys_flag: 0,
        born_timestamp: 1_700_000_000_000,
        born_host: host,
        store_host: host,
        reconsume_times: 0,
        prepared_offset: 0,
        body,
        properties: properties.as_bytes(),
    }
}

pub fn put(store: &Store, topic: &str, queue_id: u32, body: &[u8]) -> Appended {
    store.append(&message(topic, queue_id, body, "TAGS\u{1}red\u{2}")).expect("appends")
}

pub fn block<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), future).await.expect("in time") })
}

/// Waits until everything appended so far is durable and in queues and index.
pub fn settle(store: &Store) {
    let end = store.stats().end;
    block(async {
        store.durable(end).await.expect("durable");
        store.built(end).await;
    });
}

pub const ALL: ReadLimit = ReadLimit { max_messages: usize::MAX, max_bytes: usize::MAX };

pub fn read(store: &Store, topic: &str, queue_id: u32, offset: i64) -> Read {
    store.read(topic, queue_id, offset, ALL, &mut |_, _| true)
}

/// Queue offsets and bodies that a read returned.
pub fn contents(read: &Read) -> Vec<(u64, Vec<u8>)> {
    let all = read.chunks.iter().flat_map(|chunk| records(chunk).map(|record| record.expect("a record")));
    all.map(|record| {
        record.verify().expect("sound");
        (record.queue_offset, record.body.to_vec())
    })
    .collect()
}

/// All of a queue, by as many reads as it takes.
pub fn drain(store: &Store, topic: &str, queue_id: u32) -> Vec<(u64, Vec<u8>)> {
    let mut all = Vec::new();
    let mut at = store.min_offset(topic, queue_id);
    while at < store.max_offset(topic, queue_id) {
        let page = read(store, topic, queue_id, at);
        all.extend(contents(&page));
        assert!(page.next_offset > at, "a read moves on");
        at = page.next_offset;
    }
    all
}

/// Removes the checkpoint, if there is one.
pub fn forget_checkpoint(dir: &Path) {
    for name in checkpoint::FILES {
        std::fs::remove_file(dir.join(name)).ok();
    }
}

pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::yield_now();
    }
}

pub fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("directory");
    for entry in std::fs::read_dir(from).expect("listing") {
        let path = entry.expect("entry").path();
        let target = to.join(path.file_name().expect("name"));
        if path.is_dir() {
            copy_dir(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("copy");
        }
    }
}

/// Files below a directory whose path contains a text.
pub fn files(dir: &Path, containing: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path, containing));
        } else if path.to_string_lossy().contains(containing) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// A change to a file, as a power cut sees it.
#[derive(Debug, Clone)]
pub enum Change {
    Create(PathBuf),
    Write(PathBuf, u64, Vec<u8>),
    Length(PathBuf, u64),
    Sync(PathBuf),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
    SyncDir(PathBuf),
    SyncAll,
    /// What was acknowledged up to here.
    Acknowledged(u64),
}

/// A disk that counts down to failures on the log and records changes.
#[derive(Debug, Default)]
pub struct FaultyDisk {
    /// Writes to the log that succeed before one fails; negative: never.
    pub write: Countdown,
    /// Flushes of the log that succeed before one fails.
    pub sync: Countdown,
    /// Reservations that succeed before the disk is full for good.
    pub reserve: Countdown,
    /// Writes of derived files that succeed before the disk is full for good.
    pub derived: Countdown,
    /// Most bytes that one write takes.
    pub short: Option<usize>,
    /// Flushes do nothing: the test is not about them.
    pub lazy: bool,
    pub changes: Option<Mutex<Vec<Change>>>,
}

#[derive(Debug)]
pub struct Countdown(AtomicI64);

impl Default for Countdown {
    fn default() -> Self {
        Self(AtomicI64::new(i64::MAX))
    }
}

impl Countdown {
    pub fn after(successes: i64) -> Self {
        Self(AtomicI64::new(successes))
    }

    pub fn set(&self, successes: i64) {
        self.0.store(successes, Ordering::SeqCst);
    }

    fn hit(&self) -> bool {
        self.0.fetch_sub(1, Ordering::SeqCst) <= 0
    }
}

impl FaultyDisk {
    pub fn recording() -> Self {
        Self { changes: Some(Mutex::default()), lazy: true, ..Self::default() }
    }

    pub fn note(&self, change: Change) {
        if let Some(changes) = &self.changes {
            changes.lock().push(change);
        }
    }
}

pub fn is_log(path: &Path) -> bool {
    path.parent().is_some_and(|dir| dir.ends_with("commitlog"))
}

const FULL: i32 = 28;
const BROKEN: i32 = 5;

impl Io for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.note(Change::Create(path.to_owned()));
        File::options().read(true).write(true).create(true).truncate(false).open(path)
    }

    fn write_at(&self, file: &File, path: &Path, bytes: &[u8], offset: u64) -> io::Result<usize> {
        use std::os::unix::fs::FileExt;
        let (countdown, code) = if is_log(path) { (&self.write, BROKEN) } else { (&self.derived, FULL) };
        if countdown.hit() {
            return Err(io::Error::from_raw_os_error(code));
        }
        let bytes = &bytes[..bytes.len().min(self.short.unwrap_or(usize::MAX))];
        self.note(Change::Write(path.to_owned(), offset, bytes.to_vec()));
        file.write_at(bytes, offset)
    }

    fn sync_data(&self, file: &File, path: &Path) -> io::Result<()> {
        if is_log(path) && self.sync.hit() {
            return Err(io::Error::from_raw_os_error(BROKEN));
        }
        self.note(Change::Sync(path.to_owned()));
        if self.lazy { Ok(()) } else { file.sync_data() }
    }

    fn reserve(&self, file: &File, path: &Path, offset: u64, len: u64) -> io::Result<()> {
        if self.reserve.hit() {
            return Err(io::Error::from_raw_os_error(FULL));
        }
        if self.lazy { Ok(()) } else { crate::store::io::Disk.reserve(file, path, offset, len) }
    }

    fn set_len(&self, file: &File, path: &Path, len: u64) -> io::Result<()> {
        self.note(Change::Length(path.to_owned(), len));
        file.set_len(len)
    }

    fn zero(&self, file: &File, path: &Path, offset: u64, len: u64) -> io::Result<()> {
        let zeros = vec![0; usize::try_from(len).expect("small")];
        crate::store::io::write_all_at(self, file, path, &zeros, offset)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.note(Change::SyncDir(path.to_owned()));
        if self.lazy { Ok(()) } else { File::open(path)?.sync_all() }
    }

    fn sync_all(&self, dir: &Path) -> io::Result<()> {
        self.note(Change::SyncAll);
        if self.lazy { Ok(()) } else { crate::store::io::Disk.sync_all(dir) }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.note(Change::Rename(from.to_owned(), to.to_owned()));
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.note(Change::Remove(path.to_owned()));
        std::fs::remove_file(path)
    }
}

pub fn open_on(dir: &Path, disk: &Arc<FaultyDisk>) -> Store {
    let io: Arc<dyn Io> = disk.clone();
    Store::open(Options { io, ..small(dir) }).expect("opens")
}

/// Bodies by topic and queue: what a store ought to hold.
pub type Expected = BTreeMap<(String, u32), Vec<Vec<u8>>>;

/// Puts messages of several sizes into several queues and tells what was put.
pub fn fill(store: &Store, count: usize, expected: &mut Expected) {
    let before: usize = expected.values().map(Vec::len).sum();
    for number in before..before + count {
        let (topic, queue) = (["alpha", "beta", "gamma"][number % 3], (number % 2) as u32);
        let body = format!("{number:06}").repeat(1 + number * 7 % 90).into_bytes();
        let properties =
            format!("UNIQ_KEY\u{1}id-{number}\u{2}KEYS\u{1}k{} all\u{2}TAGS\u{1}t{}\u{2}", number % 10, number % 4);
        store.append(&message(topic, queue, &body, &properties)).expect("appends");
        expected.entry((topic.to_owned(), queue)).or_default().push(body);
    }
}

/// Asserts that a store holds exactly what is expected.
pub fn assert_holds(store: &Store, expected: &Expected) {
    for ((topic, queue), bodies) in expected {
        let numbered: Vec<_> = (0..).zip(bodies.iter().cloned()).collect();
        assert_eq!(store.max_offset(topic, *queue), bodies.len() as i64, "end of {topic}/{queue}");
        assert!(drain(store, topic, *queue) == numbered, "content of {topic}/{queue}");
    }
}
