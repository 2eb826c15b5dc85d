//! The trees of metadata as sled has them on the disk.

use std::collections::HashMap;
use std::ops::Bound;
use std::path::Path;

use bytes::Bytes;

use crate::meta::db::Tree;

const CACHE: u64 = 16 << 20;

/// Rows to write by tree and key; `None`: to remove.
pub type Changes = HashMap<(Tree, Bytes), Option<Bytes>>;

/// sled on the directory.
pub struct Opened {
    trees: Vec<(Tree, sled::Tree)>,
    db: sled::Db,
}

impl Opened {
    /// Opens the directory, or makes it.
    pub fn open(path: &Path) -> sled::Result<Self> {
        let db = sled::Config::new().path(path).cache_capacity(CACHE).flush_every_ms(Some(500)).open()?;
        let open = |tree: Tree| Ok((tree, db.open_tree(tree.name())?));
        let trees = Tree::ALL.into_iter().map(open).collect::<sled::Result<Vec<_>>>()?;
        Ok(Self { trees, db })
    }

    /// One tree.
    pub fn tree(&self, wanted: Tree) -> sled::Result<&sled::Tree> {
        let found = self.trees.iter().find(|(tree, _)| *tree == wanted).map(|(_, tree)| tree);
        found.ok_or_else(|| sled::Error::CollectionNotFound(wanted.name().into()))
    }

    /// Writes rows; they survive the end of this process.
    pub fn write(&self, changes: &Changes) -> sled::Result<()> {
        for ((tree, key), change) in changes {
            let tree = self.tree(*tree)?;
            match change {
                Some(value) => tree.insert(key, value.as_ref())?,
                None => tree.remove(key)?,
            };
        }
        self.db.flush().map(drop)
    }
}

/// The keys behind `after` up to `last`, or to the end.
pub fn stretch<'k>(after: &'k [u8], last: Option<&'k [u8]>) -> (Bound<&'k [u8]>, Bound<&'k [u8]>) {
    (Bound::Excluded(after), last.map_or(Bound::Unbounded, Bound::Included))
}
