//! Opening a directory: finds the log's end, brings queues and index level with it, and clears what a crash left.
//!
//! A record counts only by its checksums and its own log offset. The log ends at the first bytes that are no record; what
//! lies behind them in the same segment was never flushed as a whole, hence never acknowledged: it is set aside, then
//! zeroed, so that it can not come back between later records. A later segment with sound records proves that the one
//! before it was flushed: then the gap is damage, and opening refuses (or skips it, by option).

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;

use orbitmq_common::message::record::{RecordView, checksum};

use crate::store::adopt::{self, LogEnd};
use crate::store::builder::Built;
use crate::store::checkpoint::Checkpoint;
use crate::store::derived::Derived;
use crate::store::error::OpenError;
use crate::store::flush::{POISON_NOTE, durable_by};
use crate::store::index::{Home, Index, IndexMark, MERGE_AT};
use crate::store::io::{Io, write_all_at};
use crate::store::options::{OnHole, Options};
use crate::store::queues::Queues;
use crate::store::repair;
use crate::store::scan::{self, Step, Trust};
use crate::store::segment::{Segment, file_base, file_name};
use crate::store::segments::Segments;
use crate::store::stats::Counters;

/// What recovery hands on.
#[derive(Debug)]
pub struct Opened {
    /// The log's files.
    pub segments: Arc<Segments>,
    /// Queues and index, level with the log.
    pub derived: Derived,
    /// The log's end.
    pub built: Built,
    /// Records before this offset were not checked by this opening.
    pub checked_from: u64,
}

/// Reads the segments of the log's directory.
pub fn load_segments(options: &Options, dir: &Path) -> Result<Segments, OpenError> {
    let listing = std::fs::read_dir(dir).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut bases = Vec::new();
    for entry in listing.map_err(OpenError::io("list", dir))? {
        let path = entry.path();
        let Some(base) = entry.file_name().to_str().and_then(file_base) else {
            tracing::warn!(file = %path.display(), "a foreign file in the log's directory is left alone");
            continue;
        };
        bases.push((base, entry.metadata().map_err(OpenError::io("look at", &path))?.len()));
    }
    bases.sort_unstable();
    // A file that got its name but not yet its length.
    while let Some((base, 0)) = bases.last() {
        let path = dir.join(file_name(*base));
        options.io.remove(&path).map_err(OpenError::io("remove", &path))?;
        bases.pop();
    }
    let size = bases.first().map_or(options.segment_size, |first| first.1);
    if size != options.segment_size {
        tracing::warn!(size, wanted = options.segment_size, "the directory's segments have another size: it is kept");
    }
    let mut list = VecDeque::with_capacity(bases.len());
    let mut expected = bases.first().map_or(0, |first| first.0);
    for (base, len) in bases {
        let path = dir.join(file_name(base));
        if len != size || base.checked_rem(size) != Some(0) {
            return Err(OpenError::SegmentLength { path, len, expected: size });
        }
        if base != expected {
            return Err(OpenError::MissingSegment { dir: dir.to_owned(), missing: expected });
        }
        list.push_back(Arc::new(Segment::open(dir, base, size).map_err(OpenError::io("open", &path))?));
        expected = base.saturating_add(size);
    }
    Ok(Segments::new(Arc::clone(&options.io), dir.to_owned(), size, list))
}

/// Recovers the store of a locked directory.
pub fn open(options: &Options, aborted: bool, counters: &Arc<Counters>) -> Result<Opened, OpenError> {
    let segments = Arc::new(load_segments(options, &options.dir.join("commitlog"))?);
    let checkpoint = Checkpoint::load(&options.dir).filter(|checkpoint| fits(checkpoint, &segments, options));
    let recovery = Recovery { options, segments, checkpoint, aborted };
    recovery.run(counters)
}

