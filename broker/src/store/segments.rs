//! The segments of the log in order.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use orbitmq_common::message::record::{RecordError, RecordView};
use parking_lot::RwLock;

use crate::store::io::Io;
use crate::store::segment::Segment;

/// The files of the log, each beginning where the one before it ends.
#[derive(Debug)]
pub struct Segments {
    io: Arc<dyn Io>,
    dir: PathBuf,
    size: u64,
    list: RwLock<VecDeque<Arc<Segment>>>,
}

impl Segments {
    /// The segments of a directory, in order and without gaps.
    pub fn new(io: Arc<dyn Io>, dir: PathBuf, size: u64, list: VecDeque<Arc<Segment>>) -> Self {
        Self { io, dir, size, list: RwLock::new(list) }
    }

    /// Bytes of every segment.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The log's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Number of segments.
    pub fn count(&self) -> usize {
        self.list.read().len()
    }

    /// The segments as they are now.
    pub fn snapshot(&self) -> Vec<Arc<Segment>> {
        self.list.read().iter().cloned().collect()
    }

    /// First offset of the log.
    pub fn start(&self) -> u64 {
        self.list.read().front().map_or(0, |segment| segment.base())
    }

    /// Offset behind the last segment.
    pub fn end(&self) -> u64 {
        self.list.read().back().map_or(0, |segment| segment.end())
    }

    /// First offset of the segment in which an offset lies.
    pub fn base_of(&self, offset: u64) -> u64 {
        offset.checked_rem(self.size).map_or(0, |within| offset - within)
    }

    /// The segment of an offset.
    pub fn find(&self, offset: u64) -> Option<Arc<Segment>> {
        let list = self.list.read();
        let within = offset.checked_sub(list.front()?.base())?;
        let index = usize::try_from(within.checked_div(self.size)?).ok()?;
        list.get(index).cloned()
    }

    /// Creates the next segment, or the first one at an offset.
    pub fn create(&self, base: u64) -> io::Result<Arc<Segment>> {
        let segment = Arc::new(Segment::create(&*self.io, &self.dir, base, self.size)?);
        self.list.write().push_back(Arc::clone(&segment));
        Ok(segment)
    }

    /// Unlinks the first segment; who still reads it may go on.
    pub fn remove_first(&self) -> io::Result<()> {
        let Some(segment) = self.list.read().front().cloned() else { return Ok(()) };
        self.io.remove(segment.path())?;
        self.list.write().pop_front();
        self.io.sync_dir(&self.dir)
    }

    /// Unlinks the last segment.
    pub fn remove_last(&self) -> io::Result<()> {
        let Some(segment) = self.list.read().back().cloned() else { return Ok(()) };
        self.io.remove(segment.path())?;
        self.list.write().pop_back();
        self.io.sync_dir(&self.dir)
    }

    /// Bytes of the log, which may not cross a segment's end.
    pub fn slice(&self, from: u64, to: u64) -> Option<Bytes> {
        self.find(from)?.slice(from, to)
    }

    /// Looks at the record at an offset, of which no byte lies behind `end`.
    pub fn with_record<T>(
        &self,
        offset: u64,
        end: u64,
        look: impl FnOnce(&RecordView<'_>) -> T,
    ) -> Result<T, RecordError> {
        let missing = RecordError::Truncated { needed: 1, available: 0 };
        let segment = self.find(offset).ok_or_else(|| missing.clone())?;
        let view = segment.view(offset, end.min(segment.end())).ok_or(missing)?;
        let record = RecordView::parse(view)?;
        if record.physical_offset != offset {
            return Err(RecordError::Field("physical offset (the record belongs elsewhere)"));
        }
        Ok(look(&record))
    }
}
