//! Offsets of a broadcasting group: in memory, and in a file where one is wanted.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orbitmq_common::route::table::Queue;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Row {
    topic: String,
    broker: String,
    queue: i32,
    offset: i64,
}

#[derive(Debug, Default)]
struct State {
    offsets: BTreeMap<(String, Queue), i64>,
    unsaved: bool,
}

/// The offsets of one broadcasting consumer.
#[derive(Debug)]
pub(crate) struct LocalOffsets {
    file: Option<PathBuf>,
    state: Mutex<State>,
}

impl LocalOffsets {
    /// Reads the group's file in `directory`, if there is one.
    pub(crate) fn open(directory: Option<&Path>, group: &str) -> Result<Self, (PathBuf, io::Error)> {
        let Some(directory) = directory else { return Ok(Self { file: None, state: Mutex::default() }) };
        let file = directory.join(format!("{group}.offsets.json"));
        let fail = |error| (file.clone(), error);
        std::fs::create_dir_all(directory).map_err(fail)?;
        let rows: Vec<Row> = match std::fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text).map_err(|error| fail(error.into()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(fail(error)),
        };
        let key = |row: &Row| (row.topic.clone(), Queue { broker: row.broker.as_str().into(), id: row.queue });
        let offsets = rows.iter().map(|row| (key(row), row.offset)).collect();
        Ok(Self { file: Some(file), state: Mutex::new(State { offsets, unsaved: false }) })
    }

    pub(crate) fn get(&self, topic: &str, queue: &Queue) -> Option<i64> {
        self.state.lock().offsets.get(&(topic.to_owned(), queue.clone())).copied()
    }

    pub(crate) fn set(&self, topic: &Arc<str>, queue: &Queue, offset: i64) {
        let mut state = self.state.lock();
        state.offsets.insert((topic.as_ref().to_owned(), queue.clone()), offset);
        state.unsaved = true;
    }

    /// Writes the file anew if anything changed: beside it first, then in its place.
    pub(crate) async fn save(&self) {
        let Some(file) = &self.file else { return };
        let rows: Vec<Row> = {
            let mut state = self.state.lock();
            if !std::mem::take(&mut state.unsaved) {
                return;
            }
            let row = |((topic, queue), offset): (&(String, Queue), &i64)| Row {
                topic: topic.clone(),
                broker: queue.broker.as_ref().to_owned(),
                queue: queue.id,
                offset: *offset,
            };
            state.offsets.iter().map(row).collect()
        };
        let beside = file.with_extension("new");
        let written = async {
            tokio::fs::write(&beside, serde_json::to_vec(&rows)?).await?;
            tokio::fs::rename(&beside, file).await
        };
        if let Err(error) = written.await {
            self.state.lock().unsaved = true;
            tracing::warn!(file = %file.display(), %error, "offsets could not be saved; trying again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn offsets_survive_in_their_file() {
        let directory = tempfile::tempdir().unwrap();
        let (topic, queue): (Arc<str>, _) = ("t".into(), Queue { broker: "b".into(), id: 3 });
        let offsets = LocalOffsets::open(Some(directory.path()), "g").unwrap();
        assert_eq!(offsets.get(&topic, &queue), None);
        offsets.set(&topic, &queue, 42);
        offsets.save().await;
        let again = LocalOffsets::open(Some(directory.path()), "g").unwrap();
        assert_eq!(again.get(&topic, &queue), Some(42));
        assert_eq!(LocalOffsets::open(Some(directory.path()), "other").unwrap().get(&topic, &queue), None);
        std::fs::write(directory.path().join("g.offsets.json"), "{").unwrap();
        assert!(LocalOffsets::open(Some(directory.path()), "g").is_err());
    }
}
