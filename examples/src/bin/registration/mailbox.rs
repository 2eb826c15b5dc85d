//! A small mailbox for mails to anybody, kept in SQLite, shown by the page.

use std::path::Path;

use orbitmq_examples::clock::now_us;
use rusqlite::{OptionalExtension, Row, params};
use serde::Serialize;

use crate::database::{Database, DatabaseError};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS mails (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, message_id TEXT NOT NULL, recipient TEXT NOT NULL,
        subject TEXT NOT NULL, text TEXT NOT NULL, received_us INTEGER NOT NULL) STRICT;
    CREATE INDEX IF NOT EXISTS mails_by_id ON mails (message_id);";

const FOLDED: &str = "SELECT message_id, recipient, subject, text, min(received_us), count(*) FROM mails";

/// A mail as the page shows it; copies with one Message-ID are folded into the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mail {
    pub message_id: String,
    pub recipient: String,
    pub subject: String,
    pub text: String,
    pub received_us: i64,
    pub copies: u32,
}

#[derive(Clone)]
pub struct Mailbox(Database);

impl Mailbox {
    pub fn open(path: &Path) -> Result<Self, DatabaseError> {
        Ok(Self(Database::open(path, SCHEMA)?))
    }

    /// Keeps a mail that came over SMTP; once this returns, the mail is on disk.
    pub async fn keep(&self, recipients: Vec<String>, raw: Vec<u8>) -> Result<(), DatabaseError> {
        self.0
            .call(move |db| {
                let letter = Letter::read(&raw);
                let commit = db.transaction()?;
                for recipient in recipients {
                    commit.execute(
                        "INSERT INTO mails (message_id, recipient, subject, text, received_us)
                         VALUES (?1, ?2, ?3, ?4, ?5)",
                        params![letter.message_id, recipient, letter.subject, letter.text, now_us()],
                    )?;
                }
                commit.commit()
            })
            .await
    }

    /// The newest mails, newest first.
    pub async fn newest(&self, limit: u32) -> Result<Vec<Mail>, DatabaseError> {
        let sql = format!("{FOLDED} GROUP BY message_id, recipient ORDER BY min(seq) DESC LIMIT ?1");
        self.0.call(move |db| db.prepare_cached(&sql)?.query_map([limit], mail)?.collect()).await
    }

    /// The mail with this Message-ID.
    pub async fn find(&self, message_id: String) -> Result<Option<Mail>, DatabaseError> {
        let sql = format!("{FOLDED} WHERE message_id = ?1 GROUP BY message_id, recipient");
        self.0.call(move |db| db.prepare_cached(&sql)?.query_row([message_id], mail).optional()).await
    }
}

fn mail(row: &Row<'_>) -> rusqlite::Result<Mail> {
    Ok(Mail {
        message_id: row.get(0)?,
        recipient: row.get(1)?,
        subject: row.get(2)?,
        text: row.get(3)?,
        received_us: row.get(4)?,
        copies: row.get(5)?,
    })
}

/// What of a mail's source is shown.
#[derive(Debug, PartialEq, Eq)]
struct Letter {
    message_id: String,
    subject: String,
    text: String,
}

impl Letter {
    fn read(raw: &[u8]) -> Self {
        let source = String::from_utf8_lossy(raw).replace("\r\n", "\n");
        let (head, body) = source.split_once("\n\n").unwrap_or((&source, ""));
        let head = head.replace("\n ", " ").replace("\n\t", " ");
        let field = |name: &str| {
            let value = head.lines().find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            });
            value.unwrap_or_default()
        };
        let quoted = field("Content-Transfer-Encoding").eq_ignore_ascii_case("quoted-printable");
        let text = if quoted { unquote(body) } else { body.to_owned() };
        Self { message_id: field("Message-ID"), subject: field("Subject"), text }
    }
}

/// Undoes quoted-printable; what is not well-formed stays as it is.
fn unquote(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'=', [b'\n', after @ ..]) => rest = after,
            (b'=', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => {
                    bytes.push(high << 4 | low);
                    rest = after;
                }
                _ => bytes.push(byte),
            },
            _ => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::{Letter, Mailbox, unquote};

    #[test]
    fn reads_what_mail_programs_write() {
        let raw = b"message-id: <a@b>\r\nSubject: two\r\n lines\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nZo=C3=AB is =\r\nhere\r\n";
        let expected =
            Letter { message_id: "<a@b>".into(), subject: "two lines".into(), text: "Zoë is here\n".into() };
        assert_eq!(Letter::read(raw), expected);
        assert_eq!(Letter::read(b"\xff").text, "");
    }

    #[test]
    fn leaves_broken_quotes() {
        for text in ["=", "=4", "=zz", "a=\u{e9}b", "=\u{e9}"] {
            assert_eq!(unquote(text), text);
        }
    }

    #[tokio::test]
    async fn folds_copies_by_message_id() {
        let dir = tempfile::tempdir().unwrap();
        let mailbox = Mailbox::open(&dir.path().join("mailbox.db")).unwrap();
        for id in ["<1@x>", "<2@x>", "<1@x>"] {
            let raw = format!("Message-ID: {id}\r\n\r\nhello\r\n").into_bytes();
            mailbox.keep(vec!["ada@example.org".into()], raw).await.unwrap();
        }
        let mails = mailbox.newest(10).await.unwrap();
        let seen: Vec<_> = mails.iter().map(|mail| (mail.message_id.as_str(), mail.copies)).collect();
        assert_eq!(seen, [("<2@x>", 1), ("<1@x>", 2)]);
        assert_eq!(mailbox.find("<1@x>".into()).await.unwrap().as_ref(), mails.get(1));
        assert_eq!(mailbox.find("<3@x>".into()).await.unwrap(), None);
    }
}
