//! Bits that flip in the metadata at rest.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use fastrand::Rng;
use orbitmq_broker::meta::db::Db;
use orbitmq_broker::meta::rows::Row;
use orbitmq_broker::meta::tree::Tree;

use crate::check::Breach;
use crate::cuts::guarded;
use crate::disk::{Image, lay_out, take_in};
use crate::workload::block;

/// Where a broker has them.
const NAME: &str = "orbitmq";
const TREES: [Tree; 4] = [Tree::Topics, Tree::Groups, Tree::Offsets, Tree::Delay];

/// Metadata at rest, and what they say.
#[derive(Debug)]
pub struct Metadata {
    files: Image,
    rows: BTreeMap<usize, Vec<Row>>,
}

fn rows(db: &Db) -> Result<BTreeMap<usize, Vec<Row>>, Breach> {
    let load = |(number, tree): (usize, &Tree)| db.load(*tree).map(|rows| (number, rows));
    TREES.iter().enumerate().map(load).collect::<Result<_, _>>().map_err(|error| Breach::Unopened(error.to_string()))
}

impl Metadata {
    /// Writes some, in several rounds, and closes them.
    pub fn write(seed: u64, dir: &Path) -> Self {
        let mut chance = Rng::with_seed(seed);
        let dir = dir.join("metadata");
        std::fs::create_dir_all(&dir).expect("a directory in memory");
        let db = Db::open(&dir.join(NAME)).expect("fresh metadata");
        for round in 0..6 {
            for number in 0..chance.usize(20..120) {
                let tree = TREES[chance.usize(0..TREES.len())];
                let value = vec![b'a' + round; chance.usize(8..300)];
                db.put(tree, format!("{number:04}").into_bytes(), value);
            }
            block(db.sync()).expect("metadata are flushed");
        }
        let rows = rows(&db).expect("fresh metadata are readable");
        db.close();
        drop(db);
        let files = take_in(&dir);
        std::fs::remove_dir_all(&dir).expect("a directory in memory goes");
        Self { files, rows }
    }

    /// Flips a bit and reads everything.
    pub fn flip(&self, chance: &mut Rng, dir: &Path) -> (Result<&'static str, Breach>, Image) {
        let mut files = self.files.clone();
        let used: Vec<&String> = self.files.iter().filter(|file| !file.1.is_empty()).map(|file| file.0).collect();
        let (name, at) = loop {
            let name = used[chance.usize(0..used.len())].clone();
            let bytes = &self.files[&name];
            let at = chance.usize(0..bytes.len());
            let block = at - at % 64;
            if bytes[block..bytes.len().min(block + 64)].iter().any(|byte| *byte != 0) {
                break (name, at);
            }
        };
        Arc::make_mut(files.get_mut(&name).expect("a file of ours"))[at] ^= 1 << chance.u8(0..8);
        let dir = dir.join("flipped");
        lay_out(&files, &dir);
        let result = guarded(|| self.look(&dir)).map_err(|breach| breach.at(&format!("{name}, byte {at}")));
        std::fs::remove_dir_all(&dir).expect("a directory in memory goes");
        (result, files)
    }

    fn look(&self, dir: &Path) -> Result<&'static str, Breach> {
        let db = Db::open(&dir.join(NAME)).map_err(|error| Breach::Unopened(error.to_string()))?;
        let found = rows(&db)?;
        db.close();
        if found == self.rows {
            let renewed = take_in(dir).keys().any(|name| name.contains(".damaged-"));
            return Ok(if renewed { "made anew from the copy" } else { "all there" });
        }
        let wrong = found.iter().any(|(tree, rows)| rows.iter().any(|row| !self.rows[tree].contains(row)));
        if wrong {
            return Err(Breach::Served("a row is wrong".to_owned()));
        }
        Err(Breach::Lost("rows are missing".to_owned()))
    }
}
