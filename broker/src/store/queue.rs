//! A consume queue: where the log holds each message of one queue of a topic.
//!
//! Derived from the log. Its youngest entries are in memory; older ones are in RocketMQ's files of 20-byte entries
//! (log offset 8, size 4, tag hash 8), which are sparse, written with `pwrite` and never trusted: a reader checks
//! every record against its entry, and a queue that disagrees with the log is built again.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::store::entry::{ENTRY_LEN, QueueEntry, RawEntry};
use crate::store::files::Files;
use crate::store::io::{read_at, write_all_at};
use crate::store::queue_files;
use crate::store::segment::file_name;
use crate::store::traffic::Counted;

/// Entries that stay in memory after they were written.
const KEEP: usize = 64;
/// A gap wider than this is taken for a new beginning.
const MAX_GAP: u64 = 1 << 20;

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It is the newest one.
    Added,
    /// It was there already.
    Known,
    /// The queue began again at this entry: its topic was deleted and made anew.
    Restarted,
}

/// One queue of a topic.
#[derive(Debug)]
pub struct Queue {
    topic: Arc<str>,
    id: u32,
    /// Names the queue in the table of open files.
    uid: u64,
    dir: PathBuf,
    file_entries: u64,
    /// Next offset to assign; changed under the log's lock only.
    next: AtomicU64,
    /// Offset behind the newest entry.
    max: AtomicU64,
    /// Messages and bytes that came; changed under the lock of `state` only.
    messages: AtomicU64,
    bytes: AtomicU64,
    /// Whoever waits for new entries.
    news: Arc<Notify>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Whether the first entry is known: a queue found in no checkpoint takes its first record's offset.
    begun: bool,
    /// Offset of `young`'s first entry.
    young_start: u64,
    young: Vec<RawEntry>,
    /// Entries before this one are in the files.
    written: u64,
    /// First entry whose record the log still has, as of `min_for`.
    min: u64,
    min_for: u64,
    last_physical: Option<u64>,
    /// Files that stand for something else must go before anything is written.
    wipe: bool,
    waits_for_write: bool,
    /// Whether entries came since the last look for idle queues.
    fresh: bool,
}

impl Queue {
    /// A queue with entries `min..max` in its files, or one of which nothing is known (`None`).
    pub fn new(topic: Arc<str>, id: u32, uid: u64, dir: PathBuf, file_entries: u64, known: Option<(u64, u64)>) -> Self {
        let (min, max) = known.unwrap_or((0, 0));
        let state = State {
            begun: known.is_some(),
            young_start: max,
            young: Vec::new(),
            written: max,
            min,
            min_for: 0,
            last_physical: None,
            wipe: false,
            waits_for_write: false,
            fresh: false,
        };
        Self {
            topic,
            id,
            uid,
            dir,
            file_entries: file_entries.max(1),
            next: AtomicU64::new(max),
            max: AtomicU64::new(max),
            messages: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            news: Arc::new(Notify::new()),
            state: Mutex::new(state),
        }
    }

    /// Its topic.
    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// Its number within the topic.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Its number within the store.
    pub fn uid(&self) -> u64 {
        self.uid
    }

    /// Its directory.
    pub fn dir(&self) -> &PathBuf {
        &self.dir
    }

