//! `orbitmq dead purge`: moves the boundary below which dead letters are passed over.

use clap::Args;
use orbitmq_common::protocol::code::request;
use orbitmq_common::protocol::header::offset::{OffsetResponse, SearchOffsetRequest};
use serde::Serialize;

use crate::dead::marks::Mark;
use crate::dead::shelf::{self, Shelf};
use crate::failure::Failure;
use crate::group::parse_name;
use crate::report::{Report, Table};
use crate::session::{Question, Session};
use crate::time;

/// Have 'orbitmq dead' pass over dead letters from now on.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The group.
    #[arg(value_parser = parse_name)]
    group: String,
    /// All that are there now.
    #[arg(long, required_unless_present_any = ["until", "replayed"])]
    all: bool,
    /// Those that died before this time.
    #[arg(long, value_name = "TIME", value_parser = time::parse, conflicts_with_all = ["all", "replayed"])]
    until: Option<i64>,
    /// Those that were replayed to where they came from.
    #[arg(long, conflicts_with = "all")]
    replayed: bool,
    /// Only show how many these are.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Serialize)]
struct Row {
    broker: String,
    queue: i32,
    purged: i64,
    left: i64,
}

/// Moves the boundary in each queue; it never moves back.
pub async fn run(arguments: &Arguments, session: &Session) -> Result<Report, Failure> {
    let mut rows = Vec::new();
    for shelf in shelf::open(&arguments.group, session).await? {
        let boundary = boundary(arguments, &shelf, session).await?.clamp(shelf.first, shelf.end.max(shelf.first));
        if boundary > shelf.first && !arguments.dry_run {
            let mark = Mark::purged();
            mark.prepare(&shelf, session).await?;
            mark.set(&shelf, boundary, session).await?;
        }
        let (purged, left) = (boundary - shelf.first, (shelf.end - boundary).max(0));
        rows.push(Row { broker: shelf.broker.name, queue: shelf.queue, purged, left });
    }
    let mut table = Table::new(&["BROKER", "QUEUE", "PURGED", "LEFT"]);
    for row in &rows {
        table.row([row.broker.clone(), row.queue.to_string(), row.purged.to_string(), row.left.to_string()]);
    }
    let total: i64 = rows.iter().map(|row| row.purged).sum();
    let verb = if arguments.dry_run { "would be passed over" } else { "are passed over from now on" };
    let text = format!(
        "{}{total} dead letters of '{}' {verb}; the log keeps them until its retention deletes them",
        table.text(),
        arguments.group
    );
    Report::new(&rows, text)
}

async fn boundary(arguments: &Arguments, shelf: &Shelf, session: &Session) -> Result<i64, Failure> {
    if arguments.replayed {
        return Mark::done(None).get(shelf, session).await;
    }
    let Some(timestamp) = arguments.until else { return Ok(shelf.end) };
    let fields = SearchOffsetRequest {
        topic: shelf.topic.as_str().into(),
        queue_id: shelf.queue,
        timestamp,
        boundary_type: None,
    };
    let address = &shelf.broker.address;
    let question = Question::new(request::SEARCH_OFFSET_BY_TIMESTAMP, &fields);
    let found: OffsetResponse =
        session.broker(address, &question).await?.fields().map_err(|error| Failure::answer(address, error))?;
    Ok(found.offset)
}
