//! What a store must show when it opens again.

use std::collections::{BTreeMap, HashSet};

use orbitmq_broker::store::Store;
use orbitmq_broker::store::read::ReadLimit;
use orbitmq_broker::store::search::KeySearch;
use orbitmq_common::message::entry::records;
use orbitmq_common::message::property::tag_hash;
use orbitmq_common::message::record::RecordView;

use crate::history::{History, Life, Promise, Sent};
use crate::message::{DELAY_MS, DELAYED, Draft, TAGS, TOPICS, key, tag};
use crate::workload::block;

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Breach {
    /// The store does not open.
    Unopened(String),
    /// Something acknowledged is missing, or something appears that should not.
    Lost(String),
    /// Something wrong is shown.
    Served(String),
    /// Queues or index disagree with the log.
    Unhealed(String),
}

impl Breach {
    /// The same, with the place where it was done.
    pub fn at(self, place: &str) -> Self {
        let told = |reason: String| format!("{place}: {reason}");
        match self {
            Self::Unopened(reason) => Self::Unopened(told(reason)),
            Self::Lost(reason) => Self::Lost(told(reason)),
            Self::Served(reason) => Self::Served(told(reason)),
            Self::Unhealed(reason) => Self::Unhealed(told(reason)),
        }
    }
}

/// A message as a reader gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Offset in the queue.
    pub offset: u64,
    /// Offset in the log.
    pub physical: u64,
    /// The whole record.
    pub record: Vec<u8>,
}

const ALL: ReadLimit = ReadLimit { max_messages: usize::MAX, max_bytes: usize::MAX };

/// All that a queue shows.
pub fn drain(store: &Store, topic: &str, queue: u32) -> Result<Vec<Shown>, Breach> {
    drain_if(store, topic, queue, |_| true)
}

/// What a queue shows to a reader who wants some hashes of tags only.
fn drain_if(store: &Store, topic: &str, queue: u32, wanted: impl Fn(i64) -> bool) -> Result<Vec<Shown>, Breach> {
    let mut shown = Vec::new();
    let mut at = store.min_offset(topic, queue);
    while at < store.max_offset(topic, queue) {
        let page = store.read(topic, queue, at, ALL, &mut |hash, _| wanted(hash));
        for record in page.chunks.iter().flat_map(|chunk| records(chunk)) {
            let record = record.map_err(|error| Breach::Lost(format!("{topic}/{queue} shows no record: {error}")))?;
            shown.push(Shown {
                offset: record.queue_offset,
                physical: record.physical_offset,
                record: record.bytes.to_vec(),
            });
        }
        if page.next_offset <= at {
            return Err(Breach::Unhealed(format!("reading {topic}/{queue} stands still at {at}")));
        }
        at = page.next_offset;
    }
    Ok(shown)
}

/// Whether bytes are the record of a message that was sent.
pub fn is_the_one(shown: &Shown, sent: &Sent) -> Result<(), String> {
    let record = RecordView::parse(&shown.record).map_err(|error| error.to_string())?;
    record.verify().map_err(|error| error.to_string())?;
    let same = shown.offset == sent.place.queue_offset
        && shown.physical == sent.place.physical_offset
        && record.topic == sent.topic
        && record.queue_id == sent.queue
        && record.body == &*sent.body;
    if same { Ok(()) } else { Err(format!("offset {} shows something else", shown.offset)) }
}

/// Messages of one queue between two deletions of its topic, oldest first.
type Generation<'a> = Vec<&'a Sent>;

fn generations<'a>(history: &'a History, (topic, queue): (&str, u32), end: u64, at: usize) -> Vec<Generation<'a>> {
    let mut all: BTreeMap<usize, Generation<'a>> = BTreeMap::new();
    let there =
        |sent: &&Sent| sent.topic == topic && sent.queue == queue && sent.place.end <= end && sent.may_be_there(at);
    for sent in history.sent.iter().filter(there) {
        all.entry(sent.deleted.map_or(usize::MAX, |deleted| deleted.1)).or_default().push(sent);
    }
    all.into_values().collect()
}

/// Checks that a store holds an unbroken beginning of what was sent, as far as was promised at least. The power was cut
/// behind `at` changes.
pub fn holds(store: &Store, history: &History, promise: Promise, at: usize) -> Result<(), Breach> {
    let (start, end) = (store.min_physical(), store.confirmed());
    block(store.built(end));
    if end < promise.upto {
        return Err(Breach::Lost(format!("the log ends at {end}, acknowledged is {}", promise.upto)));
    }
    if start > promise.expired {
        return Err(Breach::Lost(format!("the log begins at {start}, retention came to {}", promise.expired)));
    }
    for (topic, queues) in TOPICS {
        for queue in 0..queues {
            let generations = generations(history, (topic, queue), end, at);
            let shown = drain(store, topic, queue)?;
            queue_holds(store, (topic, queue), &generations, &shown, at)?;
        }
    }
    let alive = |sent: &&Sent| {
        let inside = sent.place.physical_offset >= start && sent.place.end <= end;
        inside && sent.may_be_there(at) && sent.life(at) == Life::Lives
    };
    history.sent.iter().filter(alive).try_for_each(|sent| key_leads_to(store, sent))
}

