//! One topic's memory and the appending under it.

use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashMap;
use orbitmq_common::clock::now_ms;
use orbitmq_common::protocol::body::dedup::Dedup;
use parking_lot::Mutex;

use crate::duplicates::window::{First, Print, Window};
use crate::store::tail::Appended;

/// What the topic remembers has yet to be read from the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this broker still reads from its log what was sent to the topic lately (orbitmq.dedup.window); try again")]
pub struct NotRead;

/// Where a message is, and whether it was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Its place.
    pub place: First,
    /// Whether it is the place of an earlier one with the same key: nothing is stored now.
    pub again: bool,
}

impl Sent {
    /// A message that was appended for a queue of its topic.
    pub fn new(appended: &Appended, queue: i32) -> Self {
        Self { place: First::new(appended, queue), again: false }
    }
}

/// One topic's memory. Whoever appends to the topic holds it until both know, so that of two messages with one key the second finds
/// the first.
pub struct Memory {
    topic: String,
    state: Mutex<State>,
    dropped: AtomicU64,
    /// Messages forgotten before they were too old.
    forgotten: AtomicU64,
}

enum State {
    /// To be read from the log, within these bounds.
    Unread(Dedup),
    Read(Window),
    /// The topic is deleted, or takes duplicates now.
    Over,
}

impl Memory {
    /// Of a topic; to be read from the log.
    pub fn new(topic: &str, bounds: Dedup) -> Self {
        Self {
            topic: topic.to_owned(),
            state: Mutex::new(State::Unread(bounds)),
            dropped: AtomicU64::new(0),
            forgotten: AtomicU64::new(0),
        }
    }

    /// Sets the bounds. With others than before it has to be read anew: a longer window was forgotten already.
    pub fn bound(&self, bounds: Dedup) {
        let mut state = self.state.lock();
        match &*state {
            State::Read(window) if window.bounds() != bounds => *state = State::Unread(bounds),
            State::Unread(_) => *state = State::Unread(bounds),
            State::Read(_) | State::Over => {}
        }
    }

    /// Bounds within which it has to be read.
    pub fn wanted(&self) -> Option<Dedup> {
        if let State::Unread(bounds) = &*self.state.lock() { Some(*bounds) } else { None }
    }

    /// It was read; unless the bounds have changed meanwhile.
    pub fn fill(&self, window: Window) {
        let mut state = self.state.lock();
        if matches!(&*state, State::Unread(bounds) if *bounds == window.bounds()) {
            *state = State::Read(window);
        }
    }

    /// Nothing is stored under it any more.
    pub fn end(&self) {
        *self.state.lock() = State::Over;
    }

    /// Whether messages can be stored.
    pub fn is_read(&self) -> bool {
        matches!(&*self.state.lock(), State::Read(_))
    }

    /// Appends a message for a queue of the topic, unless the topic has one with this key.
    ///
    /// # Errors
    /// It was not appended; nothing is remembered then.
    pub fn append<E: From<NotRead>>(
        &self,
        key: &str,
        queue: i32,
        append: impl FnOnce() -> Result<Appended, E>,
    ) -> Result<Sent, E> {
        let mut state = self.state.lock();
        let window = current(&mut state)?;
        let print = window.print(key);
        if let Some(place) = window.get(print) {
            self.count_dropped(1);
            return Ok(Sent { place, again: true });
        }
        let appended = append()?;
        let sent = Sent::new(&appended, queue);
        self.note(window, print, &appended, sent.place);
        Ok(sent)
    }

    /// Appends those of a batch that the topic does not have, each once; `append` is given their numbers in the batch, and appends all
    /// or none. A message without a key is like no other.
    ///
    /// # Errors
    /// Nothing was appended, and nothing is remembered.
    pub fn append_batch<E: From<NotRead>>(
        &self,
        keys: &[Option<&str>],
        queue: i32,
        append: impl FnOnce(&[usize]) -> Result<Vec<Appended>, E>,
    ) -> Result<Vec<Sent>, E> {
        let mut state = self.state.lock();
        let window = current(&mut state)?;
        let batch = Batch::of(window, keys);
        let appended = if batch.new.is_empty() { Vec::new() } else { append(&batch.new)? };
        for (print, appended) in batch.prints.iter().zip(&appended) {
            if let Some(print) = print {
                self.note(window, *print, appended, First::new(appended, queue));
            }
        }
        // The store gives a place to each record that it takes, so each message has one.
        let place = |source: &Source| match *source {
            Source::Known(place) => Some(Sent { place, again: true }),
            Source::New { index, again } => Some(Sent { again, ..Sent::new(appended.get(index)?, queue) }),
        };
        let sent: Vec<Sent> = batch.sources.iter().filter_map(place).collect();
        self.count_dropped(sent.iter().filter(|sent| sent.again).count());
        Ok(sent)
    }

    fn note(&self, window: &mut Window, print: Print, appended: &Appended, place: First) {
        let pushed_out = window.insert(print, appended.store_timestamp, place);
        if pushed_out && self.forgotten.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(
                topic = self.topic,
                count = window.bounds().count,
                "more messages come within the window than are known: the oldest is forgotten early (orbitmq.dedup.count)"
            );
        }
    }

    fn count_dropped(&self, count: usize) {
        if count > 0 && self.dropped.fetch_add(count as u64, Ordering::Relaxed) == 0 {
            tracing::info!(
                topic = self.topic,
                "a message was sent again and is dropped; further ones are only counted"
            );
        }
    }

    /// Messages dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Messages forgotten before they were too old, because more came than are to be known.
    pub fn forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::Relaxed)
    }

    /// Messages that it remembers, and the memory that they take.
    pub fn size(&self) -> (usize, usize) {
        if let State::Read(window) = &*self.state.lock() { (window.count(), window.bytes()) } else { (0, 0) }
    }

    /// Forgets some of what is too old; false: there is more.
    pub fn expire(&self, now: i64) -> bool {
        if let State::Read(window) = &mut *self.state.lock() { window.expire(now) } else { true }
    }
}

/// A batch beside what its topic remembers.
#[derive(Default)]
struct Batch {
    /// Numbers of the messages to append.
    new: Vec<usize>,
    /// Their fingerprints.
    prints: Vec<Option<Print>>,
    /// Where each message of the batch is, or will be.
    sources: Vec<Source>,
}

enum Source {
    Known(First),
    /// Among those that are appended; `again`: by another of the batch with the same key.
    New {
        index: usize,
        again: bool,
    },
}

impl Batch {
    fn of(window: &Window, keys: &[Option<&str>]) -> Self {
        let (mut batch, mut seen) = (Self::default(), HashMap::new());
        for (number, key) in keys.iter().enumerate() {
            let print = key.map(|key| window.print(key));
            if let Some(place) = print.and_then(|print| window.get(print)) {
                batch.sources.push(Source::Known(place));
                continue;
            }
            let next = batch.new.len();
            let index = print.map_or(next, |print| *seen.entry(print).or_insert(next));
            batch.sources.push(Source::New { index, again: index != next });
            if index == next {
                batch.new.push(number);
                batch.prints.push(print);
            }
        }
        batch
    }
}

fn current(state: &mut State) -> Result<&mut Window, NotRead> {
    let State::Read(window) = state else { return Err(NotRead) };
    window.expire(now_ms());
    Ok(window)
}