/// Whether a checkpoint speaks of this log.
fn fits(checkpoint: &Checkpoint, segments: &Segments, options: &Options) -> bool {
    let inside = checkpoint.offset >= segments.start() && checkpoint.offset <= segments.end();
    let same = checkpoint.witness.is_none_or(|(at, sum)| {
        at < segments.start()
            || match sound_record(segments, at, checkpoint.offset) {
                Some(found) => found == sum,
                // Damaged at rest, if its end is still one.
                None => is_bad(segments, at) && !is_bad(segments, checkpoint.offset),
            }
    });
    let fits = inside && same && checkpoint.queue_file_entries == options.queue_file_entries;
    if !fits {
        tracing::warn!("the checkpoint does not fit the log: the log is read from its beginning");
    }
    fits
}

fn sound_record(segments: &Segments, at: u64, end: u64) -> Option<u32> {
    let sound = |record: &RecordView<'_>| record.verify().is_ok().then(|| checksum(record.bytes));
    segments.with_record(at, end, sound).ok().flatten()
}

fn is_bad(segments: &Segments, at: u64) -> bool {
    let bad = |segment: &Segment| matches!(scan::step(segment, at, segment.end(), Trust::Checksum), Step::Bad(_));
    segments.find(at).is_some_and(|segment| bad(&segment))
}

struct Recovery<'a> {
    options: &'a Options,
    segments: Arc<Segments>,
    checkpoint: Option<Checkpoint>,
    aborted: bool,
}

