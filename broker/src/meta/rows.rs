//! The trees of metadata as sled has them on the disk.

use std::collections::HashMap;
use std::ops::Bound;
use std::path::Path;

use bytes::Bytes;

use crate::meta::tree::Tree;

const CACHE: u64 = 16 << 20;
/// Bytes of rows in one page of a tree; one row always fits.
const PAGE: usize = 1 << 20;

/// Key and value of something stored.
pub type Row = (Vec<u8>, Vec<u8>);

/// Rows to write by tree and key; `None`: to remove.
pub type Changes = HashMap<(Tree, Bytes), Option<Bytes>>;

/// A tree, a key of it, and what stands there.
pub type TreeRow = (Tree, Bytes, Bytes);

/// Brings rows into the order of the trees' names and the keys.
pub fn sort(rows: &mut [TreeRow]) {
    rows.sort_unstable_by(|(tree, key, _), (other, beside, _)| (tree.name(), key).cmp(&(other.name(), beside)));
}

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

    /// Everything, in the order of the trees' names and the keys.
    pub fn all(&self) -> sled::Result<Vec<TreeRow>> {
        let mut rows = Vec::new();
        for (tree, stored) in &self.trees {
            for row in stored.iter() {
                let (key, value) = row?;
                rows.push((*tree, Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&value)));
            }
        }
        sort(&mut rows);
        Ok(rows)
    }

    /// One tree.
    pub fn tree(&self, wanted: Tree) -> sled::Result<&sled::Tree> {
        let found = self.trees.iter().find(|(tree, _)| *tree == wanted).map(|(_, tree)| tree);
        found.ok_or_else(|| sled::Error::CollectionNotFound(wanted.name().into()))
    }

    /// Writes rows; they survive the end of this process. What is noted about other rows comes last: whatever a crash leaves of
    /// this, it is not a note without them.
    pub fn write(&self, changes: &Changes) -> sled::Result<()> {
        let (notes, rows): (Vec<_>, Vec<_>) = changes.iter().partition(|((tree, _), _)| *tree == Tree::About);
        for ((tree, key), change) in rows.into_iter().chain(notes) {
            let tree = self.tree(*tree)?;
            match change {
                Some(value) => tree.insert(key, value.as_ref())?,
                None => tree.remove(key)?,
            };
        }
        self.db.flush().map(drop)
    }
}

/// Everything in a tree.
pub fn all(tree: &sled::Tree) -> sled::Result<Vec<Row>> {
    tree.iter().map(owned).collect()
}

/// Rows behind the key `after`, as many as make a page, and whether there are no more.
pub fn page(tree: &sled::Tree, after: &[u8]) -> sled::Result<(Vec<Row>, bool)> {
    let (mut found, mut bytes) = (Vec::new(), 0);
    for row in tree.range::<&[u8], _>((Bound::Excluded(after), Bound::Unbounded)) {
        if bytes >= PAGE {
            return Ok((found, false));
        }
        let row = owned(row)?;
        bytes += row.0.len() + row.1.len();
        found.push(row);
    }
    Ok((found, true))
}

/// Keys behind `after` up to `last`, or to the end.
pub fn keys(tree: &sled::Tree, after: &[u8], last: Option<&[u8]>) -> sled::Result<Vec<Vec<u8>>> {
    let end = last.map_or(Bound::Unbounded, Bound::Included);
    let rows = tree.range::<&[u8], _>((Bound::Excluded(after), end));
    rows.map(|row| owned(row).map(|(key, _)| key)).collect()
}

fn owned(row: sled::Result<(sled::IVec, sled::IVec)>) -> sled::Result<Row> {
    row.map(|(key, value)| (key.to_vec(), value.to_vec()))
}
