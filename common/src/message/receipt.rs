//! Receipts of popped messages, in the text form that RocketMQ's clients put together and send back.
//!
//! ```text
//! first offset, time of the pop, invisible time, revive queue, 0 | 1 | 2, broker, queue, offset   (blanks between them)
//! ```
//! An answer to a pop carries what its receipts are made of: `0 queue first` and `0 queue offset,offset`, joined by `;`.

use std::borrow::Cow;
use std::fmt::{self, Write};

use crate::name;

/// Revive queue of what was popped in order: no note of it is kept in any queue.
pub const ORDERED: i32 = 999;

/// Which topic a message was popped from; the number stands in receipts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Origin {
    /// The topic itself.
    Topic = 0,
    /// The retry topic `%RETRY%group_topic`.
    Retry = 1,
    /// The retry topic `%RETRY%group+topic`.
    RetryV2 = 2,
}

impl Origin {
    /// What receipts of messages of this topic say.
    #[must_use]
    pub fn of(topic: &str) -> Self {
        match topic.strip_prefix(name::RETRY_PREFIX) {
            None => Self::Topic,
            Some(rest) if rest.contains('+') => Self::RetryV2,
            Some(_) => Self::Retry,
        }
    }

    fn parse(text: &str) -> Option<Self> {
        match text {
            "0" => Some(Self::Topic),
            "1" => Some(Self::Retry),
            "2" => Some(Self::RetryV2),
            _ => None,
        }
    }

    /// The topic that a message of this origin lies in when a group has asked for `topic`. `None`: the text is no origin.
    #[must_use]
    pub fn real_topic<'a>(text: &str, topic: &'a str, group: &str) -> Option<Cow<'a, str>> {
        Some(match Self::parse(text)? {
            Self::Topic => Cow::Borrowed(topic),
            Self::Retry => name::pop_retry_topic(group, topic).into(),
            Self::RetryV2 => name::pop_retry_topic_v2(group, topic).into(),
        })
    }
}

/// The handle by which a consumer acknowledges a popped message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt<'a> {
    /// First offset of the messages popped together from this queue.
    pub start: i64,
    /// When they were popped, ms since the epoch.
    pub pop_time: i64,
    /// For how long nobody else sees them, ms.
    pub invisible: i64,
    /// Queue of the revive topic that notes them, or [`ORDERED`].
    pub revive_queue: i32,
    /// The kind of topic they lie in.
    pub origin: Origin,
    /// Name of the broker.
    pub broker: &'a str,
    /// The queue they lie in.
    pub queue: i32,
    /// The message's offset there.
    pub offset: i64,
}

/// A text is no receipt. It says what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("extraInfo '{text}' is no receipt ({what}): send back the property POP_CK of the popped message as it came")]
pub struct ReceiptError {
    text: String,
    what: &'static str,
}

impl<'a> Receipt<'a> {
    /// Reads the text form.
    ///
    /// # Errors
    /// Not eight parts, or a part that is not what it should be.
    pub fn parse(text: &'a str) -> Result<Self, ReceiptError> {
        let wrong = |what| ReceiptError { text: text.chars().take(120).collect(), what };
        let mut parts = text.split(' ');
        let mut next = || parts.next().ok_or_else(|| wrong("it has eight parts"));
        let receipt = Self {
            start: next()?.parse().map_err(|_| wrong("the first offset is no number"))?,
            pop_time: next()?.parse().map_err(|_| wrong("the time of the pop is no number"))?,
            invisible: next()?.parse().map_err(|_| wrong("the invisible time is no number"))?,
            revive_queue: next()?.parse().map_err(|_| wrong("the revive queue is no number"))?,
            origin: Origin::parse(next()?).ok_or_else(|| wrong("the kind of topic is 0, 1 or 2"))?,
            broker: next()?,
            queue: next()?.parse().map_err(|_| wrong("the queue is no number"))?,
            offset: next()?.parse().map_err(|_| wrong("the offset is no number"))?,
        };
        if parts.next().is_some() { Err(wrong("it has eight parts")) } else { Ok(receipt) }
    }
}

impl fmt::Display for Receipt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { start, pop_time, invisible, revive_queue, origin, broker, queue, offset } = self;
        write!(f, "{start} {pop_time} {invisible} {revive_queue} {} {broker} {queue} {offset}", *origin as u8)
    }
}

/// What an answer to a pop says about its messages, for the reader to make receipts of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PopInfo {
    /// First offset by queue.
    pub start: String,
    /// Offsets of the messages by queue.
    pub offsets: String,
    /// How often each message was popped in order before, by message and by queue.
    pub counts: String,
}

impl PopInfo {
    /// Notes the messages popped from one queue; a queue is noted once.
    pub fn push(&mut self, origin: Origin, queue: u32, start: i64, offsets: &[i64]) {
        let origin = origin as u8;
        // Writing to a String cannot fail.
        let _ = write!(joined(&mut self.start), "{origin} {queue} {start}");
        let _ = write!(joined(&mut self.offsets), "{origin} {queue} ");
        for (n, offset) in offsets.iter().enumerate() {
            let _ = write!(self.offsets, "{}{offset}", if n == 0 { "" } else { "," });
        }
    }

    /// Notes how often a message was popped in order before.
    pub fn push_count(&mut self, origin: Origin, queue: u32, offset: i64, count: i32) {
        let _ = write!(joined(&mut self.counts), "{} qo{queue}%{offset} {count}", origin as u8);
    }

    /// The same for a whole queue, for readers that do not look at single messages.
    pub fn push_queue_count(&mut self, origin: Origin, queue: u32, count: i32) {
        let _ = write!(joined(&mut self.counts), "{} {queue} {count}", origin as u8);
    }
}

fn joined(text: &mut String) -> &mut String {
    if !text.is_empty() {
        text.push(';');
    }
    text
}

#[cfg(test)]
mod tests;
