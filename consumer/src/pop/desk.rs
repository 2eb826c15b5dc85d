//! Acknowledges popped messages: one request at a time to a broker, with all that were acknowledged while the one before was
//! under way. What no broker confirms is tried again until its invisible time is over.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use orbitmq_common::net::client::Link;
use orbitmq_common::protocol::body::pop::{BatchAck, BatchAckBody};
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::pop::AckRequest;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::core::{Core, pause_after};
use crate::pop::popped::{self, Popped, Ticket};

/// Messages in one request.
const MOST: usize = 1024;
/// A message so far behind the first of its pop is acknowledged alone: the others' request stays small.
const FAR: i64 = 8 * 1024;
/// Messages that are given back at once.
const AT_ONCE: usize = 32;

#[derive(Debug, Default)]
struct Desk {
    state: Mutex<State>,
    /// Rung when all is acknowledged.
    closed: Notify,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Arc<Popped>>,
    is_open: bool,
}

/// The desks of one consumer, by broker.
#[derive(Debug, Default)]
pub(crate) struct Desks {
    desks: Mutex<HashMap<Arc<str>, Arc<Desk>>>,
    /// A broker did not know acknowledgements of many messages.
    one_by_one: AtomicBool,
    /// Messages that went to somebody else although they were here.
    lost: AtomicU64,
}

impl Desks {
    pub(crate) fn count_lost(&self, messages: u64) {
        if self.lost.fetch_add(messages, Ordering::Relaxed) == 0 && messages > 0 {
            tracing::warn!(
                "a popped message stayed here for longer than nobody else could have it, and is delivered to the group again; \
                 said once, counted in Consumer::lost"
            );
        }
    }

    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

/// Acknowledges a message, soon.
pub(crate) fn acknowledge(core: &Arc<Core>, popped: Arc<Popped>) {
    let broker = Arc::clone(&popped.broker);
    let desk = Arc::clone(core.desks.desks.lock().entry(Arc::clone(&broker)).or_default());
    let mut state = desk.state.lock();
    state.waiting.push(popped);
    if !std::mem::replace(&mut state.is_open, true) {
        drop(state);
        let core_of_desk = Arc::clone(core);
        core.spawn(async move { serve(&core_of_desk, &broker, &desk).await });
    }
}

/// Gives messages back that were popped and not delivered: the group may have them at once, but not before it is told which of those
/// popped with them are done. In order, the last of them holds back all.
pub(crate) fn return_rest(core: &Arc<Core>, messages: Vec<Arc<Popped>>) {
    let desk = messages.first().and_then(|first| core.desks.desks.lock().get(&first.broker).cloned());
    let returning = Arc::clone(core);
    core.spawn(async move {
        if let Some(desk) = desk {
            desk.all_told().await;
        }
        give_back(&returning, messages, Duration::ZERO);
    });
}

/// Gives messages back in the background: the group may have them again after `delay`.
pub(crate) fn give_back(core: &Arc<Core>, messages: Vec<Arc<Popped>>, delay: Duration) {
    if messages.is_empty() {
        return;
    }
    let giving = Arc::clone(core);
    let all = async move {
        let each = |popped: Arc<Popped>| {
            let core = Arc::clone(&giving);
            async move {
                if let Err(cause) = popped::change(&core, &popped, delay, false).await {
                    tracing::debug!(id = popped.message().message_id(), %cause, "not given back; it comes when its time is over");
                }
            }
        };
        stream::iter(messages).for_each_concurrent(AT_ONCE, each).await;
    };
    core.spawn(all);
}

impl Desk {
    /// What is to be acknowledged next, together with what has to be tried again; `None`: nothing, and the desk is closed.
    fn next(&self, mut again: Vec<Arc<Popped>>) -> Option<Vec<Arc<Popped>>> {
        let mut state = self.state.lock();
        let more = MOST.saturating_sub(again.len()).min(state.waiting.len());
        again.extend(state.waiting.drain(..more));
        if again.is_empty() {
            state.is_open = false;
            drop(state);
            self.closed.notify_waiters();
            return None;
        }
        Some(again)
    }

