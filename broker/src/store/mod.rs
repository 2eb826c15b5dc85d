//! The store: one commit log for all queues, what is derived from it, and the promises a broker makes with it.
//!
//! See `docs/store.md` for the decisions. Records enter through [`Store::append`], are durable when
//! [`Store::durable`] says so, and only then can be read.

pub mod adopt;
mod append;
pub mod bell;
pub mod builder;
pub mod checkpoint;
pub mod copy;
pub mod deletion;
pub mod derived;
pub mod due;
pub mod entry;
pub mod error;
pub mod files;
pub mod flush;
pub mod follow;
pub mod held;
pub mod identity;
pub mod index;
pub mod io;
pub mod keeper;
pub mod keys;
pub mod lock;
pub mod log;
pub mod open;
pub mod options;
pub mod progress;
pub mod queue;
pub mod queue_files;
pub mod queues;
pub mod read;
pub mod recovery;
pub mod repair;
pub mod retention;
pub mod scan;
pub mod search;
pub mod segment;
pub mod segments;
pub mod shared;
pub mod space;
pub mod stats;
pub mod tail;
pub mod traffic;
pub mod truncate;
pub mod upkeep;

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use orbitmq_common::message::record::{NewRecord, RecordView, checksum};
use parking_lot::Mutex;

use crate::store::error::{AppendError, CloseError, CopyError, OpenError, Poisoned, ReadError};
use crate::store::follow::Follower;
use crate::store::open::Threads;
use crate::store::options::Options;
use crate::store::read::{Accept, Read, ReadLimit, ReadStatus};
use crate::store::search::{Boundary, KeySearch, Query};
use crate::store::shared::Shared;
use crate::store::stats::{Counters, Pace, Stats};
use crate::store::tail::Appended;

/// A message store on one directory. Dropping it without [`Store::close`] is a crash: the next opening recovers.
#[derive(Debug)]
pub struct Store {
    shared: Arc<Shared>,
    threads: Mutex<Option<Threads>>,
}

impl Store {
    /// Opens a directory, recovers what a crash left, and locks out other brokers.
    pub fn open(options: Options) -> Result<Self, OpenError> {
        let (shared, threads) = open::open(options)?;
        Ok(Self { shared, threads: Mutex::new(Some(threads)) })
    }

    /// Appends a message. It is stored when [`Self::durable`] has resolved for its end.
    pub fn append(&self, record: &NewRecord<'_>) -> Result<Appended, AppendError> {
        let mut place = None;
        append::run(&self.shared, std::slice::from_ref(record), &mut |appended| place = Some(appended))?;
        place.ok_or(AppendError::Closed)
    }

