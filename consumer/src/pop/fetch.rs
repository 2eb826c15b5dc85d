//! Pops one lane for as long as it is this consumer's.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use orbitmq_common::clock::now_ms;
use orbitmq_common::message::receipt::Origin;
use orbitmq_common::net::client::Link;
use orbitmq_common::protocol::body::route::MASTER_ID;
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::pop::PopRequest;
use orbitmq_common::route::table::Queue;
use tokio::time::Instant;

use crate::commit;
use crate::core::{Core, pause_after};
use crate::error::ConsumeError;
use crate::fetch::{NOT_HELD_PAUSE, QUICK, wants};
use crate::modes::StartFrom;
use crate::pop::answer;
use crate::pop::desk;
use crate::pop::hand::{self, Hand};
use crate::pop::lane::Lane;
use crate::pop::popped::Popped;
use crate::queue::{Assigned, Commit, Order};
use crate::send_back::{self, Whence};
use crate::start;

/// Beyond the time that the broker may hold a request.
const GRACE: Duration = Duration::from_secs(10);
/// When too many requests wait at the broker.
const CROWDED_PAUSE: Duration = Duration::from_millis(500);

/// Runs until the lane is revoked or the consumer closes. A pop that is under way then is waited for: nobody else sees what it
/// brings.
pub(crate) async fn run(core: Arc<Core>, lane: Arc<Lane>) {
    tokio::select! {
        () = core.stopped.cancelled() => {}
        () = pop(&core, &lane) => {}
    }
    core.troubles.over(&lane.topic, Some(&place(&lane)));
}

async fn pop(core: &Arc<Core>, lane: &Arc<Lane>) {
    let mut changes = core.finder.changes();
    let mut failures = 0_u32;
    // Asked for again by the same name, a broker gives what it gave to an answer that was lost.
    let mut attempt = attempt();
    let mut has_begun = !matches!(core.config.start, StartFrom::Time(_));
    loop {
        let count = tokio::select! {
            biased;
            () = lane.revoked.cancelled() => return,
            () = core.closing.cancelled() => return,
            count = lane.wait_for_room(core) => count,
        };
        let outcome = if has_begun { once(core, lane, count, &attempt).await } else { begin(core, lane).await };
        match outcome {
            Ok(pause) => {
                failures = 0;
                has_begun = true;
                core.troubles.over(&lane.topic, Some(&place(lane)));
                attempt = self::attempt();
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
            }
            Err(error) => {
                if failures == 3 {
                    tracing::warn!(topic = %lane.topic, broker = %lane.broker, queue = lane.queue, %error, "popping fails");
                }
                tracing::debug!(topic = %lane.topic, broker = %lane.broker, queue = lane.queue, %error, "pop failed");
                core.troubles.failed(&lane.topic, Some(&place(lane)), error);
                core.finder.stale(&lane.topic);
                drop(tokio::time::timeout(pause_after(failures), changes.changed()).await);
                failures = failures.saturating_add(1);
            }
        }
    }
}

fn place(lane: &Lane) -> Queue {
    Queue { broker: Arc::clone(&lane.broker), id: lane.queue }
}

fn attempt() -> String {
    format!("{:016x}", fastrand::u64(..))
}

/// A pop begins at the first message or after the last; a group that begins at a time has offsets stored for it first.
async fn begin(core: &Arc<Core>, lane: &Lane) -> Result<Duration, ConsumeError> {
    let route = core.finder.find(&lane.topic).await?;
    let is_it = |queue: &&Queue| queue.broker == lane.broker && (lane.queue < 0 || lane.queue == queue.id);
    for queue in route.readable.iter().filter(is_it) {
        let revoked = lane.revoked.child_token();
        let queue =
            Assigned::new(Arc::clone(&lane.topic), queue.clone(), Order::Free, revoked, Arc::clone(&lane.figures));
        let found = start::find(core, &queue).await?;
        if found.stored.is_none() {
            let stored = commit::store(core, &queue, Commit::first(found.offset), &found.told_by).await;
            stored.map_err(|cause| ConsumeError::NotBegun {
                topic: lane.topic.as_ref().to_owned(),
                broker: lane.broker.as_ref().to_owned(),
                cause,
            })?;
        }
    }
    Ok(Duration::ZERO)
}

