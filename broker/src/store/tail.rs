//! The growing end of the commit log: records and their offsets before the flusher takes them.

use orbitmq_common::clock::now_ms;
use orbitmq_common::message::entry;
use orbitmq_common::message::record::{self, RecordError};

use crate::store::copy::Copied;
use crate::store::error::{AppendError, Poisoned};
use crate::store::queue::Queue;
use crate::store::segments::Segments;

/// Where a record went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Its offset in the log.
    pub physical_offset: u64,
    /// Its offset in the queue.
    pub queue_offset: u64,
    /// Log offset behind it: what to wait for.
    pub end: u64,
    /// When it was stored, in ms.
    pub store_timestamp: i64,
}

/// Encoded records on their way into the log, all of one queue.
#[derive(Debug, Clone, Copy)]
pub struct Encoded<'a> {
    /// The records one after the other.
    pub bytes: &'a [u8],
    /// Length of each.
    pub lengths: &'a [usize],
    /// Whether they take offsets of their queue; half messages of the old kind and rollbacks do not.
    pub numbered: bool,
}

/// Encoded records with their queue.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// The queue.
    pub queue: &'a Queue,
    /// The records.
    pub records: Encoded<'a>,
}

impl Part<'_> {
    /// Gives back the offsets that its records took last of all in their queue.
    fn take_back(&self) {
        if self.records.numbered {
            self.queue.set_next(self.queue.next() - self.records.lengths.len() as u64);
        }
    }
}

/// Bytes for the flusher: runs that are contiguous in the log.
#[derive(Debug, Default)]
pub struct Batch {
    /// All bytes.
    pub bytes: Vec<u8>,
    /// Log offset and position in `bytes` of the beginning of each run; a run ends where the next begins.
    pub runs: Vec<(u64, usize)>,
    /// Log offset behind the last byte.
    pub end: u64,
    /// Number of records.
    pub records: usize,
}

/// The growing end; held under the log's lock.
#[derive(Debug)]
pub struct Tail {
    /// What was appended since the flusher took the last batch.
    pub batch: Batch,
    /// Offset behind the last record.
    pub end: u64,
    /// Offset up to which disk space is reserved.
    pub limit: u64,
    /// Store time of the last record, in ms.
    pub timestamp: i64,
    /// Whether the flusher has to be woken.
    pub flusher_sleeps: bool,
    /// Whether more is taken.
    pub state: State,
}

/// Whether the log takes appends.
#[derive(Debug, Clone)]
pub enum State {
    /// Appends are taken.
    Open,
    /// What was appended is written yet, no more is taken.
    Draining,
    /// Nothing is written any more.
    Closed,
    /// A write or a flush has failed, or another broker is master.
    Poisoned(Poisoned),
}

/// Whether a record and a filler behind it fit into the segment of an offset.
pub fn fits(segments: &Segments, end: u64, len: usize) -> bool {
    let rest = segments.base_of(end) + segments.size() - end;
    (len + record::FILLER_MIN) as u64 <= rest
}

impl Tail {
    /// Whether the log takes appends.
    pub fn check(&self) -> Result<(), AppendError> {
        match &self.state {
            State::Open => Ok(()),
            State::Draining | State::Closed => Err(AppendError::Closed),
            State::Poisoned(poisoned) => Err(AppendError::Poisoned(poisoned.clone())),
        }
    }

    /// Places records, all or none.
    pub fn place(
        &mut self,
        segments: &Segments,
        parts: &[Part<'_>],
        placed: &mut dyn FnMut(Appended),
    ) -> Result<(), RecordError> {
        let timestamp = now_ms().max(self.timestamp);
        let (bytes, runs, end) = (self.batch.bytes.len(), self.batch.runs.len(), self.end);
        for (index, part) in parts.iter().enumerate() {
            let first = part.queue.next();
            if let Err(error) = self.place_part(segments, part, timestamp, placed) {
                self.batch.bytes.truncate(bytes);
                self.batch.runs.truncate(runs);
                self.end = end;
                part.queue.set_next(first);
                parts.iter().take(index).rev().for_each(Part::take_back);
                return Err(error);
            }
        }
        self.timestamp = timestamp;
        self.batch.end = self.end;
        self.batch.records += parts.iter().map(|part| part.records.lengths.len()).sum::<usize>();
        Ok(())
    }

    fn place_part(
        &mut self,
        segments: &Segments,
        part: &Part<'_>,
        timestamp: i64,
        placed: &mut dyn FnMut(Appended),
    ) -> Result<(), RecordError> {
        let Part { queue, records } = *part;
        let mut rest = records.bytes;
        let mut queue_offset = if records.numbered { queue.next() } else { 0 };
        for len in records.lengths {
            let (record, others) = rest.split_at_checked(*len).unwrap_or((rest, &[]));
            rest = others;
            placed(self.place_one(segments, record, queue_offset, timestamp)?);
            queue_offset += u64::from(records.numbered);
        }
        if records.numbered {
            queue.set_next(queue_offset);
        }
        Ok(())
    }

    fn place_one(
        &mut self,
        segments: &Segments,
        record: &[u8],
        queue_offset: u64,
        store_timestamp: i64,
    ) -> Result<Appended, RecordError> {
        self.begin_run();
        if !fits(segments, self.end, record.len()) {
            self.roll(segments);
        }
        let start = self.batch.bytes.len();
        self.batch.bytes.extend_from_slice(record);
        let physical_offset = self.end;
        if let Some(sealed) = self.batch.bytes.get_mut(start..) {
            record::seal(sealed, queue_offset, physical_offset, store_timestamp)?;
        }
        self.end += record.len() as u64;
        Ok(Appended { physical_offset, queue_offset, end: self.end, store_timestamp })
    }

    /// Takes over what another log holds from this one's end on.
    pub fn copy(&mut self, copied: &Copied<'_>) {
        for piece in &copied.pieces {
            self.begin_run();
            self.batch.bytes.extend_from_slice(piece.bytes);
            self.end = piece.rolls_to.unwrap_or(self.end + piece.bytes.len() as u64);
        }
        self.batch.end = self.end;
        self.batch.records += copied.records;
        self.timestamp = self.timestamp.max(copied.timestamp);
    }

    /// Begins a run at the log's end, unless the last one reaches up to there.
    fn begin_run(&mut self) {
        let len = self.batch.bytes.len();
        let follows = self.batch.runs.last().is_some_and(|(offset, start)| offset + (len - start) as u64 == self.end);
        if !follows {
            self.batch.runs.push((self.end, len));
        }
    }

    /// Ends the segment with a filler; the zeros behind its head are in the file already.
    fn roll(&mut self, segments: &Segments) {
        let next = segments.base_of(self.end) + segments.size();
        let rest = usize::try_from(next - self.end).unwrap_or(0);
        self.batch.bytes.extend(entry::encode_filler(rest).into_iter().flatten());
        self.batch.runs.push((next, self.batch.bytes.len()));
        self.end = next;
    }
}
