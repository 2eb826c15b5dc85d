//! Messages that wait for their delay level to be over, and how far each level was delivered.
//!
//! A delayed message lies in queue `level - 1` of the schedule topic, where it is due in the order in which it came. One task
//! a level stores due messages again under their real topic and only then moves the level's progress. After a crash progress may lag
//! behind what was stored; so before it delivers what was already due at its start, a level looks whether the copy is there. Copies are
//! stored in the order of their level, so that it looks no further once many in a row are not there.

use std::sync::Arc;
use std::time::Duration;

use orbitmq_common::clock::now_ms;
use orbitmq_common::message::entry;
use orbitmq_common::message::property::{self, Properties, PropertyError};
use orbitmq_common::message::record::RecordView;
use orbitmq_common::name;
use tokio_util::task::TaskTracker;

use crate::broker::Broker;
use crate::store::read::{ReadLimit, ReadStatus};
use crate::store::search::KeySearch;

/// Messages one round of a level reads at most.
const ROUND: ReadLimit = ReadLimit { max_messages: 256, max_bytes: 4 << 20 };
/// So many in a row have no copy: nor have those behind them. RocketMQ's broker can be told to store copies out of order, a few.
const MISSES: u32 = 64;
/// Pause after a delivery that failed.
const PAUSE: Duration = Duration::from_millis(500);

/// Where a message is stored now, so that it gets where it should in the end.
pub struct Place<'a> {
    /// The real topic, or the schedule topic.
    pub topic: &'a str,
    /// The queue there.
    pub queue: u32,
}

/// Decides where a message goes that shall wait for `level` (0: not at all), and notes in its properties what delivery needs.
///
/// # Errors
/// The topic cannot be a property's value.
pub fn place<'a>(
    broker: &Broker,
    properties: &mut Properties,
    topic: &'a str,
    queue: u32,
    level: i32,
) -> Result<Place<'a>, PropertyError> {
    let levels = broker.config.store.delay_levels.len();
    let level = usize::try_from(level).unwrap_or(0).min(levels);
    let Some(slot) = level.checked_sub(1) else {
        properties.remove(property::DELAY);
        return Ok(Place { topic, queue });
    };
    properties.set(property::DELAY, &level.to_string())?;
    properties.set(property::REAL_TOPIC, topic)?;
    properties.set(property::REAL_QUEUE_ID, &queue.to_string())?;
    Ok(Place { topic: name::SCHEDULE_TOPIC, queue: u32::try_from(slot).unwrap_or(0) })
}

/// Starts one task a level; they end with the broker.
pub fn start(broker: &Arc<Broker>, tasks: &TaskTracker) {
    let started = now_ms();
    for level in 1..=broker.config.store.delay_levels.len() {
        let Ok(level) = u32::try_from(level) else { continue };
        let broker = Arc::clone(broker);
        tasks.spawn(async move {
            tokio::select! {
                () = deliver_level(&broker, level, started) => {}
                () = broker.stop.cancelled() => {}
            }
        });
    }
}

