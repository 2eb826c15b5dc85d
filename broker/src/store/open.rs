//! Building an open store, and the order in which its threads start and end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;

use crate::store::bell::Bell;
use crate::store::builder::Builder;
use crate::store::error::{CloseError, OpenError};
use crate::store::flush::{BackgroundFlush, Flusher, flush_or_poison};
use crate::store::keeper::{Keeper, make_checkpoint};
use crate::store::lock::DirLock;
use crate::store::log::{CommitLog, Recovered};
use crate::store::options::{Flush, Options};
use crate::store::progress::Progress;
use crate::store::recovery;
use crate::store::repair::Repair;
use crate::store::shared::Shared;
use crate::store::space::{Ahead, Space};
use crate::store::stats::{Counters, Stats};

/// The threads of an open store, and its lock.
#[derive(Debug)]
pub struct Threads {
    flusher: JoinHandle<()>,
    builder: JoinHandle<()>,
    helpers: Vec<(Arc<Bell>, JoinHandle<()>)>,
    stop: Arc<AtomicBool>,
    lock: DirLock,
}

/// Opens a directory and starts the threads.
pub fn open(options: Options) -> Result<(Arc<Shared>, Threads), OpenError> {
    if options.segment_size < 4_096 || options.segment_size > i32::MAX as u64 || !options.segment_size.is_multiple_of(8)
    {
        return Err(OpenError::Options("a segment takes 4 KiB to 2 GiB, a multiple of 8 bytes: change segment_size"));
    }
    for dir in ["commitlog", "consumequeue", "index"].map(|name| options.dir.join(name)) {
        std::fs::create_dir_all(&dir).map_err(OpenError::io("create", &dir))?;
    }
    options.io.sync_dir(&options.dir).map_err(OpenError::io("flush", &options.dir))?;
    let lock = DirLock::take(&options.dir)?;
    let counters = Arc::new(Counters::default());
    let opened = recovery::open(&options, lock.was_aborted(), &counters)?;
    lock.mark(&*options.io)?;

    let end = opened.built.offset;
    let io = Arc::clone(&options.io);
    let ahead = options.reserve_ahead.min(opened.segments.size() / 2);
    let space = Space::new(Arc::clone(&io), Ahead { bytes: ahead, ..Ahead::of(&options) }, end);
    let progress = Progress::new(options.flush, options.replicated, end);
    let recovered = Recovered { offset: end, timestamp: opened.built.timestamp };
    let log = Arc::new(CommitLog::new(opened.segments, progress, space, recovered, options.max_unflushed));
    let derived = Arc::new(opened.derived);
    let keep_bell = Arc::new(Bell::default());
    let builder = Arc::new(Builder::new(
        Arc::clone(&log),
        Arc::clone(&derived),
        opened.built,
        Arc::default(),
        Arc::clone(&keep_bell),
    ));
    let flusher = Arc::new(Flusher {
        log: Arc::clone(&log),
        io,
        flush: options.flush,
        counters: Arc::clone(&counters),
        builder: Arc::clone(&builder),
        hand: Mutex::default(),
    });
    let shared = Arc::new(Shared {
        options,
        log,
        derived,
        flusher,
        builder,
        repair: Repair::default(),
        chores: Mutex::new(()),
        counters,
        checked_from: opened.checked_from,
    });
    let threads = Threads::start(&shared, keep_bell, lock)?;
    Ok((shared, threads))
}

impl Threads {
    fn start(shared: &Arc<Shared>, keep_bell: Arc<Bell>, lock: DirLock) -> Result<Self, OpenError> {
        let stop = Arc::new(AtomicBool::new(false));
        let log = &shared.log;
        let flusher = Arc::clone(&shared.flusher);
        let builder = Arc::clone(&shared.builder);
        let recovered = builder.offset() > shared.checked_from;
        let keeper =
            Keeper { shared: Arc::clone(shared), bell: Arc::clone(&keep_bell), stop: Arc::clone(&stop), recovered };
        let mut helpers = vec![(keep_bell, spawn(shared, "store-keep", || keeper.run())?)];
        let space = Reserver { shared: Arc::clone(shared), stop: Arc::clone(&stop) };
        helpers.push((Arc::clone(&log.space_bell), spawn(shared, "store-space", || space.run())?));
        if shared.options.flush == Flush::Async {
            let bell = Arc::new(Bell::default());
            let background = BackgroundFlush {
                flusher: Arc::clone(&shared.flusher),
                every: shared.options.flush_every,
                stop: Arc::clone(&stop),
                bell: Arc::clone(&bell),
            };
            helpers.push((bell, spawn(shared, "store-sync", || background.run())?));
        }
        let builder = spawn(shared, "store-build", move || builder.run())?;
        let flusher = spawn(shared, "store-flush", move || flusher.run())?;
        log.space_bell.ring();
        Ok(Self { flusher, builder, helpers, stop, lock })
    }

