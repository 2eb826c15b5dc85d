//! Fetches the messages of one queue for as long as this consumer holds it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use orbitmq_common::clock::now_ms;
use orbitmq_common::message::id::parse_offset_id;
use orbitmq_common::message::message::{MessageError, StoredMessage, decode_all};
use orbitmq_common::message::property;
use orbitmq_common::message::sysflag::pull;
use orbitmq_common::name;
use orbitmq_common::net::client::Link;
use orbitmq_common::protocol::body::route::MASTER_ID;
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::pull::{PullRequest, PullResponse};
use orbitmq_common::route::table::Broker;
use tokio::time::Instant;

use crate::core::{Core, pause_after};
use crate::deliver::is_retry;
use crate::error::ConsumeError;
use crate::modes::Subscription;
use crate::queue::Assigned;
use crate::send_back::{Place, Whence, give_back_at};
use crate::start::{self, Start, no_broker, not_asked, refusal, unreadable};

/// Beyond the time that the broker may hold a request.
const GRACE: Duration = Duration::from_secs(10);
/// A broker that says "nothing" sooner does not hold requests; it is then asked more slowly.
pub(crate) const QUICK: Duration = Duration::from_millis(20);
pub(crate) const NOT_HELD_PAUSE: Duration = Duration::from_millis(200);
/// Times that a damaged record is asked for again before it is left out.
const DAMAGED_TRIES: u32 = 10;

/// Runs until the queue is revoked or the consumer closes.
pub(crate) async fn run(core: Arc<Core>, queue: Arc<Assigned>) {
    tokio::select! {
        () = queue.revoked.cancelled() => {}
        () = core.closing.cancelled() => {}
        () = fetch(&core, &queue) => {}
    }
    core.troubles.over(&queue.topic, Some(&queue.queue));
}

async fn fetch(core: &Arc<Core>, queue: &Arc<Assigned>) {
    let mut changes = core.finder.changes();
    let mut failures = 0_u32;
    let mut damaged = 0_u32;
    loop {
        wait_for_lock(queue).await;
        let outcome = match queue.next() {
            None => begin(core, queue).await,
            Some(from) => {
                let count = core.wait_for_room(queue).await;
                fetch_once(core, queue, from, count, &mut damaged).await
            }
        };
        match outcome {
            Ok(pause) => {
                failures = 0;
                core.troubles.over(&queue.topic, Some(&queue.queue));
                // The shortest sleep takes a tick of the timer.
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
            }
            Err(error) => {
                if failures == 3 {
                    tracing::warn!(topic = %queue.topic, broker = %queue.queue.broker, id = queue.queue.id, %error, "fetching fails");
                }
                tracing::debug!(topic = %queue.topic, broker = %queue.queue.broker, id = queue.queue.id, %error, "fetch failed");
                core.troubles.failed(&queue.topic, Some(&queue.queue), error);
                core.finder.stale(&queue.topic);
                // Another route may have another broker to ask.
                drop(tokio::time::timeout(pause_after(failures), changes.changed()).await);
                failures = failures.saturating_add(1);
            }
        }
    }
}

async fn wait_for_lock(queue: &Assigned) {
    loop {
        let rung = queue.bell.notified();
        tokio::pin!(rung);
        rung.as_mut().enable();
        if queue.may_fetch() {
            return;
        }
        rung.await;
    }
}

async fn begin(core: &Arc<Core>, queue: &Arc<Assigned>) -> Result<Duration, ConsumeError> {
    let Start { offset: mut start, stored, told_by } = start::find(core, queue).await?;
    let unstored = core.unstored.lock().remove(&(Arc::clone(&queue.topic), queue.queue.clone()));
    if let Some(done) = unstored.and_then(|unstored| unstored.start(stored)) {
        start = done;
    }
    tracing::debug!(topic = %queue.topic, broker = %queue.queue.broker, id = queue.queue.id, start, "queue taken");
    queue.begin(start, stored, told_by);
    Ok(Duration::ZERO)
}

