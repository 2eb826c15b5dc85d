//! Asks producers about half messages that do not end, and gives up those that nobody can tell about.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use orbitmq_common::clock::now_ms;
use orbitmq_common::message::id;
use orbitmq_common::name;
use orbitmq_common::protocol::body::route::perm;
use orbitmq_common::protocol::body::topic::TopicConfig;
use orbitmq_common::protocol::code::request;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::transaction::CheckTransactionRequest;
use tokio_util::task::TaskTracker;

use crate::broker::Broker;
use crate::store::error::ReadError;
use crate::transaction::end::{EndError, Outcome, became, half_of};
use crate::transaction::half::Half;
use crate::transaction::progress::Pending;
use crate::transaction::table::Open;
use crate::transaction::{Transactions, count, steady_ms};

/// Time between two notes of progress, and two looks at what is due.
pub const LOOK: Duration = Duration::from_secs(1);
/// Half messages looked at without a pause.
const ROUND: usize = 128;
/// Pause between two full rounds: more questions a second would only fill producers' connections.
const PACE: Duration = Duration::from_millis(50);
/// Time to the next attempt after one that failed.
const RETRY: i64 = 1_000;

/// Builds the index of a broker that has become master, then asks; ends with the broker.
pub fn start(broker: &Arc<Broker>, tasks: &TaskTracker) {
    let broker = Arc::clone(broker);
    tasks.spawn(async move {
        tokio::select! {
            () = run(&broker) => {}
            () = broker.stop.cancelled() => {}
        }
    });
}

