//! The queues that hold a group's dead letters, and what is read from them.

use orbitmq_common::clock::now_ms;
use orbitmq_common::message::sysflag::pull;
use orbitmq_common::name;
use orbitmq_common::protocol::body::topic::TopicTable;
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::header::offset::{OffsetResponse, QueueRequest};
use orbitmq_common::protocol::header::pull::{PullRequest, PullResponse};

use crate::dead::letter::{self, Letter};
use crate::dead::marks::Mark;
use crate::failure::{Failure, Server};
use crate::session::{Master, Nothing, Question, Session};
use crate::tail;

/// Dead letters that are read at once.
const PULLED: i32 = 32;

/// One queue of dead letters, as it was when it was looked at.
#[derive(Debug, Clone)]
pub struct Shelf {
    /// The topic of the group's dead letters.
    pub topic: String,
    /// The broker that holds the queue.
    pub broker: Master,
    /// Number of the queue.
    pub queue: i32,
    /// Offset of the first dead letter that is neither deleted nor purged.
    pub first: i64,
    /// Offset after the last one.
    pub end: i64,
}

/// Dead letters in the order of the queue, and where to read on.
#[derive(Debug)]
pub struct Page {
    /// The dead letters.
    pub letters: Vec<Letter>,
    /// The offset after them.
    pub next: i64,
}

/// All groups that have a topic of dead letters at some master.
///
/// # Errors
/// A server does not answer.
pub async fn groups(session: &Session) -> Result<Vec<String>, Failure> {
    let mut groups = Vec::new();
    for master in session.masters().await? {
        let question = Question::new(request::GET_ALL_TOPIC_CONFIG, &Nothing {});
        let table: TopicTable = session.broker_body(&master.address, &question).await?;
        let topics = table.topic_config_table.into_keys();
        groups.extend(topics.filter_map(|topic| topic.strip_prefix(name::DEAD_LETTER_PREFIX).map(str::to_owned)));
    }
    groups.sort_unstable();
    groups.dedup();
    Ok(groups)
}

/// The queues of a group's dead letters at all masters.
///
/// # Errors
/// There are none, one of their brokers is away, or it does not let read them.
pub async fn open(group: &str, session: &Session) -> Result<Vec<Shelf>, Failure> {
    let topic = name::dead_letter_topic(group);
    let route = match session.route(&topic).await {
        Ok(route) => route,
        Err(failure) if failure.code() == Some(response::TOPIC_NOT_EXIST) => {
            return Err(Failure::other(format!(
                "group '{group}' has no dead letters (topic '{topic}' is nowhere); 'orbitmq dead list' shows the groups that have"
            )));
        }
        Err(failure) => return Err(failure),
    };
    let masters = session.masters_of(&topic).await?;
    let mut shelves = Vec::new();
    for data in route.queue_datas {
        let broker = masters.iter().find(|master| master.name == data.broker_name).ok_or_else(|| {
            Failure::other(format!(
                "broker '{}' holds dead letters of '{group}' and has no master now: start it again",
                data.broker_name
            ))
        })?;
        for queue in 0..data.read_queue_nums {
            let mut shelf = Shelf { topic: topic.clone(), broker: broker.clone(), queue, first: 0, end: 0 };
            shelf.end = shelf.edge(request::GET_MAX_OFFSET, session).await?;
            let purged = Mark::purged().get(&shelf, session).await?;
            shelf.first = shelf.edge(request::GET_MIN_OFFSET, session).await?.max(purged);
            shelves.push(shelf);
        }
    }
    shelves.sort_by(|a, b| (&a.broker.name, a.queue).cmp(&(&b.broker.name, b.queue)));
    Ok(shelves)
}

impl Shelf {
    async fn edge(&self, kind: i32, session: &Session) -> Result<i64, Failure> {
        let fields = QueueRequest { topic: self.topic.as_str().into(), queue_id: self.queue, committed: None };
        let answer = session.broker(&self.broker.address, &Question::new(kind, &fields)).await?;
        let found: OffsetResponse = answer.fields().map_err(|error| Failure::answer(&self.broker.address, error))?;
        Ok(found.offset.max(0))
    }

    /// Dead letters that can be seen.
    pub fn count(&self) -> i64 {
        (self.end - self.first).max(0)
    }

    /// Reads from an offset on, never beyond the end that was found when the shelf was opened.
    ///
    /// # Errors
    /// The broker does not answer, or does not let read.
    pub async fn read(&self, from: i64, session: &Session) -> Result<Page, Failure> {
        let fields = PullRequest {
            consumer_group: tail::watch::GROUP.into(),
            topic: self.topic.as_str().into(),
            queue_id: self.queue,
            queue_offset: from,
            max_msg_nums: PULLED,
            sys_flag: pull::SUBSCRIPTION.cast_signed(),
            subscription: Some("*".into()),
            sub_version: now_ms(),
            expression_type: Some("TAG".into()),
            ..PullRequest::default()
        };
        let address = &self.broker.address;
        let question = Question::new(request::PULL_MESSAGE, &fields);
        let answer = session.exchange(Server::Broker, address, &question, session.timeout()).await?;
        match answer.code {
            response::SUCCESS => {
                let place: PullResponse = answer.fields().map_err(|error| Failure::answer(address, error))?;
                let mut letters =
                    letter::read(&answer.body, &self.broker.name).map_err(|error| Failure::answer(address, error))?;
                letters.retain(|letter| letter.offset() < self.end);
                Ok(Page { letters, next: place.next_begin_offset.clamp(from + 1, self.end.max(from + 1)) })
            }
            response::PULL_NOT_FOUND => Ok(Page { letters: Vec::new(), next: self.end }),
            response::PULL_RETRY_IMMEDIATELY | response::PULL_OFFSET_MOVED => {
                let place: PullResponse = answer.fields().map_err(|error| Failure::answer(address, error))?;
                let next = if place.next_begin_offset > from { place.next_begin_offset } else { self.end };
                Ok(Page { letters: Vec::new(), next: next.min(self.end) })
            }
            response::NO_PERMISSION => Err(Failure::other(format!(
                "{address} does not let read '{0}': {1}; brokers before RocketMQ 5 create it write-only: open it with \
                 'orbitmq topic create {0} --queues {2} --perm rw'",
                self.topic,
                answer.remark.unwrap_or_default(),
                self.queue + 1
            ))),
            code => Err(Failure::Refused {
                address: address.clone(),
                kind: request::PULL_MESSAGE,
                code,
                remark: answer.remark.unwrap_or_default(),
            }),
        }
    }
}
