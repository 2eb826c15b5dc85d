//! POP_MESSAGE (200050): takes messages for a group, or holds the request until there are some.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use orbitmq_common::clock::now_ms;
use orbitmq_common::message::receipt::{ORDERED, Origin, PopInfo, Receipt};
use orbitmq_common::message::record::{NewRecord, RecordView, seal};
use orbitmq_common::message::{entry, property};
use orbitmq_common::net::connection::Outcome;
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::pop::{PopRequest, PopResponse};
use tokio::time::Instant;

use crate::broker::Broker;
use crate::handler::popping::{self, Ground, MAX_HOLD, Source, Watch};
use crate::pop::hall::{ALL, PER_HALL};
use crate::pop::take::{LONGEST, Ordered, Taken, Want};
use crate::refusal::Refusal;
use crate::store::read::ReadLimit;
use crate::subscription::{Failures, Filter};

/// Messages one answer may carry; RocketMQ refuses to be asked for more.
const MAX_MESSAGES: i32 = 32;
/// Bytes one answer carries; one message always fits.
const MAX_BYTES: usize = 256 * 1024;
/// Of a hundred pops so many look at the retry topics first.
const RETRY_FIRST: u32 = 20;
/// Pause after a look that was called for and found nothing.
const PAUSE: Duration = Duration::from_millis(5);

/// The remark of a pop that may not wait.
const FULL: &str = "too many requests wait for messages here, 1024 for this topic, group and queue or 100000 in all: let fewer wait at once";
const _: () = assert!(PER_HALL == 1024 && ALL == 100_000, "the remark names both");

/// A checked pop.
struct Pop {
    ground: Ground,
    most: usize,
    invisible: i64,
    filter: Filter,
    is_ordered: bool,
    attempt: Option<String>,
    hold: Duration,
}

/// What a pop got.
struct Got {
    pop_time: i64,
    revive_queue: i32,
    chunks: Vec<Bytes>,
    count: usize,
    bytes: usize,
    info: PopInfo,
    rest: i64,
    /// Log offset behind the notes of what was taken.
    noted: u64,
    watch: Watch,
}

/// Handles the request; see the module.
pub fn call(broker: &Arc<Broker>, frame: &Frame) -> Result<Outcome, Refusal> {
    let pop = check(broker, frame)?;
    let (broker, request) = (Arc::clone(broker), frame.answer(response::SUCCESS));
    let first = if broker.pop.is_ready() { Some(pop.look(&broker)?) } else { None };
    Ok(Outcome::later(async move {
        let got = match first {
            Some(got) if got.count > 0 => Ok((got, response::POLLING_TIMEOUT)),
            _ => hold(&broker, &pop).await,
        };
        let noted = match got {
            Ok((got, otherwise)) => noted(&broker, &got).await.map(|()| answer(&pop, &request, got, otherwise)),
            Err(refusal) => Err(refusal),
        };
        noted.unwrap_or_else(|refusal| refusal.answer(&request))
    }))
}

/// A reader gets messages once their note is durable: of a receipt that is not known here it is certain then that it is over.
async fn noted(broker: &Broker, got: &Got) -> Result<(), Refusal> {
    match tokio::time::timeout(broker.config.acknowledge_timeout, broker.store.durable(got.noted)).await {
        Ok(done) => Ok(done?),
        Err(_) => {
            tracing::warn!("popped messages are handed out before their note is as safe as it should be");
            Ok(())
        }
    }
}

fn check(broker: &Broker, frame: &Frame) -> Result<Pop, Refusal> {
    let header: PopRequest<'_> = frame.fields()?;
    if header.max_msg_nums > MAX_MESSAGES {
        let remark = format!("maxMsgNums = {}; a pop takes {MAX_MESSAGES} messages at most", header.max_msg_nums);
        return Err(Refusal::invalid(remark));
    }
    let mut ground = popping::check(broker, &header.topic, &header.consumer_group, header.queue_id)?;
    ground.from_last = header.init_mode == 1;
    if !(1..=LONGEST).contains(&header.invisible_time) {
        let remark = format!("invisibleTime = {}; it is 1 to {LONGEST} ms", header.invisible_time);
        return Err(Refusal::invalid(remark));
    }
    let filter = broker.filters.find(header.exp_type.as_deref(), header.exp.as_deref().unwrap_or_default())?;
    let hold = Duration::from_millis(u64::try_from(header.poll_time).unwrap_or(0)).min(MAX_HOLD);
    Ok(Pop {
        ground,
        most: usize::try_from(header.max_msg_nums.max(1)).unwrap_or(1),
        invisible: header.invisible_time,
        filter,
        is_ordered: header.order == Some(true),
        attempt: header.attempt_id.map(|attempt| attempt.into_owned()).filter(|attempt| !attempt.is_empty()),
        hold: if broker.tuned.long_polling() { hold } else { Duration::ZERO },
    })
}

