//! The task that delivers timer messages while this broker is master, and what a slave does for retention meanwhile.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use orbitmq_common::clock::now_ms;
use orbitmq_common::name::TIMER_TOPIC;

use crate::broker::Broker;
use crate::replica::role::Role;
use crate::store::held::Wanted;
use crate::timer::engine::{DeliverError, Engine, Limits};

/// In memory some 50 MB at most; a go takes a millisecond or two.
const LIMITS: Limits = Limits { in_memory: 2_000_000, chunk: 512 };
/// Pause after a delivery that failed.
const PAUSE: Duration = Duration::from_millis(100);
/// The clock may be set: it is looked at so often while something waits, ms.
const LOOK: i64 = 1_000;
/// Time between two marks while nothing is delivered, hence roughly how much log a start reads.
const NOTE: Duration = Duration::from_secs(10);

/// Time between two looks of a slave at its master's marks.
const CATCH_UP: Duration = Duration::from_secs(1);

/// Starts the task; it ends with the broker.
pub fn start(broker: &Arc<Broker>, tasks: &TaskTracker) {
    let broker = Arc::clone(broker);
    tasks.spawn(async move {
        let life = async {
            follow(&broker).await;
            lead(&broker).await;
        };
        tokio::select! {
            () = life => {}
            () = broker.stop.cancelled() => {}
        }
    });
}

/// Until this broker is master: retention may take what its master no longer waits for, as far as that has come here.
async fn follow(broker: &Broker) {
    let log = broker.store.follower();
    let (mut role, mut wanted) = (broker.role.watch(), log.wanted());
    loop {
        if matches!(*role.borrow_and_update(), Role::Master { .. }) {
            return;
        }
        let mark = broker.timers.marks.best(broker.store.end()).filter(|mark| mark.log > 0);
        // Without a mark of ours nothing waits, or RocketMQ's master writes again by itself what would be too old.
        log.hold(mark.map_or(u64::MAX, |mark| mark.kept));
        tokio::select! {
            changed = role.changed() => if changed.is_err() { std::future::pending().await },
            changed = wanted.changed() => if changed.is_err() { std::future::pending().await },
            () = tokio::time::sleep(CATCH_UP) => {}
        }
    }
}

async fn lead(broker: &Arc<Broker>) {
    let engine = Engine::new(Arc::clone(&broker.store), Arc::clone(&broker.timers), broker.address, LIMITS);
    let loaded = tokio::task::spawn_blocking(move || {
        let (began, mut engine) = (std::time::Instant::now(), engine);
        engine.load(now_ms());
        (engine, began.elapsed())
    });
    let Ok((mut engine, took)) = loaded.await else {
        tracing::error!("what waits for delivery could not be read: timer messages are not delivered until a restart");
        return;
    };
    if engine.reader() > 0 {
        tracing::info!(waiting = engine.waiting_count(), ?took, "timer messages wait");
    }
    let (mut wanted, mut notes) = (broker.store.follower().wanted(), tokio::time::interval(NOTE));
    let mut failing = false;
    loop {
        let round = engine.round(now_ms());
        report(&mut failing, round.as_ref().err());
        match round {
            Ok(round) if round.stalled => tokio::time::sleep(PAUSE).await,
            Ok(round) if round.more => tokio::task::yield_now().await,
            Ok(round) => wait(broker, &mut engine, round.next, &mut wanted, &mut notes).await,
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

fn report(failing: &mut bool, error: Option<&DeliverError>) {
    match error {
        Some(error) if !*failing => tracing::warn!(%error, "timer messages cannot be delivered; it is tried again"),
        None if *failing => tracing::info!("timer messages are delivered again"),
        _ => {}
    }
    *failing = error.is_some();
}

/// Waits for the next due message, for new ones, for a confirmation, or until retention wants a segment.
async fn wait(
    broker: &Broker,
    engine: &mut Engine,
    next: Option<i64>,
    wanted: &mut watch::Receiver<Wanted>,
    notes: &mut tokio::time::Interval,
) {
    let due = async {
        match next {
            Some(next) => tokio::time::sleep(until(next, now_ms(), broker.config.timers.precision)).await,
            None => std::future::pending().await,
        }
    };
    let confirmed = async {
        match engine.awaited() {
            // A store that fails confirms nothing more.
            Some(end) if broker.store.durable(end).await.is_err() => std::future::pending().await,
            Some(_) => {}
            None => std::future::pending().await,
        }
    };
    let reader = i64::try_from(engine.reader()).unwrap_or(i64::MAX);
    tokio::select! {
        () = due => {}
        () = confirmed => {}
        () = broker.store.wait(TIMER_TOPIC, 0, reader) => {}
        _ = notes.tick() => engine.note(now_ms()),
        changed = wanted.changed() => {
            let now = *wanted.borrow_and_update();
            if changed.is_ok() && now.upto > 0 {
                engine.make_room(now);
            }
        }
    }
}

/// How long to sleep before `next`, which is met exactly or late by less than the precision.
fn until(next: i64, now: i64, precision: Duration) -> Duration {
    let step = i64::try_from(precision.as_millis()).unwrap_or(1).max(1);
    let wake = next.saturating_add(step - 1) / step * step;
    let wait = wake.saturating_sub(now).min(LOOK.max(step));
    Duration::from_millis(u64::try_from(wait).unwrap_or(0))
}
