//! Users and what is known of their events: a user is saved if and only if the event is, or will be, delivered.

use std::path::Path;

use orbitmq_examples::clock::now_us;
use rusqlite::{OptionalExtension, Row, Transaction, TransactionBehavior, params};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::applicant::Applicant;
use crate::database::{Database, DatabaseError};
use crate::event::{Mailed, Registered};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS users (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL, email_key TEXT NOT NULL UNIQUE,
        event TEXT NOT NULL UNIQUE, way TEXT NOT NULL, message_id TEXT, refused TEXT,
        asked_us INTEGER NOT NULL, saved_us INTEGER NOT NULL, enqueued_us INTEGER, answered_us INTEGER,
        received_us INTEGER, mailed_us INTEGER) STRICT;
    CREATE INDEX IF NOT EXISTS users_by_time ON users (asked_us);
    CREATE TABLE IF NOT EXISTS outbox (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, event TEXT NOT NULL UNIQUE, user TEXT NOT NULL,
        body BLOB NOT NULL, sent_us INTEGER) STRICT;
    CREATE INDEX IF NOT EXISTS outbox_waiting ON outbox (seq) WHERE sent_us IS NULL;
    CREATE TABLE IF NOT EXISTS rolled_back (event TEXT PRIMARY KEY) STRICT;";

const COLUMNS: &str = "id, name, email, event, way, message_id, refused,
    asked_us, saved_us, enqueued_us, answered_us, received_us, mailed_us";

/// Whether the mail goes out before the answer or after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Queued,
    Direct,
}

impl Way {
    fn text(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Direct => "direct",
        }
    }
}

/// A user with the time of each step, as the page shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct User {
    pub id: String,
    pub name: String,
    pub email: String,
    pub event: String,
    pub way: String,
    /// The broker's id of the event's message.
    pub message_id: Option<String>,
    /// Why the mail server will never take the mail.
    pub refused: Option<String>,
    pub asked_us: i64,
    pub saved_us: i64,
    pub enqueued_us: Option<i64>,
    pub answered_us: Option<i64>,
    /// When the mailer had the event.
    pub received_us: Option<i64>,
    pub mailed_us: Option<i64>,
}

impl User {
    /// A user who is not saved yet.
    pub fn new(applicant: &Applicant, way: Way, asked_us: i64) -> Self {
        Self {
            id: Uuid::now_v7().to_string(),
            name: applicant.name.clone(),
            email: applicant.email.clone(),
            event: Uuid::now_v7().to_string(),
            way: way.text().to_owned(),
            message_id: None,
            refused: None,
            asked_us,
            saved_us: asked_us,
            enqueued_us: None,
            answered_us: None,
            received_us: None,
            mailed_us: None,
        }
    }

    /// Whether every step is done and noted.
    pub fn is_complete(&self) -> bool {
        let enqueued = self.enqueued_us.is_some() || self.way == Way::Direct.text();
        enqueued && self.answered_us.is_some() && self.mailed_us.is_some()
    }

    /// The event's message body.
    pub fn body(&self) -> Result<Vec<u8>, DatabaseError> {
        serde_json::to_vec(&self.registered())
            .map_err(|error| DatabaseError::Statement(rusqlite::Error::ToSqlConversionFailure(error.into())))
    }

    pub fn registered(&self) -> Registered {
        Registered {
            event: self.event.clone(),
            user: self.id.clone(),
            name: self.name.clone(),
            email: self.email.clone(),
        }
    }
}

/// An event that the broker has not acknowledged yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    pub seq: i64,
    pub event: String,
    pub user: String,
    pub body: Vec<u8>,
}

/// An event that the broker has acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub seq: i64,
    pub event: String,
    pub message_id: String,
    pub enqueued_us: i64,
}

#[derive(Clone)]
pub struct Users(Database);

impl Users {
    pub fn open(path: &Path) -> Result<Self, DatabaseError> {
        Ok(Self(Database::open(path, SCHEMA)?))
    }

    /// Saves the user and, on the queued way, the event with it. Answers with the time after the commit.
    pub async fn save(&self, user: &User, key: String, way: Way) -> Result<i64, DatabaseError> {
        let (user, body) = (user.clone(), user.body()?);
        self.0
            .call(move |db| {
                let commit = db.transaction()?;
                insert(&commit, &user, &key)?;
                if way == Way::Queued {
                    commit.execute(
                        "INSERT INTO outbox (event, user, body) VALUES (?1, ?2, ?3)",
                        params![user.event, user.id, body],
                    )?;
                }
                commit.commit()?;
                Ok(now_us())
            })
            .await
    }

