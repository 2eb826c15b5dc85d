//! `orbitmq group lag`: messages and time between a group's offsets and the ends of its queues.

use clap::Args;
use orbitmq_common::clock::now_ms;
use orbitmq_common::plain;
use orbitmq_common::protocol::body::stats::{self, ConsumeOffset};
use orbitmq_common::protocol::code::request;
use orbitmq_common::protocol::header::admin::ConsumeStatsRequest;
use serde::Serialize;

use crate::failure::Failure;
use crate::group::{change, parse_name};
use crate::report::{Report, Table};
use crate::session::{Question, Session};

/// Show how many messages, and how much time, a group is behind in each queue.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The group.
    #[arg(value_parser = parse_name)]
    group: String,
    /// Only in this topic.
    #[arg(long)]
    topic: Option<String>,
}

/// How far a group is behind in one queue.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    topic: String,
    broker: String,
    queue: i32,
    /// The group's next message.
    offset: i64,
    /// The queue's next message.
    end: i64,
    lag: i64,
    /// ms since the last message that the group has consumed was stored; of queues that are behind.
    behind_ms: Option<i64>,
}

impl Row {
    fn new(topic: String, broker: String, queue: i32, offset: &ConsumeOffset, now: i64) -> Self {
        let lag = offset.broker_offset.saturating_sub(offset.consumer_offset).max(0);
        let behind = (lag > 0 && offset.last_timestamp > 0).then(|| now.saturating_sub(offset.last_timestamp).max(0));
        Self { topic, broker, queue, offset: offset.consumer_offset, end: offset.broker_offset, lag, behind_ms: behind }
    }
}

/// Shows the lag.
pub async fn run(arguments: &Arguments, session: &Session) -> Result<Report, Failure> {
    let mut rows = Vec::new();
    let mut known = false;
    for master in session.masters().await? {
        if !change::exists(&arguments.group, &master.address, session).await? {
            continue;
        }
        known = true;
        let fields = ConsumeStatsRequest {
            consumer_group: arguments.group.as_str().into(),
            topic: arguments.topic.as_deref().map(Into::into),
            ..ConsumeStatsRequest::default()
        };
        let answer = session.broker(&master.address, &Question::new(request::GET_CONSUME_STATS, &fields)).await?;
        let table = stats::parse_table::<ConsumeOffset>(&answer.body)
            .map_err(|error| Failure::answer(&master.address, error))?;
        let now = now_ms();
        rows.extend(
            table
                .into_iter()
                .map(|(queue, offset)| Row::new(queue.topic, queue.broker_name, queue.queue_id, &offset, now)),
        );
    }
    if !known {
        return Err(change::unknown(&arguments.group));
    }
    rows.sort_by(|a, b| (&a.topic, &a.broker, a.queue).cmp(&(&b.topic, &b.broker, b.queue)));
    let mut table = Table::new(&["TOPIC", "BROKER", "QUEUE", "OFFSET", "END", "LAG", "BEHIND"]);
    for row in &rows {
        table.row([
            row.topic.clone(),
            row.broker.clone(),
            row.queue.to_string(),
            row.offset.to_string(),
            row.end.to_string(),
            row.lag.to_string(),
            row.behind_ms.map_or_else(|| "-".to_owned(), plain::length),
        ]);
    }
    let total: i64 = rows.iter().map(|row| row.lag).sum();
    Report::new(&rows, format!("{}{total} messages behind in {} queues", table.text(), rows.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_in_messages_and_time() {
        let offset = |consumer_offset, last_timestamp| ConsumeOffset {
            broker_offset: 10,
            consumer_offset,
            last_timestamp,
            pull_offset: 0,
        };
        let row = |offset: ConsumeOffset| {
            let row = Row::new("T".into(), "b".into(), 0, &offset, 60_000);
            (row.lag, row.behind_ms)
        };
        assert_eq!(row(offset(4, 10_000)), (6, Some(50_000)));
        assert_eq!(row(offset(10, 10_000)), (0, None));
        // Reset beyond the end, or never consumed.
        assert_eq!(row(offset(12, 10_000)), (0, None));
        assert_eq!(row(offset(0, 0)), (10, None));
    }
}
