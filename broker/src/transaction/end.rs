//! How half messages begin and end.
//!
//! A half message ends by a note that is appended right behind the message that comes of it, under one lock, so a crash can leave
//! that message without its note but never a note without the message. Such a message is looked for before a half message
//! that was here at the start ends again, or one ends because its producer was asked: a producer whose answer was lost sends its
//! half message again, and one of the two is enough. The index that finds it is a moment behind, so the newest are known beside it.

use orbitmq_common::clock::now_ms;
use orbitmq_common::message::property::PropertyError;
use orbitmq_common::message::record::{NewRecord, RecordView};
use orbitmq_common::message::sysflag;
use orbitmq_common::name;

use crate::store::error::{AppendError, ReadError};
use crate::store::search::KeySearch;
use crate::store::tail::Appended;
use crate::transaction::half::{self, Half, HalfError};
use crate::transaction::table::{Open, Table};
use crate::transaction::{Ground, Transactions, count, steady_ms};

/// Records of one producer's id that are looked at.
const SAME_KEY: usize = 64;

/// How a half message ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Its message goes to its topic.
    Commit,
    /// Nothing comes of it.
    Rollback,
    /// Its message is laid aside, after so many questions.
    GiveUp {
        /// Questions that its producer did not answer.
        checks: u32,
    },
}

/// A producer's wish to end a half message.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// Its offset in the queue of half messages.
    pub offset: i64,
    /// Its offset in the log.
    pub physical: u64,
    /// The producer's group.
    pub group: &'a str,
    /// How it ends.
    pub outcome: Outcome,
    /// Whether this is the answer to a question.
    pub asked: bool,
}

/// A half message was not begun.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// Too many are open.
    #[error("{open} half messages are open, more than this broker keeps (max_open_transactions): end some, or wait")]
    TooMany {
        /// That many.
        open: usize,
    },
    /// The log takes nothing.
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// A half message was not ended by this wish.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// The record cannot be read.
    #[error("no half message can be read there: {0}")]
    Read(#[from] ReadError),
    /// The record is something else.
    #[error(transparent)]
    Half(#[from] HalfError),
    /// Another group sent it.
    #[error("the half message is of producer group '{theirs}', not of '{given}'")]
    Group {
        /// Group that sent it.
        theirs: String,
        /// Group that wants to end it.
        given: String,
    },
    /// The offsets do not belong together.
    #[error("the half message at {physical} of the log has offset {theirs} in its queue, not {given}")]
    Offset {
        /// Its offset in the log.
        physical: u64,
        /// Its offset in the queue.
        theirs: u64,
        /// The offset that was given.
        given: i64,
    },
    /// The producer is too late to end it unasked.
    #[error(
        "the time in which this half message ends without being asked about (CHECK_IMMUNITY_TIME_IN_SECONDS) is over; the \
         broker asks"
    )]
    TooLate,
    /// It has ended before; perhaps in the same way.
    #[error("the half message has ended before")]
    Ended,
    /// Its message cannot be made.
    #[error("the half message holds what no message can: {0}")]
    Property(#[from] PropertyError),
    /// The log takes nothing.
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// What a half message was found to have become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Became {
    /// A message of its topic.
    Committed,
    /// One that was given up.
    GivenUp,
}

impl Wish<'_> {
    fn check(&self, half: &Half<'_>, timeout: i64) -> Result<(), EndError> {
        if let Some(immunity) = half.immunity().filter(|_| !self.asked)
            && now_ms().saturating_sub(half.record.store_timestamp) > immunity.max(timeout)
        {
            return Err(EndError::TooLate);
        }
        if half.group != self.group {
            return Err(EndError::Group { theirs: half.group.to_owned(), given: self.group.to_owned() });
        }
        let theirs = half.record.queue_offset;
        if u64::try_from(self.offset) != Ok(theirs) {
            return Err(EndError::Offset { physical: self.physical, theirs, given: self.offset });
        }
        Ok(())
    }
}

impl Transactions {
    /// Appends a half message; its producer will be asked unless it ends within `wait` ms.
    ///
    /// # Errors
    /// See [`BeginError`]; nothing is stored.
    pub fn begin(&self, ground: Ground<'_>, record: &NewRecord<'_>, wait: i64) -> Result<Appended, BeginError> {
        let mut table = self.table.lock();
        if table.count() >= self.max_open {
            return Err(BeginError::TooMany { open: table.count() });
        }
        let appended = ground.store.append(record)?;
        let due = steady_ms().saturating_add(wait);
        let open = Open { physical: appended.physical_offset, due, checks: 0, inherited: false };
        table.insert(appended.queue_offset, open);
        drop(table);
        if wait < 1_000 {
            self.sooner.notify_one();
        }
        Ok(appended)
    }

    /// Ends a half message as its producer wishes. Returns the end in the log of what was appended.
    ///
    /// # Errors
    /// See [`EndError`]; after all but [`EndError::Ended`] the half message is open as before.
    pub fn end(&self, ground: Ground<'_>, wish: &Wish<'_>) -> Result<u64, EndError> {
        let bytes = ground.store.record_at(wish.physical)?;
        let half = half_of(&bytes, wish.physical)?;
        wish.check(&half, ground.timeout)?;
        self.conclude(ground, &half, wish.outcome, wish.asked)
    }

