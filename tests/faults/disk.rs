//! The disk and the wall clock of one node: slow, failing, off, and without power, through the preloaded library.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::daemon::Setup;
use crate::shim::Shim;

/// What a power cut takes or leaves as a whole.
const PAGE: u64 = 4096;

/// What is wrong with a disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Trouble {
    /// Each flush takes so much longer.
    pub slow_flush: Duration,
    /// Each write takes so much longer.
    pub slow_write: Duration,
    /// Flushes fail.
    pub broken_flush: bool,
    /// Writes fail.
    pub broken_write: bool,
}

/// Disk and clock of a node.
pub struct Disk {
    control: File,
    control_path: PathBuf,
    record: PathBuf,
}

impl Disk {
    /// A healthy one, with its files in a directory.
    #[must_use]
    pub fn new(directory: &Path, name: &str) -> Self {
        let control_path = directory.join(format!("{name}.control"));
        let control = File::create(&control_path).unwrap();
        control.write_all_at(&[0; 64], 0).unwrap();
        Self { control, control_path, record: directory.join(format!("{name}.record")) }
    }

    /// The daemon with this disk and clock.
    #[must_use]
    pub fn on(&self, setup: Setup, shim: &Shim) -> Setup {
        shim.controlled(setup, &self.control_path, &self.record)
    }

    /// From now on the disk is like this.
    pub fn set(&self, trouble: Trouble) {
        let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap();
        let fields = [
            micros(trouble.slow_flush),
            micros(trouble.slow_write),
            i64::from(trouble.broken_flush),
            i64::from(trouble.broken_write),
        ];
        self.write(0, &fields);
    }

    /// From now on the wall clock is off by so much.
    pub fn set_clock(&self, off_ms: i64) {
        self.write(4, &[off_ms]);
    }

    fn write(&self, first: u64, fields: &[i64]) {
        for (number, field) in (first..).zip(fields) {
            self.control.write_all_at(&field.to_ne_bytes(), number * 8).unwrap();
        }
    }

    /// Before a start: what earlier processes wrote and did not flush still counts, and no line is torn.
    pub fn carry_over(&self) {
        let line = |written: &Written| format!("w {} {} {}\n", written.offset, written.length, written.path.display());
        let lines: String = self.unflushed().iter().map(line).collect();
        std::fs::write(&self.record, lines).unwrap();
    }

    /// What is not flushed by now counts as durable.
    fn forget(&self) {
        std::fs::write(&self.record, "").unwrap();
    }

    /// Bytes of files that were written and not flushed since by processes that are gone.
    #[must_use]
    pub fn unflushed(&self) -> Vec<Written> {
        unflushed(&std::fs::read_to_string(&self.record).unwrap_or_default())
    }

    /// Takes back what the disk never promised, as a power cut may: each page is gone or there. Tells how many are gone.
    pub fn cut_power(&self, chance: &mut fastrand::Rng) -> usize {
        // Sometimes everything is gone, sometimes little.
        let share = [100, 100, 50, 10][chance.usize(0..4)];
        let pages = self.unflushed().into_iter().flat_map(Written::pages);
        let lost: Vec<Written> = pages.filter(|_| chance.u32(0..100) < share).collect();
        for page in &lost {
            let Ok(file) = OpenOptions::new().write(true).open(&page.path) else { continue };
            let length = file.metadata().unwrap().len().saturating_sub(page.offset).min(page.length);
            file.write_all_at(&vec![0; usize::try_from(length).unwrap()], page.offset).unwrap();
        }
        // What is gone cannot go once more, and what was spared is on the disk.
        self.forget();
        lost.len()
    }
}

/// Some bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The file.
    pub path: PathBuf,
    /// The first byte.
    pub offset: u64,
    /// Their number.
    pub length: u64,
}

impl Written {
    fn pages(self) -> impl Iterator<Item = Self> {
        let end = self.offset + self.length;
        let mut offset = self.offset;
        std::iter::from_fn(move || {
            let next = (offset / PAGE + 1) * PAGE;
            let page = Self { path: self.path.clone(), offset, length: next.min(end).checked_sub(offset)? };
            offset = next;
            (page.length > 0).then_some(page)
        })
    }
}

/// Reads a record (see `fsfault/fault.c`): what was written before a flush began that succeeded is durable.
fn unflushed(record: &str) -> Vec<Written> {
    let mut files: HashMap<&str, Vec<(u64, u64)>> = HashMap::new();
    let mut flushes: HashMap<(&str, &str), usize> = HashMap::new();
    // The kill may have torn the last line.
    for line in record.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("w"), Some(offset), Some(length), Some(path)) => {
                files.entry(path).or_default().push((offset.parse().unwrap(), length.parse().unwrap()));
            }
            (Some("s"), Some(number), Some(path), None) => {
                flushes.insert((number, path), files.get(path).map_or(0, Vec::len));
            }
            (Some("e"), Some(number), Some(path), None) => {
                let durable = flushes.remove(&(number, path)).unwrap_or(0);
                let writes = files.entry(path).or_default();
                writes[..durable].fill((0, 0));
            }
            _ => panic!("not a line of a record: {line}"),
        }
    }
    let one = |(path, writes): (&str, Vec<(u64, u64)>)| {
        let path = PathBuf::from(path);
        let left = writes.into_iter().filter(|(_, length)| *length > 0);
        left.map(|(offset, length)| Written { path: path.clone(), offset, length }).collect::<Vec<_>>()
    };
    let mut left: Vec<Written> = files.into_iter().flat_map(one).collect();
    left.sort_unstable_by(|one, other| (&one.path, one.offset).cmp(&(&other.path, other.offset)));
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(path: &str, offset: u64, length: u64) -> Written {
        Written { path: path.into(), offset, length }
    }

    #[test]
    fn a_flush_keeps_what_was_written_before_it_began() {
        let record = "w 0 10 /a\ns 0 /a\nw 10 5 /a\nw 0 7 /b\ne 0 /a\ns 1 /b\nw 15 1";
        assert_eq!(unflushed(record), [written("/a", 10, 5), written("/b", 0, 7)]);
        assert_eq!(unflushed("w 0 10 /a\ns 0 /a\ns 1 /a\ne 1 /a\n"), []);
    }

    #[test]
    fn writes_tear_at_pages() {
        let pages: Vec<Written> = written("/a", 4000, 5000).pages().collect();
        assert_eq!(pages, [written("/a", 4000, 96), written("/a", 4096, 4096), written("/a", 8192, 808)]);
        assert_eq!(written("/a", 4096, 4096).pages().count(), 1);
    }

    #[test]
    fn a_power_cut_zeroes_only_what_was_not_flushed() {
        let directory = tempfile::tempdir().unwrap();
        let (disk, file) = (Disk::new(directory.path(), "n"), directory.path().join("file"));
        std::fs::write(&file, vec![1; 10_000]).unwrap();
        let path = file.display();
        let record = format!("w 0 5000 {path}\ns 0 {path}\ne 0 {path}\nw 5000 7000 {path}\nw 1 ");
        let mut chance = fastrand::Rng::with_seed(1);
        // Enough cuts to meet one that takes everything.
        for _ in 0..100 {
            std::fs::write(&disk.record, &record).unwrap();
            disk.carry_over();
            disk.cut_power(&mut chance);
            assert_eq!(disk.unflushed(), []);
        }
        let left = std::fs::read(&file).unwrap();
        assert!(left[..5000].iter().all(|byte| *byte == 1) && left[5000..].iter().all(|byte| *byte == 0));
        assert_eq!(left.len(), 10_000);
    }
}
