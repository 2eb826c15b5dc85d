//! The mailer's own record: which events it has, which mails were accepted.

use std::path::Path;

use orbitmq_examples::clock::now_us;
use rusqlite::params;

use crate::database::{Database, DatabaseError};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS mails (
        event TEXT PRIMARY KEY, attempts INTEGER NOT NULL DEFAULT 0, received_us INTEGER NOT NULL,
        done_us INTEGER, refused TEXT) STRICT;";

/// What the ledger knows of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub received_us: i64,
    /// Attempts before this one; with no `outcome`, one of them may have reached the mail server.
    pub attempts: u32,
    pub outcome: Option<Outcome>,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub done_us: i64,
    pub refused: Option<String>,
}

#[derive(Clone)]
pub struct Ledger(Database);

impl Ledger {
    pub fn open(path: &Path) -> Result<Self, DatabaseError> {
        Ok(Self(Database::open(path, SCHEMA)?))
    }

    /// Notes an attempt before it is made; answers with what was known before.
    pub async fn attempt(&self, event: String) -> Result<Entry, DatabaseError> {
        self.0
            .call(move |db| {
                let commit = db.transaction()?;
                commit.execute(
                    "INSERT INTO mails (event, received_us) VALUES (?1, ?2) ON CONFLICT (event) DO NOTHING",
                    params![event, now_us()],
                )?;
                let sql = "SELECT received_us, attempts, done_us, refused FROM mails WHERE event = ?1";
                let entry = commit.query_row(sql, [&event], |row| {
                    let (done_us, refused): (Option<i64>, _) = (row.get(2)?, row.get(3)?);
                    Ok(Entry {
                        received_us: row.get(0)?,
                        attempts: row.get(1)?,
                        outcome: done_us.map(|done_us| Outcome { done_us, refused }),
                    })
                })?;
                if entry.outcome.is_none() {
                    commit.execute("UPDATE mails SET attempts = attempts + 1 WHERE event = ?1", [&event])?;
                }
                commit.commit()?;
                Ok(entry)
            })
            .await
    }

    /// Records the outcome; from here on no further mail is sent about this event.
    pub async fn done(&self, event: String, outcome: Outcome) -> Result<(), DatabaseError> {
        let sql = "UPDATE mails SET done_us = ?2, refused = ?3 WHERE event = ?1 AND done_us IS NULL";
        self.0.call(move |db| db.execute(sql, params![event, outcome.done_us, outcome.refused]).map(drop)).await
    }
}

#[cfg(test)]
mod tests {
    use super::{Ledger, Outcome};

    #[tokio::test]
    async fn remembers_attempts_and_the_outcome() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mailer.db");
        let ledger = Ledger::open(&path).unwrap();
        let first = ledger.attempt("e".into()).await.unwrap();
        assert_eq!((first.attempts, &first.outcome), (0, &None));
        assert_eq!(ledger.attempt("e".into()).await.unwrap().attempts, 1);
        let outcome = Outcome { done_us: 7, refused: Some("nobody there".into()) };
        ledger.done("e".into(), outcome.clone()).await.unwrap();
        drop(ledger);

        let again = Ledger::open(&path).unwrap().attempt("e".into()).await.unwrap();
        assert_eq!((again.received_us, again.attempts, again.outcome), (first.received_us, 2, Some(outcome)));
    }
}
