//! The files of one queue as a whole: which are there, which go, where they end.

use std::fs::File;
use std::io;
use std::path::Path;

use crate::store::entry::{ENTRY_LEN, QueueEntry, RawEntry};
use crate::store::io::{Io, read_at};
use crate::store::segment::{file_base, file_name};

/// Offsets at which the files of a directory begin, in bytes and in order.
pub fn bases(dir: &Path) -> io::Result<Vec<u64>> {
    let listing = match std::fs::read_dir(dir) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut bases = Vec::new();
    for entry in listing {
        bases.extend(entry?.file_name().to_str().and_then(file_base).filter(|base| base % ENTRY_LEN == 0));
    }
    bases.sort_unstable();
    Ok(bases)
}

/// Removes files that do not begin within a range of bytes; tells how many.
pub fn remove_outside(io: &dyn Io, dir: &Path, from: u64, to: u64) -> io::Result<usize> {
    let mut removed = 0;
    for base in bases(dir)?.into_iter().filter(|base| *base < from || *base >= to) {
        io.remove(&dir.join(file_name(base)))?;
        removed += 1;
    }
    Ok(removed)
}

/// Makes entries from a byte of a file on unwritten, if they are not; the file stays sparse.
pub fn clear_from(io: &dyn Io, file: &File, path: &Path, from: u64, file_len: u64) -> io::Result<()> {
    let mut raw: RawEntry = [0; ENTRY_LEN as usize];
    if from >= file_len || read_at(file, &mut raw, from)? == 0 || raw == [0; ENTRY_LEN as usize] {
        return Ok(());
    }
    io.set_len(file, path, from)?;
    io.set_len(file, path, file_len)
}

/// Offset behind the last entry of a queue's files that leads to a record before a log offset.
pub fn end_of_files(dir: &Path, file_len: u64, limit: u64) -> io::Result<u64> {
    for base in bases(dir)?.iter().rev() {
        let file = File::open(dir.join(file_name(*base)))?;
        let (mut low, mut high) = (0, file.metadata()?.len().min(file_len) / ENTRY_LEN);
        while low < high {
            let middle = low.midpoint(high);
            let mut raw: RawEntry = [0; ENTRY_LEN as usize];
            read_at(&file, &mut raw, middle * ENTRY_LEN)?;
            let entry = QueueEntry::decode(&raw);
            if entry.is_unwritten() || entry.physical_offset >= limit {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        if low > 0 {
            return Ok(base / ENTRY_LEN + low);
        }
    }
    Ok(0)
}
