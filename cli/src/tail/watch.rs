//! Tailing unnoticed: pulls every queue itself and stores no offset.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use orbitmq_common::clock::now_ms;
use orbitmq_common::message::message::{StoredMessage, decode_all};
use orbitmq_common::message::sysflag::pull;
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::header::offset::{OffsetResponse, QueueRequest, SearchOffsetRequest};
use orbitmq_common::protocol::header::pull::{PullRequest, PullResponse};
use orbitmq_common::route::table::Route;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::failure::{Failure, Server};
use crate::report::Report;
use crate::session::{Question, Session};
use crate::tail::{Arguments, Printer, Start};

/// The group that pulls are made for; it never stores an offset.
pub const GROUP: &str = "orbitmq-tail";
/// How long a broker holds a pull.
const HELD: Duration = Duration::from_secs(10);
/// Before a broker that does not answer is asked again.
const PAUSE: Duration = Duration::from_secs(1);
const PULLED: i32 = 32;
const LARGEST_BODY: usize = 64 << 20;

/// One queue and the place in it.
struct Reader {
    session: Arc<Session>,
    address: String,
    topic: String,
    queue: i32,
    expression: String,
    tags: Vec<String>,
    next: i64,
    out: mpsc::Sender<StoredMessage>,
}

/// Prints what comes in any queue until the end.
pub async fn run(
    arguments: Arguments,
    session: Session,
    mut printer: Printer,
    end: impl Future<Output = ()>,
) -> Result<Report, Failure> {
    let route = Route::new(&arguments.topic, &session.route(&arguments.topic).await?);
    let session = Arc::new(session);
    let (out, mut messages) = mpsc::channel(64);
    let mut readers = JoinSet::new();
    for queue in &route.readable {
        let Some(address) = route.broker(&queue.broker).and_then(|broker| broker.reader(0)) else { continue };
        let mut reader = Reader {
            session: Arc::clone(&session),
            address: address.to_owned(),
            topic: arguments.topic.clone(),
            queue: queue.id,
            expression: arguments.tags.clone(),
            tags: tags(&arguments.tags),
            next: 0,
            out: out.clone(),
        };
        reader.next = reader.find(arguments.from).await?;
        readers.spawn(reader.run());
    }
    drop(out);
    if readers.is_empty() {
        return Err(Failure::other(format!("topic '{}' has no readable queue now", arguments.topic)));
    }
    tokio::pin!(end);
    loop {
        tokio::select! {
            () = &mut end => break,
            message = messages.recv() => match message {
                Some(message) => if !printer.print(&message)? { break },
                // All readers have ended; why is told by the first of them that failed.
                None => {
                    while let Some(ended) = readers.join_next().await {
                        ended.map_err(|error| Failure::other(error.to_string()))??;
                    }
                    break;
                }
            },
            Some(ended) = readers.join_next() => {
                ended.map_err(|error| Failure::other(error.to_string()))??;
            }
        }
    }
    Ok(Report::nothing())
}

fn tags(expression: &str) -> Vec<String> {
    let tags = expression.split("||").map(str::trim).filter(|tag| !tag.is_empty() && *tag != "*");
    tags.map(str::to_owned).collect()
}

impl Reader {
    async fn find(&self, from: Start) -> Result<i64, Failure> {
        let (topic, queue_id) = (self.topic.as_str().into(), self.queue);
        let answer = match from {
            Start::Time(timestamp) => {
                let fields = SearchOffsetRequest { topic, queue_id, timestamp, boundary_type: None };
                self.session.broker(&self.address, &Question::new(request::SEARCH_OFFSET_BY_TIMESTAMP, &fields)).await?
            }
            Start::First | Start::Last => {
                let kind = if from == Start::First { request::GET_MIN_OFFSET } else { request::GET_MAX_OFFSET };
                let fields = QueueRequest { topic, queue_id, committed: None };
                self.session.broker(&self.address, &Question::new(kind, &fields)).await?
            }
        };
        let found: OffsetResponse = answer.fields().map_err(|error| Failure::answer(&self.address, error))?;
        Ok(found.offset.max(0))
    }

    /// Reads until nobody listens any more.
    async fn run(mut self) -> Result<(), Failure> {
        loop {
            let messages = match self.pull().await {
                Ok(messages) => messages,
                Err(failure @ Failure::Call { .. }) => {
                    eprintln!("orbitmq: {failure}; asking again");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                Err(failure) => return Err(failure),
            };
            for message in messages {
                if self.wants(&message) && self.out.send(message).await.is_err() {
                    return Ok(());
                }
            }
        }
    }

    /// The broker compares hashes of tags only.
    fn wants(&self, message: &StoredMessage) -> bool {
        self.tags.is_empty() || message.tag().is_some_and(|tag| self.tags.iter().any(|wanted| wanted == tag))
    }

    async fn pull(&mut self) -> Result<Vec<StoredMessage>, Failure> {
        let fields = PullRequest {
            consumer_group: GROUP.into(),
            topic: self.topic.as_str().into(),
            queue_id: self.queue,
            queue_offset: self.next,
            max_msg_nums: PULLED,
            sys_flag: (pull::SUSPEND | pull::SUBSCRIPTION).cast_signed(),
            commit_offset: 0,
            suspend_timeout_millis: i64::try_from(HELD.as_millis()).unwrap_or(0),
            subscription: Some(self.expression.as_str().into()),
            sub_version: now_ms(),
            expression_type: Some("TAG".into()),
            ..PullRequest::default()
        };
        let question = Question::new(request::PULL_MESSAGE, &fields);
        let answer = self.session.exchange(Server::Broker, &self.address, &question, HELD * 2).await?;
        let known = [
            response::SUCCESS,
            response::PULL_NOT_FOUND,
            response::PULL_RETRY_IMMEDIATELY,
            response::PULL_OFFSET_MOVED,
        ];
        if !known.contains(&answer.code) {
            return Err(Failure::Refused {
                address: self.address.clone(),
                kind: request::PULL_MESSAGE,
                code: answer.code,
                remark: answer.remark.unwrap_or_default(),
            });
        }
        let place: PullResponse = answer.fields().map_err(|error| Failure::answer(&self.address, error))?;
        self.next = place.next_begin_offset;
        if answer.code != response::SUCCESS {
            return Ok(Vec::new());
        }
        let messages = decode_all(&answer.body, LARGEST_BODY);
        messages.map(|message| message.map_err(|error| Failure::answer(&self.address, error))).collect()
    }
}
