//! Health and figures over HTTP, on a port of their own: `/livez`, `/readyz`, `/metrics` (Prometheus text).

use std::fmt::{Display, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use orbitmq_common::net::server;
use parking_lot::RwLock;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::Broker;
use crate::duplicates::Figures;
use crate::replica::role::Role;

/// The broker, once it has recovered; none between two of its lives.
pub type Shown = Arc<RwLock<Option<Arc<Broker>>>>;

/// Listens on `address`; the broker is shown as soon as it is there.
///
/// # Errors
/// The address cannot be listened on.
pub fn start(
    address: SocketAddr,
    shown: &Shown,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> std::io::Result<SocketAddr> {
    let listener = server::bind(address)?;
    let bound = listener.local_addr()?;
    let router = Router::new()
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Arc::clone(shown));
    let stop = stop.clone().cancelled_owned();
    tasks.spawn(async move {
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stop).await {
            tracing::warn!(%error, "the monitor port has ended");
        }
    });
    Ok(bound)
}

/// Why the broker takes no messages now; `None`: it does.
fn trouble(broker: &Broker) -> Option<String> {
    let stats = broker.store.stats();
    if let Some(reason) = stats.poisoned {
        return Some(format!("poisoned: {reason}; restart the broker to recover"));
    }
    if stats.disk_full {
        return Some("the disk is full; free space or shorten the retention".to_owned());
    }
    if broker.stop.is_cancelled() {
        return Some("stopping".to_owned());
    }
    match broker.role.current() {
        Role::Undecided => Some("the controller has not said yet who is master".to_owned()),
        Role::Master { .. } => broker.admit().err().map(|refusal| refusal.remark),
        Role::Slave { .. } if broker.role.is_master_alive() => None,
        Role::Slave { .. } => Some("not copying: no master answers".to_owned()),
    }
}

/// What does not keep the broker from working but somebody should look at, a line each.
fn warnings(broker: &Broker) -> String {
    let troubles = broker.advertised.troubles();
    troubles.iter().map(|trouble| format!("warning: advertised address {trouble}\n")).collect()
}

async fn ready(State(shown): State<Shown>) -> impl IntoResponse {
    let broker = shown.read().clone();
    let warnings = broker.as_deref().map(warnings).unwrap_or_default();
    match broker.map(|broker| trouble(&broker)) {
        Some(None) => (StatusCode::OK, format!("ready\n{warnings}")),
        Some(Some(trouble)) => (StatusCode::SERVICE_UNAVAILABLE, trouble + "\n"),
        None => (StatusCode::SERVICE_UNAVAILABLE, "recovering the store\n".to_owned()),
    }
}

async fn metrics(State(shown): State<Shown>) -> impl IntoResponse {
    let mut text = String::with_capacity(4096);
    let broker = shown.read().clone();
    if let Some(broker) = broker {
        write_metrics(&broker, &mut text);
        write_timers(&broker, &mut text);
        write_pop(&broker, &mut text);
        write_duplicates(&broker, &mut text);
        write_replication(&broker, &mut text);
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}

/// One figure with what it means.
fn figure(out: &mut String, kind: &str, name: &str, help: &str, value: impl Display) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "# HELP orbitmq_{name} {help}\n# TYPE orbitmq_{name} {kind}\norbitmq_{name} {value}");
}

