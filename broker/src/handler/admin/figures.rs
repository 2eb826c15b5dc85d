//! The broker about itself: runtime figures (28) and settings (26).

use std::collections::BTreeMap;
use std::time::Duration;

use orbitmq_common::protocol::body::kv::KvTable;
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::{Frame, VERSION};

use crate::broker::Broker;
use crate::meta::topics::now_ms;
use crate::store::options::Flush;

/// The version that tools show.
const VERSION_TEXT: &str = "V5_3_3";

/// Groups with a conflict that are named at most.
const SHOWN_CONFLICTS: usize = 5;

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
    put("msgPutTotalTodayNow", stats.puts.to_string());
    put("commitLogMinOffset", stats.min_physical.to_string());
    put("commitLogMaxOffset", stats.end.to_string());
    put("commitLogDiskRatio", stats.disk_ratio.to_string());
    put("consumeQueueDiskRatio", stats.disk_ratio.to_string());
    put("dispatchBehindBytes", stats.behind.to_string());
    put("remainHowManyDataToFlush", format!("{} B", stats.unflushed));
    put("earliestMessageTimeStamp", broker.store.earliest_timestamp().unwrap_or(-1).to_string());
    for key in ["putTps", "getTotalTps", "getFoundTps", "getMissTps", "getTransferredTps", "getTransferedTps"] {
        put(key, "0.0 0.0 0.0".to_owned());
    }
    for key in [
        "msgPutTotalTodayMorning",
        "msgPutTotalYesterdayMorning",
        "msgGetTotalTodayNow",
        "msgGetTotalTodayMorning",
        "msgGetTotalYesterdayMorning",
        "pageCacheLockTimeMills",
        "dispatchMaxBuffer",
        "getMessageEntireTimeMax",
        "sendThreadPoolQueueSize",
        "pullThreadPoolQueueSize",
        "queryThreadPoolQueueSize",
        "EndTransactionQueueSize",
    ] {
        put(key, "0".to_owned());
    }
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
    put("poisoned", stats.poisoned.as_deref().unwrap_or_default().to_owned());
    put("diskFull", stats.disk_full.to_string());
    frame.answer(response::SUCCESS).with_json(&KvTable { table })
}

/// GET_BROKER_CONFIG (26): settings as properties text, under RocketMQ's names.
pub fn settings(broker: &Broker, frame: &Frame) -> Frame {
    let config = &broker.config;
    let flush = match config.store.flush {
        Flush::Sync => "SYNC_FLUSH",
        Flush::Async => "ASYNC_FLUSH",
    };
    let lines = [
        ("brokerName", config.name.clone()),
        ("brokerClusterName", config.cluster.clone()),
        ("brokerId", config.id.to_string()),
        ("brokerRole", "ASYNC_MASTER".to_owned()),
        ("brokerIP1", broker.address.ip().to_string()),
        ("listenPort", broker.address.port().to_string()),
        ("namesrvAddr", config.nameservers.join(";")),
        ("storePathRootDir", config.store.dir.display().to_string()),
        ("flushDiskType", flush.to_owned()),
        ("mappedFileSizeCommitLog", config.store.segment_size.to_string()),
        ("maxMessageSize", config.max_message_size.to_string()),
        ("autoCreateTopicEnable", config.auto_create_topics.to_string()),
        ("autoCreateSubscriptionGroup", config.auto_create_groups.to_string()),
        ("defaultTopicQueueNums", config.default_topic_queues.to_string()),
        ("enablePropertyFilter", config.filtering.sql.to_string()),
        ("brokerPermission", "6".to_owned()),
    ];
    let text: String = lines.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    frame.answer(response::SUCCESS).with_body(text)
}
