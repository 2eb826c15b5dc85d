//! Power cuts: every change to the disk is recorded; at a cut, what was not flushed is kept, lost or torn by chance.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::store::Store;
use crate::store::io::Io;
use crate::store::keeper::make_checkpoint;
use crate::store::options::{Flush, Options};
use crate::store::tests::support::*;

const SECTOR: usize = 512;
const QUEUES: u32 = 3;

/// A file on the disk that lost power: what is safe, and changes that are not.
#[derive(Debug, Clone, Default)]
struct Platter {
    safe: Vec<u8>,
    pending: Vec<Change>,
}

type Image = BTreeMap<PathBuf, Platter>;

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    match change {
        Change::Write(_, offset, data) => {
            let (from, to) = (*offset as usize, *offset as usize + data.len());
            if bytes.len() < to {
                bytes.resize(to, 0);
            }
            bytes[from..to].copy_from_slice(data);
        }
        Change::Length(_, len) => bytes.resize(*len as usize, 0),
        _ => {}
    }
}

impl Platter {
    fn settle(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            apply(&mut self.safe, &change);
        }
    }

    /// The file after the cut: each unflushed sector is old or new.
    fn after_cut(&self, chance: &mut fastrand::Rng) -> Vec<u8> {
        let mut new = self.safe.clone();
        self.pending.iter().for_each(|change| apply(&mut new, change));
        let mut result = if chance.bool() && new.len() > self.safe.len() { new.clone() } else { self.safe.clone() };
        result.resize(result.len().max(if chance.bool() { new.len() } else { 0 }), 0);
        let luck = chance.u8(0..4);
        for start in (0..result.len()).step_by(SECTOR) {
            let end = result.len().min(start + SECTOR);
            let keep_new = if luck == 0 {
                false
            } else if luck == 1 {
                true
            } else {
                chance.bool()
            };
            let source = if keep_new { &new } else { &self.safe };
            for (place, at) in result[start..end].iter_mut().zip(start..) {
                *place = source.get(at).copied().unwrap_or(0);
            }
        }
        result
    }
}

/// The disk after a cut behind the first `count` changes.
fn cut(before: &Image, changes: &[Change], chance: &mut fastrand::Rng) -> Image {
    let mut disk = before.clone();
    let mut removed: Image = Image::new();
    for change in changes {
        match change {
            Change::Create(path) => {
                disk.entry(path.clone()).or_default();
            }
            Change::Write(path, ..) | Change::Length(path, _) => {
                disk.entry(path.clone()).or_default().pending.push(change.clone());
            }
            Change::Sync(path) => disk.entry(path.clone()).or_default().settle(),
            Change::SyncAll => disk.values_mut().for_each(Platter::settle),
            Change::Rename(from, to) => {
                let moved = disk.remove(from).unwrap_or_default();
                removed.extend(disk.insert(to.clone(), moved).map(|old| (to.clone(), old)));
            }
            Change::Remove(path) => removed.extend(disk.remove(path).map(|old| (path.clone(), old))),
            Change::SyncDir(dir) => removed.retain(|path, _| path.parent() != Some(dir)),
            Change::Acknowledged(_) => {}
        }
    }
    for (path, old) in removed {
        if chance.bool() {
            disk.insert(path, old);
        }
    }
    let settled = |(path, platter): (PathBuf, Platter), chance: &mut fastrand::Rng| {
        (path, Platter { safe: platter.after_cut(chance), pending: Vec::new() })
    };
    disk.into_iter().map(|file| settled(file, chance)).collect()
}

fn lay_out(image: &Image, from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("directory");
    for (path, platter) in image {
        let target = to.join(path.strip_prefix(from).expect("below the directory"));
        std::fs::create_dir_all(target.parent().expect("parent")).expect("directory");
        std::fs::write(target, &platter.safe).expect("write");
    }
}

fn options(dir: &Path, disk: &Arc<FaultyDisk>, flush: Flush) -> Options {
    let io: Arc<dyn Io> = disk.clone();
    Options {
        io,
        flush,
        segment_size: 8 << 10,
        queue_file_entries: 20,
        index: Some(crate::store::options::IndexSize { slots: 31, entries: 60 }),
        ..small(dir)
    }
}

