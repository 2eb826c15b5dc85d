//! How far our broker's copy of the old master's log is, and whether it is one.

use orbitmq_common::clock::now_ms;
use orbitmq_common::message::message::decode_all;
use orbitmq_common::message::sysflag::pull;
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::pull::PullRequest;
use orbitmq_common::protocol::header::query::ViewRequest;

use super::metadata::Metadata;
use super::pair::Pair;
use crate::failure::{Failure, Server};
use crate::session::Question;

/// A group that every broker of RocketMQ's has, so that looking creates none. It never stores an offset here.
pub const GROUP: &str = "TOOLS_CONSUMER";
/// Messages that are compared.
const SAMPLES: usize = 16;
const LARGEST_BODY: usize = 64 << 20;

/// How far our copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// End of the old master's log.
    pub old_end: u64,
    /// End of what ours has on its disk.
    pub new_end: u64,
    /// Whether ours hears from a master.
    pub connected: bool,
    /// Whether ours is a master itself.
    pub master: bool,
}

impl Progress {
    /// Asks both. Ours is asked first, so that it is never ahead of what is known of the other.
    ///
    /// # Errors
    /// One does not answer.
    pub async fn of(pair: &Pair<'_>) -> Result<Self, Failure> {
        let status = pair.replication().await?;
        let client = status.ha_client_runtime_info;
        Ok(Self {
            old_end: pair.old_end().await?,
            new_end: if status.master { status.master_commit_log_max_offset } else { client.max_offset },
            connected: client.is_activated,
            master: status.master,
        })
    }

    /// Bytes that ours has yet to store.
    pub fn lag(self) -> u64 {
        self.old_end.saturating_sub(self.new_end)
    }
}

/// Compares records that both have, byte by byte, at both ends of some queues. Returns how many were compared.
///
/// # Errors
/// A record differs, or a broker does not answer.
pub async fn compare(pair: &Pair<'_>, metadata: &Metadata, new_end: u64) -> Result<usize, Failure> {
    let mut compared = 0;
    for (topic, config) in &metadata.topics {
        for queue in 0..config.read_queue_nums.min(2) {
            let min = pair.queue_end(&pair.old, request::GET_MIN_OFFSET, topic, queue).await?;
            let max = pair.queue_end(&pair.old, request::GET_MAX_OFFSET, topic, queue).await?;
            for at in if max - min > 1 { vec![min, max - 1] } else { (min..max).collect() } {
                let Some((offset, record)) = pull_one(pair, topic, queue, at).await? else { continue };
                if offset + record.len() as u64 > new_end {
                    continue;
                }
                compare_one(pair, topic, offset, &record).await?;
                compared += 1;
                if compared == SAMPLES {
                    return Ok(compared);
                }
            }
        }
    }
    Ok(compared)
}

/// The record at an offset of a queue of the old master's, and where it stands in the log.
async fn pull_one(pair: &Pair<'_>, topic: &str, queue: i32, at: i64) -> Result<Option<(u64, Vec<u8>)>, Failure> {
    let answer = pull_from(pair, &pair.old, topic, queue, at).await?;
    if answer.code != response::SUCCESS {
        return Ok(None);
    }
    let Some(message) = decode_all(&answer.body, LARGEST_BODY).next() else { return Ok(None) };
    let message = message.map_err(|error| Failure::answer(&pair.old, error))?;
    Ok(Some((message.physical_offset, answer.body.to_vec())))
}

/// Pulls one message, without waiting for it and without a trace.
pub async fn pull_from(pair: &Pair<'_>, address: &str, topic: &str, queue: i32, at: i64) -> Result<Frame, Failure> {
    let fields = PullRequest {
        consumer_group: GROUP.into(),
        topic: topic.into(),
        queue_id: queue,
        queue_offset: at,
        max_msg_nums: 1,
        sys_flag: pull::SUBSCRIPTION.cast_signed(),
        subscription: Some("*".into()),
        sub_version: now_ms(),
        expression_type: Some("TAG".into()),
        ..PullRequest::default()
    };
    let question = Question::new(request::PULL_MESSAGE, &fields);
    pair.session.exchange(Server::Broker, address, &question, pair.session.timeout()).await
}

async fn compare_one(pair: &Pair<'_>, topic: &str, offset: u64, record: &[u8]) -> Result<(), Failure> {
    let fields = ViewRequest { topic: Some(topic.into()), offset: i64::try_from(offset).unwrap_or(i64::MAX) };
    let question = Question::new(request::VIEW_MESSAGE_BY_ID, &fields);
    let answer = pair.session.exchange(Server::Broker, &pair.new, &question, pair.session.timeout()).await?;
    if answer.code == response::SUCCESS && answer.body == record {
        return Ok(());
    }
    let why = answer.remark.unwrap_or_else(|| "it holds another record there".to_owned());
    Err(Failure::other(format!(
        "ours is no copy of the old master: the record of '{topic}' at log offset {offset} differs: {why}. Empty the data directory \
         of {} and let it copy again",
        pair.new
    )))
}