/// One request; tells how long to pause before the next.
#[tracing::instrument(level = "debug", skip_all, fields(topic = %queue.topic, broker = %queue.queue.broker, id = queue.queue.id))]
async fn fetch_once(
    core: &Arc<Core>,
    queue: &Arc<Assigned>,
    from: i64,
    count: i32,
    damaged: &mut u32,
) -> Result<Duration, ConsumeError> {
    let route = core.finder.find(&queue.topic).await?;
    let broker = route.broker(&queue.queue.broker).ok_or_else(|| no_broker(queue))?;
    let member = queue.read_from.load(Ordering::Relaxed);
    let address = core.reach.reader(broker, member).ok_or_else(|| no_broker(queue))?;
    let sent = Instant::now();
    queue.pulled_at.store(now_ms(), Ordering::Relaxed);
    let fields = question(core, queue, from, count);
    let question = |link: &Link| link.request(request::PULL_MESSAGE).with_fields(&fields);
    let answer = tokio::select! {
        answer = core.ask(address, question, core.config.suspend + GRACE) => answer.map_err(|error| not_asked(queue, error))?,
        () = core.has_moved(&queue.topic, broker, member, address) => return Ok(Duration::ZERO),
    };
    let place = || {
        let place: Result<PullResponse, _> = answer.fields();
        place.map_err(|error| unreadable(queue, address, error))
    };
    match answer.code {
        response::SUCCESS => {
            let place = place()?;
            queue.suggest(place.suggest_which_broker_id);
            let asked = Asked { broker, address, from, sent };
            found(core, queue, &asked, &answer, place.next_begin_offset, damaged)
        }
        response::PULL_NOT_FOUND | response::PULL_RETRY_IMMEDIATELY => {
            let place = place()?;
            queue.suggest(place.suggest_which_broker_id);
            core.took(queue.receive(from, Vec::new(), place.next_begin_offset));
            let idle = place.next_begin_offset <= from && sent.elapsed() < QUICK;
            Ok(if idle { NOT_HELD_PAUSE } else { Duration::ZERO })
        }
        // A slave may merely be behind; only a master knows where a queue begins and ends.
        response::PULL_OFFSET_MOVED if broker.master() != Some(address) => {
            queue.suggest(MASTER_ID);
            let (broker, address) = (broker.name.as_ref().to_owned(), address.to_owned());
            Err(ConsumeError::Behind { broker, address, offset: from })
        }
        response::PULL_OFFSET_MOVED => {
            moved(core, queue, from, place()?.next_begin_offset, answer.remark.as_deref().unwrap_or_default());
            Ok(Duration::from_millis(20))
        }
        code => Err(refused(core, queue, address, code, answer.remark.unwrap_or_default())),
    }
}

fn question<'a>(core: &'a Core, queue: &'a Assigned, from: i64, count: i32) -> PullRequest<'a> {
    let subscription = core.subscription(&queue.topic);
    let part = subscription.and_then(|subscription| subscription.part.as_ref());
    let flag = if part.is_some() { pull::SUSPEND | pull::SUBSCRIPTION } else { pull::SUSPEND };
    PullRequest {
        consumer_group: core.config.group.as_str().into(),
        topic: queue.topic.as_ref().into(),
        queue_id: queue.queue.id,
        queue_offset: from,
        max_msg_nums: count,
        sys_flag: flag.cast_signed(),
        commit_offset: 0,
        suspend_timeout_millis: i64::try_from(core.config.suspend.as_millis()).unwrap_or(i64::MAX),
        subscription: part.map(|part| part.expression.as_str().into()),
        sub_version: core.version,
        expression_type: subscription.map(|subscription| subscription.kind.into()),
        max_msg_bytes: None,
        request_source: None,
        broker_name: Some(queue.queue.broker.as_ref().into()),
    }
}

/// Who was asked, and from which offset on.
struct Asked<'a> {
    broker: &'a Broker,
    address: &'a str,
    from: i64,
    sent: Instant,
}

impl Asked<'_> {
    /// A member of the group that is not the one that was asked.
    fn another_member(&self) -> Option<i64> {
        let others = self.broker.addresses.iter().filter(|(_, address)| *address != self.address);
        others.map(|(id, _)| *id).next()
    }
}

