//! The book of what was sent, and how each message was answered.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::session::{Outgoing, Receipt, properties};

/// Names a message: its sender and the sender's count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id {
    /// The sender.
    pub sender: u32,
    /// Its message, from 0 on.
    pub sequence: u64,
}

impl Id {
    /// The message's body: its name and as many letters that follow from it.
    #[must_use]
    pub fn body(self, padding: usize) -> Bytes {
        let mut text = format!("{} {} ", self.sender, self.sequence).into_bytes();
        let letter = b'a' + u8::try_from(self.sequence % 26).unwrap();
        text.resize(text.len() + padding, letter);
        text.into()
    }

    /// Reads the name out of a body; `None` when the letters are not those of the name.
    #[must_use]
    pub fn of(body: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(body).ok()?;
        let mut words = text.splitn(3, ' ');
        let id = Self { sender: words.next()?.parse().ok()?, sequence: words.next()?.parse().ok()? };
        (id.body(words.next()?.len()) == body).then_some(id)
    }

    /// The message's unique key.
    #[must_use]
    pub fn key(self) -> String {
        format!("K{}-{}", self.sender, self.sequence)
    }
}

/// How a message was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// Not at all: it may be stored or not.
    Nothing,
    /// Refused.
    Refused,
    /// Stored at this offset of its queue.
    Stored {
        /// The offset.
        offset: i64,
    },
}

/// One line of the book.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The topic it was sent to.
    pub topic: Arc<str>,
    /// The queue it was sent to.
    pub queue: i32,
    /// The answer.
    pub answered: Answered,
}

#[derive(Default)]
struct Pages {
    entries: HashMap<Id, Entry>,
    next: HashMap<u32, u64>,
    acknowledged: usize,
    refusals: BTreeMap<(i32, String), usize>,
}

/// The book; shared by all senders.
#[derive(Default)]
pub struct Ledger {
    pages: Mutex<Pages>,
}

impl Ledger {
    /// The sender's next message, noted as not answered.
    pub fn next(&self, sender: u32, topic: &Arc<str>, queue: i32, padding: usize, delay: u32) -> (Id, Outgoing) {
        let mut pages = self.pages.lock();
        let next = pages.next.entry(sender).or_default();
        let id = Id { sender, sequence: *next };
        *next += 1;
        pages.entries.insert(id, Entry { topic: Arc::clone(topic), queue, answered: Answered::Nothing });
        (id, Outgoing { body: id.body(padding), properties: properties(&id.key(), delay) })
    }

    /// Notes that messages sent together were stored.
    pub fn stored(&self, ids: &[Id], receipt: &Receipt) {
        let mut pages = self.pages.lock();
        for (id, offset) in ids.iter().zip(receipt.offset..) {
            pages.entries.get_mut(id).unwrap().answered = Answered::Stored { offset };
        }
        pages.acknowledged += ids.len();
    }

    /// Notes that messages sent together were refused.
    pub fn refused(&self, ids: &[Id], code: i32, remark: &str) {
        let mut pages = self.pages.lock();
        for id in ids {
            pages.entries.get_mut(id).unwrap().answered = Answered::Refused;
        }
        // Numbers differ from one refusal to the next; the text around them does not.
        let kind: String = remark.chars().map(|letter| if letter.is_ascii_digit() { '#' } else { letter }).collect();
        *pages.refusals.entry((code, kind)).or_default() += ids.len();
    }

    /// Messages acknowledged so far.
    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.pages.lock().acknowledged
    }

    /// Messages that got no answer.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.pages.lock().entries.values().filter(|entry| entry.answered == Answered::Nothing).count()
    }

    /// Messages refused so far, by code and remark with `#` for digits.
    #[must_use]
    pub fn refusals(&self) -> BTreeMap<(i32, String), usize> {
        self.pages.lock().refusals.clone()
    }

    /// How a message was answered, if it was sent at all.
    #[must_use]
    pub fn entry(&self, id: Id) -> Option<Entry> {
        self.pages.lock().entries.get(&id).cloned()
    }

    /// All acknowledged messages with their lines.
    #[must_use]
    pub fn all_acknowledged(&self) -> Vec<(Id, Entry)> {
        let pages = self.pages.lock();
        let stored = pages.entries.iter().filter(|(_, entry)| matches!(entry.answered, Answered::Stored { .. }));
        stored.map(|(id, entry)| (*id, entry.clone())).collect()
    }
}