    /// Ends a half message; `doubtful`: unless something has come of it already, which is noted then.
    ///
    /// # Errors
    /// See [`EndError`].
    pub fn conclude(
        &self,
        ground: Ground<'_>,
        half: &Half<'_>,
        outcome: Outcome,
        doubtful: bool,
    ) -> Result<u64, EndError> {
        let offset = half.record.queue_offset;
        let open = self.table.lock().get(offset).ok_or(EndError::Ended)?;
        if (doubtful || open.inherited) && became(ground, half)?.is_some() {
            self.note(ground, offset)?;
            return Err(EndError::Ended);
        }
        let (now, body) = (now_ms(), half::note_body(offset));
        let note = half::note(&body, now, ground.host);
        let end = match outcome {
            Outcome::Commit => {
                let place = half.place(ground.levels, now)?;
                self.commit(ground, half, half.committed(&place, ground.host), note)?
            }
            Outcome::Rollback => append(&mut self.table.lock(), ground, offset, None, note)?,
            Outcome::GiveUp { checks } => {
                let properties = half.properties_after(checks)?;
                append(&mut self.table.lock(), ground, offset, Some(half.given_up(&properties, ground.host)), note)?
            }
        };
        count(match outcome {
            Outcome::Commit => &self.counts.committed,
            Outcome::Rollback => &self.counts.rolled_back,
            Outcome::GiveUp { .. } => &self.counts.given_up,
        });
        Ok(end)
    }

    /// Ends a half message by a note alone: it has ended before, or cannot be read any more.
    ///
    /// # Errors
    /// It is not open, or the log takes nothing.
    pub fn note(&self, ground: Ground<'_>, offset: u64) -> Result<u64, EndError> {
        let (now, body) = (now_ms(), half::note_body(offset));
        append(&mut self.table.lock(), ground, offset, None, half::note(&body, now, ground.host))
    }

    /// Appends the message that comes of a half message, unless one has come of its twin: then it ends by the note alone.
    fn commit(
        &self,
        ground: Ground<'_>,
        half: &Half<'_>,
        message: NewRecord<'_>,
        note: NewRecord<'_>,
    ) -> Result<u64, EndError> {
        let mut table = self.table.lock();
        let is_twin = table.fresh.has(half);
        let end = append(&mut table, ground, half.record.queue_offset, (!is_twin).then_some(message), note)?;
        if is_twin {
            return Err(EndError::Ended);
        }
        table.fresh.note(half, steady_ms());
        Ok(end)
    }
}

/// Appends what ends an open half message, and takes it out of the index.
fn append(
    table: &mut Table,
    ground: Ground<'_>,
    offset: u64,
    message: Option<NewRecord<'_>>,
    note: NewRecord<'_>,
) -> Result<u64, EndError> {
    if table.get(offset).is_none() {
        return Err(EndError::Ended);
    }
    let note = match message {
        // This order, see above.
        Some(message) => {
            let [_, note] = ground.store.append_pair(&[message, note])?;
            note
        }
        None => ground.store.append(&note)?,
    };
    table.end(offset, note.queue_offset);
    Ok(note.end)
}

/// Reads the half message at a log offset.
///
/// # Errors
/// It is none.
pub fn half_of(bytes: &[u8], physical: u64) -> Result<Half<'_>, EndError> {
    let record = RecordView::parse(bytes).map_err(|source| ReadError::Damaged { offset: physical, source })?;
    Ok(Half::of(record)?)
}

/// What has come of a half message already: found by its producer's id among the messages of its topic and those given up.
///
/// # Errors
/// A property of it cannot be written.
pub fn became(ground: Ground<'_>, half: &Half<'_>) -> Result<Option<Became>, PropertyError> {
    let own = i64::try_from(half.record.physical_offset).unwrap_or(-1);
    // The same message sent again, or written anew by RocketMQ's broker to ask, keeps the time of its birth.
    let born = half.record.born_timestamp;
    let place = half.place(ground.levels, now_ms())?;
    let is_end = |copy: &RecordView<'_>| {
        sysflag::transaction(copy.sys_flag) == sysflag::TRANSACTION_COMMIT
            && (copy.prepared_offset == own || copy.born_timestamp == born)
    };
    if find(ground, half, &place.topic, is_end) {
        return Ok(Some(Became::Committed));
    }
    let is_laid_aside = |copy: &RecordView<'_>| {
        let by_apache = copy.prepared_offset == 0 && copy.born_timestamp == born;
        copy.prepared_offset == own || by_apache && copy.physical_offset > half.record.physical_offset
    };
    Ok(find(ground, half, name::CHECK_MAX_TIME_TOPIC, is_laid_aside).then_some(Became::GivenUp))
}

fn find(ground: Ground<'_>, half: &Half<'_>, topic: &str, wanted: impl Fn(&RecordView<'_>) -> bool) -> bool {
    let found = ground.store.query(KeySearch {
        topic,
        key: half.key,
        max: SAME_KEY,
        begin: half.record.store_timestamp,
        end: i64::MAX,
        unique: true,
    });
    found.records.iter().filter_map(|bytes| RecordView::parse(bytes).ok()).any(|copy| wanted(&copy))
}