fn found(
    core: &Arc<Core>,
    queue: &Arc<Assigned>,
    asked: &Asked<'_>,
    answer: &Frame,
    next: i64,
    damaged: &mut u32,
) -> Result<Duration, ConsumeError> {
    let from = asked.from;
    let (messages, broken) = decode(core, queue, &answer.body);
    let next = match &broken {
        Some(cause) => {
            let good = messages.last().map_or(from, after);
            *damaged = if good > from { 0 } else { damaged.saturating_add(1) };
            if *damaged > DAMAGED_TRIES {
                *damaged = 0;
                tracing::error!(topic = %queue.topic, broker = %queue.queue.broker, id = queue.queue.id, from, next, cause,
                    "records stay damaged and are left out; look at the broker's disk");
                next
            } else {
                good
            }
        }
        None => next,
    };
    queue.figures.pulled(messages.len(), asked.sent.elapsed());
    let wanted = core.subscription(&queue.topic);
    let messages =
        messages.into_iter().filter(|message| wants(wanted, message)).map(|message| own(&core.config.group, message));
    core.took(queue.receive(from, messages.collect(), next));
    core.shelf.offer(queue);
    match broken {
        Some(cause) if *damaged > 0 => {
            // Its copies may be whole.
            asked.another_member().into_iter().for_each(|member| queue.suggest(member));
            Err(unreadable(queue, asked.address, cause))
        }
        _ => Ok(Duration::ZERO),
    }
}

fn after(message: &StoredMessage) -> i64 {
    i64::try_from(message.queue_offset).unwrap_or(i64::MAX).saturating_add(1)
}

/// The messages up to the first damaged record, and what is wrong with that.
fn decode(core: &Arc<Core>, queue: &Arc<Assigned>, body: &Bytes) -> (Vec<StoredMessage>, Option<String>) {
    let mut messages = Vec::new();
    for message in decode_all(body, core.config.max_body) {
        match message {
            Ok(message) => messages.push(message),
            Err(MessageError::Body { id, topic, cause }) => {
                tracing::error!(id, topic, %cause, "a body cannot be unpacked; the message goes to the dead letters");
                let (core, queue) = (Arc::clone(core), Arc::clone(queue));
                let why = format!("the body cannot be unpacked: {cause}");
                core.tasks.clone().spawn(async move { bury(&core, &queue, id, topic, &why).await });
            }
            Err(error) => return (messages, Some(error.to_string())),
        }
    }
    (messages, None)
}

/// Gives a message that nobody can read to the dead letters.
async fn bury(core: &Core, queue: &Assigned, id: String, topic: String, why: &str) {
    let Ok((_, physical_offset)) = parse_offset_id(&id) else { return };
    let place = Place { physical_offset, id, topic: &topic };
    let whence = Whence { topic: &queue.topic, broker: &queue.queue.broker };
    if let Err(cause) = give_back_at(core, whence, &place, -1, Some(why)).await {
        tracing::error!(id = place.id, topic, cause, "an unreadable message could not be moved to the dead letters");
    }
}

/// The broker filters by hash; two tags may have one.
pub(crate) fn wants(subscription: Option<&Subscription>, message: &StoredMessage) -> bool {
    let has_one_of =
        |tags: &[String]| tags.is_empty() || message.tag().is_some_and(|tag| tags.iter().any(|one| one == tag));
    subscription.is_none_or(|subscription| {
        has_one_of(&subscription.tags) && subscription.part.as_ref().is_none_or(|part| has_one_of(&part.tags))
    })
}

/// A message that comes again shows the topic it was sent to.
pub(crate) fn own(group: &str, mut message: StoredMessage) -> StoredMessage {
    if is_retry(&message.topic) {
        let said = message.property(property::RETRY_TOPIC);
        message.topic = said.unwrap_or_else(|| name::popped_topic(&message.topic, group)).to_owned();
    }
    message
}

/// The broker has no message at `from` and never will: it says where to go on.
fn moved(core: &Arc<Core>, queue: &Arc<Assigned>, from: i64, to: i64, remark: &str) {
    tracing::warn!(topic = %queue.topic, broker = %queue.queue.broker, id = queue.queue.id, from, to, remark,
        "the queue does not reach that offset; going on where its broker says");
    core.freed(queue.reset(to));
}

fn refused(core: &Core, queue: &Assigned, address: &str, code: i32, remark: String) -> ConsumeError {
    match code {
        // It does not know us, or what we want.
        response::SUBSCRIPTION_NOT_EXIST
        | response::SUBSCRIPTION_NOT_LATEST
        | response::SUBSCRIPTION_GROUP_NOT_EXIST => core.tell_again(address),
        // It stops, or is not in order.
        response::SERVICE_NOT_AVAILABLE | response::GO_AWAY => core.reach.failed(address),
        // A slave that gives nothing away, or a topic that moved.
        _ => queue.suggest(MASTER_ID),
    }
    refusal(queue, address, code, remark)
}
