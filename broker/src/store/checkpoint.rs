//! Checkpoints: up to where queues and index are complete on disk, so that opening reads only the log behind it.
//!
//! `orbitmq.checkpoint` is ours: checksummed, replaced as a whole, believed only if it fits the log; without it the log
//! is read from its beginning. `checkpoint` is RocketMQ's: times that tell it from which segment to recover.
//!
//! ```text
//! magic 8 | length of the rest 4 | checksum of the rest 4 |
//! log offset 8 | last record: offset 8, checksum 4 | first log offset 8 | store time 8 | queue file entries 8 |
//! index files 4: (name length 2, name, next entry 4) … |
//! deleted topics 4: (name length 2, name, log offset 8) … | queues 4: (topic length 2, topic, id 4, min 8, max 8) …
//! ```

use std::io;
use std::path::Path;
use std::sync::Arc;

use orbitmq_common::message::record::checksum;

use crate::store::index::IndexMark;
use crate::store::io::{Io, write_all_at};

/// Name of our file.
pub const FILE: &str = "orbitmq.checkpoint";
/// The same once more: it holds what the log does not know (deleted topics, offsets of empty queues), so one bad sector must
/// not cost it.
const COPY: &str = "orbitmq.checkpoint.copy";
/// Names of our files, in the order in which they are written and believed.
pub const FILES: [&str; 2] = [FILE, COPY];
/// Name of RocketMQ's file.
pub const PEER_FILE: &str = "checkpoint";
const PEER_LEN: u64 = 4_096;
const MAGIC: &[u8; 8] = b"ORBITMQ\x01";

/// The state of the derived files at one log offset.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checkpoint {
    /// Every record before this log offset is in the queue and index files.
    pub offset: u64,
    /// A record before that offset and its checksum: the log is still the same if they match.
    pub witness: Option<(u64, u32)>,
    /// First offset of the log.
    pub min_physical: u64,
    /// Store time of the last record.
    pub timestamp: i64,
    /// Entries of a queue file.
    pub queue_file_entries: u64,
    /// The index.
    pub index: IndexMark,
    /// Deleted topics, with the log offset up to which their records are gone.
    pub deleted: Vec<(String, u64)>,
    /// Every queue.
    pub queues: Vec<QueueMark>,
}

/// A queue's entries at a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueMark {
    /// Topic.
    pub topic: Arc<str>,
    /// Number within the topic.
    pub id: u32,
    /// First offset that may still have a record.
    pub min: u64,
    /// Offset behind the last entry.
    pub max: u64,
}

impl Checkpoint {
    /// Reads the file, or its copy; `None` if there is none or both are damaged.
    pub fn load(dir: &Path) -> Option<Self> {
        FILES.into_iter().find_map(|file| {
            let bytes = std::fs::read(dir.join(file)).ok()?;
            let decoded = Self::decode(&bytes);
            if decoded.is_none() {
                tracing::warn!(file, "the checkpoint is damaged: without a copy the log is read from its beginning");
            }
            decoded
        })
    }

    /// Replaces the file, then its copy: one of them is whole at any moment.
    pub fn store(&self, io: &dyn Io, dir: &Path) -> io::Result<()> {
        let (path, fresh) = (dir.join(FILE), dir.join(format!("{FILE}.new")));
        let bytes = self.encode();
        write_file(io, &fresh, &bytes)?;
        io.rename(&fresh, &path)?;
        io.sync_dir(dir)?;
        write_file(io, &dir.join(COPY), &bytes)
    }

    /// The stable form.
    pub fn encode(&self) -> Vec<u8> {
        let mut rest = Vec::with_capacity(128 + self.queues.len() * 48);
        let (witness, sum) = self.witness.unwrap_or((u64::MAX, 0));
        put(&mut rest, self.offset);
        put(&mut rest, witness);
        rest.extend_from_slice(&sum.to_be_bytes());
        put(&mut rest, self.min_physical);
        put(&mut rest, self.timestamp.cast_unsigned());
        put(&mut rest, self.queue_file_entries);
        put_len(&mut rest, self.index.len());
        for (name, count) in &self.index {
            put_text(&mut rest, name);
            rest.extend_from_slice(&count.to_be_bytes());
        }
        put_len(&mut rest, self.deleted.len());
        for (topic, upto) in &self.deleted {
            put_text(&mut rest, topic);
            put(&mut rest, *upto);
        }
        put_len(&mut rest, self.queues.len());
        for queue in &self.queues {
            put_text(&mut rest, &queue.topic);
            rest.extend_from_slice(&queue.id.to_be_bytes());
            put(&mut rest, queue.min);
            put(&mut rest, queue.max);
        }
        let mut bytes = Vec::with_capacity(rest.len() + 16);
        bytes.extend_from_slice(MAGIC);
        put_len(&mut bytes, rest.len());
        bytes.extend_from_slice(&checksum(&rest).to_be_bytes());
        bytes.extend_from_slice(&rest);
        bytes
    }