async fn deliver_level(broker: &Broker, level: u32, started: i64) {
    let queue = level - 1;
    let mut copies = Copies { started, misses: 0 };
    loop {
        match deliver_due(broker, level, &mut copies).await {
            Ok(Next::Now) => {}
            Ok(Next::At(due)) => {
                let wait = u64::try_from(due - now_ms()).unwrap_or(0);
                tokio::time::sleep(Duration::from_millis(wait)).await;
            }
            Ok(Next::Arrival(offset)) => broker.store.wait(name::SCHEDULE_TOPIC, queue, offset).await,
            Err(error) => {
                tracing::warn!(level, %error, "delayed messages could not be delivered; trying again");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// When a level has to look again.
enum Next {
    Now,
    At(i64),
    Arrival(i64),
}

/// The copies that a crash may have left behind the progress of a level.
struct Copies {
    /// What is due later than this has none, ms since the epoch.
    started: i64,
    /// Messages in a row that had none.
    misses: u32,
}

impl Copies {
    /// Whether there is one of the next message, which was due then. `look` says whether it is found, `None` if it could not be.
    fn has_next(&mut self, due: i64, look: impl FnOnce() -> Option<bool>) -> bool {
        if due > self.started || self.misses >= MISSES {
            return false;
        }
        let found = look();
        match found {
            Some(true) => self.misses = 0,
            Some(false) => self.misses += 1,
            None => {}
        }
        found == Some(true)
    }
}

/// Delivers what is due and moves the level's progress once it is durable.
async fn deliver_due(broker: &Broker, level: u32, copies: &mut Copies) -> Result<Next, String> {
    let offset = broker.delay.get(level);
    let mut dues = Vec::new();
    let read = broker.store.read(name::SCHEDULE_TOPIC, level - 1, offset, ROUND, &mut |due, _| {
        dues.push(due);
        true
    });
    match read.status {
        ReadStatus::Found => {}
        ReadStatus::OffsetTooSmall | ReadStatus::OffsetTooLarge => {
            tracing::warn!(
                level,
                offset,
                next = read.next_offset,
                "the delay queue does not reach to where delivery stood"
            );
            broker.delay.set(level, read.next_offset);
            return Ok(Next::Now);
        }
        _ => return Ok(Next::Arrival(offset)),
    }
    let longest =
        broker.config.store.delay_levels.get(usize::try_from(level - 1).unwrap_or(0)).copied().unwrap_or_default();
    let longest = now_ms().saturating_add(i64::try_from(longest.as_millis()).unwrap_or(i64::MAX));
    let (mut delivered, mut end, mut next, mut failed) = (0, None, Next::Now, None);
    let records = read.chunks.iter().flat_map(|chunk| entry::records(chunk));
    for (record, due) in records.zip(dues) {
        let record = record.map_err(|error| error.to_string())?;
        // A clock that was set back must not make a message wait longer than its level.
        let due = due.min(longest);
        if due > now_ms() {
            next = Next::At(due);
            break;
        }
        if !copies.has_next(due, || was_delivered(broker, &record)) {
            match deliver(broker, &record) {
                Ok(stored) => end = Some(stored),
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        delivered += 1;
    }
    if let Some(end) = end {
        broker.store.durable(end).await.map_err(|error| error.to_string())?;
    }
    if delivered > 0 {
        broker.delay.set(level, offset + delivered);
    }
    failed.map_or(Ok(next), Err)
}

/// Whether a crash has left the copy of this message behind: a record of its real topic with its unique key and age. `None`: it has no
/// key by which a copy could be found.
fn was_delivered(broker: &Broker, record: &RecordView<'_>) -> Option<bool> {
    let real = property::get(record.properties, property::REAL_TOPIC);
    let key = property::get(record.properties, property::UNIQ_KEY);
    let (topic, key) = (real?, key?);
    let found = broker.store.query(KeySearch {
        topic,
        key,
        max: 64,
        begin: record.store_timestamp,
        end: i64::MAX,
        unique: true,
    });
    let mut copies = found.records.iter().filter_map(|bytes| RecordView::parse(bytes).ok());
    Some(
        copies.any(|copy| {
            copy.reconsume_times == record.reconsume_times && copy.physical_offset > record.physical_offset
        }),
    )
}

/// Stores a due message under its real topic; returns its end in the log.
fn deliver(broker: &Broker, record: &RecordView<'_>) -> Result<u64, String> {
    let mut properties = Properties::parse(record.properties);
    let topic = properties.get(property::REAL_TOPIC).unwrap_or_default().to_owned();
    let queue = properties.get(property::REAL_QUEUE_ID).and_then(|text| text.parse().ok()).unwrap_or(0);
    for name in [
        property::DELAY,
        property::CRC32,
        property::TIMER_DELAY_SEC,
        property::TIMER_DELAY_MS,
        property::TIMER_DELIVER_MS,
    ] {
        properties.remove(name);
    }
    let copy = record.copy_to(&topic, queue, broker.address, properties.as_str());
    broker.store.append(&copy).map(|appended| appended.end).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
