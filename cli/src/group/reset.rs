//! `orbitmq group reset`: a group goes on at another place.

use std::collections::BTreeMap;

use clap::Args;
use orbitmq_common::protocol::body::stats;
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::header::admin::ResetOffsetRequest;
use orbitmq_common::protocol::header::offset::{OffsetResponse, QueryOffsetRequest};
use serde::Serialize;

use crate::failure::Failure;
use crate::group::parse_name;
use crate::report::{Report, Table};
use crate::session::{Question, Session};
use crate::time;

/// Set the offsets of a group in a topic: it goes on there.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The group.
    #[arg(value_parser = parse_name)]
    group: String,
    /// The topic.
    #[arg(long)]
    topic: String,
    /// Where to go on: first, last, a time (2026-11-21T12:30:00Z, or 10m for ten minutes ago), or offset:N.
    #[arg(long, value_name = "PLACE", value_parser = Place::parse)]
    to: Place,
    /// Only in this queue of each broker; needed with offset:N.
    #[arg(long, value_parser = clap::value_parser!(i32).range(0..))]
    queue: Option<i32>,
}

/// A place in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    First,
    Last,
    Time(i64),
    Offset(i64),
}

impl Place {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "first" => Ok(Self::First),
            "last" => Ok(Self::Last),
            _ => match text.strip_prefix("offset:") {
                Some(number) => {
                    let offset = number.parse().ok().filter(|offset| *offset >= 0);
                    offset.map(Self::Offset).ok_or_else(|| format!("'{number}' is not an offset, 0 or more"))
                }
                None => time::parse(text)
                    .map(Self::Time)
                    .map_err(|expected| format!("first, last, offset:N, or {expected}")),
            },
        }
    }

    fn timestamp(self) -> i64 {
        match self {
            Self::First | Self::Offset(_) => 0,
            Self::Last => -1,
            Self::Time(ms) => ms,
        }
    }
}

#[derive(Debug, Serialize)]
struct Row {
    broker: String,
    queue: i32,
    before: Option<i64>,
    after: i64,
}

/// Sets the offsets and shows what they were.
pub async fn run(arguments: &Arguments, session: &Session) -> Result<Report, Failure> {
    let offset = match (arguments.to, arguments.queue) {
        (Place::Offset(_), None) => {
            return Err(Failure::Usage("offsets differ by queue: name one with --queue".to_owned()));
        }
        (Place::Offset(offset), Some(_)) => Some(offset),
        _ => None,
    };
    let mut rows = Vec::new();
    for master in session.masters_of(&arguments.topic).await? {
        let before = before(arguments, &master.address, session).await?;
        let fields = ResetOffsetRequest {
            group: arguments.group.as_str().into(),
            topic: arguments.topic.as_str().into(),
            queue_id: Some(arguments.queue.unwrap_or(-1)),
            offset,
            timestamp: arguments.to.timestamp(),
            is_force: Some(true),
        };
        let question = Question::new(request::INVOKE_BROKER_TO_RESET_OFFSET, &fields);
        let answer = session.broker(&master.address, &question).await?;
        let table = stats::parse_table::<i64>(&answer.body).map_err(|error| Failure::answer(&master.address, error))?;
        rows.extend(table.into_iter().map(|(queue, after)| Row {
            broker: queue.broker_name,
            queue: queue.queue_id,
            before: before.get(&queue.queue_id).copied(),
            after,
        }));
    }
    rows.sort_by(|a, b| (&a.broker, a.queue).cmp(&(&b.broker, b.queue)));
    let mut table = Table::new(&["BROKER", "QUEUE", "BEFORE", "AFTER"]);
    for row in &rows {
        let before = row.before.map_or_else(|| "-".to_owned(), |before| before.to_string());
        table.row([row.broker.clone(), row.queue.to_string(), before, row.after.to_string()]);
    }
    Report::new(&rows, table.text())
}

/// The stored offsets of the queues concerned, where there are any.
async fn before(arguments: &Arguments, address: &str, session: &Session) -> Result<BTreeMap<i32, i64>, Failure> {
    let route = session.route(&arguments.topic).await?;
    let queues = route.queue_datas.iter().map(|data| data.read_queue_nums).max().unwrap_or(0);
    let mut offsets = BTreeMap::new();
    for queue_id in (0..queues).filter(|id| arguments.queue.is_none_or(|only| only == *id)) {
        let fields = QueryOffsetRequest {
            consumer_group: arguments.group.as_str().into(),
            topic: arguments.topic.as_str().into(),
            queue_id,
            set_zero_if_not_found: Some(false),
        };
        match session.broker(address, &Question::new(request::QUERY_CONSUMER_OFFSET, &fields)).await {
            Ok(answer) => {
                let stored: OffsetResponse = answer.fields().map_err(|error| Failure::answer(address, error))?;
                offsets.insert(queue_id, stored.offset);
            }
            Err(failure) if failure.code() == Some(response::QUERY_NOT_FOUND) => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(offsets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read() {
        assert_eq!(Place::parse("first"), Ok(Place::First));
        assert_eq!(Place::parse("last").map(Place::timestamp), Ok(-1));
        assert_eq!(Place::parse("offset:12"), Ok(Place::Offset(12)));
        assert_eq!(Place::parse("2000-02-29"), Ok(Place::Time(951_782_400_000)));
        for bad in ["", "offset:", "offset:-1", "middle"] {
            assert!(Place::parse(bad).is_err(), "{bad}");
        }
    }
}
