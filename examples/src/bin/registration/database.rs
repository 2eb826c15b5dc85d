//! A SQLite file whose work runs on blocking threads, every commit flushed before it returns.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rusqlite::Connection;

/// How long a statement waits for another process that holds the file's lock.
const BUSY: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    #[error("database '{}' cannot be opened: {cause}; check that its directory exists and is writable", path.display())]
    Open { path: PathBuf, cause: rusqlite::Error },
    #[error("database: {0}")]
    Statement(#[from] rusqlite::Error),
    #[error("database: the work was cut off because the process stops")]
    Stopped,
}

impl DatabaseError {
    /// Whether a row was refused because one with the same unique value is there.
    pub fn is_duplicate(&self) -> bool {
        matches!(self, Self::Statement(rusqlite::Error::SqliteFailure(error, _))
            if error.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE)
    }
}

/// One connection, shared by everyone in the process.
#[derive(Clone)]
pub struct Database(Arc<Mutex<Connection>>);

impl Database {
    /// Opens or creates the file and runs `schema`, which must be repeatable.
    pub fn open(path: &Path, schema: &str) -> Result<Self, DatabaseError> {
        let open = || {
            let connection = Connection::open(path)?;
            connection.busy_timeout(BUSY)?;
            connection.pragma_update(None, "journal_mode", "wal")?;
            connection.pragma_update(None, "synchronous", "full")?;
            connection.execute_batch(schema)?;
            Ok(connection)
        };
        let connection = open().map_err(|cause| DatabaseError::Open { path: path.to_owned(), cause })?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    /// Runs `work` on a blocking thread. It runs to its end even if the caller goes away.
    pub async fn call<T, F>(&self, work: F) -> Result<T, DatabaseError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let shared = Arc::clone(&self.0);
        let done = tokio::task::spawn_blocking(move || work(&mut shared.lock())).await;
        Ok(done.map_err(|_| DatabaseError::Stopped)??)
    }
}