    /// Saves the user while the broker keeps the event back. Answers with the time after the commit; none: the event was rolled
    /// back meanwhile, and nothing is saved.
    pub async fn save_in_transaction(&self, user: &User, key: String) -> Result<Option<i64>, DatabaseError> {
        let user = user.clone();
        self.0
            .call(move |db| {
                let commit = db.transaction()?;
                let gone = "SELECT EXISTS (SELECT 1 FROM rolled_back WHERE event = ?1)";
                if commit.query_row(gone, [&user.event], |row| row.get(0))? {
                    return Ok(None);
                }
                insert(&commit, &user, &key)?;
                commit.commit()?;
                Ok(Some(now_us()))
            })
            .await
    }

    /// Whether the event's user is saved. If not, that user never will be: a save that is still under way fails.
    pub async fn decide(&self, event: String) -> Result<bool, DatabaseError> {
        self.0
            .call(move |db| {
                let commit = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
                let there = "SELECT EXISTS (SELECT 1 FROM users WHERE event = ?1)";
                let saved: bool = commit.query_row(there, [&event], |row| row.get(0))?;
                if !saved {
                    commit.execute("INSERT OR IGNORE INTO rolled_back (event) VALUES (?1)", [&event])?;
                }
                commit.commit()?;
                Ok(saved)
            })
            .await
    }

    /// Notes when the broker had the event; for people's eyes, nothing depends on it.
    pub async fn enqueued(&self, event: String, message_id: String, enqueued_us: i64) -> Result<(), DatabaseError> {
        let sql = "UPDATE users SET enqueued_us = ?2, message_id = ?3 WHERE event = ?1 AND enqueued_us IS NULL";
        self.0.call(move |db| db.execute(sql, params![event, enqueued_us, message_id]).map(drop)).await
    }

    /// Notes when the user was saved and answered; for people's eyes, nothing depends on it.
    pub async fn answered(&self, id: String, saved_us: i64, answered_us: i64) -> Result<(), DatabaseError> {
        let sql = "UPDATE users SET saved_us = ?2, answered_us = ?3 WHERE id = ?1";
        self.0.call(move |db| db.execute(sql, params![id, saved_us, answered_us]).map(drop)).await
    }

    /// The oldest events that wait to be sent, in their order.
    pub async fn waiting(&self, limit: u32) -> Result<Vec<Waiting>, DatabaseError> {
        let sql = "SELECT seq, event, user, body FROM outbox WHERE sent_us IS NULL ORDER BY seq LIMIT ?1";
        let read =
            |row: &Row<'_>| Ok(Waiting { seq: row.get(0)?, event: row.get(1)?, user: row.get(2)?, body: row.get(3)? });
        self.0.call(move |db| db.prepare_cached(sql)?.query_map([limit], read)?.collect()).await
    }

    pub async fn count_waiting(&self) -> Result<u32, DatabaseError> {
        let sql = "SELECT count(*) FROM outbox WHERE sent_us IS NULL";
        self.0.call(move |db| db.query_row(sql, [], |row| row.get(0))).await
    }

    /// Marks events as sent. If the process dies before this, they are sent again.
    pub async fn sent(&self, sent: Vec<Sent>) -> Result<(), DatabaseError> {
        self.0
            .call(move |db| {
                let commit = db.transaction()?;
                for event in &sent {
                    commit.execute(
                        "UPDATE outbox SET sent_us = ?2 WHERE seq = ?1",
                        params![event.seq, event.enqueued_us],
                    )?;
                    commit.execute(
                        "UPDATE users SET enqueued_us = ?2, message_id = ?3 WHERE event = ?1 AND enqueued_us IS NULL",
                        params![event.event, event.enqueued_us, event.message_id],
                    )?;
                }
                commit.commit()
            })
            .await
    }

    /// Notes what the mailer reports; a second report about the same event changes nothing.
    pub async fn mailed(&self, report: Mailed) -> Result<(), DatabaseError> {
        let sql = "UPDATE users SET received_us = ?2, mailed_us = ?3, refused = ?4
                   WHERE event = ?1 AND mailed_us IS NULL";
        self.0
            .call(move |db| {
                let Mailed { event, received_us, done_us, refused, .. } = report;
                db.execute(sql, params![event, received_us, done_us, refused]).map(drop)
            })
            .await
    }

    pub async fn find(&self, id: String) -> Result<Option<User>, DatabaseError> {
        let sql = format!("SELECT {COLUMNS} FROM users WHERE id = ?1");
        self.0.call(move |db| db.prepare_cached(&sql)?.query_row([id], user).optional()).await
    }

    /// The newest users, newest first.
    pub async fn newest(&self, limit: u32) -> Result<Vec<User>, DatabaseError> {
        let sql = format!("SELECT {COLUMNS} FROM users ORDER BY asked_us DESC LIMIT ?1");
        self.0.call(move |db| db.prepare_cached(&sql)?.query_map([limit], user)?.collect()).await
    }
}

