//! PULL_MESSAGE (11) and LITE_PULL_MESSAGE (361): reads a queue, or holds the request until there is something to read.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use orbitmq_common::message::sysflag::pull;
use orbitmq_common::name;
use orbitmq_common::net::connection::Outcome;
use orbitmq_common::protocol::body::heartbeat::MessageModel;
use orbitmq_common::protocol::body::route::MASTER_ID;
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::pull::{PullRequest, PullResponse};
use tokio::time::Instant;

use crate::broker::Broker;
use crate::causes::absent::no_queue;
use crate::causes::closed::{self, Access};
use crate::causes::offsets::Place;
use crate::handler::offset;
use crate::refusal::Refusal;
use crate::store::read::{Read, ReadLimit, ReadStatus};
use crate::subscription::{Failures, Filter, Subscription};
use crate::traffic::Reader;

/// Messages one answer may carry, whatever the request asks for.
const MAX_MESSAGES: i32 = 1024;
/// Bytes one answer carries; one message always fits.
const MAX_BYTES: usize = 256 * 1024;
/// Longest time a request is held.
const MAX_HOLD: Duration = Duration::from_secs(300);
/// A slave that does not have what is asked for looks again so often.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// A checked pull.
struct Pull {
    topic: String,
    queue: u32,
    offset: i64,
    limit: ReadLimit,
    filter: Filter,
    hold: Option<Duration>,
    /// Where what is handed out is counted.
    reader: Arc<Reader>,
    /// The member of the broker group that the group reads from when it is far behind.
    when_far: i64,
}

/// Handles the request; see the module.
pub fn call(broker: &Arc<Broker>, frame: &Frame) -> Outcome {
    let mut pull = match check(broker, frame) {
        Ok(Checked::Read(pull)) => pull,
        Ok(Checked::Answer(answer)) => return Outcome::Answer(answer),
        Err(refusal) => return Outcome::Answer(refusal.answer(frame)),
    };
    let read = pull.read(broker);
    if read.status == ReadStatus::Found {
        return Outcome::Answer(answer(broker, &pull, frame, read, false));
    }
    if read.status == ReadStatus::NoMatch && pull.hold.is_some() {
        // What the filter refused is not looked at again.
        pull.offset = pull.offset.max(read.next_offset);
    }
    // The request frame is let go of here, and with it the buffer it was read into.
    let request = frame.answer(response::SUCCESS);
    let broker = Arc::clone(broker);
    Outcome::later(async move { hold(&broker, pull, &request).await })
}

enum Checked {
    Read(Pull),
    Answer(Frame),
}

/// Checks in the order of RocketMQ's broker, so that clients see the codes they know.
fn check(broker: &Broker, frame: &Frame) -> Result<Checked, Refusal> {
    let header: PullRequest<'_> = frame.fields()?;
    let (topic, group) = (header.topic.as_ref(), header.consumer_group.as_ref());
    let flag = header.sys_flag.cast_unsigned();
    name::check_group(group)?;
    let config = broker.groups.find_or_create(group, broker.tuned.auto_create_groups());
    let config = config.ok_or_else(|| broker.no_group(group, "pulling"))?;
    if !config.consume_enable {
        return Err(closed::stopped(group));
    }
    let Some(topic_config) = broker.topics.get(topic) else {
        return Err(broker.no_topic(topic, "the route is old then: ask a name server again, or create the topic"));
    };
    closed::topic(&topic_config, Access::Read)?;
    closed::broker(broker.tuned.permission())?;
    if broker.forbidden.holds(group, topic) {
        return Err(closed::forbidden(group, topic));
    }
    let queue = u32::try_from(header.queue_id).ok().filter(|_| header.queue_id < topic_config.read_queue_nums);
    let Some(queue) = queue else {
        let count = topic_config.read_queue_nums;
        return Err(Refusal::invalid(no_queue(&topic_config, header.queue_id, count, "to read")));
    };
    let filter = find_filter(broker, &header, config.consume_broadcast_enable)?;
    if let Some(offset) = broker.offsets.take_reset(topic, group, header.queue_id) {
        return Ok(Checked::Answer(moved(broker, frame, topic, queue, offset)));
    }
    if flag & pull::COMMIT_OFFSET != 0 && header.commit_offset >= 0 {
        offset::commit(broker, topic, group, header.queue_id, header.commit_offset);
    }
    let wanted_bytes = header.max_msg_bytes.and_then(|bytes| usize::try_from(bytes).ok()).filter(|bytes| *bytes > 0);
    let suspend = flag & pull::SUSPEND != 0 && broker.tuned.long_polling();
    let hold =
        suspend.then(|| Duration::from_millis(u64::try_from(header.suspend_timeout_millis).unwrap_or(0)).min(MAX_HOLD));
    Ok(Checked::Read(Pull {
        topic: topic.to_owned(),
        queue,
        offset: header.queue_offset,
        limit: ReadLimit {
            max_messages: usize::try_from(header.max_msg_nums.clamp(1, MAX_MESSAGES)).unwrap_or(1),
            max_bytes: wanted_bytes.map_or(MAX_BYTES, |bytes| bytes.min(MAX_BYTES)),
        },
        filter,
        hold,
        reader: broker.traffic.reader(topic, group),
        when_far: config.which_broker_when_consume_slowly,
    }))
}

