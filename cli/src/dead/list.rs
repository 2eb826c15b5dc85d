//! `orbitmq dead list | peek`: which groups have dead letters, and what these are.

use clap::Args;
use serde::Serialize;

use crate::dead::filter::Filter;
use crate::dead::letter::{COLUMNS, Letter, Whole};
use crate::dead::marks::Mark;
use crate::dead::shelf;
use crate::failure::Failure;
use crate::group::parse_name;
use crate::report::{Report, Table, pairs};
use crate::session::Session;
use crate::shown::visible;

/// List the groups that have dead letters, or the dead letters of one group.
#[derive(Debug, Args)]
pub struct List {
    /// The group; all groups with how many they have when left out.
    #[arg(value_parser = parse_name)]
    group: Option<String>,
    /// At most so many, the oldest ones of each queue first.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    max: u64,
    /// Which ones.
    #[command(flatten)]
    filter: Filter,
}

/// Show dead letters as a whole.
#[derive(Debug, Args)]
pub struct Peek {
    /// The group.
    #[arg(value_parser = parse_name)]
    group: String,
    /// At most so many, the oldest ones of each queue first.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    max: u64,
    /// Which ones.
    #[command(flatten)]
    filter: Filter,
}

#[derive(Debug, Serialize)]
struct GroupRow {
    group: String,
    broker: String,
    queue: i32,
    first_offset: i64,
    next_offset: i64,
    dead_letters: i64,
    /// Of those, how many were replayed to where they came from, without a gap from the first one on.
    replayed: i64,
}

/// Lists groups or dead letters.
pub async fn run(arguments: &List, session: &Session) -> Result<Report, Failure> {
    let Some(group) = &arguments.group else { return groups(session).await };
    let (letters, more) = find(group, &arguments.filter, arguments.max, session).await?;
    let rows: Vec<_> = letters.iter().map(Letter::row).collect();
    let mut table = Table::new(&COLUMNS);
    for row in &rows {
        table.row(row.cells());
    }
    let more = if more { "; there are more, see --max" } else { "" };
    Report::new(&rows, format!("{}{} dead letters of '{group}'{more}", table.text(), rows.len()))
}

/// Shows dead letters.
pub async fn peek(arguments: &Peek, session: &Session) -> Result<Report, Failure> {
    let (letters, _) = find(&arguments.group, &arguments.filter, arguments.max, session).await?;
    if letters.is_empty() {
        return Err(Failure::other(format!("group '{}' has no such dead letter", arguments.group)));
    }
    let wholes: Vec<Whole> = letters.iter().map(Letter::whole).collect();
    let block = |whole: &Whole| {
        let reason = whole.row.reason.as_deref().map_or_else(|| "-".to_owned(), visible);
        let origin = whole.row.origin_id.clone().unwrap_or_else(|| "-".to_owned());
        let head = pairs([("came from", whole.row.origin()), ("origin id", origin), ("reason", reason)]);
        format!("{head}{}", whole.message.block())
    };
    let blocks: Vec<String> = wholes.iter().map(block).collect();
    Report::new(&wholes, blocks.join("\n"))
}

async fn groups(session: &Session) -> Result<Report, Failure> {
    let mut rows = Vec::new();
    for group in shelf::groups(session).await? {
        for shelf in shelf::open(&group, session).await? {
            let done = Mark::done(None).get(&shelf, session).await?;
            rows.push(GroupRow {
                group: group.clone(),
                broker: shelf.broker.name.clone(),
                queue: shelf.queue,
                first_offset: shelf.first,
                next_offset: shelf.end,
                dead_letters: shelf.count(),
                replayed: done.saturating_sub(shelf.first).clamp(0, shelf.count()),
            });
        }
    }
    let mut table =
        Table::new(&["GROUP", "BROKER", "QUEUE", "FIRST OFFSET", "NEXT OFFSET", "DEAD LETTERS", "REPLAYED"]);
    for row in &rows {
        table.row([
            row.group.clone(),
            row.broker.clone(),
            row.queue.to_string(),
            row.first_offset.to_string(),
            row.next_offset.to_string(),
            row.dead_letters.to_string(),
            row.replayed.to_string(),
        ]);
    }
    Report::new(&rows, table.text())
}

/// Up to `max` dead letters that are wanted, and whether there are more.
async fn find(group: &str, filter: &Filter, max: u64, session: &Session) -> Result<(Vec<Letter>, bool), Failure> {
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    let mut found = Vec::new();
    for shelf in shelf::open(group, session).await? {
        let mut at = shelf.first;
        while at < shelf.end {
            let page = shelf.read(at, session).await?;
            at = page.next;
            for letter in page.letters.into_iter().filter(|letter| filter.wants(letter)) {
                if found.len() == max {
                    return Ok((found, true));
                }
                found.push(letter);
            }
        }
    }
    Ok((found, false))
}