    /// Appends messages of one queue, all or none, at successive offsets.
    pub fn append_batch(&self, records: &[NewRecord<'_>]) -> Result<Vec<Appended>, AppendError> {
        let mut places = Vec::with_capacity(records.len());
        append::run(&self.shared, records, &mut |appended| places.push(appended))?;
        Ok(places)
    }

    /// Appends two messages, of which each may be of any queue: both or none while the process lives, and side by side, so that
    /// a crash leaves the second only with the first. Returns where they are.
    pub fn append_pair(&self, pair: &[NewRecord<'_>; 2]) -> Result<[Appended; 2], AppendError> {
        append::pair(&self.shared, pair)
    }

    /// Appends what a master's log holds from `at`, this log's end, on: as many whole records as there are in `bytes`, each
    /// checked. Returns how many bytes of them are taken; the rest has to come again, with more behind it.
    pub fn replicate(&self, at: u64, bytes: &[u8]) -> Result<usize, CopyError> {
        let copied = copy::check(&self.shared.log.segments, at, bytes)?;
        if copied.end == at {
            return Ok(0);
        }
        self.shared.log.append_copied(&copied)?;
        Counters::add(&self.shared.counters.puts, copied.records as u64);
        Counters::add(&self.shared.counters.put_bytes, copied.bytes() as u64);
        Ok(usize::try_from(copied.end - at).unwrap_or(usize::MAX))
    }

    /// Lets an empty store begin at a log offset other than 0; false when it is not empty.
    pub fn begin_at(&self, offset: u64) -> bool {
        let begun = self.shared.log.begin_at(offset);
        if begun {
            self.shared.builder.begin_at(offset);
        }
        begun
    }

    /// Sets the log offset beyond which nothing is confirmed, however durable it is here: replicas have a say in it.
    /// [`Self::show_confirmed`] makes it known.
    pub fn set_ceiling(&self, ceiling: u64) {
        self.shared.log.progress.set_ceiling(ceiling);
    }

    /// Confirms nothing more until the ceiling is set anew, and tells what is confirmed.
    pub fn freeze(&self) -> u64 {
        self.shared.log.progress.freeze()
    }

    /// Wakes senders and readers of what is confirmed by now.
    pub fn show_confirmed(&self) {
        self.shared.log.progress.wake_confirmed();
        self.shared.builder.follow();
    }

    /// Has queues go on where a copied log left them. Nothing may be appended meanwhile, and all must be built.
    pub fn renumber(&self) {
        self.shared.log.renumber(&self.shared.derived.queues.all());
    }

    /// Ends all appends and acknowledgements for a reason that is no failure of the disk.
    pub fn fence(&self, reason: &str) {
        self.shared.log.poison(reason);
    }

    /// Ends without writing anything more, as a crash would; the next opening recovers.
    pub fn abandon(&self) {
        if let Some(threads) = self.threads.lock().take() {
            threads.abandon(&self.shared);
        }
    }

    /// Bytes of the log from `from` on, at most to `to`, to `max` bytes, or to the end of the segment; they may be unconfirmed.
    pub fn log_bytes(&self, from: u64, to: u64, max: u64) -> Option<Bytes> {
        let segment = self.shared.log.segments.find(from)?;
        let to = to.min(segment.end()).min(from.saturating_add(max)).min(self.written());
        segment.slice(from, to).filter(|bytes| !bytes.is_empty())
    }

    /// Bytes of a log segment.
    pub fn segment_size(&self) -> u64 {
        self.shared.log.segments.size()
    }

    /// Log offset and checksum of the last record that queues and index know.
    pub fn last_record(&self) -> Option<(u64, u32)> {
        let at = self.shared.builder.cut(|built| built.last)?;
        Some((at, self.checksum_at(at)?))
    }

    /// Checksum of the record at a log offset.
    pub fn checksum_at(&self, at: u64) -> Option<u32> {
        let sum = |record: &RecordView<'_>| checksum(record.bytes);
        self.shared.log.segments.with_record(at, self.written(), sum).ok()
    }

    /// Resolves when the log is stored up to `end`: flushed, or in async mode written. An acknowledgement waits for it.
    pub async fn durable(&self, end: u64) -> Result<(), Poisoned> {
        if self.confirmed() < end {
            self.nudge();
        }
        self.shared.log.progress.durable(end).await
    }

    /// Has what was appended stored soon, for those who do not wait for it.
    pub fn nudge(&self) {
        self.shared.flusher.nudge();
    }

    /// Offset up to which the log is in the page cache.
    pub fn written(&self) -> u64 {
        self.shared.log.progress.written()
    }

    /// Offset up to which the log is durable.
    pub fn flushed(&self) -> u64 {
        self.shared.log.progress.flushed()
    }

    /// Offset behind the last appended record.
    pub fn end(&self) -> u64 {
        self.shared.log.end()
    }

    /// Offset up to which this broker alone vouches for the log: flushed, or in async mode written.
    pub fn local(&self) -> u64 {
        self.shared.log.progress.local()
    }

    /// Woken when more is written, flushed or confirmed, and at the first failure.
    pub fn news(&self) -> &tokio::sync::Notify {
        self.shared.log.progress.news()
    }

    /// Offset up to which the log is acknowledged and readable.
    pub fn confirmed(&self) -> u64 {
        self.shared.log.progress.confirmed()
    }

    /// First offset that the log still has.
    pub fn min_physical(&self) -> u64 {
        self.shared.log.segments.start()
    }

    /// Resolves when queues and index have come to a log offset, or never will because the store is closed.
    pub fn built(&self, upto: u64) -> impl Future<Output = ()> + Send + use<> {
        let mut announced = self.shared.builder.watch();
        async move {
            let _ = announced.wait_for(|announced| announced.offset >= upto || announced.stopped).await;
        }
    }

    /// Reads messages of a queue. `accept` sees a tag's hash and a record's bytes, which are checked only afterwards.
    pub fn read(&self, topic: &str, queue_id: u32, offset: i64, limit: ReadLimit, accept: Accept<'_>) -> Read {
        match self.shared.derived.queues.get(topic, queue_id) {
            Some(queue) => read::read(&self.shared, &queue, offset, limit, accept),
            None => Read::nothing(ReadStatus::QueueMissing, 0, 0, 0),
        }
    }

    /// The record at a log offset, checked.
    pub fn record_at(&self, physical: u64) -> Result<Bytes, ReadError> {
        self.shared.record_at(physical)
    }

    /// Smallest offset of a queue that has a message, 0 for an unknown queue.
    pub fn min_offset(&self, topic: &str, queue_id: u32) -> i64 {
        let queue = self.shared.derived.queues.get(topic, queue_id);
        queue.map_or(0, |queue| self.shared.min_of(&queue).cast_signed())
    }

    /// Offset that the next readable message of a queue will have, 0 for an unknown queue.
    pub fn max_offset(&self, topic: &str, queue_id: u32) -> i64 {
        self.shared.derived.queues.get(topic, queue_id).map_or(0, |queue| queue.max().cast_signed())
    }

    /// The offset of a time, in ms: the first message not before it, or the last not after it. A time after all
    /// messages gives the queue's end, or its last message.
    pub fn offset_by_time(&self, topic: &str, queue_id: u32, timestamp: i64, boundary: Boundary) -> i64 {
        let queue = self.shared.derived.queues.get(topic, queue_id);
        queue.map_or(0, |queue| search::offset_by_time(&self.shared, &queue, timestamp, boundary).cast_signed())
    }

    /// Store time of a message, in ms.
    pub fn store_timestamp(&self, topic: &str, queue_id: u32, offset: i64) -> Option<i64> {
        let queue = self.shared.derived.queues.get(topic, queue_id)?;
        let offset = u64::try_from(offset).ok().filter(|offset| *offset < queue.max())?;
        self.shared.store_timestamp(&queue, offset)
    }

    /// Store time of the first message of the log, in ms.
    pub fn earliest_timestamp(&self) -> Option<i64> {
        let first = self.shared.log.segments.find(self.min_physical())?;
        retention::begin_time(&self.shared, &first)
    }

    /// Messages that carry a key, newest first.
    pub fn query(&self, search: KeySearch<'_>) -> Query {
        search::query(&self.shared, search)
    }

    /// Resolves when a queue, which need not exist yet, has a message beyond an offset: when its end is greater.
    pub fn wait(&self, topic: &str, queue_id: u32, beyond: i64) -> impl Future<Output = ()> + Send + use<> {
        follow::grown(Arc::clone(&self.shared.derived), Arc::from(topic), queue_id, beyond)
    }

    /// For those who follow the log or a queue without handing out its messages.
    pub fn follower(&self) -> Follower {
        Follower::new(Arc::clone(&self.shared))
    }

    /// Numbers of a topic's queues that ever had a message.
    pub fn queues(&self, topic: &str) -> Vec<u32> {
        self.shared.derived.queues.ids(topic)
    }

    /// Topics that ever had a message.
    pub fn topics(&self) -> Vec<String> {
        self.shared.derived.queues.topics()
    }

    /// Forgets a topic's queues; its records stay in the log until retention. Its queues may begin again at 0. Returns the log
    /// offset up to which its records are gone.
    pub fn delete_topic(&self, topic: &str) -> u64 {
        deletion::delete(&self.shared, topic)
    }

    /// Forgets what a topic has before a log offset, which need not have been reached yet: another broker, of which this log is a
    /// copy, has deleted it there.
    pub fn forget_topic(&self, topic: &str, upto: u64) {
        deletion::forget(&self.shared, topic, upto);
    }

    /// The store's figures.
    pub fn stats(&self) -> Stats {
        open::stats(&self.shared)
    }

    /// How fast its disk is; costs nothing.
    pub fn pace(&self) -> Pace {
        self.shared.counters.pace()
    }

    /// Why the store takes no more appends, if a write or a flush failed.
    pub fn poisoned(&self) -> Option<String> {
        self.shared.log.progress.failure().map(|poisoned: Poisoned| poisoned.reason.to_string())
    }

    /// Writes out everything, makes a checkpoint and ends. Appends are refused from now on, reads go on.
    pub fn close(&self) -> Result<(), CloseError> {
        match self.threads.lock().take() {
            Some(threads) => threads.close(&self.shared),
            None => Ok(()),
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.abandon();
    }
}

#[cfg(test)]
pub(crate) mod tests;