impl Recovery<'_> {
    fn run(self, counters: &Arc<Counters>) -> Result<Opened, OpenError> {
        let from = self.checkpoint.as_ref().map_or(self.segments.start(), |checkpoint| checkpoint.offset);
        self.rewrite_after_poison(from)?;
        let (derived, from) = self.derived(from, counters)?;
        let start = Built {
            offset: from,
            last: self.checkpoint.as_ref().and_then(|checkpoint| checkpoint.witness).map(|witness| witness.0),
            timestamp: self.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.timestamp),
        };
        let (built, damage) = self.scan(&derived, start)?;
        if self.aborted || damage.is_some() {
            self.clear_behind(built.offset, damage.as_deref())?;
        }
        finish_queues(&self, &derived, built.offset)?;
        tracing::info!(from, to = built.offset, clean = !self.aborted, "the log is recovered");
        let Self { segments, .. } = self;
        Ok(Opened { segments, derived, built, checked_from: from })
    }

    /// Queues and index as the checkpoint describes them, or empty ones to be built from the log's beginning.
    fn derived(&self, from: u64, counters: &Arc<Counters>) -> Result<(Derived, u64), OpenError> {
        let options = self.options;
        let mark = self.checkpoint.as_ref().map(|checkpoint| &checkpoint.index);
        let mut from = from;
        // One that stands at the log's beginning vouches for no file.
        let mut trusted = self.checkpoint.as_ref().filter(|checkpoint| checkpoint.offset > self.segments.start());
        let index = match (options.index, mark) {
            (None, _) => None,
            (Some(size), mark) => {
                let home = Home {
                    io: Arc::clone(&options.io),
                    dir: options.dir.clone(),
                    size,
                    log: Arc::clone(&self.segments),
                    counters: Arc::clone(counters),
                };
                let open = |mark: &IndexMark| Index::open(home.clone(), mark, self.aborted);
                let opened = mark.map_or(Ok(None), open);
                match opened.map_err(OpenError::io("open", &home.index()))? {
                    Some(index) => Some(index),
                    None => {
                        from = self.segments.start();
                        trusted = None;
                        let dir = home.index();
                        Some(Index::create(home).map_err(OpenError::io("clear", &dir))?)
                    }
                }
            }
        };
        let queues = Queues::new(options.dir.join("consumequeue"), options.queue_file_entries);
        let start = self.segments.start();
        let same_start = trusted.is_some_and(|checkpoint| checkpoint.min_physical == start);
        for mark in self.checkpoint.iter().flat_map(|checkpoint| &checkpoint.queues) {
            // Without trust in the files a queue's offsets are still known: they must neither repeat nor skip.
            let known = trusted.map(|_| (mark.min, mark.max));
            let queue = queues.insert(&mark.topic, mark.id, known);
            queue.set_known(from);
            if same_start {
                // Not looked for in entries, of which a damaged one may claim that its record is gone.
                queue.set_min(mark.min, start);
            }
        }
        let delays = options.delay_levels.iter().map(|delay| i64::try_from(delay.as_millis()).unwrap_or(i64::MAX));
        let derived = Derived::new(queues, index, Arc::clone(&options.io), delays.collect(), Arc::clone(counters));
        let deleted = self.checkpoint.iter().flat_map(|checkpoint| checkpoint.deleted.iter().cloned());
        derived.deleted.write().extend(deleted);
        Ok((derived, from))
    }

    /// Enters every sound record; ends at the log's end.
    fn scan(&self, derived: &Derived, start: Built) -> Result<(Built, Option<String>), OpenError> {
        let mut built = start;
        loop {
            let mut failure = None;
            let (at, bad) =
                scan::walk(&self.segments, built.offset, self.segments.end(), Trust::Checksum, &mut |view| {
                    let entered = enter(derived, view);
                    built.last = Some(view.physical_offset);
                    built.timestamp = built.timestamp.max(view.store_timestamp);
                    failure = entered.err();
                    failure.is_none()
                });
            built.offset = at;
            if let Some(error) = failure {
                return Err(OpenError::io("rebuild", derived.queues.dir())(error));
            }
            let clean = bad.is_none() && !self.aborted;
            let Some(next) = (if clean { None } else { self.hole(at) }) else { return Ok((built, bad)) };
            let reason = bad.unwrap_or_else(|| "zeros where a record should be".to_owned());
            if self.options.on_hole == OnHole::Refuse {
                let segment = self.segments.find(at).map(|segment| segment.path().to_owned()).unwrap_or_default();
                return Err(OpenError::Hole { at, next, segment, reason });
            }
            tracing::error!(at, next, reason, "a hole in the log is skipped: what was in it is lost");
            built.offset = next;
        }
    }

    /// The next sound record, if a later segment than that of `at` has one.
    fn hole(&self, at: u64) -> Option<u64> {
        let segment = self.segments.find(at)?;
        // At a segment's first byte the segment before it ended as it should.
        let proof = scan::find_sound(&self.segments, segment.end())?;
        Some(scan::find_sound(&self.segments, at.saturating_add(1)).unwrap_or(proof))
    }

    /// Zeroes what lies behind the log's end, and removes the segments behind it.
    fn clear_behind(&self, end: u64, damage: Option<&str>) -> Result<(), OpenError> {
        let in_use = self.segments.find(end);
        while self.segments.snapshot().last().is_some_and(|last| last.base() > end) {
            self.segments.remove_last().map_err(OpenError::io("remove a segment of", self.segments.dir()))?;
        }
        // Recovered records may be in the page cache only; from now on they count as flushed.
        if let Some(last) = end.checked_sub(1).and_then(|last| self.segments.find(last)) {
            let synced = last.writer().and_then(|file| self.options.io.sync_data(&file, last.path()));
            synced.map_err(OpenError::io("flush", last.path()))?;
        }
        let Some(segment) = in_use else { return Ok(()) };
        if let Some(sound) = scan::find_sound(&self.segments, end) {
            self.set_aside(&segment, end, sound)?;
        } else if let Some(reason) = damage {
            tracing::warn!(at = end, reason, "the log ended in the middle of a record that was not acknowledged");
        }
        let cleared = segment.writer().and_then(|file| {
            for range in scan::written_ranges(&segment, end) {
                let len = range.end - range.start;
                self.options.io.zero(&file, segment.path(), range.start - segment.base(), len)?;
            }
            self.options.io.sync_data(&file, segment.path())
        });
        cleared.map_err(OpenError::io("clear the end of", segment.path()))
    }

    /// Keeps a copy of sound records that lie behind the log's end; they were not acknowledged, unless the disk lies.
    fn set_aside(&self, segment: &Segment, end: u64, sound: u64) -> Result<(), OpenError> {
        let dir = self.options.dir.join("orbitmq.lost");
        let path = dir.join(file_name(end));
        let behind = scan::written_ranges(segment, end).last().map_or(sound, |range| range.end);
        tracing::warn!(at = end, sound, copy = %path.display(), "records behind a torn one are set aside");
        let copied = std::fs::create_dir_all(&dir).and_then(|()| {
            let file = self.options.io.create(&path)?;
            let bytes = segment.view(end, behind).unwrap_or_default();
            let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            write_all_at(&*self.options.io, &file, &path, bytes.get(..used).unwrap_or_default(), 0)
        });
        copied.map_err(OpenError::io("set aside", &path))
    }

    /// After a failed flush the page cache may show bytes that the disk never got, and a later flush would not write
    /// them: they are written again. What was durable before is left alone: the disk that failed may fail while it is written.
    fn rewrite_after_poison(&self, from: u64) -> Result<(), OpenError> {
        let note = self.options.dir.join(POISON_NOTE);
        if !note.exists() {
            return Ok(());
        }
        let durable = std::fs::read_to_string(&note).ok().and_then(|text| durable_by(&text));
        let from = durable.map_or(from, |durable| durable.max(from));
        for segment in self.segments.snapshot().iter().filter(|segment| segment.end() > from) {
            let rewritten = rewrite(&*self.options.io, segment, from.max(segment.base()));
            rewritten.map_err(OpenError::io("write again", segment.path()))?;
        }
        self.options.io.remove(&note).map_err(OpenError::io("remove", &note))
    }
}