impl Pop {
    /// Takes what there is now.
    fn look(&self, broker: &Broker) -> Result<Got, Refusal> {
        let mut got = Got {
            pop_time: now_ms(),
            revive_queue: if self.is_ordered { ORDERED } else { 0 },
            chunks: Vec::new(),
            count: 0,
            bytes: 0,
            info: PopInfo::default(),
            rest: 0,
            noted: 0,
            watch: Watch::default(),
        };
        let mut sources = self.ground.sources(broker);
        if !self.is_ordered {
            let retry = self.ground.retry_sources(broker);
            let at = if fastrand::u32(0..100) < RETRY_FIRST { 0 } else { sources.len() };
            sources.splice(at..at, retry);
        }
        for source in &sources {
            if got.count >= self.most || got.bytes >= MAX_BYTES {
                got.rest += self.ground.rest(broker, source);
            } else {
                self.take(broker, source, &mut got)?;
            }
        }
        Ok(got)
    }

    fn take(&self, broker: &Broker, source: &Source, got: &mut Got) -> Result<(), Refusal> {
        let init = || self.ground.init(broker, source);
        let want = Want {
            topic: &source.topic,
            group: &self.ground.group,
            queue: source.queue,
            limit: ReadLimit { max_messages: self.most - got.count, max_bytes: MAX_BYTES - got.bytes },
            pop_time: got.pop_time,
            invisible: self.invisible,
            init: &init,
        };
        let (filter, mut failures) = (&self.filter, Failures::default());
        let accept = &mut |tag_hash: i64, record: &[u8]| filter.accepts(tag_hash, record, &mut failures);
        let taken = if self.is_ordered {
            let attempt = self.attempt.as_deref();
            match broker.pop.take_ordered(&broker.offsets, &broker.orders, &want, attempt, &mut got.info, accept) {
                Ordered::Taken(taken) => taken,
                Ordered::Blocked(free_at) => {
                    got.watch.free_at = Some(got.watch.free_at.map_or(free_at, |other| other.min(free_at)));
                    return Ok(());
                }
            }
        } else {
            match broker.pop.take(&broker.offsets, &want, accept) {
                Ok(taken) => {
                    got.revive_queue = i32::try_from(taken.revive_queue).unwrap_or(0);
                    taken
                }
                // What was taken already must reach its reader.
                Err(_) if got.count > 0 => return Ok(()),
                Err(refusal) => return Err(refusal),
            }
        };
        broker.filters.failed(filter, &source.topic, failures);
        got.noted = got.noted.max(taken.noted);
        got.rest += (taken.read.max_offset - taken.position).max(0);
        got.watch.queues.push((Arc::clone(&source.topic), source.queue, taken.position));
        if !taken.offsets.is_empty() {
            let origin = Origin::of(&source.topic);
            got.info.push(origin, source.queue, taken.start, &taken.offsets);
            got.count += taken.offsets.len();
            got.bytes += taken.read.bytes;
            let reader = broker.traffic.reader(&source.topic, &self.ground.group);
            broker.traffic.handed_out(&reader, taken.offsets.len(), taken.read.bytes);
            if source.is_retry {
                got.chunks.push(self.recode(broker, source, &taken, got.pop_time));
            } else {
                got.chunks.extend(taken.read.chunks);
            }
        }
        Ok(())
    }