fn write_metrics(broker: &Broker, out: &mut String) {
    let (conflicts, conflicts_now) = broker.members.conflicts();
    let (stats, transactions) = (broker.store.stats(), broker.transactions.counts());
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let mut put = |kind: &str, name: &str, help: &str, value: f64| figure(out, kind, name, help, value);
    let truth = |value: bool| if value { 1.0 } else { 0.0 };
    let counters = [
        ("messages_stored_total", "Messages appended to the log.", stats.puts),
        ("bytes_stored_total", "Bytes appended to the log.", stats.put_bytes),
        ("refused_disk_full_total", "Sends refused because the disk was full.", stats.refused_full),
        ("refused_busy_total", "Sends refused because too much waited for the disk.", stats.refused_busy),
        ("batches_total", "Batches written to the log.", stats.batches),
        ("flushes_total", "Flushes of the log to the disk.", stats.flushes),
        ("damaged_records_total", "Records that failed their checksum and were not served.", stats.damaged),
        ("index_mended_total", "Key index files that were damaged and mended.", stats.index_mended),
        ("derived_failures_total", "Failed writes of queue and index files, tried again.", stats.derived_failures),
        ("deleted_segments_total", "Log segments deleted by retention.", stats.deleted_segments),
        (
            "filter_failures_total",
            "Messages not handed out because a filter could not be evaluated on them.",
            broker.filters.failures(),
        ),
        ("subscription_conflicts_total", "Times that members of a group wanted different things.", conflicts),
        ("transactions_committed_total", "Half messages that were committed.", count(&transactions.committed)),
        ("transactions_rolled_back_total", "Half messages that were rolled back.", count(&transactions.rolled_back)),
        ("transactions_given_up_total", "Half messages laid aside, for nobody told.", count(&transactions.given_up)),
        ("transactions_lost_total", "Half messages that could not be read any more.", count(&transactions.lost)),
        ("transaction_questions_total", "Questions to producers about half messages.", count(&transactions.asked)),
        ("transaction_unasked_total", "Questions that no connected producer took.", count(&transactions.unasked)),
    ];
    for (name, help, value) in counters {
        put("counter", name, help, value as f64);
    }
    put("counter", "flush_seconds_total", "Time spent flushing.", stats.flush_time.as_secs_f64());
    let gauges = [
        ("flush_seconds_max", "Longest flush so far.", stats.flush_max.as_secs_f64()),
        ("log_start_offset", "First offset the log still has.", stats.min_physical as f64),
        ("log_end_offset", "End of the log.", stats.end as f64),
        ("derived_behind_bytes", "Log that queues and index have yet to follow.", stats.behind as f64),
        ("unflushed_bytes", "Bytes that wait for the disk.", stats.unflushed as f64),
        ("disk_used_ratio", "Used part of the file system.", stats.disk_ratio),
        ("segments", "Log segments.", stats.segments as f64),
        ("queues", "Queues that have messages.", stats.queues as f64),
        ("transactions_open", "Half messages that are open.", broker.transactions.open() as f64),
        (
            "advertised_unreachable",
            "Advertised addresses that do not lead to this broker.",
            broker.advertised.troubles().len() as f64,
        ),
        ("subscription_conflicts", "Groups whose members want different things now.", conflicts_now.len() as f64),
        ("log_fenced", "1 after a failed write or flush, until a restart.", truth(stats.poisoned.is_some())),
        ("disk_full", "1 while no space can be reserved.", truth(stats.disk_full)),
    ];
    for (name, help, value) in gauges {
        put("gauge", name, help, value);
    }
}

/// Messages that wait for their time.
fn write_timers(broker: &Broker, out: &mut String) {
    let figures = &broker.timers.figures;
    let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed).cast_signed();
    let rows = [
        ("gauge", "timers_pending", "Messages that wait for their time.", get(&figures.pending)),
        (
            "gauge",
            "timer_late_milliseconds_max",
            "Longest time between due and stored again.",
            figures.latest.load(Ordering::Relaxed),
        ),
        ("counter", "timers_delivered_total", "Messages delivered at their time.", get(&figures.delivered)),
        ("counter", "timers_recalled_total", "Messages taken back before their time.", get(&figures.recalled)),
        ("counter", "timers_rolled_total", "Messages written again for retention.", get(&figures.rolled)),
        ("counter", "timers_known_total", "Messages found delivered already at a start.", get(&figures.known)),
        ("counter", "timers_lost_total", "Messages that cannot be read or stored any more.", get(&figures.lost)),
    ];
    for (kind, name, help, value) in rows {
        figure(out, kind, name, help, value);
    }
}

