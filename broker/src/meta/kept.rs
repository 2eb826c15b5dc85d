//! What a kind of metadata does to follow a master.

use crate::meta::tree::Tree;

/// One kind of metadata: a tree on the disk with its working copy in memory.
pub trait Kept: Send + Sync {
    /// Its tree.
    fn tree(&self) -> Tree;

    /// Takes over a row of the master's, in memory and in [`crate::meta::db::Db`]; `None`: the master has no such row. A row that
    /// is as the master's already changes nothing. A row that does not parse is skipped and logged.
    fn take(&self, key: &[u8], value: Option<&[u8]>);
}
