//! PUT_KV_CONFIG (100), GET_KV_CONFIG (101), DELETE_KV_CONFIG (102), GET_KVLIST_BY_NAMESPACE (219): key-value settings.

use orbitmq_common::protocol::body::kv::KvTable;
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::nameserver::{KvListRequest, KvRequest, KvResponse, PutKvRequest};

use crate::handler::{Parts, Refusal};
use crate::settings::OPTIONS;

/// The cure for a setting that is not there.
const PUT: &str = "put it with updateKvConfig at every name server, for each keeps its own";

/// Answers 100. Blocks until the value is on disk.
pub fn put(parts: &Parts, request: &Frame) -> Result<Frame, Refusal> {
    let header: PutKvRequest<'_> = request.fields()?;
    foreign(&header.namespace)?;
    parts.settings.put(&header.namespace, &header.key, &header.value)?;
    // Routes show the layouts of ordered topics.
    parts.routes.touch();
    Ok(request.answer(response::SUCCESS))
}

/// Answers 101.
pub fn get(parts: &Parts, request: &Frame) -> Result<Frame, Refusal> {
    let header: KvRequest<'_> = request.fields()?;
    foreign(&header.namespace)?;
    let value = parts.settings.get(&header.namespace, &header.key).ok_or_else(|| {
        let missing = match parts.settings.list(&header.namespace) {
            Some(keys) => format!("the name space has {} other key(s) and not this one", keys.len()),
            None => "the name space has no key at all".to_owned(),
        };
        let (namespace, key) = (header.namespace.as_ref(), header.key.as_ref());
        let remark = format!("No config item, Namespace: {namespace} Key: {key}; {missing}: {PUT}");
        Refusal::new(response::QUERY_NOT_FOUND, remark)
    })?;
    Ok(request.answer(response::SUCCESS).with_fields(&KvResponse { value: value.into() }))
}

/// Answers 102. Blocks until that is on disk.
pub fn delete(parts: &Parts, request: &Frame) -> Result<Frame, Refusal> {
    let header: KvRequest<'_> = request.fields()?;
    foreign(&header.namespace)?;
    parts.settings.delete(&header.namespace, &header.key)?;
    parts.routes.touch();
    Ok(request.answer(response::SUCCESS))
}

/// Answers 219.
pub fn list(parts: &Parts, request: &Frame) -> Result<Frame, Refusal> {
    let header: KvListRequest<'_> = request.fields()?;
    foreign(&header.namespace)?;
    let table = parts.settings.list(&header.namespace).ok_or_else(|| {
        let remark = format!("No config item, Namespace: {}; nothing is kept under it here: {PUT}", header.namespace);
        Refusal::new(response::QUERY_NOT_FOUND, remark)
    })?;
    Ok(request.answer(response::SUCCESS).with_json(&KvTable { table }))
}

/// The server's own name space is not reached from outside.
fn foreign(namespace: &str) -> Result<(), Refusal> {
    if namespace == OPTIONS { Err(Refusal::invalid("name spaces do not begin with a zero byte")) } else { Ok(()) }
}
