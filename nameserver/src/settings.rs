//! Key-value settings, kept in sled and on disk before they are acknowledged.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use parking_lot::{Mutex, RwLock};

/// Name space of the queue layouts of ordered topics.
pub const ORDER_TOPICS: &str = "ORDER_TOPIC_CONFIG";
/// Name space of this server's own options that were changed while it ran; not reachable from outside.
pub const OPTIONS: &str = "\u{0}options";

/// Room for sled's cache: settings are few.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// Why settings cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The database does not open.
    #[error("the settings in {path} do not open: {cause}; is another name server running on this directory?")]
    Open {
        /// The directory.
        path: PathBuf,
        /// What sled says.
        cause: sled::Error,
    },
    /// A change did not reach the disk.
    #[error("the setting is not kept: {0}")]
    Write(#[from] sled::Error),
    /// A change did not reach the disk for sure.
    #[error("the setting may not survive a power cut: {0}")]
    Sync(#[from] io::Error),
    /// An entry on disk is not of this server's form.
    #[error("the settings in {0} hold an entry that no name server wrote: move the directory away and start again")]
    Foreign(PathBuf),
    /// The name space cannot be stored.
    #[error("name spaces have 1 to 65535 bytes, keys at least 1 byte")]
    Name,
}

type Table = BTreeMap<String, BTreeMap<String, String>>;

/// All settings by name space and key. Memory is what is read; sled is what survives.
#[derive(Debug)]
pub struct Settings {
    table: RwLock<Table>,
    disk: Option<Disk>,
    /// One change at a time: memory and disk agree on their order.
    changes: Mutex<()>,
}

#[derive(Debug)]
struct Disk {
    db: sled::Db,
    path: PathBuf,
}

impl Settings {
    /// Settings kept in a directory.
    pub fn open(path: &Path) -> Result<Self, SettingsError> {
        let failed = |cause| SettingsError::Open { path: path.to_owned(), cause };
        let db = sled::Config::new().path(path).cache_capacity(CACHE_BYTES).open().map_err(failed)?;
        let mut table = Table::new();
        for entry in db.iter() {
            let (key, value) = entry.map_err(failed)?;
            let (namespace, key) = decode_key(&key).ok_or_else(|| SettingsError::Foreign(path.to_owned()))?;
            let value = String::from_utf8_lossy(&value).into_owned();
            table.entry(namespace.to_owned()).or_default().insert(key.to_owned(), value);
        }
        let disk = Disk { db, path: path.to_owned() };
        disk.sync_directory()?;
        Ok(Self { table: RwLock::new(table), disk: Some(disk), changes: Mutex::new(()) })
    }

    /// Settings that end with the process.
    pub fn in_memory() -> Self {
        Self { table: RwLock::default(), disk: None, changes: Mutex::new(()) }
    }

    /// Value of a key.
    pub fn get(&self, namespace: &str, key: &str) -> Option<String> {
        self.table.read().get(namespace)?.get(key).cloned()
    }

    /// All keys of a name space that has any.
    pub fn list(&self, namespace: &str) -> Option<BTreeMap<String, String>> {
        self.table.read().get(namespace).cloned()
    }

    /// Sets a key. Blocks until the value is on disk.
    pub fn put(&self, namespace: &str, key: &str, value: &str) -> Result<(), SettingsError> {
        let entry = encode_key(namespace, key)?;
        let _one = self.changes.lock();
        if let Some(disk) = &self.disk {
            disk.db.insert(entry, value)?;
            disk.flush()?;
        }
        self.table.write().entry(namespace.to_owned()).or_default().insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    /// Deletes a key, known or not. Blocks until that is on disk.
    pub fn delete(&self, namespace: &str, key: &str) -> Result<(), SettingsError> {
        let entry = encode_key(namespace, key)?;
        let _one = self.changes.lock();
        if let Some(disk) = &self.disk {
            disk.db.remove(entry)?;
            disk.flush()?;
        }
        let mut table = self.table.write();
        if let Some(keys) = table.get_mut(namespace) {
            keys.remove(key);
            if keys.is_empty() {
                table.remove(namespace);
            }
        }
        Ok(())
    }

    /// Brings everything to disk. Blocks.
    pub fn flush(&self) -> Result<(), SettingsError> {
        self.disk.as_ref().map_or(Ok(()), Disk::flush)
    }
}

impl Disk {
    /// sled's own flush hands the bytes to the kernel without a barrier, so the file is synced as well.
    fn flush(&self) -> Result<(), SettingsError> {
        self.db.flush()?;
        File::open(self.path.join("db"))?.sync_all()?;
        Ok(())
    }

    fn sync_directory(&self) -> Result<(), SettingsError> {
        self.flush()?;
        File::open(&self.path)?.sync_all()?;
        Ok(())
    }
}

/// `length of the name space, 2 bytes | name space | key`
fn encode_key(namespace: &str, key: &str) -> Result<Vec<u8>, SettingsError> {
    let length = u16::try_from(namespace.len()).map_err(|_| SettingsError::Name)?;
    if namespace.is_empty() || key.is_empty() {
        return Err(SettingsError::Name);
    }
    Ok([&length.to_be_bytes(), namespace.as_bytes(), key.as_bytes()].concat())
}

fn decode_key(bytes: &[u8]) -> Option<(&str, &str)> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let (namespace, key) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    Some((std::str::from_utf8(namespace).ok()?, std::str::from_utf8(key).ok()?))
}

#[cfg(test)]
mod tests;
