//! Consumer groups and their settings.

use std::sync::Arc;

use hashbrown::HashMap;
use orbitmq_common::plain;
use orbitmq_common::protocol::body::group::{GroupConfig, GroupTable};
use parking_lot::RwLock;

use crate::meta::db::{Db, DbError};
use crate::meta::kept::Kept;
use crate::meta::removed::Removed;
use crate::meta::topics::Version;
use crate::meta::tree::Tree;

/// The groups.
pub struct Groups {
    table: RwLock<HashMap<String, Arc<GroupConfig>>>,
    version: Version,
    db: Arc<Db>,
    /// Those that were deleted.
    pub removed: Removed,
}

impl Groups {
    /// Loads the groups that were stored.
    ///
    /// # Errors
    /// The metadata cannot be read.
    pub fn load(db: Arc<Db>) -> Result<Self, DbError> {
        let mut table = HashMap::new();
        for (key, value) in db.load(Tree::Groups)? {
            match serde_json::from_slice::<GroupConfig>(&value) {
                Ok(config) => drop(table.insert(config.group_name.clone(), Arc::new(config))),
                Err(error) => {
                    tracing::error!(group = %String::from_utf8_lossy(&key), %error, "settings of a group do not parse; skipped");
                }
            }
        }
        Ok(Self { table: RwLock::new(table), version: Version::new(), db, removed: Removed::default() })
    }

    /// A group's settings.
    #[must_use]
    pub fn get(&self, group: &str) -> Option<Arc<GroupConfig>> {
        self.table.read().get(group).cloned()
    }

    /// Creates or replaces a group. The number is for [`Db::stored`].
    pub fn put(&self, config: GroupConfig) -> u64 {
        let (name, value) = (config.group_name.clone(), serde_json::to_vec(&config).unwrap_or_default());
        let number = {
            // The row is noted while the table is held, so that both see changes in the same order.
            let mut table = self.table.write();
            table.insert(name.clone(), Arc::new(config));
            self.db.put(Tree::Groups, name.into_bytes(), value)
        };
        self.version.bump();
        number
    }

    /// A group's settings, made from the defaults when it is new and that is allowed.
    pub fn find_or_create(&self, group: &str, may_create: bool) -> Option<Arc<GroupConfig>> {
        let known = self.get(group);
        if known.is_some() || !may_create {
            return known;
        }
        let config = Arc::new(GroupConfig::new(group));
        {
            let mut table = self.table.write();
            // An administrator may have been faster.
            if let Some(known) = table.get(group) {
                return Some(Arc::clone(known));
            }
            table.insert(group.to_owned(), Arc::clone(&config));
            self.db.put(Tree::Groups, group.as_bytes().to_vec(), serde_json::to_vec(&*config).unwrap_or_default());
        }
        self.version.bump();
        tracing::info!(group, "group created");
        Some(config)
    }

    /// Removes a group. Returns the number for [`Db::stored`], or `None` when there was none.
    pub fn remove(&self, group: &str) -> Option<u64> {
        let number = {
            let mut table = self.table.write();
            table.remove(group)?;
            self.db.remove(Tree::Groups, group.as_bytes().to_vec())
        };
        self.removed.note(group);
        self.version.bump();
        Some(number)
    }

    /// A group of nearly this name.
    #[must_use]
    pub fn meant(&self, group: &str) -> Option<String> {
        plain::meant(group, self.table.read().keys().map(String::as_str)).map(str::to_owned)
    }

    /// All groups with the table's version.
    #[must_use]
    pub fn snapshot(&self) -> GroupTable {
        let table = self.table.read();
        let groups = table.iter().map(|(name, config)| (name.clone(), config.as_ref().clone())).collect();
        GroupTable { data_version: self.version.current(), subscription_group_table: groups, ..GroupTable::default() }
    }
}

impl Kept for Groups {
    fn tree(&self) -> Tree {
        Tree::Groups
    }

    fn take(&self, key: &[u8], value: Option<&[u8]>) {
        let Some(value) = value else {
            if let Ok(group) = std::str::from_utf8(key) {
                self.remove(group);
            }
            return;
        };
        match serde_json::from_slice::<GroupConfig>(value) {
            Ok(config) if self.get(&config.group_name).is_some_and(|known| *known == config) => {}
            Ok(config) => {
                self.put(config);
            }
            Err(error) => {
                tracing::error!(group = %String::from_utf8_lossy(key), %error, "settings of a group of the master's do not parse; skipped");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

    use super::*;

    #[test]
    fn a_group_that_is_made_by_itself_does_not_replace_an_administrators() {
        let dir = tempfile::tempdir().unwrap();
        let groups = Groups::load(Arc::new(Db::open(dir.path()).unwrap())).unwrap();
        let both = std::sync::Barrier::new(2);
        let names: Vec<_> = (0..2_000).map(|number| format!("group-{number}")).collect();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for name in &names {
                    both.wait();
                    groups.find_or_create(name, true);
                }
            });
            for name in &names {
                both.wait();
                groups.put(GroupConfig { retry_max_times: 3, ..GroupConfig::new(name) });
            }
        });
        assert!(names.iter().all(|name| groups.get(name).unwrap().retry_max_times == 3));
    }
}
