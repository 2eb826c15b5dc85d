//! The key index: which records have a key. Derived from the log.
//!
//! New keys wait in memory, where a query searches them from the newest back; they are merged into the files in bulk,
//! which costs a fraction of a microsecond a key. A file in which damage is met is mended before anything else is done with it.

pub mod bytes;
pub mod file;
pub mod form;
pub mod mend;
pub mod sums;

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use parking_lot::{Mutex, RwLock};

use crate::store::index::file::{IndexFile, Place, Trouble};
use crate::store::index::mend::Mended;
use crate::store::io::Io;
use crate::store::keys::Key;
use crate::store::options::IndexSize;
use crate::store::segments::Segments;
use crate::store::stats::Counters;

/// Keys that make a merge worth while.
pub const MERGE_AT: usize = 64 << 10;

/// What a checkpoint says of the index: its files and the next entry of each.
pub type IndexMark = Vec<(String, u32)>;

/// What an index needs of its store.
#[derive(Debug, Clone)]
pub struct Home {
    /// The way to the disk.
    pub io: Arc<dyn Io>,
    /// The store's directory.
    pub dir: PathBuf,
    /// Sizes of its files.
    pub size: IndexSize,
    /// From which it is derived.
    pub log: Arc<Segments>,
    /// Counts.
    pub counters: Arc<Counters>,
}

/// The key index.
#[derive(Debug)]
pub struct Index {
    home: Home,
    young: Mutex<VecDeque<Key>>,
    files: RwLock<Vec<IndexFile>>,
}

/// Records that may have a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyQuery {
    /// Hash of topic and key.
    pub hash: u32,
    /// Earliest store time, in ms.
    pub begin: i64,
    /// Latest store time, in ms.
    pub end: i64,
}

impl Home {
    /// Directory of the index files.
    pub fn index(&self) -> PathBuf {
        self.dir.join("index")
    }

    fn sides(&self) -> PathBuf {
        self.dir.join(sums::DIR)
    }

    fn place(&self, name: &str) -> Place {
        Place { path: self.index().join(name), sides: self.sides(), size: self.size }
    }

    /// Opens a file of a checkpoint. What an aborted broker, or RocketMQ, has done to the last one since is undone.
    fn open(&self, name: &str, count: u32, may_have_gone_on: bool) -> io::Result<IndexFile> {
        let (mut file, found) = IndexFile::open(Arc::clone(&self.io), self.place(name), count)?;
        let went_on = may_have_gone_on || found.count > count;
        if found != file.header {
            if !went_on {
                tracing::warn!(file = name, "the header of an index file is damaged: it is written anew");
                Counters::add(&self.counters.index_mended, 1);
            }
            file.set_header()?;
        }
        if went_on {
            match file.settle() {
                Err(Trouble::Io(error)) => return Err(error),
                Err(Trouble::Damaged) => self.mend(&mut file)?,
                Ok(()) => {}
            }
        }
        Ok(file)
    }

    fn mend(&self, file: &mut IndexFile) -> io::Result<()> {
        let begun = Instant::now();
        let mended = file.mend(&self.log)?;
        let (name, took) = (file.name(), begun.elapsed());
        if mended == Mended::default() {
            tracing::debug!(file = name, ?took, "the checksums of an index file are made");
            return Ok(());
        }
        let Mended { blocks, links, pages, gone } = mended;
        tracing::warn!(file = name, blocks, links, pages, gone, ?took, "an index file was damaged and is mended");
        Counters::add(&self.counters.index_mended, 1);
        Ok(())
    }
}

impl Index {
    /// Opens the index as a checkpoint describes it, by which it was left or, if `aborted`, from which it had gone on; `None`
    /// if the files disagree, and the index must be built anew.
    pub fn open(home: Home, mark: &IndexMark, aborted: bool) -> io::Result<Option<Self>> {
        let last = mark.last().map(|(name, _)| name.as_str()).unwrap_or_default();
        for name in names(&home.index())?.into_iter().filter(|name| name.as_str() > last) {
            // Begun after the checkpoint: its keys come again from the log.
            home.io.remove(&home.index().join(name))?;
        }
        sums::remove_others(&*home.io, &home.sides(), |name| mark.iter().any(|file| file.0 == name))?;
        let mut files = Vec::with_capacity(mark.len());
        for (name, count) in mark {
            match home.open(name, *count, aborted && name == last) {
                Ok(file) => files.push(file),
                Err(error) => {
                    tracing::warn!(file = name, %error, "the key index is built anew");
                    return Ok(None);
                }
            }
        }
        Ok(Some(Self { home, young: Mutex::default(), files: RwLock::new(files) }))
    }

    /// An empty index; what the directory holds is removed.
    pub fn create(home: Home) -> io::Result<Self> {
        for name in names(&home.index())? {
            home.io.remove(&home.index().join(name))?;
        }
        sums::remove_others(&*home.io, &home.sides(), |_| false)?;
        Ok(Self { home, young: Mutex::default(), files: RwLock::default() })
    }

    /// Adds a key; tells how many wait for the next merge.
    pub fn put(&self, key: Key) -> usize {
        let mut young = self.young.lock();
        young.push_back(key);
        young.len()
    }