    /// Next offset to assign; the log's lock must be held.
    pub fn next(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Sets the next offset to assign; the log's lock must be held.
    pub fn set_next(&self, next: u64) {
        self.next.store(next, Ordering::Relaxed);
    }

    /// Offset behind the newest entry.
    pub fn max(&self) -> u64 {
        self.max.load(Ordering::Acquire)
    }

    /// What came since [`Self::count_anew`].
    pub fn counted(&self) -> Counted {
        Counted { messages: self.messages.load(Ordering::Relaxed), bytes: self.bytes.load(Ordering::Relaxed) }
    }

    /// Counts from now on.
    pub fn count_anew(&self) {
        let _state = self.state.lock();
        [&self.messages, &self.bytes].into_iter().for_each(|count| count.store(0, Ordering::Relaxed));
    }

    /// Woken when entries were added.
    pub fn news(&self) -> &Arc<Notify> {
        &self.news
    }

    /// Adds the entry of a record that the log holds at `physical`; tells whether the queue must be listed for writing.
    pub fn put(&self, offset: u64, entry: QueueEntry) -> (Put, bool) {
        let mut state = self.state.lock();
        let max = state.max();
        let put = if !state.begun || (offset > max && offset - max > MAX_GAP) {
            state.begin(offset);
            Put::Added
        } else if offset >= max {
            // Records of a hole in the log are lost, the offsets behind it stay what they were.
            let missing = usize::try_from(offset - max).unwrap_or(0);
            state.young.extend(std::iter::repeat_n(QueueEntry::BLANK.encode(), missing));
            Put::Added
        } else if state.last_physical.is_none_or(|last| entry.physical_offset <= last) {
            return (Put::Known, false);
        } else {
            state.begin(offset);
            Put::Restarted
        };
        state.young.push(entry.encode());
        state.last_physical = Some(entry.physical_offset);
        state.fresh = true;
        self.max.store(state.max(), Ordering::Release);
        self.messages.store(self.messages.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        self.bytes.store(self.bytes.load(Ordering::Relaxed) + u64::from(entry.size), Ordering::Relaxed);
        let list = !std::mem::replace(&mut state.waits_for_write, true);
        (put, list)
    }

    /// Notes that every record before `physical` is known to the queue.
    pub fn set_known(&self, physical: u64) {
        self.state.lock().last_physical = physical.checked_sub(1);
    }

    /// Reads entries from an offset on, at most `count`, into `out`; fewer where a file is missing or ends.
    pub fn read(&self, files: &Files, offset: u64, count: usize, out: &mut Vec<RawEntry>) -> io::Result<()> {
        out.clear();
        let young_start = {
            let state = self.state.lock();
            if let Some(skip) = offset.checked_sub(state.young_start) {
                let skip = usize::try_from(skip).unwrap_or(usize::MAX);
                out.extend(state.young.iter().skip(skip).take(count));
                return Ok(());
            }
            state.young_start
        };
        let until = young_start.min(offset.saturating_add(count as u64));
        out.resize(usize::try_from(until - offset).unwrap_or(0), [0; ENTRY_LEN as usize]);
        let mut at = offset;
        let mut rest = out.as_flattened_mut();
        while at < until {
            let file_number = at / self.file_entries;
            let in_file = (at % self.file_entries) * ENTRY_LEN;
            let here = until.min((file_number + 1) * self.file_entries) - at;
            let bytes = usize::try_from(here * ENTRY_LEN).unwrap_or(0).min(rest.len());
            let (buffer, behind) = rest.split_at_mut(bytes);
            match files.existing((self.uid, file_number), &self.file_path(file_number)) {
                // What is not there stays zero, hence 'unwritten'.
                Ok(file) => drop(read_at(&file, buffer, in_file)?),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            rest = behind;
            at += here;
        }
        Ok(())
    }

    /// One entry; unwritten if there is none.
    pub fn entry(&self, files: &Files, offset: u64) -> io::Result<QueueEntry> {
        let mut out = Vec::with_capacity(1);
        self.read(files, offset, 1, &mut out)?;
        Ok(out.first().map_or(QueueEntry { physical_offset: 0, size: 0, tag_hash: 0 }, QueueEntry::decode))
    }

    /// The smallest offset as it was known for a log that begins at `min_physical`.
    pub fn cached_min(&self, min_physical: u64) -> Result<u64, u64> {
        let state = self.state.lock();
        if state.min_for == min_physical { Ok(state.min) } else { Err(state.min) }
    }

    /// Remembers the smallest offset.
    pub fn set_min(&self, min: u64, min_physical: u64) {
        let mut state = self.state.lock();
        state.min = state.min.max(min.min(state.max()));
        state.min_for = state.min_for.max(min_physical);
    }

    /// Smallest offset that is surely not too great, and the offset behind the newest entry.
    pub fn bounds(&self) -> (u64, u64) {
        let state = self.state.lock();
        (state.min, state.max())
    }

    /// Offset behind the newest entry that is in the files.
    pub fn written(&self) -> u64 {
        self.state.lock().written
    }

    /// Whether no entry of it is of a record at or behind a log offset.
    pub fn is_before(&self, physical: u64) -> bool {
        self.state.lock().last_physical.is_none_or(|last| last < physical)
    }

    /// Goes on at an offset although the log has no record of the queue.
    pub fn adopt(&self, offset: u64, log_end: u64) {
        let mut state = self.state.lock();
        state.begin(offset);
        state.last_physical = log_end.checked_sub(1);
        self.max.store(offset, Ordering::Release);
    }

    /// Path of a file.
    pub fn file_path(&self, number: u64) -> PathBuf {
        self.dir.join(file_name(number * self.file_entries * ENTRY_LEN))
    }

    /// Number of the file that holds an offset.
    pub fn file_of(&self, offset: u64) -> u64 {
        offset / self.file_entries
    }

    /// Length of every file.
    pub fn file_len(&self) -> u64 {
        self.file_entries * ENTRY_LEN
    }

    /// Writes what is only in memory; tells the numbers of the files it changed.
    pub fn write_out(&self, files: &Files, changed: &mut Vec<u64>) -> io::Result<()> {
        let (from, begin, bytes, wipe) = {
            let mut state = self.state.lock();
            state.waits_for_write = false;
            let skip = usize::try_from(state.written - state.young_start).unwrap_or(0);
            let bytes = state.young.get(skip..).unwrap_or_default().as_flattened().to_vec();
            (state.written, state.min, bytes, std::mem::replace(&mut state.wipe, false))
        };
        let count = bytes.len() as u64 / ENTRY_LEN;
        if count == 0 {
            return Ok(());
        }
        let cleared = if wipe { self.clear_outside(files, from, from + count) } else { Ok(()) };
        let result = cleared.and_then(|()| self.write(files, from, &bytes, begin, changed));
        let mut state = self.state.lock();
        if let Err(error) = result {
            state.waits_for_write = true;
            state.wipe |= wipe;
            return Err(error);
        }
        if !state.wipe && state.written == from {
            state.written = from + count;
            state.trim(KEEP);
        }
        Ok(())
    }

    /// Leaves nothing of an earlier life in the files but what is about to be overwritten.
    fn clear_outside(&self, files: &Files, from: u64, to: u64) -> io::Result<()> {
        files.forget(self.uid);
        let (first, last) = (self.file_of(from), self.file_of(to - 1));
        queue_files::remove_outside(files.io(), &self.dir, first * self.file_len(), (last + 1) * self.file_len())?;
        self.clear_behind(files, to)
    }

    /// Makes what the files say behind an entry unwritten.
    pub fn clear_behind(&self, files: &Files, end: u64) -> io::Result<()> {
        let number = self.file_of(end.saturating_sub(1));
        let path = self.file_path(number);
        match files.existing((self.uid, number), &path) {
            Ok(file) => {
                let from = (end - number * self.file_entries) * ENTRY_LEN;
                queue_files::clear_from(files.io(), &file, &path, from, self.file_len())?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        // Few queues have a next file: better to ask for it than to list the directory.
        match files.io().remove(&self.file_path(number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Gives up the entries that an idle queue keeps in memory although they are written.
    pub fn rest(&self) {
        let mut state = self.state.lock();
        if !std::mem::replace(&mut state.fresh, false) {
            state.trim(0);
            state.young.shrink_to_fit();
        }
    }

    /// Writes entries at an offset.
    pub fn write(&self, files: &Files, from: u64, bytes: &[u8], begin: u64, changed: &mut Vec<u64>) -> io::Result<()> {
        let (mut at, mut rest) = (from, bytes);
        while !rest.is_empty() {
            let number = self.file_of(at);
            let within = at % self.file_entries;
            let room = usize::try_from((self.file_entries - within) * ENTRY_LEN).unwrap_or(usize::MAX);
            let (piece, behind) = rest.split_at(room.min(rest.len()));
            let path = self.file_path(number);
            let file = files.created((self.uid, number), &path, self.file_len())?;
            if within > 0 && self.file_of(begin) == number && begin == at {
                // RocketMQ reads a file from its beginning and stops at the first entry that was never written.
                let blanks = QueueEntry::BLANK.encode().repeat(usize::try_from(within).unwrap_or(0));
                write_all_at(files.io(), &file, &path, &blanks, 0)?;
            }
            write_all_at(files.io(), &file, &path, piece, within * ENTRY_LEN)?;
            changed.push(number);
            at += piece.len() as u64 / ENTRY_LEN;
            rest = behind;
        }
        Ok(())
    }
}

impl State {
    fn max(&self) -> u64 {
        self.young_start + self.young.len() as u64
    }

    fn begin(&mut self, offset: u64) {
        self.begun = true;
        self.young.clear();
        self.young_start = offset;
        self.written = offset;
        self.min = offset;
        self.min_for = 0;
        self.wipe = true;
    }

    /// Keeps at most so many written entries in memory.
    fn trim(&mut self, keep: usize) {
        let written = usize::try_from(self.written - self.young_start).unwrap_or(0);
        let surplus = written.saturating_sub(keep);
        if surplus > 0 {
            self.young.drain(..surplus);
            self.young_start += surplus as u64;
            self.young.shrink_to(4 * KEEP);
        }
    }
}
