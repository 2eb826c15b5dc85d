//! Where to begin in a queue: at the stored offset, else where the group wants to start.

use std::time::UNIX_EPOCH;

use orbitmq_common::net::client::Link;
use orbitmq_common::net::peer::CallError;
use orbitmq_common::protocol::body::route::MASTER_ID;
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::offset::{OffsetResponse, QueryOffsetRequest, QueueRequest, SearchOffsetRequest};

use crate::core::Core;
use crate::deliver::is_retry;
use crate::error::ConsumeError;
use crate::modes::StartFrom;
use crate::queue::Assigned;

/// Where to begin.
pub(crate) struct Start {
    /// The first offset to fetch.
    pub offset: i64,
    /// The offset that is stored.
    pub stored: Option<i64>,
    /// The broker that says so.
    pub told_by: String,
}

/// Finds where to begin. The master is asked; a slave while there is none.
pub(crate) async fn find(core: &Core, queue: &Assigned) -> Result<Start, ConsumeError> {
    let route = core.finder.find(&queue.topic).await?;
    let broker = route.broker(&queue.queue.broker).ok_or_else(|| no_broker(queue))?;
    // A slave's offsets may be a moment old, so a master that is only slow is waited for.
    let address = broker.master().or_else(|| core.reach.reader(broker, MASTER_ID)).ok_or_else(|| no_broker(queue))?;
    let link = core.link(address).await.map_err(|error| {
        core.reach.failed(address);
        not_asked(queue, error)
    })?;
    let stored = match &core.local {
        Some(local) => local.get(&queue.topic, &queue.queue),
        None => stored(core, queue, &link, address).await?,
    };
    let offset = match stored {
        Some(offset) => offset,
        None => first(core, queue, &link, address).await?,
    };
    Ok(Start { offset, stored, told_by: address.to_owned() })
}

async fn stored(core: &Core, queue: &Assigned, link: &Link, address: &str) -> Result<Option<i64>, ConsumeError> {
    // A group that starts at a time means it, also in a young topic.
    let exact = matches!(core.config.start, StartFrom::Time(_)) && !is_retry(&queue.topic);
    let fields = QueryOffsetRequest {
        consumer_group: core.config.group.as_str().into(),
        topic: queue.topic.as_ref().into(),
        queue_id: queue.queue.id,
        set_zero_if_not_found: exact.then_some(false),
    };
    let question = link.request(request::QUERY_CONSUMER_OFFSET).with_fields(&fields);
    let answer = link.call(question, core.config.call_timeout).await.map_err(|error| not_asked(queue, error))?;
    if answer.code == response::QUERY_NOT_FOUND {
        return Ok(None);
    }
    offset(queue, address, &answer).map(|offset| Some(offset).filter(|offset| *offset >= 0))
}

async fn first(core: &Core, queue: &Assigned, link: &Link, address: &str) -> Result<i64, ConsumeError> {
    if is_retry(&queue.topic) {
        return Ok(0);
    }
    let place = QueueRequest { topic: queue.topic.as_ref().into(), queue_id: queue.queue.id, committed: None };
    let question = match core.config.start {
        StartFrom::Last => link.request(request::GET_MAX_OFFSET).with_fields(&place),
        StartFrom::First => link.request(request::GET_MIN_OFFSET).with_fields(&place),
        StartFrom::Time(time) => {
            let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            link.request(request::SEARCH_OFFSET_BY_TIMESTAMP).with_fields(&SearchOffsetRequest {
                topic: queue.topic.as_ref().into(),
                queue_id: queue.queue.id,
                timestamp: i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
                boundary_type: None,
            })
        }
    };
    let answer = link.call(question, core.config.call_timeout).await.map_err(|error| not_asked(queue, error))?;
    offset(queue, address, &answer).map(|offset| offset.max(0))
}

fn offset(queue: &Assigned, address: &str, answer: &Frame) -> Result<i64, ConsumeError> {
    if answer.code != response::SUCCESS {
        return Err(refusal(queue, address, answer.code, answer.remark.clone().unwrap_or_default()));
    }
    let offset = answer.fields::<OffsetResponse>().map(|fields| fields.offset);
    offset.map_err(|error| unreadable(queue, address, error))
}

/// The queue's broker has left the route.
pub(crate) fn no_broker(queue: &Assigned) -> ConsumeError {
    ConsumeError::NoBroker { topic: queue.topic.as_ref().to_owned(), broker: queue.queue.broker.as_ref().to_owned() }
}

/// The queue's broker gave no answer.
pub(crate) fn not_asked(queue: &Assigned, cause: CallError) -> ConsumeError {
    ConsumeError::Call { broker: queue.queue.broker.as_ref().to_owned(), cause }
}

/// The queue's broker refused.
pub(crate) fn refusal(queue: &Assigned, address: &str, code: i32, remark: String) -> ConsumeError {
    let (broker, address) = (queue.queue.broker.as_ref().to_owned(), address.to_owned());
    ConsumeError::Refused { broker, address, code, remark }
}

/// What the queue's broker sent cannot be read.
pub(crate) fn unreadable(queue: &Assigned, address: &str, cause: impl ToString) -> ConsumeError {
    let (broker, address) = (queue.queue.broker.as_ref().to_owned(), address.to_owned());
    ConsumeError::Unreadable { broker, address, cause: cause.to_string() }
}
