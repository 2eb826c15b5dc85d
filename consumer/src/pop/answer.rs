//! Reads an answer to a pop: messages, and the receipts that they are acknowledged by.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use orbitmq_common::message::entry;
use orbitmq_common::message::message::{MessageError, StoredMessage, decode_all};
use orbitmq_common::message::property;
use orbitmq_common::message::receipt::{Origin, Receipt};
use orbitmq_common::message::record::RecordView;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::pop::PopResponse;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::pop::lane::Lane;
use crate::pop::popped::{Place, Popped, Ticket, Until};

/// What an answer brought.
#[derive(Debug, Default)]
pub(crate) struct Brought {
    /// In the answer's order.
    pub messages: Vec<Arc<Popped>>,
    /// Bodies that cannot be unpacked: the message without its body, and what is wrong.
    pub unreadable: Vec<(Arc<Popped>, String)>,
    /// What is wrong with a record; it and those behind it come again when their time is over.
    pub broken: Option<String>,
}

/// Kind of topic and queue.
type Line = (Origin, i32);

/// What an answer's header says.
struct Told {
    ticket: Ticket,
    starts: HashMap<Line, i64>,
    /// How often a queue's message was popped in order before; without an offset: any of the queue's.
    counts: HashMap<(Line, Option<i64>), i32>,
    until: Instant,
}

/// Reads the answer of a lane's broker. `in_order`: the messages of one queue are kept and lost together.
///
/// # Errors
/// The header does not parse.
pub(crate) fn read(lane: &Lane, answer: &Frame, max_body: usize, in_order: bool) -> Result<Brought, String> {
    let header: PopResponse<'_> = answer.fields().map_err(|error| format!("the answer does not parse: {error}"))?;
    let told = Told::of(&header);
    let mut brought = Brought::default();
    let mut untils: HashMap<Line, Until> = HashMap::new();
    let records = entry::records(&answer.body).zip(decode_all(&answer.body, max_body));
    for (view, message) in records {
        let view = match view {
            Ok(view) => view,
            Err(error) => {
                brought.broken = Some(error.to_string());
                break;
            }
        };
        let Some((place, ticket)) = told.receipt(&view) else {
            brought.broken = Some(format!("no receipt for offset {} of queue {}", view.queue_offset, view.queue_id));
            break;
        };
        let fresh = || Arc::new(Mutex::new(told.until));
        let until = if in_order {
            Arc::clone(untils.entry((place.origin, place.queue)).or_insert_with(fresh))
        } else {
            fresh()
        };
        let popped = |message: StoredMessage| {
            let (asked, broker) = (Arc::clone(&lane.topic), Arc::clone(&lane.broker));
            Arc::new(Popped::new(message, asked, broker, place, (ticket, until)))
        };
        match message {
            Ok(mut message) => {
                lane.topic.as_ref().clone_into(&mut message.topic);
                if in_order {
                    message.reconsume_times = message.reconsume_times.max(told.count(place));
                }
                brought.messages.push(popped(message));
            }
            Err(error @ MessageError::Body { .. }) => {
                let bare = bare(&view, &lane.topic);
                brought.unreadable.push((popped(bare), error.to_string()));
            }
            Err(error) => {
                brought.broken = Some(error.to_string());
                break;
            }
        }
    }
    Ok(brought)
}

/// A message whose body nobody can read.
fn bare(view: &RecordView<'_>, topic: &str) -> StoredMessage {
    StoredMessage { topic: topic.to_owned(), ..StoredMessage::with_body(view, bytes::Bytes::new()) }
}

impl Told {
    fn of(header: &PopResponse<'_>) -> Self {
        let mut told = Self {
            ticket: Ticket {
                start: 0,
                pop_time: header.pop_time,
                invisible: header.invisible_time,
                revive_queue: header.revive_qid,
            },
            starts: HashMap::new(),
            counts: HashMap::new(),
            until: Instant::now() + Duration::from_millis(header.invisible_time.max(0).unsigned_abs()),
        };
        for [origin, queue, start] in parts(header.start_offset_info.as_deref()) {
            if let (Some(origin), Ok(queue), Ok(start)) = (origin_of(origin), queue.parse(), start.parse()) {
                told.starts.insert((origin, queue), start);
            }
        }
        for [origin, which, count] in parts(header.order_count_info.as_deref()) {
            let (queue, offset) = match which.strip_prefix("qo").and_then(|which| which.split_once('%')) {
                Some((queue, offset)) => (queue.parse(), offset.parse().ok()),
                None => (which.parse(), None),
            };
            if let (Some(origin), Ok(queue), Ok(count)) = (origin_of(origin), queue, count.parse()) {
                told.counts.insert(((origin, queue), offset), count);
            }
        }
        told
    }

    /// Where a message lies and its receipt: the one that it carries, or one made of what the header says.
    fn receipt(&self, view: &RecordView<'_>) -> Option<(Place, Ticket)> {
        if let Some(text) = view.property(property::POP_CK) {
            let Receipt { start, pop_time, invisible, revive_queue, origin, queue, offset, .. } =
                Receipt::parse(text).ok()?;
            return Some((Place { origin, queue, offset }, Ticket { start, pop_time, invisible, revive_queue }));
        }
        let (origin, queue) = (Origin::of(view.topic), i32::try_from(view.queue_id).ok()?);
        let start = *self.starts.get(&(origin, queue))?;
        let offset = i64::try_from(view.queue_offset).ok()?;
        Some((Place { origin, queue, offset }, Ticket { start, ..self.ticket }))
    }

    fn count(&self, Place { origin, queue, offset }: Place) -> i32 {
        let line = (origin, queue);
        let count = self.counts.get(&(line, Some(offset))).or_else(|| self.counts.get(&(line, None)));
        count.copied().unwrap_or(0)
    }
}

/// `a b c;d e f`
fn parts(text: Option<&str>) -> impl Iterator<Item = [&str; 3]> {
    text.unwrap_or_default().split(';').filter_map(|part| {
        let mut words = part.split(' ');
        Some([words.next()?, words.next()?, words.next()?])
    })
}

fn origin_of(text: &str) -> Option<Origin> {
    match text {
        "0" => Some(Origin::Topic),
        "1" => Some(Origin::Retry),
        "2" => Some(Origin::RetryV2),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