/// Messages that were sent again and dropped, and what is remembered for it.
fn write_duplicates(broker: &Broker, out: &mut String) {
    let topics = broker.duplicates.figures();
    let dropped = broker.duplicates.dropped();
    let bytes: usize = topics.iter().map(|topic| topic.bytes).sum();
    figure(out, "counter", "duplicates_dropped_total", "Messages sent again and not stored again.", dropped);
    figure(out, "gauge", "duplicates_bytes", "Memory of the keys by which they are known.", bytes);
    if topics.is_empty() {
        return;
    }
    let mut labelled = |kind: &str, name: &str, help: &str, value: fn(&Figures) -> u64| {
        let _ = writeln!(out, "# HELP orbitmq_{name} {help}\n# TYPE orbitmq_{name} {kind}");
        for topic in &topics {
            let _ = writeln!(out, "orbitmq_{name}{{topic=\"{}\"}} {}", topic.topic, value(topic));
        }
    };
    let help = "Messages sent again to a topic that drops duplicates.";
    labelled("counter", "topic_duplicates_dropped_total", help, |topic| topic.dropped);
    let help = "Messages forgotten within the window, for more came than the topic remembers.";
    labelled("counter", "topic_duplicates_forgotten_early_total", help, |topic| topic.forgotten);
    labelled("gauge", "topic_duplicates_known", "Messages that the topic remembers.", |topic| topic.known as u64);
}

/// What is popped and not acknowledged.
fn write_pop(broker: &Broker, out: &mut String) {
    let counts = &broker.pop.counts;
    let counters = [
        ("popped_total", "Messages popped.", &counts.popped),
        ("pop_acked_total", "Popped messages acknowledged.", &counts.acked),
        ("pop_late_acks_total", "Acknowledgements whose receipt was over.", &counts.late),
        ("pop_revived_total", "Popped messages given to their group again.", &counts.revived),
        ("pop_dead_total", "Popped messages that became dead letters.", &counts.dead),
        ("pop_lost_total", "Popped messages that were gone when they should have come again.", &counts.lost),
    ];
    for (name, help, value) in counters {
        let value = value.load(Ordering::Relaxed);
        figure(out, "counter", name, help, value);
    }
    let (receipts, checkpoints, bytes) = broker.pop.open();
    let gauges = [
        ("pop_open_receipts", "Popped messages that are open.", receipts),
        ("pop_open_checkpoints", "Pops that have open messages.", checkpoints as u64),
        ("pop_open_bytes", "Memory of them.", bytes as u64),
        ("pop_waiting", "Pops that wait for messages.", broker.pop.halls.all() as u64),
    ];
    for (name, help, value) in gauges {
        figure(out, "gauge", name, help, value);
    }
}

/// Who is master, and what each slave has.
fn write_replication(broker: &Broker, out: &mut String) {
    let (epoch, copies) = (broker.role.epoch(), broker.in_sync.copies());
    let truth = |value: bool| i32::from(value);
    let gauges = [
        ("master", "1 while this broker is master.", i64::from(truth(broker.role.is_master()))),
        ("master_epoch", "Epoch of a master, 0 for others.", i64::from(epoch)),
        ("in_sync_copies", "Copies in the in-sync set, the master's among them.", i64::try_from(copies).unwrap_or(0)),
        ("master_alive", "1 while a slave hears from its master.", i64::from(truth(broker.role.is_master_alive()))),
        (
            "confirmed_offset",
            "Log offset up to which messages are acknowledged and readable.",
            broker.store.confirmed().cast_signed(),
        ),
    ];
    for (name, help, value) in gauges {
        figure(out, "gauge", name, help, value);
    }
    let slaves = broker.in_sync.shown();
    if slaves.is_empty() {
        return;
    }
    let end = broker.store.end();
    let _ = writeln!(
        out,
        "# HELP orbitmq_slave_behind_bytes Log that a slave has yet to store.\n# TYPE orbitmq_slave_behind_bytes gauge"
    );
    for slave in &slaves {
        let behind = end.saturating_sub(slave.acked);
        let (member, address) = (slave.member, &slave.address);
        let _ = writeln!(out, "orbitmq_slave_behind_bytes{{member=\"{member}\",address=\"{address}\"}} {behind}");
    }
    let _ = writeln!(
        out,
        "# HELP orbitmq_slave_in_sync 1 for a slave of the in-sync set.\n# TYPE orbitmq_slave_in_sync gauge"
    );
    for slave in &slaves {
        let (member, address, inside) = (slave.member, &slave.address, truth(slave.in_sync));
        let _ = writeln!(out, "orbitmq_slave_in_sync{{member=\"{member}\",address=\"{address}\"}} {inside}");
    }
}
