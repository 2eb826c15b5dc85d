//! PEEK_MESSAGE (200052): shows what a pop would give; nothing changes by it.

use orbitmq_common::clock::now_ms;
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::pop::{PeekRequest, PopResponse};

use crate::broker::Broker;
use crate::handler::popping;
use crate::refusal::Refusal;
use crate::store::read::ReadLimit;

const MAX_MESSAGES: i32 = 32;
const MAX_BYTES: usize = 256 * 1024;

/// Handles the request; see the module.
pub fn call(broker: &Broker, frame: &Frame) -> Result<Frame, Refusal> {
    let header: PeekRequest<'_> = frame.fields()?;
    let ground = popping::check(broker, &header.topic, &header.consumer_group, header.queue_id)?;
    let most = usize::try_from(header.max_msg_nums.clamp(1, MAX_MESSAGES)).unwrap_or(1);
    let mut sources = ground.sources(broker);
    sources.extend(ground.retry_sources(broker));
    let (mut chunks, mut count, mut bytes, mut rest) = (Vec::new(), 0, 0, 0);
    for source in &sources {
        rest += ground.rest(broker, source);
        if count >= most || bytes >= MAX_BYTES {
            continue;
        }
        let (topic, queue) = (&*source.topic, source.queue);
        let at = broker.pop.look(&broker.offsets, topic, &ground.group, queue, || ground.init(broker, source));
        let limit = ReadLimit { max_messages: most - count, max_bytes: MAX_BYTES - bytes };
        let read = broker.store.read(topic, queue, at, limit, &mut |_, _| true);
        count += read.count;
        bytes += read.bytes;
        chunks.extend(read.chunks);
    }
    let (code, remark) =
        if count > 0 { (response::SUCCESS, "FOUND") } else { (response::PULL_NOT_FOUND, "NO_MESSAGE_IN_QUEUE") };
    let fields = PopResponse { pop_time: now_ms(), rest_num: rest, ..PopResponse::default() };
    let mut answer = frame.answer(code).with_fields(&fields).with_remark(remark);
    let mut chunks = chunks.into_iter();
    answer.body = chunks.next().unwrap_or_default();
    answer.more = chunks.collect();
    Ok(answer)
}
