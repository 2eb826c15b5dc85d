//! `orbitmq message`: finds messages by id or key.

use clap::Args;
use orbitmq_common::message::id::parse_offset_id;
use orbitmq_common::message::message::{StoredMessage, decode_all};
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::header::query::{QueryRequest, ViewRequest};

use crate::failure::Failure;
use crate::report::Report;
use crate::session::{Question, Session};
use crate::shown::Shown;
use crate::time;

/// Largest body after decompression.
const LARGEST_BODY: usize = 64 << 20;

/// Find messages by id or by key.
#[derive(Debug, Args)]
pub struct Arguments {
    /// An offset id, or, with --topic, the id that the producer gave.
    #[arg(required_unless_present = "key", conflicts_with = "key")]
    id: Option<String>,
    /// Find messages with this key; needs --topic.
    #[arg(long, requires = "topic")]
    key: Option<String>,
    /// The topic of the messages.
    #[arg(long)]
    topic: Option<String>,
    /// With --key: stored at this time or later.
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    since: Option<i64>,
    /// With --key: stored at this time or earlier.
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    until: Option<i64>,
    /// With --key: at most so many from each broker.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(i32).range(1..=256))]
    max: i32,
}

/// Finds and shows the messages.
pub async fn run(arguments: Arguments, session: Session) -> Result<Report, Failure> {
    let found = match (&arguments.id, &arguments.key, &arguments.topic) {
        (_, Some(key), Some(topic)) => {
            let found = query(&arguments, topic, key, false, &session).await?;
            if found.is_empty() {
                return Err(Failure::other(format!("no message of '{topic}' has the key '{key}' in that time")));
            }
            found
        }
        (Some(id), _, Some(topic)) => {
            let found = query(&arguments, topic, id, true, &session).await?;
            if found.is_empty() { vec![by_offset_id(id, &session).await?] } else { found }
        }
        (Some(id), _, None) => vec![by_offset_id(id, &session).await?],
        _ => return Err(Failure::Usage("name an id, or a key and its topic".to_owned())),
    };
    let shown: Vec<Shown> = found.iter().map(Shown::new).collect();
    let blocks: Vec<String> = shown.iter().map(Shown::block).collect();
    Report::new(&shown, blocks.join("\n"))
}

/// Asks every master of the topic.
async fn query(
    arguments: &Arguments,
    topic: &str,
    key: &str,
    unique: bool,
    session: &Session,
) -> Result<Vec<StoredMessage>, Failure> {
    let mut found = Vec::new();
    for master in session.masters_of(topic).await? {
        let fields = QueryRequest {
            topic: topic.into(),
            key: key.into(),
            max_num: arguments.max,
            begin_timestamp: arguments.since.unwrap_or(0),
            end_timestamp: arguments.until.unwrap_or(i64::MAX),
            unique: unique.then_some(true),
        };
        match session.broker(&master.address, &Question::new(request::QUERY_MESSAGE, &fields)).await {
            Ok(answer) => {
                for message in decode_all(&answer.body, LARGEST_BODY) {
                    found.push(message.map_err(|error| Failure::answer(&master.address, error))?);
                }
            }
            Err(failure) if failure.code() == Some(response::QUERY_NOT_FOUND) => {}
            Err(failure) => return Err(failure),
        }
    }
    // The index knows hashes of keys only.
    found
        .retain(|message| if unique { message.unique_id() == Some(key) } else { message.keys().any(|one| one == key) });
    Ok(found)
}

/// Asks the broker whose address the id holds, if it is one of the cluster.
async fn by_offset_id(id: &str, session: &Session) -> Result<StoredMessage, Failure> {
    let producers = "if a producer gave this id, name its topic with --topic";
    let (host, offset) = parse_offset_id(id)
        .map_err(|error| Failure::other(format!("'{id}' finds no message: {error}; {producers}")))?;
    let host = host.to_string();
    let cluster = session.cluster().await?;
    let mut addresses = cluster.broker_addr_table.values().flat_map(|data| data.broker_addrs.values());
    if !addresses.any(|address| *address == host) {
        return Err(Failure::other(format!(
            "'{id}' finds no message: no registered broker has the address {host}; {producers}"
        )));
    }
    let offset = i64::try_from(offset).unwrap_or(i64::MAX);
    let fields = ViewRequest { topic: None, offset };
    let answer = session.broker(&host, &Question::new(request::VIEW_MESSAGE_BY_ID, &fields)).await?;
    let message = decode_all(&answer.body, LARGEST_BODY).next();
    let message = message.ok_or_else(|| Failure::answer(&host, "no message in the body"))?;
    message.map_err(|error| Failure::answer(&host, error))
}
