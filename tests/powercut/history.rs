//! What was sent, where it went, and what became of it.

use std::sync::Arc;

use orbitmq_broker::store::tail::Appended;

use crate::message::Draft;
use crate::record::Op;

/// A message in the log.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Its number.
    pub number: u64,
    /// Topic.
    pub topic: &'static str,
    /// Number of the queue.
    pub queue: u32,
    /// Its body.
    pub body: Arc<[u8]>,
    /// Where it is.
    pub place: Appended,
    /// Changes before it was sent.
    pub born: usize,
    /// Changes behind the end of a cut that took it from the log.
    pub cut: Option<usize>,
    /// Changes before and behind the deletion of its topic.
    pub deleted: Option<(usize, usize)>,
}

/// Everything that was sent to a store, in the log's order.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// The messages.
    pub sent: Vec<Sent>,
}

/// Whether a message may be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It must be there if the log has it.
    Lives,
    /// Its topic was being deleted when the power was cut.
    Either,
    /// It must not be there.
    Dead,
}

impl Sent {
    /// Whether the log may hold it when the power is cut behind so many changes.
    pub fn may_be_there(&self, at: usize) -> bool {
        self.born <= at && self.cut.is_none_or(|done| at < done)
    }

    /// What is known of it when the power is cut behind so many changes.
    pub fn life(&self, at: usize) -> Life {
        match self.deleted {
            Some((_, done)) if at >= done => Life::Dead,
            Some((begun, _)) if at >= begun => Life::Either,
            _ => Life::Lives,
        }
    }
}

impl History {
    /// Notes a message, sent behind so many changes.
    pub fn add(&mut self, draft: &Draft, place: Appended, born: usize) {
        let Draft { number, topic, queue, .. } = *draft;
        self.sent.push(Sent {
            number,
            topic,
            queue,
            body: Arc::clone(&draft.body),
            place,
            born,
            cut: None,
            deleted: None,
        });
    }

    /// Number for the next message.
    pub fn next_number(&self) -> u64 {
        self.sent.last().map_or(0, |last| last.number + 1)
    }

    /// What was never written when a process ended is as if it had not been sent.
    pub fn forget_behind(&mut self, end: u64) {
        self.sent.retain(|sent| sent.cut.is_some() || sent.place.end <= end);
    }

    /// The log was cut at an offset; so many changes came before the end of that.
    pub fn cut(&mut self, to: u64, done: usize) {
        for sent in self.sent.iter_mut().filter(|sent| sent.cut.is_none() && sent.place.physical_offset >= to) {
            sent.cut = Some(done);
        }
    }

    /// A topic was deleted between two numbers of changes.
    pub fn delete(&mut self, topic: &str, begun: usize, done: usize) {
        for sent in self.sent.iter_mut().filter(|sent| sent.topic == topic && sent.deleted.is_none()) {
            sent.deleted = Some((begun, done));
        }
    }

    /// The same history for a store that opened again behind a cut: nothing is undecided any more.
    pub fn settled(&self, at: usize, end: u64, is_there: impl Fn(&Sent) -> bool) -> Self {
        let mut settled = self.clone();
        settled.sent.retain(|sent| sent.may_be_there(at) && sent.place.end <= end);
        for sent in &mut settled.sent {
            (sent.born, sent.cut) = (0, None);
            let dead = match sent.life(at) {
                Life::Lives => false,
                Life::Dead => true,
                Life::Either => !is_there(sent),
            };
            sent.deleted = dead.then_some((0, 0));
        }
        settled
    }
}

/// What the changes before a cut promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Promise {
    /// The log is there up to this offset.
    pub upto: u64,
    /// Retention may have taken the log before this offset.
    pub expired: u64,
}

impl Promise {
    /// One change more.
    pub fn follow(&mut self, op: &Op, segment_size: u64) {
        match op {
            Op::Promise(upto) => self.upto = self.upto.max(*upto),
            Op::Cut(to) => self.upto = self.upto.min(*to),
            Op::Remove(name) => {
                let base = name.strip_prefix("commitlog/").and_then(|name| name.parse::<u64>().ok());
                // Recovery removes segments too, but not the first.
                if base == Some(self.expired) {
                    self.expired += segment_size;
                }
            }
            _ => {}
        }
    }
}