fn rewrite(io: &dyn Io, segment: &Segment, from: u64) -> io::Result<()> {
    let file = segment.writer()?;
    let mut copy = Vec::new();
    for range in scan::written_ranges(segment, from) {
        let bytes = segment.view(range.start, range.end).unwrap_or_default();
        for (index, piece) in bytes.chunks(1 << 20).enumerate() {
            let at = range.start - segment.base() + ((index as u64) << 20);
            // By way of a copy: the piece is a view of the very pages that are written.
            copy.clear();
            copy.extend_from_slice(piece);
            write_all_at(io, &file, segment.path(), &copy, at)?;
        }
    }
    io.sync_data(&file, segment.path())
}

fn enter(derived: &Derived, view: &RecordView<'_>) -> io::Result<()> {
    derived.apply(view);
    if derived.waiting() >= 4 * MERGE_AT { derived.write_out(u64::MAX) } else { Ok(()) }
}

/// Looks after queues that the scan did not meet, or whose files are not what they should be.
fn finish_queues(recovery: &Recovery<'_>, derived: &Derived, end: u64) -> Result<(), OpenError> {
    let dir = derived.queues.dir();
    let marks = recovery.checkpoint.as_ref().map(|checkpoint| checkpoint.queues.as_slice());
    let log = LogEnd { offset: end, gone: recovery.segments.count() == 0 };
    adopt::adopt(derived, log, marks.unwrap_or_default(), marks.is_none()).map_err(OpenError::io("read", dir))?;
    let broken = adopt::broken(derived, recovery.aborted).map_err(OpenError::io("look at", dir))?;
    if !broken.is_empty() {
        tracing::warn!(queues = broken.len(), "queue files are missing or short: they are built again from the log");
        repair::rebuild(&recovery.segments, derived, &broken, end).map_err(OpenError::io("rebuild", dir))?;
    }
    for queue in derived.queues.all() {
        queue.set_next(queue.max());
    }
    Ok(())
}