    /// Reads the stable form; `None` if a byte of it is wrong.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut head = Fields(bytes.strip_prefix(MAGIC)?);
        let len = usize::try_from(head.u32()?).ok()?;
        let sum = head.u32()?;
        if head.0.len() != len || checksum(head.0) != sum {
            return None;
        }
        let mut fields = head;
        let offset = fields.u64()?;
        let (witness, sum) = (fields.u64()?, fields.u32()?);
        let mut checkpoint = Self {
            offset,
            witness: (witness != u64::MAX).then_some((witness, sum)),
            min_physical: fields.u64()?,
            timestamp: fields.u64()?.cast_signed(),
            queue_file_entries: fields.u64()?,
            index: Vec::new(),
            deleted: Vec::new(),
            queues: Vec::new(),
        };
        for _ in 0..fields.u32()? {
            checkpoint.index.push((fields.text()?, fields.u32()?));
        }
        for _ in 0..fields.u32()? {
            checkpoint.deleted.push((fields.text()?, fields.u64()?));
        }
        for _ in 0..fields.u32()? {
            let (topic, id) = (Arc::from(fields.text()?), fields.u32()?);
            checkpoint.queues.push(QueueMark { topic, id, min: fields.u64()?, max: fields.u64()? });
        }
        fields.0.is_empty().then_some(checkpoint)
    }
}

/// Writes RocketMQ's checkpoint: times up to which log, queues and index are complete, and the log's confirmed end.
pub fn store_peer(io: &dyn Io, dir: &Path, timestamp: i64, confirmed: u64) -> io::Result<()> {
    let path = dir.join(PEER_FILE);
    let file = io.create(&path)?;
    io.set_len(&file, &path, PEER_LEN)?;
    let mut bytes = Vec::with_capacity(40);
    for word in [timestamp.cast_unsigned(), timestamp.cast_unsigned(), timestamp.cast_unsigned(), confirmed, confirmed]
    {
        put(&mut bytes, word);
    }
    write_all_at(io, &file, &path, &bytes, 0)?;
    io.sync_data(&file, &path)
}

fn write_file(io: &dyn Io, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = io.create(path)?;
    io.set_len(&file, path, bytes.len() as u64)?;
    write_all_at(io, &file, path, bytes, 0)?;
    io.sync_data(&file, path)
}

fn put(out: &mut Vec<u8>, word: u64) {
    out.extend_from_slice(&word.to_be_bytes());
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    let len = u16::try_from(text.len()).unwrap_or(0);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(text.as_bytes().get(..usize::from(len)).unwrap_or_default());
}

struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.first_chunk().copied()
    }

    fn u32(&mut self) -> Option<u32> {
        self.chunk().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.chunk().map(u64::from_be_bytes)
    }

    fn text(&mut self) -> Option<String> {
        let len = u16::from_be_bytes(self.chunk()?);
        String::from_utf8(self.take(usize::from(len))?.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Checkpoint {
        Checkpoint {
            offset: 1 << 40,
            witness: Some((77, 99)),
            min_physical: 3,
            timestamp: 1_700_000_000_000,
            queue_file_entries: 300_000,
            index: vec![("20260101000000000".to_owned(), 5)],
            deleted: vec![("gone".to_owned(), 12)],
            queues: vec![QueueMark { topic: Arc::from("a"), id: 7, min: 1, max: 9 }],
        }
    }

    #[test]
    fn the_stable_form_reads_back() {
        assert_eq!(Checkpoint::decode(&sample().encode()), Some(sample()));
        let empty = Checkpoint::default();
        assert_eq!(Checkpoint::decode(&empty.encode()), Some(empty));
    }

    #[test]
    fn any_wrong_byte_is_noticed() {
        let bytes = sample().encode();
        for at in 0..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[at] ^= 0x40;
            assert_eq!(Checkpoint::decode(&wrong), None, "byte {at}");
            assert_eq!(Checkpoint::decode(&bytes[..at]), None, "cut at {at}");
        }
    }
}
