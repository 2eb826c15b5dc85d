//! Single messages: by key (12) and by place in the log (33).

use std::sync::Arc;

use orbitmq_common::net::connection::Outcome;
use orbitmq_common::plain::date;
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::query::{QueryRequest, QueryResponse, ViewRequest};

use crate::broker::Broker;
use crate::refusal::Refusal;
use crate::store::search::KeySearch;

const MAX_FOUND: i32 = 256;
/// 9999-12-31: what clients name as the end of all time has no date.
const LAST_DATE: i64 = 253_402_214_400_000;

/// QUERY_MESSAGE (12): by key or unique key. The search reads from disk, so it has a thread of its own.
pub fn query(broker: &Arc<Broker>, frame: &Frame) -> Result<Outcome, Refusal> {
    let header: QueryRequest<'_> = frame.fields()?;
    let (topic, key) = (header.topic.into_owned(), header.key.into_owned());
    let most = usize::try_from(header.max_num.clamp(1, MAX_FOUND)).unwrap_or(1);
    let (begin, end, unique) = (header.begin_timestamp, header.end_timestamp, header.unique == Some(true));
    let (broker, request) = (Arc::clone(broker), frame.answer(response::SUCCESS));
    Ok(Outcome::later(async move {
        broker.store.built(broker.store.confirmed()).await;
        let store = Arc::clone(&broker.store);
        let search = {
            let (topic, key) = (topic.clone(), key.clone());
            tokio::task::spawn_blocking(move || {
                store.query(KeySearch { topic: &topic, key: &key, max: most, begin, end, unique })
            })
            .await
        };
        let Ok(found) = search else {
            return request.refuse(response::SYSTEM_ERROR, "the search was broken off; see the broker's log");
        };
        if let Some(reason) = found.failed {
            return request.refuse(response::SYSTEM_ERROR, format!("the key index cannot be read: {reason}"));
        }
        let fields = QueryResponse {
            index_last_update_timestamp: found.last_update_timestamp,
            index_last_update_phyoffset: found.last_update_physical,
        };
        let mut records = found.records.into_iter();
        let Some(first) = records.next() else {
            let remark = not_found(&broker, &topic, &key, (begin, end), found.last_update_timestamp);
            return request.refuse(response::QUERY_NOT_FOUND, remark).with_fields(&fields);
        };
        let mut answer = request.answer(response::SUCCESS).with_fields(&fields).with_body(first);
        answer.more = records.collect();
        answer
    }))
}

fn not_found(broker: &Broker, topic: &str, key: &str, (begin, end): (i64, i64), indexed: i64) -> String {
    if broker.topics.get(topic).is_none() {
        return broker.no_topic(topic, "correct its name").remark;
    }
    if broker.config.store.index.is_none() {
        return "this broker keeps no index of keys: it was switched off; look for the message by its time or offset"
            .to_owned();
    }
    let first = broker.store.earliest_timestamp().unwrap_or(0);
    let gone = if end < first {
        format!(": all that was stored before {} is deleted", date(first))
    } else {
        format!(
            ": correct the key or the time, or ask the topic's other brokers; messages from {} to {} are indexed here",
            date(first),
            date(indexed)
        )
    };
    format!(
        "no message of '{topic}' stored from {} to {} has the key '{key}'{gone}",
        date(begin),
        date(end.min(LAST_DATE))
    )
}

/// VIEW_MESSAGE_BY_ID (33): the record at a place in the log.
pub fn view(broker: &Broker, frame: &Frame) -> Result<Frame, Refusal> {
    let header: ViewRequest<'_> = frame.fields()?;
    let offset = u64::try_from(header.offset)
        .map_err(|_| Refusal::invalid(format!("{} is not a place in the log", header.offset)))?;
    let record = broker.store.record_at(offset)?;
    Ok(frame.answer(response::SUCCESS).with_body(record))
}
