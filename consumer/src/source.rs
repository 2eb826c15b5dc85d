//! Where a delivery came from, which decides what settling it means: a queue that is pulled, a pop, or an administrator.

use std::sync::Arc;
use std::time::Duration;

use orbitmq_common::message::message::StoredMessage;
use tokio::time::Instant;

use crate::core::Core;
use crate::direct::{Direct, Verdict};
use crate::figures::TopicFigures;
use crate::pop::desk;
use crate::pop::hand::{self, Hand};
use crate::pop::popped::Popped;
use crate::queue::{Assigned, Order};
use crate::send_back::Whence;

/// The source of one delivery.
#[derive(Debug)]
pub(crate) enum Source {
    /// Pulled from a queue that is this consumer's.
    Pulled(Arc<Assigned>),
    /// Popped, with the number by which it is kept.
    Popped(Arc<Hand>, u64, Arc<Popped>),
    /// Given by hand, to see what becomes of it.
    Direct(Direct),
}

impl Source {
    /// Topic and broker of the queue that it came through.
    pub(crate) fn whence(&self) -> Whence<'_> {
        match self {
            Self::Pulled(queue) => Whence { topic: &queue.topic, broker: &queue.queue.broker },
            Self::Popped(_, _, popped) => Whence { topic: &popped.asked, broker: &popped.broker },
            Self::Direct(direct) => Whence { topic: &direct.topic, broker: &direct.broker },
        }
    }

    pub(crate) fn figures(&self) -> Option<&TopicFigures> {
        match self {
            Self::Pulled(queue) => Some(&queue.figures),
            Self::Popped(hand, ..) => Some(&hand.lane.figures),
            Self::Direct(_) => None,
        }
    }

    /// Whether the next message of the queue waits for this one.
    pub(crate) fn is_in_order(&self) -> bool {
        match self {
            Self::Pulled(queue) => queue.order == Order::OneByOne,
            Self::Popped(hand, ..) => hand.order == Order::OneByOne,
            Self::Direct(_) => false,
        }
    }

    /// The message is done here. `acknowledge`: a popped one is still to be acknowledged.
    pub(crate) fn done(&mut self, core: &Arc<Core>, message: &StoredMessage, acknowledge: bool) {
        match self {
            Self::Pulled(queue) => {
                core.freed(queue.done(message));
                if queue.order == Order::OneByOne {
                    core.shelf.offer(queue);
                }
            }
            Self::Popped(hand, number, popped) => {
                popped.settle();
                if acknowledge {
                    desk::acknowledge(core, Arc::clone(popped));
                }
                hand.settle(core, *number, popped);
            }
            Self::Direct(direct) => direct.tell(Verdict::Done),
        }
        core.settled.notify_waiters();
    }

    /// The message comes again here, after a while; a popped one to whichever member is quick.
    pub(crate) fn put_back(&mut self, core: &Arc<Core>, message: Arc<StoredMessage>, after: Duration) {
        match self {
            Self::Pulled(queue) => {
                queue.put_back(message, Instant::now() + after);
                core.returned.notify_one();
            }
            Self::Popped(hand, number, popped) if hand.order == Order::OneByOne => {
                rest(core, hand, *number, popped, message, after);
                return;
            }
            Self::Popped(hand, number, popped) => {
                desk::give_back(core, vec![Arc::clone(popped)], after);
                hand.settle(core, *number, popped);
            }
            Self::Direct(direct) => direct.tell(Verdict::Dropped),
        }
        core.settled.notify_waiters();
    }
}

/// A message popped in order rests, and the others of its queue with it; it is kept meanwhile.
fn rest(
    core: &Arc<Core>,
    hand: &Arc<Hand>,
    number: u64,
    popped: &Arc<Popped>,
    message: Arc<StoredMessage>,
    after: Duration,
) {
    popped.replace_message(message);
    let (resting, hand, popped) = (Arc::clone(core), Arc::clone(hand), Arc::clone(popped));
    core.spawn(async move {
        tokio::select! {
            () = tokio::time::sleep(after) => {}
            () = resting.closing.cancelled() => {}
        }
        hand.put_back(&resting, number, popped);
        hand::offer(&resting, &hand);
        resting.settled.notify_waiters();
    });
}