fn queue_holds(
    store: &Store,
    (topic, queue): (&str, u32),
    generations: &[Generation<'_>],
    shown: &[Shown],
    at: usize,
) -> Result<(), Breach> {
    // A generation that may be dead may be shown; nothing older than one that lives may.
    let mut wrong = None;
    let mut may_be_empty = true;
    for generation in generations.iter().rev() {
        let life = generation.first().map_or(Life::Dead, |sent| sent.life(at));
        if life == Life::Dead {
            continue;
        }
        match generation_holds(store, generation, shown) {
            Ok(()) => return Ok(()),
            Err(reason) => wrong = wrong.or(Some(reason)),
        }
        may_be_empty &= life == Life::Either;
        if life == Life::Lives {
            break;
        }
    }
    // A queue made again after a deletion may begin at 0 or go on where it ended.
    if may_be_empty && shown.is_empty() {
        return Ok(());
    }
    let first = shown.first().map(|first| first.offset);
    let (min, max) = (store.min_offset(topic, queue), store.max_offset(topic, queue));
    let wrong = wrong.unwrap_or_else(|| "messages of a deleted topic are back".to_owned());
    Err(Breach::Lost(format!("{topic}/{queue}: {wrong}; {} shown from {first:?}, offsets {min} to {max}", shown.len())))
}

fn generation_holds(store: &Store, generation: &Generation<'_>, shown: &[Shown]) -> Result<(), String> {
    let start = store.min_physical();
    let expected: Vec<&&Sent> = generation.iter().filter(|sent| sent.place.physical_offset >= start).collect();
    let Some(last) = generation.last() else { return Ok(()) };
    let max = store.max_offset(last.topic, last.queue);
    if max != last.place.queue_offset as i64 + 1 {
        return Err(format!("the queue ends at {max}, the last message has {}", last.place.queue_offset));
    }
    if shown.len() != expected.len() {
        return Err(format!("{} messages are shown, {} are in the log", shown.len(), expected.len()));
    }
    shown.iter().zip(expected).try_for_each(|(shown, sent)| is_the_one(shown, sent))
}

/// Checks that a message is found by its key.
pub fn key_leads_to(store: &Store, sent: &Sent) -> Result<(), Breach> {
    let key = key(sent.number);
    let found = store.query(KeySearch { topic: sent.topic, key: &key, max: 8, begin: 0, end: i64::MAX, unique: true });
    let right = |bytes: &[u8]| {
        RecordView::parse(bytes).is_ok_and(|record| record.physical_offset == sent.place.physical_offset)
    };
    if found.records.iter().any(|bytes| right(bytes)) {
        return Ok(());
    }
    Err(Breach::Unhealed(format!(
        "{key} of {}/{} at {} is not found",
        sent.topic, sent.queue, sent.place.physical_offset
    )))
}

/// Checks that readers who filter by tag, and the delivery of delayed messages, find theirs. All are of one queue.
pub fn tags_lead_to(store: &Store, topic: &str, queue: u32, sent: &[&Sent]) -> Result<(), Breach> {
    for number in 0..TAGS {
        let mut theirs = sent.iter().filter(|sent| sent.number % TAGS == number).peekable();
        if theirs.peek().is_none() {
            continue;
        }
        let times: Vec<i64> = sent.iter().map(|sent| sent.place.store_timestamp + DELAY_MS).collect();
        let hash = tag_hash(&tag(number));
        let wanted = |found: i64| if topic == DELAYED { times.contains(&found) } else { found == hash };
        let shown: HashSet<u64> = drain_if(store, topic, queue, wanted)?.iter().map(|shown| shown.physical).collect();
        if let Some(hidden) = theirs.find(|sent| !shown.contains(&sent.place.physical_offset)) {
            let offset = hidden.place.queue_offset;
            return Err(Breach::Unhealed(format!("{topic}/{queue} at {offset} is hidden from its tag's readers")));
        }
    }
    Ok(())
}

/// Sends a message to every queue and checks that they come behind what was there.
pub fn goes_on(store: &Store, history: &mut History) -> Result<u64, Breach> {
    let failed = |error: &dyn std::fmt::Display| Breach::Lost(format!("the store does not go on: {error}"));
    for (topic, queues) in TOPICS {
        for queue in 0..queues {
            let (next, end) = (store.max_offset(topic, queue), store.confirmed());
            let draft = Draft::new(history.next_number().max(1 << 32), topic, queue);
            let place = store.append(&draft.record()).map_err(|error| failed(&error))?;
            if place.queue_offset as i64 != next || place.physical_offset < end {
                return Err(failed(&format!("{topic}/{queue} goes on at {}, not {next}", place.queue_offset)));
            }
            history.add(&draft, place, 0);
        }
    }
    let end = history.sent.last().map_or(0, |last| last.place.end);
    block(store.durable(end)).map_err(|error| failed(&error))?;
    block(store.built(end));
    Ok(end)
}
