//! What is derived from the log: queues and key index, and how a record becomes entries of them.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hashbrown::{HashMap, HashSet};
use orbitmq_common::message::record::RecordView;
use orbitmq_common::message::{property, sysflag};
use parking_lot::{Mutex, RwLock};

use crate::store::entry::QueueEntry;
use crate::store::files::{FileKey, Files};
use crate::store::index::{Index, IndexMark};
use crate::store::keys::keys;
use crate::store::queue::{Put, Queue};
use crate::store::queues::{Queues, is_storable};
use crate::store::stats::Counters;

/// Topic of delayed messages: its entries carry the time of delivery in place of a tag.
const SCHEDULE_TOPIC: &str = "SCHEDULE_TOPIC_XXXX";
/// More changed files than this are made durable with one call for the whole file system.
const SYNC_ONE_BY_ONE: usize = 32;
/// Queue files that stay open.
const OPEN_FILES: usize = 256;

/// Queues and index of a log.
#[derive(Debug)]
pub struct Derived {
    /// The queues.
    pub queues: Queues,
    /// The key index, if there is one.
    pub index: Option<Index>,
    /// Open queue files.
    pub files: Files,
    /// Topics deleted, with the log offset up to which their records are gone.
    pub deleted: RwLock<HashMap<String, u64>>,
    counters: Arc<Counters>,
    delays: Vec<i64>,
    unwritten: Mutex<Vec<Arc<Queue>>>,
    waiting: AtomicUsize,
    unsynced: Mutex<HashMap<FileKey, PathBuf>>,
}

/// A record's properties that its entries need.
#[derive(Default)]
struct Wanted<'a> {
    tag: Option<&'a str>,
    keys: Option<&'a str>,
    unique: Option<&'a str>,
    delay: Option<&'a str>,
}

impl Derived {
    /// Derived files over which nothing is known yet.
    pub fn new(
        queues: Queues,
        index: Option<Index>,
        io: Arc<dyn crate::store::io::Io>,
        delays: Vec<i64>,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            queues,
            index,
            files: Files::new(io, OPEN_FILES),
            deleted: RwLock::default(),
            counters,
            delays,
            unwritten: Mutex::default(),
            waiting: AtomicUsize::new(0),
            unsynced: Mutex::default(),
        }
    }

    /// Enters a record, of which the checks are done, into its queue and into the index; returns a queue that grew.
    pub fn apply(&self, record: &RecordView<'_>) -> Option<Arc<Queue>> {
        let kind = sysflag::transaction(record.sys_flag);
        let wanted = Wanted::of(record.properties);
        if let Some(index) = &self.index {
            keys(record, wanted.unique, wanted.keys).for_each(|key| {
                index.put(key);
            });
        }
        if kind == sysflag::TRANSACTION_ROLLBACK || kind == sysflag::TRANSACTION_PREPARED {
            return None;
        }
        if !is_storable(record.topic) {
            Counters::add(&self.counters.unplaced, 1);
            tracing::warn!(topic = record.topic, at = record.physical_offset, "a record's topic cannot be stored");
            return None;
        }
        if self.is_deleted(record) {
            return None;
        }
        let entry = self.entry(record, &wanted);
        let queue = self.queues.get_or_create(record.topic, record.queue_id);
        let (put, list) = queue.put(record.queue_offset, entry);
        if put == Put::Restarted {
            tracing::info!(topic = record.topic, queue = record.queue_id, "the queue begins again in the log");
        }
        if list {
            self.unwritten.lock().push(Arc::clone(&queue));
        }
        (put != Put::Known).then(|| {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            queue
        })
    }

    /// The queue entry of a record.
    pub fn entry_of(&self, record: &RecordView<'_>) -> QueueEntry {
        self.entry(record, &Wanted::of(record.properties))
    }

    fn entry(&self, record: &RecordView<'_>, wanted: &Wanted<'_>) -> QueueEntry {
        QueueEntry {
            physical_offset: record.physical_offset,
            size: u32::try_from(record.size()).unwrap_or(0),
            tag_hash: self.tag_hash(record, wanted),
        }
    }

    /// Whether a record belongs to a topic that was deleted after it.
    pub fn is_deleted(&self, record: &RecordView<'_>) -> bool {
        let deleted = self.deleted.read();
        !deleted.is_empty() && deleted.get(record.topic).is_some_and(|upto| record.physical_offset < *upto)
    }

    fn tag_hash(&self, record: &RecordView<'_>, wanted: &Wanted<'_>) -> i64 {
        if record.topic == SCHEDULE_TOPIC
            && let Some(level) = wanted.delay.and_then(|level| level.parse::<usize>().ok()).filter(|level| *level > 0)
        {
            let delay = self.delays.get(level.min(self.delays.len()) - 1).copied().unwrap_or(1_000);
            return record.store_timestamp.saturating_add(delay);
        }
        wanted.tag.filter(|tag| !tag.is_empty()).map_or(0, property::tag_hash)
    }

    /// Entries and keys that are only in memory.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed) + self.index.as_ref().map_or(0, Index::waiting)
    }

    /// Writes all entries, and the keys of records before a log offset, into their files.
    pub fn write_out(&self, keys_before: u64) -> io::Result<()> {
        if let Some(index) = &self.index {
            index.merge(keys_before)?;
        }
        self.waiting.store(0, Ordering::Relaxed);
        let mut queues = std::mem::take(&mut *self.unwritten.lock());
        let mut changed = Vec::new();
        while let Some(queue) = queues.pop() {
            changed.clear();
            let written = queue.write_out(&self.files, &mut changed);
            self.note_unsynced(&queue, &changed);
            if let Err(error) = written {
                let mut unwritten = self.unwritten.lock();
                unwritten.push(queue);
                unwritten.append(&mut queues);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Remembers files that must be made durable before a checkpoint.
    pub fn note_unsynced(&self, queue: &Queue, files: &[u64]) {
        let mut unsynced = self.unsynced.lock();
        for number in files {
            unsynced.insert((queue.uid(), *number), queue.file_path(*number));
        }
    }

    /// Makes durable what was written.
    pub fn sync(&self) -> io::Result<IndexMark> {
        let unsynced = std::mem::take(&mut *self.unsynced.lock());
        let synced = self.sync_files(&unsynced);
        if synced.is_err() {
            self.unsynced.lock().extend(unsynced);
        }
        synced?;
        self.index.as_ref().map_or_else(|| Ok(IndexMark::default()), Index::sync)
    }

    fn sync_files(&self, unsynced: &HashMap<FileKey, PathBuf>) -> io::Result<()> {
        let io = self.files.io();
        if unsynced.len() > SYNC_ONE_BY_ONE {
            return io.sync_all(self.queues.dir());
        }
        let mut dirs = HashSet::new();
        for (key, path) in unsynced {
            match self.files.existing(*key, path) {
                Ok(file) => io.sync_data(&file, path)?,
                // Deleted in the meantime.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            }
            dirs.extend(path.parent());
        }
        dirs.into_iter().try_for_each(|dir| io.sync_dir(dir))
    }
}

impl<'a> Wanted<'a> {
    fn of(properties: &'a str) -> Self {
        let mut wanted = Self::default();
        for (name, value) in property::iter(properties) {
            match name {
                property::TAGS => wanted.tag = Some(value),
                property::KEYS => wanted.keys = Some(value),
                property::UNIQ_KEY => wanted.unique = Some(value),
                property::DELAY => wanted.delay = Some(value),
                _ => {}
            }
        }
        wanted
    }
}
