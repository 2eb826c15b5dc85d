//! What the Prometheus exporter (apache/rocketmq-exporter at e1ab2dd) and the dashboard read of a broker's figures: a key that is
//! missing, or a value of another form, ends the exporter's round for that broker.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::go::Go;
use crate::go_producers::send_fields;
use crate::record::properties;
use crate::servers::Servers;

/// `model/BrokerRuntimeStats.java`: read with `Long.parseLong`.
const LONGS: [&str; 28] = [
    "msgPutTotalTodayNow",
    "msgGetTotalTodayNow",
    "msgPutTotalTodayMorning",
    "msgGetTotalTodayMorning",
    "msgPutTotalYesterdayMorning",
    "msgGetTotalYesterdayMorning",
    "sendThreadPoolQueueHeadWaitTimeMills",
    "queryThreadPoolQueueHeadWaitTimeMills",
    "pullThreadPoolQueueHeadWaitTimeMills",
    "sendThreadPoolQueueSize",
    "queryThreadPoolQueueSize",
    "pullThreadPoolQueueSize",
    "sendThreadPoolQueueCapacity",
    "queryThreadPoolQueueCapacity",
    "pullThreadPoolQueueCapacity",
    "bootTimestamp",
    "commitLogMinOffset",
    "commitLogMaxOffset",
    "dispatchMaxBuffer",
    "dispatchBehindBytes",
    "pageCacheLockTimeMills",
    "getMessageEntireTimeMax",
    "putMessageEntireTimeMax",
    "putMessageTimesTotal",
    "putMessageSizeTotal",
    "startAcceptSendRequestTimeStamp",
    "earliestMessageTimeStamp",
    "remainTransientStoreBufferNumbs",
];
/// Read with `Double.parseDouble`.
const DOUBLES: [&str; 3] = ["consumeQueueDiskRatio", "commitLogDiskRatio", "putMessageAverageSize"];
/// Cut at blanks, a number each.
const RATES: [&str; 6] =
    ["putTps", "getMissTps", "getTransferredTps", "getTransferedTps", "getTotalTps", "getFoundTps"];

fn table(go: &mut Go) -> BTreeMap<String, String> {
    let body: Value = serde_json::from_slice(&go.ask(28, &[], b"").ok().body).unwrap();
    serde_json::from_value(body["table"].clone()).unwrap()
}

fn double(text: &str) -> f64 {
    text.parse().unwrap_or_else(|_| panic!("'{text}'"))
}

/// `util/Utils.java` `machineReadableByteCount`: a number, and a unit of which only the first letter counts.
fn bytes(number: &str, unit: &str) -> f64 {
    let power = if unit == "B" { 0 } else { 1 + "KMGTPE".find(&unit[..1]).unwrap() };
    double(number) * 1024_f64.powi(i32::try_from(power).unwrap())
}

#[test]
fn figures() {
    let servers = Servers::start();
    let mut go = Go::connect(servers.broker);
    for is_empty in [true, false] {
        if !is_empty {
            go.ask(10, &send_fields("T", "0", &properties(&[("DELAY", "1")])), b"x").ok();
        }
        let table = table(&mut go);
        for key in LONGS {
            assert!(table[key].parse::<i64>().is_ok(), "{key} = {}", table[key]);
        }
        for key in DOUBLES {
            assert!(double(&table[key]) >= 0.0, "{key} = {}", table[key]);
        }
        for key in RATES {
            assert_eq!(table[key].split(' ').map(double).count(), 3, "{key}");
        }
        assert!(table["brokerVersion"].parse::<i32>().is_ok());
        assert!(!table["brokerVersionDesc"].is_empty() && !table["runtime"].is_empty());
        double(table["remainHowManyDataToFlush"].split(' ').next().unwrap());
        // loadCommitLogDirCapacity: words 2, 3, 6 and 7, the units without their last character.
        let words: Vec<_> = table["commitLogDirCapacity"].split(' ').collect();
        let unit = |word: usize| words[word].strip_suffix(|_: char| true).unwrap();
        let (total, free) = (bytes(words[2], unit(3)), bytes(words[6], unit(7)));
        assert!(total >= free && free > 0.0, "{words:?}");
        // loadPutMessageDistributeTime passes over this word, and loadScheduleMessageOffsets takes all that begins so.
        assert_eq!(table["putMessageDistributeTime"], "null");
        let levels = table.iter().filter(|(key, _)| key.starts_with("scheduleMessageOffset"));
        for (key, value) in levels {
            let offsets: Vec<_> = value.split(',').map(str::parse::<i64>).collect();
            assert!(offsets.len() == 2 && offsets.iter().all(Result::is_ok), "{key} = {value}");
        }
    }
}
