//! Timers about themselves: what slaves of RocketMQ's copy (60, 61), and the figures that tools read.

use std::sync::atomic::Ordering;

use orbitmq_common::clock::now_ms;
use orbitmq_common::name::TIMER_TOPIC;
use orbitmq_common::protocol::body::topic::DataVersion;
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use serde_json::json;

use crate::broker::Broker;
use crate::timer::figures::Figures;

/// GET_TIMER_CHECK_POINT (60): seven numbers of eight bytes: the time up to which all is delivered, a place in RocketMQ's own file,
/// twice the offset in the timer queue up to which all is read, and a version in three parts.
pub fn checkpoint(broker: &Broker, frame: &Frame) -> Frame {
    let mark = broker.timers.marks.best(broker.store.end());
    let read = mark.map_or(0, |mark| mark.queue.cast_signed());
    let counter = i64::try_from(broker.db.newest()).unwrap_or(i64::MAX);
    // Whole seconds, rounded down: RocketMQ's wheel has no finer ones.
    let delivered = mark.map_or_else(now_ms, |mark| mark.due.clamp(0, now_ms())) / 1_000 * 1_000;
    let numbers = [delivered, 0, read, read, 0, broker.started, counter];
    frame.answer(response::SUCCESS).with_body(numbers.map(i64::to_be_bytes).concat())
}

/// GET_TIMER_METRICS (61): how many wait for each topic is not counted here.
pub fn metrics(frame: &Frame) -> Frame {
    let body = json!({"dataVersion": DataVersion::default(), "timingCount": {}});
    frame.answer(response::SUCCESS).with_json(&body)
}

/// The figures under RocketMQ's names: seconds behind, entries not read, how many wait, rates.
pub fn figures(broker: &Broker) -> [(&'static str, String); 5] {
    let figures = &broker.timers.figures;
    let next = figures.next_due.load(Ordering::Relaxed);
    let late = if next > 0 { (now_ms() - next).max(0) / 1_000 } else { 0 };
    let read = Figures::get(&figures.read).cast_signed();
    let unread = if broker.role.is_master() { (broker.store.max_offset(TIMER_TOPIC, 0) - read).max(0) } else { 0 };
    let (taken, delivered) = figures.rates();
    [
        ("timerReadBehind", late.to_string()),
        ("timerOffsetBehind", unread.to_string()),
        ("timerCongestNum", Figures::get(&figures.pending).to_string()),
        ("timerEnqueueTps", format!("{taken:.1}")),
        ("timerDequeueTps", format!("{delivered:.1}")),
    ]
}