/// The filter sent along, or else the one the group has registered by heartbeat.
fn find_filter(broker: &Broker, header: &PullRequest<'_>, may_broadcast: bool) -> Result<Filter, Refusal> {
    let (topic, group) = (header.topic.as_ref(), header.consumer_group.as_ref());
    if header.sys_flag.cast_unsigned() & pull::SUBSCRIPTION != 0 {
        let expression = header.subscription.as_deref().unwrap_or_default();
        return Ok(broker.filters.find(header.expression_type.as_deref(), expression)?);
    }
    if !may_broadcast && broker.members.message_model(group) == Some(MessageModel::Broadcasting) {
        return Err(closed::broadcasting(group));
    }
    let Some(subscription) = broker.members.subscription(group, topic) else {
        return Err(broker.not_subscribed(group, topic));
    };
    if subscription.data.sub_version < header.sub_version {
        return newer_than_known(broker, header, &subscription);
    }
    Ok(subscription.filter.clone()?)
}

/// What a reader gets whose heartbeat with its newer subscription has not come yet. The official client sometimes sends it
/// only with the next round, 30 s later. Readers compare tags themselves, so whichever it wants now, everything is right.
fn newer_than_known(broker: &Broker, header: &PullRequest<'_>, known: &Subscription) -> Result<Filter, Refusal> {
    if header.expression_type.as_deref() == Some("TAG") && matches!(known.filter, Ok(Filter::All | Filter::Tags(_))) {
        return Ok(Filter::All);
    }
    let version = known.data.sub_version;
    Err(broker.subscription_is_older(&header.consumer_group, &header.topic, version, header.sub_version))
}

/// Sends the reader to the offset an administrator has set.
fn moved(broker: &Broker, request: &Frame, topic: &str, queue: u32, offset: i64) -> Frame {
    let fields = PullResponse {
        next_begin_offset: offset,
        min_offset: broker.store.min_offset(topic, queue),
        max_offset: broker.store.max_offset(topic, queue),
        ..PullResponse::default()
    };
    Frame { opaque: request.opaque, ..request.answer(response::PULL_OFFSET_MOVED) }
        .with_fields(&fields)
        .with_remark(format!(
            "an administrator has reset the offset of the group in queue {queue} of '{topic}'; the reader goes on at {offset}"
        ))
}

impl Pull {
    fn read(&self, broker: &Broker) -> Read {
        let mut failures = Failures::default();
        let mut accept = |tag_hash, record: &[u8]| self.filter.accepts(tag_hash, record, &mut failures);
        let read = broker.store.read(&self.topic, self.queue, self.offset, self.limit, &mut accept);
        broker.filters.failed(&self.filter, &self.topic, failures);
        read
    }
}

/// Whether nothing but more messages can help the reader.
fn holds(read: &Read, offset: i64) -> bool {
    read.status == ReadStatus::OffsetAtEnd
        || (matches!(read.status, ReadStatus::NoMessageInQueue | ReadStatus::QueueMissing) && offset == 0)
        || (read.status == ReadStatus::NoMatch && read.next_offset >= read.max_offset)
}

/// Whether the queue does not reach the reader's offset. A slave may merely not have copied so far, or have begun later: it
/// must never be the one to say where the reader goes on.
fn misses(read: &Read, offset: i64) -> bool {
    match read.status {
        ReadStatus::OffsetTooLarge | ReadStatus::OffsetTooSmall => true,
        ReadStatus::NoMessageInQueue | ReadStatus::QueueMissing => offset != 0,
        _ => false,
    }
}

