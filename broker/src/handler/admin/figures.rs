//! The broker about itself: runtime figures (28).

use std::collections::BTreeMap;
use std::time::Duration;

use orbitmq_common::clock::now_ms;
use orbitmq_common::protocol::body::kv::KvTable;
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::{Frame, VERSION};

use crate::broker::Broker;
use crate::handler::admin::timers;
use crate::store::upkeep;
use crate::traffic::sample::Figure;

/// The version that tools show.
const VERSION_TEXT: &str = "V5_3_3";

/// Groups with a conflict that are named at most.
const SHOWN_CONFLICTS: usize = 5;
/// What RocketMQ's tools read and parse, and this broker does not have: queues of threads, locks and buffers of its own.
const WITHOUT_COUNTERPART: [&str; 21] = [
    "pageCacheLockTimeMills",
    "dispatchMaxBuffer",
    "getMessageEntireTimeMax",
    "remainTransientStoreBufferNumbs",
    "sendThreadPoolQueueSize",
    "sendThreadPoolQueueCapacity",
    "sendThreadPoolQueueHeadWaitTimeMills",
    "pullThreadPoolQueueSize",
    "pullThreadPoolQueueCapacity",
    "pullThreadPoolQueueHeadWaitTimeMills",
    "litePullThreadPoolQueueSize",
    "litePullThreadPoolQueueCapacity",
    "litePullThreadPoolQueueHeadWaitTimeMills",
    "queryThreadPoolQueueSize",
    "queryThreadPoolQueueCapacity",
    "queryThreadPoolQueueHeadWaitTimeMills",
    "ackThreadPoolQueueSize",
    "ackThreadPoolQueueCapacity",
    "ackThreadPoolQueueHeadWaitTimeMills",
    "EndTransactionQueueSize",
    "EndTransactionThreadPoolQueueCapacity",
];

/// GET_BROKER_RUNTIME_INFO (28): the keys that RocketMQ's tools read.
pub fn runtime(broker: &Broker, frame: &Frame) -> Frame {
    let stats = broker.store.stats();
    let up = u64::try_from(now_ms() - broker.started).unwrap_or(0) / 1000;
    let runtime =
        format!("[ {} days, {} hours, {} minutes, {} seconds ]", up / 86_400, up / 3_600 % 24, up / 60 % 60, up % 60);
    let average = stats.put_bytes.checked_div(stats.puts).unwrap_or(0);
    let millis = |duration: Duration| duration.as_millis().to_string();
    let mut table = BTreeMap::new();
    let mut put = |key: &str, value: String| drop(table.insert(key.to_owned(), value));
    put("bootTimestamp", broker.started.to_string());
    put("runtime", runtime);
    put("brokerVersion", VERSION.to_string());
    put("brokerVersionDesc", VERSION_TEXT.to_owned());
    put("brokerActive", "true".to_owned());
    put("startAcceptSendRequestTimeStamp", broker.started.to_string());
    put("putMessageTimesTotal", stats.puts.to_string());
    put("putMessageSizeTotal", stats.put_bytes.to_string());
    put("putMessageAverageSize", average.to_string());
    put("putMessageFailedTimes", (stats.refused_busy + stats.refused_full).to_string());
    put("putMessageEntireTimeMax", millis(stats.flush_max));
    put("commitLogMinOffset", stats.min_physical.to_string());
    put("commitLogMaxOffset", stats.end.to_string());
    put("commitLogDiskRatio", stats.disk_ratio.to_string());
    put("consumeQueueDiskRatio", stats.disk_ratio.to_string());
    put("dispatchBehindBytes", stats.behind.to_string());
    put("remainHowManyDataToFlush", readable(stats.unflushed as u64));
    put("earliestMessageTimeStamp", broker.store.earliest_timestamp().unwrap_or(-1).to_string());
    let (free, total) = upkeep::space(&broker.store).unwrap_or_default();
    put("commitLogDirCapacity", format!("Total : {}, Free : {}.", readable(total), readable(free)));
    for key in WITHOUT_COUNTERPART {
        put(key, "0".to_owned());
    }
    // There is no such distribution here; tools know this word.
    put("putMessageDistributeTime", "null".to_owned());
    table.extend(traffic(broker));
    let mut put = |key: &str, value: String| drop(table.insert(key.to_owned(), value));
    for (level, offset) in broker.delay.snapshot() {
        let max = broker.store.max_offset(orbitmq_common::name::SCHEDULE_TOPIC, level.saturating_sub(1));
        put(&format!("scheduleMessageOffset_{level}"), format!("{offset},{max}"));
    }
    let (_, conflicts) = broker.members.conflicts();
    if !conflicts.is_empty() {
        let shown =
            conflicts.iter().take(SHOWN_CONFLICTS).map(|(group, conflict)| format!("group '{group}': {conflict}"));
        put("subscriptionConflicts", shown.collect::<Vec<_>>().join("; "));
    }
    for (key, value) in timers::figures(broker) {
        put(key, value);
    }
    put("poisoned", stats.poisoned.as_deref().unwrap_or_default().to_owned());
    put("diskFull", stats.disk_full.to_string());
    frame.answer(response::SUCCESS).with_json(&KvTable { table })
}

/// What comes and goes: per second over 10, 60 and 600 s, and since the start.
fn traffic(broker: &Broker) -> BTreeMap<String, String> {
    let traffic = &broker.traffic;
    let rates: [(&str, Figure); 6] = [
        ("putTps", |totals| totals.puts),
        ("getTotalTps", |totals| totals.found + totals.missed),
        ("getFoundTps", |totals| totals.found),
        ("getMissTps", |totals| totals.missed),
        ("getTransferredTps", |totals| totals.handed_out),
        // The name that older tools read.
        ("getTransferedTps", |totals| totals.handed_out),
    ];
    let rates = rates.into_iter().map(|(key, figure)| {
        let [short, middle, long] = [10, 60, 600].map(|seconds| traffic.per_second(broker, seconds, figure));
        (key.to_owned(), format!("{short:?} {middle:?} {long:?}"))
    });
    let (mornings, (puts, gets)) = (traffic.mornings(), traffic.of_users(broker));
    let counts = [
        ("msgPutTotalTodayNow", puts),
        ("msgPutTotalTodayMorning", mornings.today.0),
        ("msgPutTotalYesterdayMorning", mornings.yesterday.0),
        ("msgGetTotalTodayNow", gets),
        ("msgGetTotalTodayMorning", mornings.today.1),
        ("msgGetTotalYesterdayMorning", mornings.yesterday.1),
    ];
    rates.chain(counts.into_iter().map(|(key, count)| (key.to_owned(), count.to_string()))).collect()
}

/// Bytes as RocketMQ's tools cut them apart: a number, a blank, a unit.
fn readable(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"] {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, larger);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}