fn insert(commit: &Transaction<'_>, user: &User, key: &str) -> rusqlite::Result<()> {
    let sql = "INSERT INTO users (id, name, email, email_key, event, way, asked_us, saved_us)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let values = params![user.id, user.name, user.email, key, user.event, user.way, user.asked_us, now_us()];
    commit.execute(sql, values).map(drop)
}

fn user(row: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User {
        id: row.get(0)?,
        name: row.get(1)?,
        email: row.get(2)?,
        event: row.get(3)?,
        way: row.get(4)?,
        message_id: row.get(5)?,
        refused: row.get(6)?,
        asked_us: row.get(7)?,
        saved_us: row.get(8)?,
        enqueued_us: row.get(9)?,
        answered_us: row.get(10)?,
        received_us: row.get(11)?,
        mailed_us: row.get(12)?,
    })
}

#[cfg(test)]
mod tests {
    use super::{Sent, User, Users, Way};
    use crate::applicant::Applicant;
    use crate::event::{Mailed, Registered};

    fn applicant(email: &str) -> Applicant {
        Applicant { name: "Ada".into(), email: email.into() }
    }

    #[tokio::test]
    async fn user_and_event_are_saved_together_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let users = Users::open(&dir.path().join("users.db")).unwrap();
        let ada = applicant("ada@example.org");
        let first = User::new(&ada, Way::Queued, 1);
        assert!(users.save(&first, ada.email_key(), Way::Queued).await.unwrap() > 1);
        let again = User::new(&ada, Way::Queued, 2);
        assert!(users.save(&again, ada.email_key(), Way::Queued).await.unwrap_err().is_duplicate());

        let waiting = users.waiting(10).await.unwrap();
        assert_eq!(waiting.len(), 1);
        assert_eq!(serde_json::from_slice::<Registered>(&waiting[0].body).unwrap(), first.registered());
        assert!(users.find(again.id).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn an_event_is_decided_once() {
        let dir = tempfile::tempdir().unwrap();
        let users = Users::open(&dir.path().join("users.db")).unwrap();
        let (ada, bob) = (applicant("ada@example.org"), applicant("bob@example.org"));
        let (saved, late) = (User::new(&ada, Way::Queued, 1), User::new(&bob, Way::Queued, 1));
        assert!(users.save_in_transaction(&saved, ada.email_key()).await.unwrap().is_some());
        for _ in 0..2 {
            assert!(users.decide(saved.event.clone()).await.unwrap());
            assert!(!users.decide(late.event.clone()).await.unwrap());
        }
        assert_eq!(users.save_in_transaction(&late, bob.email_key()).await.unwrap(), None);
        assert!(users.find(late.id).await.unwrap().is_none());
        users.enqueued(saved.event.clone(), "M".into(), 3).await.unwrap();
        assert_eq!(users.find(saved.id).await.unwrap().unwrap().enqueued_us, Some(3));
        assert_eq!(users.count_waiting().await.unwrap(), 0);
    }

    #[tokio::test]
    async fn steps_are_noted_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users.db");
        let users = Users::open(&path).unwrap();
        let ada = User::new(&applicant("ada@example.org"), Way::Queued, 1);
        users.save(&ada, "ada@example.org".into(), Way::Queued).await.unwrap();
        users.answered(ada.id.clone(), 2, 4).await.unwrap();
        let sent = |enqueued_us| Sent { seq: 1, event: ada.event.clone(), message_id: "M".into(), enqueued_us };
        users.sent(vec![sent(3)]).await.unwrap();
        users.sent(vec![sent(9)]).await.unwrap();
        let report =
            |done_us| Mailed { event: ada.event.clone(), user: ada.id.clone(), received_us: 5, done_us, refused: None };
        users.mailed(report(6)).await.unwrap();
        users.mailed(report(9)).await.unwrap();
        drop(users);

        let users = Users::open(&path).unwrap();
        let seen = users.newest(5).await.unwrap().remove(0);
        assert_eq!((seen.saved_us, seen.enqueued_us, seen.answered_us), (2, Some(3), Some(4)));
        assert_eq!((seen.received_us, seen.mailed_us, seen.message_id.as_deref()), (Some(5), Some(6), Some("M")));
        assert_eq!(users.count_waiting().await.unwrap(), 0);
    }

    #[tokio::test]
    async fn the_direct_way_owes_no_event() {
        let dir = tempfile::tempdir().unwrap();
        let users = Users::open(&dir.path().join("users.db")).unwrap();
        let ada = applicant("ada@example.org");
        users.save(&User::new(&ada, Way::Direct, 1), ada.email_key(), Way::Direct).await.unwrap();
        assert_eq!(users.count_waiting().await.unwrap(), 0);
    }
}
