//! The store's way to the disk, so that tests can make it fail.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

/// Changes to files. Every default is the real thing; a test overrides what it wants to fail or to record.
pub trait Io: fmt::Debug + Send + Sync {
    /// Opens for reading and writing, and creates what is not there.
    fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
    }

    /// Writes some of the bytes and tells how many.
    fn write_at(&self, file: &File, _path: &Path, bytes: &[u8], offset: u64) -> io::Result<usize> {
        file.write_at(bytes, offset)
    }

    /// Makes what was written, and the file's length, durable.
    fn sync_data(&self, file: &File, _path: &Path) -> io::Result<()> {
        file.sync_data()
    }

    /// Reserves disk blocks for bytes not yet written.
    fn reserve(&self, file: &File, path: &Path, offset: u64, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(file, FallocateFlags::empty(), offset, len) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_zeros(self, file, path, offset, len),
            other => other.map_err(io::Error::from),
        }
    }

    /// Makes the bytes zero and keeps their blocks.
    fn zero(&self, file: &File, path: &Path, offset: u64, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(file, FallocateFlags::ZERO_RANGE, offset, len) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => write_zeros(self, file, path, offset, len),
            other => other.map_err(io::Error::from),
        }
    }

    /// Sets the file's length.
    fn set_len(&self, file: &File, _path: &Path, len: u64) -> io::Result<()> {
        file.set_len(len)
    }

    /// Puts a file in another's place.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    /// Makes creations, renames and removals in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    /// Makes everything on the directory's file system durable.
    fn sync_all(&self, dir: &Path) -> io::Result<()> {
        rustix::fs::syncfs(File::open(dir)?).map_err(io::Error::from)
    }

    /// Free and total bytes of the directory's file system.
    fn usage(&self, dir: &Path) -> io::Result<(u64, u64)> {
        let stat = rustix::fs::statvfs(dir)?;
        Ok((stat.f_bavail.saturating_mul(stat.f_frsize), stat.f_blocks.saturating_mul(stat.f_frsize)))
    }
}

/// The real disk.
#[derive(Debug, Clone, Copy)]
pub struct Disk;

impl Io for Disk {}

/// Writes all the bytes.
pub fn write_all_at(io: &(impl Io + ?Sized), file: &File, path: &Path, bytes: &[u8], offset: u64) -> io::Result<()> {
    let (mut rest, mut at) = (bytes, offset);
    while !rest.is_empty() {
        let written = match io.write_at(file, path, rest, at) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => written,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        rest = rest.get(written..).unwrap_or_default();
        at = at.saturating_add(written as u64);
    }
    Ok(())
}

/// Reads as many bytes as there are, at most the buffer's length.
pub fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset.saturating_add(filled as u64)) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Whether an error means that the disk (or the quota) is used up.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

fn write_zeros(io: &(impl Io + ?Sized), file: &File, path: &Path, offset: u64, len: u64) -> io::Result<()> {
    let zeros = vec![0; 1 << 20];
    let mut done = 0;
    while done < len {
        let step = (len - done).min(zeros.len() as u64);
        let piece = zeros.get(..usize::try_from(step).unwrap_or(0)).unwrap_or_default();
        write_all_at(io, file, path, piece, offset.saturating_add(done))?;
        done += step;
    }
    Ok(())
}
