//! Open queue files: few at a time, the least used closed first.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;

use crate::store::io::Io;

/// A queue's number and the number of its file.
pub type FileKey = (u64, u64);

/// Descriptors shared by all queues.
#[derive(Debug)]
pub struct Files {
    io: Arc<dyn Io>,
    capacity: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    clock: u64,
    files: HashMap<FileKey, (Arc<File>, u64)>,
}

impl Files {
    /// At most `capacity` files stay open.
    pub fn new(io: Arc<dyn Io>, capacity: usize) -> Self {
        Self { io, capacity, open: Mutex::default() }
    }

    /// The disk.
    pub fn io(&self) -> &dyn Io {
        &*self.io
    }

    /// An existing file for reading and writing.
    pub fn existing(&self, key: FileKey, path: &Path) -> io::Result<Arc<File>> {
        match self.cached(key) {
            Some(file) => Ok(file),
            None => Ok(self.keep(key, File::options().read(true).write(true).open(path)?)),
        }
    }

    /// A file at its full length, created with its directory if it is not there.
    pub fn created(&self, key: FileKey, path: &Path, len: u64) -> io::Result<Arc<File>> {
        if let Some(file) = self.cached(key) {
            return Ok(file);
        }
        let file = match self.io.create(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
                self.io.create(path)?
            }
            other => other?,
        };
        if file.metadata()?.len() != len {
            self.io.set_len(&file, path, len)?;
        }
        Ok(self.keep(key, file))
    }

    /// Closes the files of a queue.
    pub fn forget(&self, queue: u64) {
        self.open.lock().files.retain(|key, _| key.0 != queue);
    }

    fn cached(&self, key: FileKey) -> Option<Arc<File>> {
        let mut open = self.open.lock();
        open.clock += 1;
        let clock = open.clock;
        let (file, used) = open.files.get_mut(&key)?;
        *used = clock;
        Some(Arc::clone(file))
    }

    fn keep(&self, key: FileKey, file: File) -> Arc<File> {
        let file = Arc::new(file);
        let mut open = self.open.lock();
        open.clock += 1;
        if open.files.len() >= self.capacity {
            // A quarter goes at once, so that the search for the least used is rare.
            let mut ages: Vec<u64> = open.files.values().map(|(_, used)| *used).collect();
            let quarter = ages.len() / 4;
            let (_, limit, _) = ages.select_nth_unstable(quarter);
            let limit = *limit;
            open.files.retain(|_, (_, used)| *used > limit);
        }
        let clock = open.clock;
        open.files.insert(key, (Arc::clone(&file), clock));
        file
    }
}