fn body(number: u64) -> Vec<u8> {
    number.to_be_bytes().repeat(2 + (number as usize * 13) % 70)
}

/// Sends numbered messages, some of them together, and notes what was acknowledged.
fn send(store: &Store, disk: &FaultyDisk, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let keys = format!("KEYS\u{1}{number}\u{2}");
        let placed = store.append(&message("t", (number % u64::from(QUEUES)) as u32, &body(number), &keys)).unwrap();
        if number % 4 == 0 {
            block(store.durable(placed.end)).unwrap();
            disk.note(Change::Acknowledged(number + 1));
        }
        if number % 17 == 0 {
            block(store.built(store.confirmed()));
            let _chores = store.shared.chores.lock();
            make_checkpoint(&store.shared).unwrap();
        }
    }
}

/// Asserts that the store holds an unbroken beginning of what was sent; returns its length.
fn assert_prefix(store: &Store) -> u64 {
    let queues: Vec<_> = (0..QUEUES).map(|queue| drain(store, "t", queue)).collect();
    let total: u64 = queues.iter().map(|queue| queue.len() as u64).sum();
    for number in 0..total {
        let queue = &queues[(number % u64::from(QUEUES)) as usize];
        let offset = number / u64::from(QUEUES);
        assert_eq!(queue.get(offset as usize), Some(&(offset, body(number))), "message {number} of {total}");
    }
    total
}

fn acknowledged(changes: &[Change]) -> u64 {
    changes
        .iter()
        .rev()
        .find_map(|change| if let Change::Acknowledged(upto) = change { Some(*upto) } else { None })
        .unwrap_or(0)
}

fn record(dir: &Path, flush: Flush, numbers: Option<u64>) -> (Vec<Change>, u64) {
    let disk = Arc::new(FaultyDisk::recording());
    let store = Store::open(options(dir, &disk, flush)).unwrap();
    let from = assert_prefix(&store);
    send(&store, &disk, from..from + numbers.unwrap_or(40));
    drop(store);
    let changes = disk.changes.as_ref().unwrap().lock().clone();
    (changes, from)
}

fn power_cuts(flush: Flush, rounds: u64, seed: u64) {
    let dir = tempdir().unwrap();
    let first = dir.path().join("first");
    let (changes, _) = record(&first, flush, Some(120));
    let mut chance = fastrand::Rng::with_seed(seed);
    for round in 0..rounds {
        let at = chance.usize(0..=changes.len());
        let image = cut(&Image::new(), &changes[..at], &mut chance);
        let second = dir.path().join(format!("{round}"));
        lay_out(&image, &first, &second);
        let acked = acknowledged(&changes[..at]);
        // The next run recovers, goes on and loses power again.
        let (more, found) = record(&second, flush, None);
        assert!(flush == Flush::Async || found >= acked, "seed {seed} round {round}: {found} of {acked} acknowledged");
        let again = chance.usize(0..=more.len());
        let base: Image =
            image.into_iter().map(|(path, file)| (second.join(path.strip_prefix(&first).unwrap()), file)).collect();
        let image = cut(&base, &more[..again], &mut chance);
        let third = dir.path().join(format!("{round}-again"));
        lay_out(&image, &second, &third);
        let disk = Arc::new(FaultyDisk::recording());
        let store = Store::open(options(&third, &disk, flush)).unwrap();
        let kept = assert_prefix(&store);
        let acked = acked.max(acknowledged(&more[..again]));
        assert!(flush == Flush::Async || kept >= acked, "seed {seed} round {round}: {kept} of {acked} acknowledged");
        drop(store);
        std::fs::remove_dir_all(second).unwrap();
        std::fs::remove_dir_all(third).unwrap();
    }
}

#[test]
fn a_power_cut_loses_nothing_that_was_acknowledged() {
    power_cuts(Flush::Sync, 80, 0x0D15_EA5E);
}

#[test]
fn a_power_cut_leaves_an_unbroken_beginning_in_async_mode() {
    power_cuts(Flush::Async, 30, 0xC0FF_EE00);
}