/// Waits for messages that pass the filter; answers with what there is when the time is over or the broker stops.
async fn hold(broker: &Broker, mut pull: Pull, request: &Frame) -> Frame {
    // A message may be acknowledged a moment before its queue shows it; a reader must see what a sender knows to be stored.
    broker.store.built(broker.store.confirmed()).await;
    let end = Instant::now() + pull.hold.unwrap_or_default();
    let queue_id = i32::try_from(pull.queue).unwrap_or(-1);
    let mut looked = false;
    loop {
        let reset = broker.offsets.reset_rung();
        tokio::pin!(reset);
        reset.as_mut().enable();
        if let Some(offset) = broker.offsets.take_reset(&pull.topic, &pull.reader.group, queue_id) {
            return moved(broker, request, &pull.topic, pull.queue, offset);
        }
        // Asked first: one that is promoted meanwhile has read as a slave.
        let slave = broker.is_slave();
        let read = pull.read(broker);
        let misses = slave && misses(&read, pull.offset);
        // The master knows more; a slave alone lets the reader wait, for asking again at once would help nobody.
        let elsewhere = misses && looked && !broker.master_is_gone();
        let waits = (misses || holds(&read, pull.offset)) && pull.hold.is_some() && !elsewhere;
        if read.status == ReadStatus::Found || !waits {
            return answer(broker, &pull, request, read, misses);
        }
        if misses {
            looked = true;
            let next = end.min(Instant::now() + LOOK_AGAIN);
            tokio::select! {
                () = tokio::time::sleep_until(next) => if next == end { return answer(broker, &pull, request, read, misses) },
                () = broker.stop.cancelled() => return answer(broker, &pull, request, read, misses),
            }
            continue;
        }
        // What the filter refused is not looked at again.
        pull.offset = pull.offset.max(read.next_offset);
        tokio::select! {
            () = broker.store.wait(&pull.topic, pull.queue, pull.offset) => {}
            () = reset => {}
            () = tokio::time::sleep_until(end) => return answer(broker, &pull, request, read, misses),
            () = broker.stop.cancelled() => return answer(broker, &pull, request, read, misses),
        }
    }
}

/// The member of the broker group that the reader asks next; 0: the master.
fn suggestion(broker: &Broker, pull: &Pull, read: &Read) -> i64 {
    let far = read.status == ReadStatus::Found
        && broker.store.confirmed().saturating_sub(read.last_physical) > broker.config.slave_read_after;
    if broker.is_slave() {
        // Without a master there is no better place than here, however near the reader is.
        return if far || broker.master_is_gone() { broker.config.id } else { MASTER_ID };
    }
    if far { broker.readable_slave(pull.when_far).unwrap_or(MASTER_ID) } else { MASTER_ID }
}

/// `misses`: the offset is not here and may be at the master.
fn answer(broker: &Broker, pull: &Pull, request: &Frame, read: Read, misses: bool) -> Frame {
    let place = Place { topic: &pull.topic, queue: pull.queue, offset: pull.offset };
    let said = |code, word: &'static str| (code, Cow::Borrowed(word));
    let (code, remark) = match read.status {
        _ if misses => (response::PULL_RETRY_IMMEDIATELY, broker.not_copied(place, &read).into()),
        ReadStatus::Found => said(response::SUCCESS, "FOUND"),
        ReadStatus::NoMatch => said(response::PULL_RETRY_IMMEDIATELY, "NO_MATCHED_MESSAGE"),
        ReadStatus::OffsetAtEnd => said(response::PULL_NOT_FOUND, "OFFSET_OVERFLOW_ONE"),
        ReadStatus::NoMessageInQueue | ReadStatus::QueueMissing if pull.offset == 0 => {
            said(response::PULL_NOT_FOUND, "NO_MESSAGE_IN_QUEUE")
        }
        ReadStatus::NoMessageInQueue
        | ReadStatus::QueueMissing
        | ReadStatus::OffsetTooLarge
        | ReadStatus::OffsetTooSmall => (response::PULL_OFFSET_MOVED, broker.moved(place, &read).into()),
    };
    let fields = PullResponse {
        suggest_which_broker_id: suggestion(broker, pull, &read),
        next_begin_offset: if misses { pull.offset } else { read.next_offset },
        min_offset: read.min_offset,
        max_offset: read.max_offset,
        ..PullResponse::default()
    };
    broker.traffic.handed_out(&pull.reader, read.count, read.bytes);
    let mut frame = Frame { opaque: request.opaque, ..request.answer(code) }.with_fields(&fields).with_remark(remark);
    let mut chunks = read.chunks.into_iter();
    frame.body = chunks.next().unwrap_or_default();
    frame.more = chunks.collect();
    frame
}