    /// Messages of a retry topic as clients expect them: under the topic that was asked for, with their receipts.
    fn recode(&self, broker: &Broker, source: &Source, taken: &Taken, pop_time: i64) -> Bytes {
        let mut out = Vec::with_capacity(taken.read.bytes + 160 * taken.offsets.len());
        let records = taken.read.chunks.iter().flat_map(|chunk| entry::records(chunk));
        for record in records.filter_map(Result::ok) {
            let receipt = Receipt {
                start: taken.start,
                pop_time,
                invisible: self.invisible,
                revive_queue: i32::try_from(taken.revive_queue).unwrap_or(0),
                origin: Origin::of(&source.topic),
                broker: &broker.config.name,
                queue: i32::try_from(source.queue).unwrap_or(0),
                offset: record.queue_offset.cast_signed(),
            };
            let begin = out.len();
            if !put_renamed(&record, &self.ground.topic, &receipt.to_string(), &mut out) {
                out.truncate(begin);
                out.extend_from_slice(record.bytes);
            }
        }
        out.into()
    }
}

/// Appends a record under another topic; false: it does not fit.
fn put_renamed(record: &RecordView<'_>, topic: &str, receipt: &str, out: &mut Vec<u8>) -> bool {
    let mut properties = property::Properties::parse(record.properties);
    if properties.get(property::POP_CK).is_none() && properties.push(property::POP_CK, receipt).is_err() {
        return false;
    }
    let renamed = NewRecord {
        prepared_offset: record.prepared_offset,
        ..record.copy_to(topic, record.queue_id, record.store_host, properties.as_str())
    };
    let begin = out.len();
    let encoded = renamed.encode_into(out).is_ok();
    let sealed =
        out.get_mut(begin..).map(|new| seal(new, record.queue_offset, record.physical_offset, record.store_timestamp));
    encoded && matches!(sealed, Some(Ok(())))
}

/// Waits for messages; gives what there is when the time is over or the broker stops, with the code of an answer without any.
async fn hold(broker: &Broker, pop: &Pop) -> Result<(Got, i32), Refusal> {
    let end = Instant::now() + pop.hold;
    popping::ready(broker).await?;
    // A message may be acknowledged a moment before its queue shows it; a reader must see what a sender knows to be stored.
    broker.store.built(broker.store.confirmed()).await;
    if pop.hold.is_zero() {
        return Ok((pop.look(broker)?, response::POLLING_TIMEOUT));
    }
    let Ground { topic, group, queue, .. } = &pop.ground;
    let queue = queue.map_or(-1, |queue| i32::try_from(queue).unwrap_or(-1));
    let Some(waiting) = broker.pop.halls.enter(topic, group, queue) else {
        return Ok((pop.look(broker)?, response::POLLING_FULL));
    };
    let turn = tokio::select! {
        turn = waiting.hall.turn.lock() => Some(turn),
        () = tokio::time::sleep_until(end) => None,
        () = broker.stop.cancelled() => None,
    };
    let mut goes_on = turn.is_some();
    let mut is_called = false;
    loop {
        if !broker.role.is_master() {
            return Err(broker.not_master());
        }
        let got = pop.look(broker)?;
        if got.count > 0 || !goes_on {
            return Ok((got, response::POLLING_TIMEOUT));
        }
        if is_called {
            tokio::time::sleep(PAUSE).await;
        }
        is_called = true;
        goes_on = popping::news(broker, &waiting.hall, got.watch, end).await;
    }
}

/// `otherwise`: the code when there is nothing.
fn answer(pop: &Pop, request: &Frame, got: Got, otherwise: i32) -> Frame {
    let (code, remark) = if got.count > 0 {
        (response::SUCCESS, "FOUND")
    } else if otherwise == response::POLLING_FULL {
        (otherwise, FULL)
    } else {
        (otherwise, "NO_MESSAGE_IN_QUEUE")
    };
    let fields = PopResponse {
        pop_time: got.pop_time,
        invisible_time: pop.invisible,
        revive_qid: got.revive_queue,
        rest_num: got.rest,
        start_offset_info: Some(got.info.start.into()),
        msg_offset_info: Some(got.info.offsets.into()),
        order_count_info: (pop.is_ordered && !got.info.counts.is_empty()).then(|| got.info.counts.into()),
    };
    let mut frame = Frame { opaque: request.opaque, ..request.answer(code) }.with_fields(&fields).with_remark(remark);
    let mut chunks = got.chunks.into_iter();
    frame.body = chunks.next().unwrap_or_default();
    frame.more = chunks.collect();
    frame
}