    /// Keys not yet in the files.
    pub fn waiting(&self) -> usize {
        self.young.lock().len()
    }

    /// Merges waiting keys of records before a log offset into the files.
    pub fn merge(&self, before: u64) -> io::Result<()> {
        loop {
            let early = |key: &&Key| key.physical_offset < before;
            let mut keys: Vec<Key> = self.young.lock().iter().take_while(early).take(MERGE_AT).copied().collect();
            if keys.is_empty() {
                return Ok(());
            }
            let mut files = self.files.write();
            if files.last().is_none_or(|file| file.room() == 0) {
                let last = files.last().map(IndexFile::name).unwrap_or_default();
                let place = self.home.place(&next_name(&last));
                std::fs::create_dir_all(self.home.index())?;
                files.push(IndexFile::create(Arc::clone(&self.home.io), place)?);
            }
            let Some(file) = files.last_mut() else { return Ok(()) };
            keys.truncate(file.room());
            match file.merge(&keys) {
                Ok(()) => {}
                Err(Trouble::Io(error)) => return Err(error),
                Err(Trouble::Damaged) => {
                    self.home.mend(file)?;
                    continue;
                }
            }
            let mut young = self.young.lock();
            young.drain(..keys.len());
            if young.is_empty() {
                young.shrink_to(1_024);
            }
        }
    }

    /// Makes the files durable and describes them for a checkpoint.
    pub fn sync(&self) -> io::Result<IndexMark> {
        let files = self.files.read();
        files.iter().try_for_each(IndexFile::sync)?;
        Ok(files.iter().map(|file| (file.name(), file.header.count)).collect())
    }

    /// The checkpoint for which the files were made durable is on disk.
    pub fn keep(&self) {
        self.files.read().iter().for_each(IndexFile::keep);
    }

    /// Goes through a file that has no checksums, if there is one: an earlier version left none, or they were lost.
    pub fn vouch(&self) -> io::Result<()> {
        if !self.files.read().iter().any(IndexFile::is_unvouched) {
            return Ok(());
        }
        let mut files = self.files.write();
        files.iter_mut().find(|file| file.is_unvouched()).map_or(Ok(()), |file| self.home.mend(file))
    }

    /// Store time and log offset of the last key.
    pub fn last_update(&self) -> (i64, u64) {
        if let Some(key) = self.young.lock().back() {
            return (key.store_timestamp, key.physical_offset);
        }
        self.files.read().last().map_or((0, 0), |file| (file.header.end_timestamp, file.header.end_physical))
    }

    /// Hands out log offsets of records that may have the key, the newest first, until `found` says stop; some of them again if
    /// a file had to be mended meanwhile.
    pub fn find(&self, query: KeyQuery, found: &mut dyn FnMut(u64) -> bool) -> io::Result<()> {
        loop {
            match self.look(query, found) {
                Ok(()) => return Ok(()),
                Err(Trouble::Io(error)) => return Err(error),
                Err(Trouble::Damaged) => {
                    let mut files = self.files.write();
                    // Another query may have been faster.
                    files.iter_mut().filter(|file| file.is_damaged()).try_for_each(|file| self.home.mend(file))?;
                }
            }
        }
    }

    fn look(&self, query: KeyQuery, found: &mut dyn FnMut(u64) -> bool) -> Result<(), Trouble> {
        // The files' lock first: a merge holds it, so no key is missed on its way from memory to file.
        let files = self.files.read();
        let young: Vec<u64> = {
            let young = self.young.lock();
            let wanted = |key: &&Key| {
                key.hash == query.hash && key.store_timestamp >= query.begin && key.store_timestamp <= query.end
            };
            young.iter().rev().filter(wanted).map(|key| key.physical_offset).collect()
        };
        for physical_offset in young {
            if !found(physical_offset) {
                return Ok(());
            }
        }
        for file in files.iter().rev() {
            let outside = file.header.begin_timestamp > query.end || file.header.end_timestamp < query.begin;
            if file.header.count > 1 && !outside && !file.find(query.hash, query.begin, query.end, found)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Deletes files of which the log has no record any more, but never the last.
    pub fn expire(&self, min_physical: u64) -> io::Result<()> {
        let mut files = self.files.write();
        while files.len() > 1 && files.first().is_some_and(|file| file.header.end_physical < min_physical) {
            let file = files.remove(0);
            file.remove()?;
        }
        Ok(())
    }
}

/// Names of index files, in order.
fn names(dir: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.len() == 17 && name.bytes().all(|byte| byte.is_ascii_digit()) {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// A name later than the last: the time in RocketMQ's form, year to millisecond.
fn next_name(last: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = now.as_secs();
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    let name = format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}{:03}", now.subsec_millis());
    if name.as_str() > last {
        return name;
    }
    last.parse::<u64>().map_or(name, |last| format!("{:017}", last + 1))
}

/// The date of a day counted from 1970, by the Gregorian calendar's 400-year cycle, years beginning in March.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_dates() {
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(11_016), (2000, 2, 29));
        assert_eq!(date(20_778), (2026, 11, 21));
    }

    #[test]
    fn names_grow() {
        let first = next_name("");
        assert_eq!(first.len(), 17);
        assert!(next_name(&first) > first);
        assert_eq!(next_name("99991231235959998"), "99991231235959999");
    }
}