    /// Waits until nothing is to be acknowledged.
    async fn all_told(&self) {
        loop {
            let closed = self.closed.notified();
            tokio::pin!(closed);
            closed.as_mut().enable();
            if !self.state.lock().is_open {
                return;
            }
            closed.await;
        }
    }
}

async fn serve(core: &Core, broker: &str, desk: &Desk) {
    let mut again = Vec::new();
    let mut failures = 0;
    while let Some(some) = desk.next(again) {
        let Err(cause) = send(core, broker, &some).await else {
            (again, failures) = (Vec::new(), 0);
            continue;
        };
        tracing::debug!(broker, cause, messages = some.len(), "acknowledgements are tried again");
        let all = some.len();
        again = some.into_iter().filter(|popped| !popped.is_over()).collect();
        core.desks.count_lost(u64::try_from(all - again.len()).unwrap_or(0));
        if let Some(first) = again.first() {
            core.finder.stale(&first.asked);
        }
        drop(tokio::time::timeout(pause_after(failures), core.finder.changes().changed()).await);
        failures = failures.saturating_add(1);
    }
}

/// Sends what can go together; an error: nothing is certain, and all of it may be tried again.
async fn send(core: &Core, broker: &str, messages: &[Arc<Popped>]) -> Result<(), String> {
    let Some(first) = messages.first() else { return Ok(()) };
    let address = popped::master_of(core, &first.asked, broker)?;
    let mut batches: HashMap<(Arc<str>, u8, i32, Ticket), BatchAck> = HashMap::new();
    let mut alone = Vec::new();
    let all_alone = messages.len() == 1 || core.desks.one_by_one.load(Ordering::Relaxed);
    for popped in messages {
        let ticket = *popped.ticket.lock().await;
        let distance = popped.offset.saturating_sub(ticket.start);
        if all_alone || !(0..FAR).contains(&distance) {
            alone.push((Arc::clone(popped), ticket));
            continue;
        }
        let key = (Arc::clone(&popped.asked), popped.origin as u8, popped.queue, ticket);
        let ack = batches.entry(key).or_insert_with(|| batch_ack(core, popped, &ticket));
        ack.set(usize::try_from(distance).unwrap_or(0));
    }
    if !batches.is_empty() {
        let count = messages.len() - alone.len();
        let body = BatchAckBody { broker_name: Some(broker.to_owned()), acks: batches.into_values().collect() };
        let question = |link: &Link| link.request(request::BATCH_ACK_MESSAGE).with_json(&body);
        let answer = core.ask(&address, question, core.config.call_timeout).await.map_err(|error| error.to_string())?;
        if answer.code == response::REQUEST_CODE_NOT_SUPPORTED {
            core.desks.one_by_one.store(true, Ordering::Relaxed);
            return Err("the broker acknowledges messages one by one only".to_owned());
        }
        judge(core, count, &answer)?;
    }
    let mut all = Ok(());
    let mut answers: JoinSet<Result<Frame, String>> = JoinSet::new();
    for (popped, ticket) in alone {
        let link = core.link(&address).await.map_err(|error| error.to_string())?;
        let frame = one(core, &link, &popped, &ticket);
        let answer = link.start(frame, core.config.call_timeout);
        answers.spawn(async move { answer.await.map_err(|error| error.to_string()) });
    }
    while let Some(answer) = answers.join_next().await {
        let judged = answer.map_err(|error| error.to_string()).flatten().and_then(|answer| judge(core, 1, &answer));
        all = all.and(judged);
    }
    all
}

fn batch_ack(core: &Core, popped: &Popped, ticket: &Ticket) -> BatchAck {
    BatchAck {
        group: core.config.group.clone(),
        topic: popped.asked.as_ref().to_owned(),
        retry: (popped.origin as u8).to_string(),
        start: ticket.start,
        queue: popped.queue,
        revive_queue: ticket.revive_queue,
        pop_time: ticket.pop_time,
        invisible: ticket.invisible,
        bits: Vec::new(),
    }
}

fn one(core: &Core, link: &Link, popped: &Popped, ticket: &Ticket) -> Frame {
    let (topic, receipt) = (popped.real_topic(&core.config.group), popped.receipt(ticket));
    link.request(request::ACK_MESSAGE).with_fields(&AckRequest {
        consumer_group: core.config.group.as_str().into(),
        topic: topic.as_str().into(),
        queue_id: popped.queue,
        extra_info: receipt.as_str().into(),
        offset: popped.offset,
    })
}

fn judge(core: &Core, messages: usize, answer: &Frame) -> Result<(), String> {
    let remark = || answer.remark.clone().unwrap_or_default();
    match answer.code {
        response::SUCCESS if answer.remark.as_deref().is_none_or(str::is_empty) => Ok(()),
        // Some of a batch were late.
        response::SUCCESS => {
            core.desks.count_lost(1);
            tracing::debug!(remark = remark(), "some acknowledgements came too late");
            Ok(())
        }
        response::NO_MESSAGE => {
            core.desks.count_lost(u64::try_from(messages).unwrap_or(0));
            tracing::debug!(remark = remark(), "acknowledgements came too late");
            Ok(())
        }
        // Nothing to acknowledge any more: the topic is gone, or the queue does not reach there.
        response::TOPIC_NOT_EXIST | response::MESSAGE_ILLEGAL | response::INVALID_PARAMETER => {
            tracing::warn!(code = answer.code, remark = remark(), messages, "acknowledgements were refused");
            Ok(())
        }
        code => Err(format!("code {code}: {}", remark())),
    }
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;

    #[tokio::test]
    async fn what_is_returned_waits_for_what_is_being_acknowledged() {
        let desk = Desk::default();
        desk.all_told().await;
        desk.state.lock().is_open = true;
        let told = desk.all_told();
        tokio::pin!(told);
        assert_eq!(futures_util::poll!(told.as_mut()), Poll::Pending);
        assert!(desk.next(Vec::new()).is_none());
        told.await;
    }
}
