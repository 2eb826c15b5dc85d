//! RocketMQ's own metadata files: read when they are newer than ours, written at every stop, so that either broker can go on
//! with the directory of the other.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use orbitmq_common::protocol::body::group::GroupTable;
use orbitmq_common::protocol::body::pop::RequestModeTable;
use orbitmq_common::protocol::body::topic::TopicTable;
use orbitmq_common::protocol::relaxed;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::meta::db::{Db, DbError};
use crate::meta::groups::Groups;
use crate::meta::levels::Progress;
use crate::meta::marks::{Mark, Marks};
use crate::meta::offsets::Offsets;
use crate::meta::orders::{OrderTable, Orders};
use crate::meta::request_modes::RequestModes;
use crate::meta::topics::Topics;
use crate::meta::tree::Tree;

const TOPICS: &str = "topics.json";
const GROUPS: &str = "subscriptionGroup.json";
const OFFSETS: &str = "consumerOffset.json";
const DELAY: &str = "delayOffset.json";
/// How far RocketMQ's timers were delivered; binary.
const TIMERS: &str = "timercheck";
const ORDERS: &str = "consumerOrderInfo.json";
const REQUEST_MODES: &str = "messageRequestMode.json";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OffsetFile {
    #[serde(default)]
    offset_table: BTreeMap<String, BTreeMap<i32, i64>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct DelayFile {
    #[serde(default)]
    offset_table: BTreeMap<u32, i64>,
}

/// Checksums of contents by file.
struct Known {
    /// Of what we wrote or took over before.
    marks: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Of what is being taken over.
    new: Vec<(&'static str, Vec<u8>)>,
}

/// The metadata that both brokers keep.
pub struct Legacy<'a> {
    /// The store's directory; the files are in `config` below it.
    pub dir: &'a Path,
    /// Remembers which contents we know.
    pub db: &'a Db,
    /// Topics.
    pub topics: &'a Topics,
    /// Groups.
    pub groups: &'a Groups,
    /// Consumer offsets.
    pub offsets: &'a Offsets,
    /// Delay levels.
    pub delay: &'a Progress,
    /// Timers.
    pub marks: &'a Marks,
    /// Batches in hand of groups that pop in order.
    pub orders: &'a Orders,
    /// Which groups pop.
    pub request_modes: &'a RequestModes,
}

impl Legacy<'_> {
    fn path(&self, file: &str) -> PathBuf {
        self.dir.join("config").join(file)
    }

    /// Takes over what RocketMQ's broker has written since we last stopped here.
    ///
    /// # Errors
    /// Our own metadata cannot be read. A file of RocketMQ's that does not parse is reported and skipped.
    pub fn import(&self) -> Result<(), DbError> {
        let mut known = Known { marks: self.db.load(Tree::About)?.into_iter().collect(), new: Vec::new() };
        if let Some(file) = self.read::<TopicTable>(&mut known, TOPICS) {
            for (_, topic) in file.topic_config_table {
                self.topics.put(topic);
            }
        }
        if let Some(file) = self.read::<GroupTable>(&mut known, GROUPS) {
            for (_, group) in file.subscription_group_table {
                self.groups.put(group);
            }
        }
        if let Some(file) = self.read::<OffsetFile>(&mut known, OFFSETS) {
            for (key, queues) in file.offset_table {
                let Some((topic, group)) = key.split_once('@') else { continue };
                for (queue, offset) in queues {
                    self.offsets.import(topic, group, queue, offset);
                }
            }
        }
        if let Some(file) = self.read::<DelayFile>(&mut known, DELAY) {
            for (level, offset) in file.offset_table {
                self.delay.set(level, offset);
            }
        }
        if let Some(mark) = self.unknown(&mut known, TIMERS).and_then(|content| Mark::of_rocketmq(&content)) {
            self.marks.replace(mark);
        }
        if let Some(file) = self.read::<OrderTable>(&mut known, ORDERS) {
            self.orders.import(file);
        }
        if let Some(file) = self.read::<RequestModeTable>(&mut known, REQUEST_MODES) {
            for mode in file.message_request_mode_map.into_values().flat_map(BTreeMap::into_values) {
                self.request_modes.put(mode);
            }
        }
        // Last: a crash before this has all of it read again.
        for (file, mark) in known.new {
            self.db.put(Tree::About, file.into(), mark);
        }
        Ok(())
    }

    /// Content of a file that we did not write ourselves, nor have taken over before.
    fn unknown(&self, known: &mut Known, file: &'static str) -> Option<Vec<u8>> {
        let content = fs::read(self.path(file)).ok()?;
        let mark = crc32fast::hash(&content).to_be_bytes().to_vec();
        (known.marks.get(file.as_bytes()) != Some(&mark)).then(|| {
            known.new.push((file, mark));
            content
        })
    }

    fn read<T: DeserializeOwned>(&self, known: &mut Known, file: &'static str) -> Option<T> {
        let content = self.unknown(known, file)?;
        let path = self.path(file);
        match relaxed::parse(&content) {
            Ok(parsed) => {
                tracing::info!(path = %path.display(), "took over what RocketMQ's broker had written");
                Some(parsed)
            }
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "a file of RocketMQ's broker does not parse; its content is not taken over");
                known.new.pop();
                None
            }
        }
    }

    /// Writes the files for a broker of RocketMQ's that may go on here, `timers` among them if there is something to tell of those.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn export(&self, timers: Option<&[u8]>) -> io::Result<()> {
        fs::create_dir_all(self.dir.join("config"))?;
        self.write(TOPICS, &self.topics.snapshot())?;
        self.write(GROUPS, &self.groups.snapshot())?;
        self.write(OFFSETS, &OffsetFile { offset_table: self.offsets.snapshot() })?;
        self.write(ORDERS, &self.orders.snapshot())?;
        self.write(REQUEST_MODES, &self.request_modes.snapshot())?;
        self.write(DELAY, &DelayFile { offset_table: self.delay.snapshot() })?;
        timers.map_or(Ok(()), |content| self.write_bytes(TIMERS, content))
    }

    fn write<T: Serialize>(&self, file: &str, content: &T) -> io::Result<()> {
        self.write_bytes(file, &serde_json::to_vec_pretty(content)?)
    }

    fn write_bytes(&self, file: &str, content: &[u8]) -> io::Result<()> {
        let (path, fresh) = (self.path(file), self.path(&format!("{file}.new")));
        let mut out = File::create(&fresh)?;
        out.write_all(content)?;
        out.sync_all()?;
        fs::rename(&fresh, &path)?;
        self.db.put(Tree::About, file.as_bytes().to_vec(), crc32fast::hash(content).to_be_bytes().to_vec());
        Ok(())
    }
}