    /// Writes everything out, in the order in which it depends on each other.
    pub fn close(self, shared: &Shared) -> Result<(), CloseError> {
        shared.log.close(true);
        join(self.flusher);
        shared.builder.stop();
        join(self.builder);
        shared.builder.finish(true);
        self.stop.store(true, Ordering::Release);
        for (bell, thread) in self.helpers {
            bell.ring();
            join(thread);
        }
        flush_or_poison(&shared.log, &*shared.options.io, &shared.counters);
        let _chores = shared.chores.lock();
        let checkpointed = shared.derived.write_out(u64::MAX).and_then(|()| make_checkpoint(shared));
        match shared.log.progress.failure() {
            Some(poisoned) => return Err(poisoned.into()),
            None => shared.log.progress.fail("the store is closed".into()),
        }
        checkpointed?;
        Ok(self.lock.unmark(&*shared.options.io)?)
    }

    /// Ends without writing anything more, as a crash would.
    pub fn abandon(self, shared: &Shared) {
        shared.log.close(false);
        join(self.flusher);
        shared.builder.stop();
        join(self.builder);
        shared.builder.finish(false);
        self.stop.store(true, Ordering::Release);
        for (bell, thread) in self.helpers {
            bell.ring();
            join(thread);
        }
        shared.log.progress.fail("the store was dropped without being closed".into());
    }
}

/// Reserves disk space ahead of the log's end.
struct Reserver {
    shared: Arc<Shared>,
    stop: Arc<AtomicBool>,
}

impl Reserver {
    fn run(self) {
        let log = &self.shared.log;
        let mut at_most = Duration::from_secs(60);
        while !self.stop.load(Ordering::Acquire) {
            log.space_bell.wait(at_most);
            // What is refused here is refused to an appender, who is told; it is tried again until it works.
            let refused = log.wanted().is_some_and(|wanted| log.reserve(wanted).is_err());
            at_most = if refused { self.shared.options.reserve_retry } else { Duration::from_secs(60) };
        }
    }
}

/// The figures of an open store.
pub fn stats(shared: &Shared) -> Stats {
    let (counters, log) = (&shared.counters, &shared.log);
    let get = Counters::get;
    let (free, total) = shared.options.io.usage(&shared.options.dir).unwrap_or((1, 1));
    let built = shared.builder.offset();
    Stats {
        puts: get(&counters.puts),
        put_bytes: get(&counters.put_bytes),
        refused_full: get(&counters.refused_full),
        refused_busy: get(&counters.refused_busy),
        batches: get(&counters.batches),
        flushes: get(&counters.flushes),
        flush_time: Duration::from_micros(get(&counters.flush_micros)),
        flush_max: Duration::from_micros(get(&counters.flush_max_micros)),
        damaged: get(&counters.damaged),
        repaired: get(&counters.repaired),
        index_mended: get(&counters.index_mended),
        derived_failures: get(&counters.derived_failures),
        deleted_segments: get(&counters.deleted_segments),
        unplaced: get(&counters.unplaced),
        checkpoints: get(&counters.checkpoints),
        segments: log.segments.count(),
        min_physical: log.segments.start(),
        end: log.end(),
        behind: log.progress.confirmed().saturating_sub(built),
        unflushed: log.unflushed(),
        disk_ratio: 1.0 - free as f64 / total.max(1) as f64,
        disk_full: log.space.full(),
        poisoned: log.progress.failure().map(|poisoned| poisoned.reason),
        queues: shared.derived.queues.count(),
    }
}

/// A missing file is as good as a removed one.
pub fn ignore_missing(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

fn spawn(shared: &Shared, name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(body);
    thread.map_err(OpenError::io("start a thread for", &shared.options.dir))
}

fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("a thread of the store panicked");
    }
}