async fn run(broker: &Arc<Broker>) {
    while !rebuilt(broker).await {
        tokio::time::sleep(LOOK).await;
    }
    let transactions = &broker.transactions;
    let mut pending: Option<Pending> = None;
    let mut noted = tokio::time::Instant::now();
    loop {
        let pause = if broker.admit().is_err() {
            LOOK
        } else if look(broker) == ROUND {
            PACE
        } else {
            transactions.wait()
        };
        if noted.elapsed() >= LOOK {
            noted = tokio::time::Instant::now();
            let waiting = pending.get_or_insert_with(|| transactions.pending(broker));
            if waiting.note(broker).await {
                pending = None;
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = transactions.sooner.notified() => {}
        }
    }
}

/// Builds the index; false: to be tried again.
async fn rebuilt(broker: &Arc<Broker>) -> bool {
    let working = Arc::clone(broker);
    let built = tokio::task::spawn_blocking(move || {
        let pause = millis(working.config.transactions.check_interval);
        working.transactions.rebuild(working.ground(), &working.offsets, &working.asked, pause)
    });
    match built.await {
        Ok(Ok(found)) => {
            if found.ends.half > 0 {
                tracing::info!(
                    open = found.open,
                    from = found.from.half,
                    to = found.ends.half,
                    "half messages counted"
                );
            }
            true
        }
        Ok(Err(error)) => {
            tracing::error!(%error, "open half messages are not known yet; it is tried again");
            false
        }
        Err(error) => {
            tracing::error!(%error, "counting half messages was broken off; it is tried again");
            false
        }
    }
}

/// Looks after those whose time has come; tells how many.
fn look(broker: &Broker) -> usize {
    let due = broker.transactions.table.lock().due(steady_ms(), ROUND);
    for (offset, open) in &due {
        if let Err(error) = look_at(broker, *offset, *open) {
            tracing::warn!(offset, %error, "a half message could not be ended; it is tried again");
            broker.transactions.again(*offset, steady_ms().saturating_add(RETRY), open.checks);
        }
    }
    due.len()
}

fn look_at(broker: &Broker, offset: u64, open: Open) -> Result<(), EndError> {
    let (transactions, ground) = (&broker.transactions, broker.ground());
    let bytes = match broker.store.record_at(open.physical) {
        Ok(bytes) => bytes,
        // Not confirmed yet.
        Err(ReadError::OutOfRange { offset: physical, max, .. }) if physical >= max => {
            transactions.again(offset, steady_ms().saturating_add(RETRY), open.checks);
            return Ok(());
        }
        Err(error) => return lose(broker, offset, &error.into()),
    };
    let half = match half_of(&bytes, open.physical) {
        Ok(half) => half,
        Err(error) => return lose(broker, offset, &error),
    };
    if open.inherited {
        if let Some(became) = became(ground, &half)? {
            tracing::info!(offset, key = half.key, ?became, "a half message had ended before the broker did; noted");
            broker.asked.forget(offset);
            return transactions.note(ground, offset).map(drop);
        }
        transactions.table.lock().is_surely_open(offset);
    }
    let age = now_ms().saturating_sub(half.record.store_timestamp);
    let outlived = broker.config.store.retention.max_age.is_some_and(|most| age > millis(most));
    if open.checks >= broker.config.transactions.check_max || outlived {
        return give_up(broker, &half, open.checks);
    }
    let checks = open.checks.saturating_add(1);
    ask(broker, &half, checks);
    broker.asked.set(offset, checks);
    let interval = millis(broker.config.transactions.check_interval);
    transactions.again(offset, steady_ms().saturating_add(interval), checks);
    Ok(())
}

fn give_up(broker: &Broker, half: &Half<'_>, checks: u32) -> Result<(), EndError> {
    let offset = half.record.queue_offset;
    broker.topics.ensure(name::CHECK_MAX_TIME_TOPIC, || {
        TopicConfig::new(name::CHECK_MAX_TIME_TOPIC, 1, perm::READ | perm::WRITE)
    });
    match broker.transactions.conclude(broker.ground(), half, Outcome::GiveUp { checks }, true) {
        Ok(_) => {
            let (topic, group, key) = (half.topic, half.group, half.key);
            tracing::warn!(
                topic,
                group,
                key,
                checks,
                "nobody told how this half message ends; it is laid aside in {} (resume it with request 323)",
                name::CHECK_MAX_TIME_TOPIC
            );
        }
        Err(EndError::Ended) => {}
        Err(error) => return Err(error),
    }
    broker.asked.forget(offset);
    broker.store.nudge();
    Ok(())
}

/// Ends a half message that cannot be read any more.
fn lose(broker: &Broker, offset: u64, why: &EndError) -> Result<(), EndError> {
    broker.transactions.note(broker.ground(), offset)?;
    broker.asked.forget(offset);
    count(&broker.transactions.counts.lost);
    tracing::error!(offset, %why, "an open half message cannot be read any more; its message is lost");
    Ok(())
}

/// Asks one producer of the group. Whether it hears it shows in its answer.
fn ask(broker: &Broker, half: &Half<'_>, checks: u32) {
    let transactions = &broker.transactions;
    let turn = transactions.turn.fetch_add(1, Ordering::Relaxed);
    let Some(member) = broker.members.producer(half.group, turn) else {
        tracing::debug!(group = half.group, key = half.key, "no producer of the group is connected to be asked");
        return count(&transactions.counts.unasked);
    };
    let record = &half.record;
    let fields = CheckTransactionRequest {
        topic: Some(name::HALF_TOPIC.into()),
        tran_state_table_offset: record.queue_offset.cast_signed(),
        commit_log_offset: record.physical_offset.cast_signed(),
        msg_id: Some(half.key.into()),
        transaction_id: Some(half.key.into()),
        offset_msg_id: Some(id::offset_id(record.store_host, record.physical_offset).into()),
        broker_name: Some(broker.config.name.as_str().into()),
    };
    let question = half.properties_after(checks).map_err(|error| error.to_string());
    let question = question.and_then(|properties| half.question(&properties).map_err(|error| error.to_string()));
    let told = question.and_then(|body| {
        let frame = Frame::request(request::CHECK_TRANSACTION_STATE, member.encoding);
        let frame = frame.with_fields(&fields).with_body(body).oneway();
        member.peer.tell(frame).map_err(|error| error.to_string())
    });
    match told {
        Ok(()) => count(&transactions.counts.asked),
        Err(error) => {
            tracing::debug!(group = half.group, key = half.key, error, "a producer could not be asked");
            count(&transactions.counts.unasked);
        }
    }
}

impl Transactions {
    /// Has the producer of an open half message asked at once and counts from the beginning; false: it is not open.
    pub fn ask_anew(&self, offset: u64) -> bool {
        let mut table = self.table.lock();
        let open = table.get(offset).is_some();
        table.again(offset, steady_ms(), 0);
        drop(table);
        self.sooner.notify_one();
        open
    }

    fn again(&self, offset: u64, due: i64, checks: u32) {
        self.table.lock().again(offset, due, checks);
    }

    /// Time to the next question, or look.
    fn wait(&self) -> Duration {
        let due = self.table.lock().next_due();
        let wait = due.map_or(i64::MAX, |due| due.saturating_sub(steady_ms()));
        Duration::from_millis(u64::try_from(wait).unwrap_or(0)).min(LOOK)
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
