//! A master without a network, whose metadata can be killed and cut.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use orbitmq_common::message::record::NewRecord;
use orbitmq_common::net::connection::Outcome;
use orbitmq_common::protocol::frame::{Encoding, Frame};
use serde::Serialize;

use crate::broker::Broker;
use crate::config::Config;
use crate::life::{self, Sockets};
use crate::refusal::Refusal;
use crate::replica::promote::{Mastership, promote};
use crate::store::Store;
use crate::store::options::IndexSize;

/// The broker, and what of its metadata a power cut leaves.
pub struct Site {
    pub dir: tempfile::TempDir,
    pub broker: Arc<Broker>,
}

impl Site {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let broker = open(dir.path()).await;
        let site = Self { dir, broker };
        site.sync().await;
        site
    }

    fn metadata(&self) -> PathBuf {
        self.dir.path().join("orbitmq")
    }

    fn synced(&self) -> PathBuf {
        self.dir.path().join("synced")
    }

    /// From now on a power cut leaves what is there now.
    pub async fn sync(&self) {
        self.broker.db.sync().await.unwrap();
        let _ = std::fs::remove_dir_all(self.synced());
        copy(&self.metadata(), &self.synced());
    }

    /// The end of the process. What of the metadata was written stays.
    pub async fn kill(&mut self) {
        self.end();
        self.broker = open(self.dir.path()).await;
    }

    /// What was not synced is gone.
    pub async fn cut_power(&mut self) {
        self.end();
        std::fs::remove_dir_all(self.metadata()).unwrap();
        copy(&self.synced(), &self.metadata());
        self.broker = open(self.dir.path()).await;
    }

    /// Starts and is killed before it is anything.
    pub async fn kill_at_start(&mut self) {
        self.end();
        self.broker = build(self.dir.path()).await;
        self.kill().await;
    }

    fn end(&self) {
        self.broker.db.abandon();
        self.broker.store.abandon();
    }

    /// A clean stop; then `meanwhile`, and a new start.
    pub async fn restart(&mut self, meanwhile: impl FnOnce(&Path)) {
        self.stop(meanwhile);
        self.broker = open(self.dir.path()).await;
    }

    /// A clean stop; then `meanwhile`, with the directory of RocketMQ's files.
    pub fn stop(&self, meanwhile: impl FnOnce(&Path)) {
        life::close_files(&self.broker);
        meanwhile(&self.dir.path().join("config"));
        let _ = std::fs::remove_dir_all(self.synced());
        copy(&self.metadata(), &self.synced());
    }

    /// Stores messages in a queue.
    pub async fn send(&self, topic: &str, queue: u32, count: usize) {
        for _ in 0..count {
            let host = self.broker.address;
            let record = NewRecord {
                topic,
                queue_id: queue,
                flag: 0,
                sys_flag: 0,
                born_timestamp: 0,
                born_host: host,
                store_host: host,
                reconsume_times: 0,
                prepared_offset: 0,
                body: b"m",
                properties: b"",
            };
            self.broker.store.append(&record).unwrap();
        }
        settle(&self.broker).await;
    }
}

/// A request with these fields.
pub fn request<T: Serialize>(code: i32, fields: &T) -> Frame {
    Frame::request(code, Encoding::Json).with_fields(fields)
}

/// What the handler answers, in the end.
pub async fn answer(frame: &Frame, outcome: Result<Outcome, Refusal>) -> Option<Frame> {
    match outcome {
        Ok(Outcome::Answer(answer)) => Some(answer),
        Ok(Outcome::Later(later)) => later.await,
        Ok(Outcome::Nothing) => None,
        Err(refusal) => Some(refusal.answer(frame)),
    }
}

async fn settle(broker: &Broker) {
    let end = broker.store.end();
    broker.store.durable(end).await.unwrap();
    broker.store.built(end).await;
}

async fn open(dir: &Path) -> Arc<Broker> {
    let broker = build(dir).await;
    settle(&broker).await;
    let epoch = broker.epochs.highest() + 1;
    promote(&broker, Mastership { epoch, in_sync: Vec::new(), lease: (Instant::now(), None) }).await.unwrap();
    broker
}

async fn build(dir: &Path) -> Arc<Broker> {
    let mut config = Config::local(dir, Vec::new());
    config.store.segment_size = 1 << 20;
    config.store.index = Some(IndexSize { slots: 1000, entries: 4000 });
    let listener = || TcpListener::bind("127.0.0.1:0").unwrap();
    let address = "127.0.0.1:10911".parse().unwrap();
    let sockets =
        Sockets { listener: listener(), ha_listener: listener(), fast_listener: None, address, ha_address: address };
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let store = Arc::new(Store::open(config.store.clone()).unwrap());
        match life::build(config.clone(), &sockets, store) {
            Ok(broker) => return Arc::new(broker),
            // The one before may not have let go of its metadata yet.
            Err(error) => assert!(Instant::now() < end, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
