//! Time to append a message of 1 KiB, to make many of them durable together, and to read them back.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a benchmark")]

use std::hint::black_box;
use std::net::SocketAddr;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use orbitmq_broker::store::Store;
use orbitmq_broker::store::error::AppendError;
use orbitmq_broker::store::options::{Flush, Options};
use orbitmq_broker::store::read::ReadLimit;
use orbitmq_common::message::record::NewRecord;
use tempfile::TempDir;
use tokio::runtime::Runtime;

const TOPIC: &str = "Bench";
const TOGETHER: u64 = 64;

struct Bench {
    store: Store,
    runtime: Runtime,
    body: Vec<u8>,
    _directory: TempDir,
}

impl Bench {
    fn new(flush: Flush) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut options = Options::new(directory.path());
        options.flush = flush;
        // What is measured must not fill the disk.
        options.segment_size = 64 << 20;
        options.retention.max_bytes = Some(512 << 20);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Self { store: Store::open(options).unwrap(), runtime, body: vec![b'x'; 1024], _directory: directory }
    }

    /// Appends to one of four queues and tells the message's end; waits when too much is on its way to the disk.
    fn append(&self, queue_id: u32) -> u64 {
        let host = SocketAddr::from(([127, 0, 0, 1], 10_911));
        let record = NewRecord {
            topic: TOPIC,
            queue_id,
            flag: 0,
            sys_flag: 0,
            born_timestamp: 1,
            born_host: host,
            store_host: host,
            reconsume_times: 0,
            prepared_offset: 0,
            body: &self.body,
            properties: b"TAGS\x01paid\x02",
        };
        loop {
            match self.store.append(&record) {
                Ok(appended) => return appended.end,
                Err(AppendError::Busy { .. }) => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn append_durably(&self, count: u64) {
        let end = (0..count).map(|_| self.append(fastrand::u32(0..4))).max().unwrap_or(0);
        self.runtime.block_on(self.store.durable(end)).unwrap();
    }
}

fn appends(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append");
    for (name, flush) in [("async", Flush::Async), ("sync", Flush::Sync)] {
        let bench = Bench::new(flush);
        for count in [1, TOGETHER] {
            group.throughput(Throughput::Elements(count));
            group.bench_function(format!("{name}, {count} together"), |bencher| {
                bencher.iter(|| bench.append_durably(count));
            });
        }
    }
    group.finish();
}

fn reads(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read");
    let bench = Bench::new(Flush::Async);
    bench.append_durably(20_000);
    bench.runtime.block_on(bench.store.built(bench.store.confirmed()));
    for max_messages in [1, 32] {
        group.throughput(Throughput::Elements(max_messages));
        let limit = ReadLimit { max_messages: usize::try_from(max_messages).unwrap(), max_bytes: 256 << 10 };
        let last = bench.store.max_offset(TOPIC, 0) - i64::try_from(max_messages).unwrap();
        group.bench_function(format!("{max_messages} together"), |bencher| {
            bencher.iter(|| {
                let read = bench.store.read(TOPIC, 0, fastrand::i64(0..last), limit, &mut |_, _| true);
                black_box(read.bytes)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, appends, reads);
criterion_main!(benches);