/// One request; tells how long to pause before the next.
#[tracing::instrument(level = "debug", skip_all, fields(topic = %lane.topic, broker = %lane.broker, queue = lane.queue))]
async fn once(core: &Arc<Core>, lane: &Arc<Lane>, count: i32, attempt: &str) -> Result<Duration, ConsumeError> {
    let route = core.finder.find(&lane.topic).await?;
    let name = || lane.broker.as_ref().to_owned();
    let broker = route.broker(&lane.broker);
    let broker =
        broker.ok_or_else(|| ConsumeError::NoBroker { topic: lane.topic.as_ref().to_owned(), broker: name() })?;
    let address = broker.master().ok_or_else(|| ConsumeError::NoMaster { broker: name() })?;
    let sent = Instant::now();
    let fields = question(core, lane, count, attempt);
    let question = |link: &Link| link.request(request::POP_MESSAGE).with_fields(&fields);
    let answer = tokio::select! {
        answer = core.ask(address, question, core.config.suspend + GRACE) => answer.map_err(|cause| ConsumeError::Call { broker: name(), cause })?,
        () = core.has_moved(&lane.topic, broker, MASTER_ID, address) => return Ok(Duration::ZERO),
    };
    lane.popped_at.store(now_ms(), Ordering::Relaxed);
    match answer.code {
        response::SUCCESS => {
            let taken = take_in(core, lane, &answer, sent);
            taken.map_err(|cause| ConsumeError::Unreadable { broker: name(), address: address.to_owned(), cause })?;
            Ok(Duration::ZERO)
        }
        response::POLLING_TIMEOUT | response::PULL_NOT_FOUND => {
            Ok(if sent.elapsed() < QUICK { NOT_HELD_PAUSE } else { Duration::ZERO })
        }
        response::POLLING_FULL => Ok(CROWDED_PAUSE),
        code => {
            match code {
                response::SUBSCRIPTION_NOT_EXIST | response::SUBSCRIPTION_GROUP_NOT_EXIST => core.tell_again(address),
                response::SERVICE_NOT_AVAILABLE | response::GO_AWAY => core.reach.failed(address),
                _ => {}
            }
            let remark = answer.remark.unwrap_or_default();
            Err(ConsumeError::Refused { broker: name(), address: address.to_owned(), code, remark })
        }
    }
}

fn question<'a>(core: &'a Core, lane: &'a Lane, count: i32, attempt: &'a str) -> PopRequest<'a> {
    let subscription = core.subscription(&lane.topic);
    PopRequest {
        consumer_group: core.config.group.as_str().into(),
        topic: lane.topic.as_ref().into(),
        queue_id: lane.queue,
        max_msg_nums: count,
        invisible_time: i64::try_from(core.config.invisible.as_millis()).unwrap_or(i64::MAX),
        poll_time: i64::try_from(core.config.suspend.as_millis()).unwrap_or(i64::MAX),
        born_time: now_ms(),
        init_mode: i32::from(core.config.start == StartFrom::Last),
        exp_type: subscription.map(|subscription| subscription.kind.into()),
        exp: subscription.map(|subscription| subscription.expression.as_str().into()),
        order: Some(core.is_ordered()),
        attempt_id: core.is_ordered().then(|| attempt.into()),
    }
}

fn take_in(core: &Arc<Core>, lane: &Arc<Lane>, answer: &Frame, sent: Instant) -> Result<(), String> {
    let in_order = core.is_ordered();
    let brought = answer::read(lane, answer, core.config.max_body, in_order)?;
    lane.figures.pulled(brought.messages.len(), sent.elapsed());
    for (popped, cause) in brought.unreadable {
        bury(core, popped, cause);
    }
    let wanted = core.subscription(&lane.topic);
    let (wanted, others): (Vec<_>, Vec<_>) =
        brought.messages.into_iter().partition(|popped| wants(wanted, &popped.message()));
    // The broker filters by hash; two tags may have one.
    others.into_iter().for_each(|popped| desk::acknowledge(core, popped));
    let mut queues: BTreeMap<(Origin, i32), Vec<Arc<Popped>>> = BTreeMap::new();
    for popped in wanted {
        queues.entry((popped.origin, popped.queue)).or_default().push(popped);
    }
    let order = if in_order { Order::OneByOne } else { Order::Free };
    for messages in queues.into_values() {
        hand::offer(core, &Arc::new(Hand::new(core, Arc::clone(lane), order, messages)));
    }
    if let Some(cause) = brought.broken {
        tracing::error!(topic = %lane.topic, broker = %lane.broker, cause, "a record in an answer is damaged; it comes again later");
    }
    Ok(())
}

/// Gives a message that nobody can read to the dead letters.
fn bury(core: &Arc<Core>, popped: Arc<Popped>, cause: String) {
    tracing::error!(cause, "a body cannot be unpacked; the message goes to the dead letters");
    let burying = Arc::clone(core);
    core.spawn(async move {
        let whence = Whence { topic: &popped.asked, broker: &popped.broker };
        let message = popped.message();
        match send_back::to_its_broker(&burying, whence, &message, -1, Some(&cause)).await {
            Ok(()) => desk::acknowledge(&burying, popped),
            Err(cause) => {
                let id = message.message_id();
                tracing::error!(id, cause, "an unreadable message could not be moved to the dead letters yet");
            }
        }
    });
}
