//! Where fetched messages wait for whoever consumes: queues and hands that have some, taken in turn.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use orbitmq_common::message::message::StoredMessage;
use parking_lot::Mutex;

use crate::core::Core;
use crate::direct::Direct;
use crate::pop::hand::Hand;
use crate::queue::Assigned;
use crate::source::Source;

/// A message taken off the shelf, with where it came from.
pub(crate) type Taken = (Source, Arc<StoredMessage>);

/// What stands on the shelf.
#[derive(Debug)]
enum Ready {
    Queue(Arc<Assigned>),
    Hand(Arc<Hand>),
    One(Direct),
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<Ready>,
    wakers: Vec<Waker>,
    closed: bool,
}

/// The shelf of one consumer. Its lock is taken before a queue's or a hand's, never after.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    state: Mutex<State>,
}

impl Shelf {
    /// Puts a queue on the shelf if it has something to deliver, and wakes who waits.
    pub(crate) fn offer(&self, queue: &Arc<Assigned>) {
        self.put(|| queue.wants_shelf().then(|| Ready::Queue(Arc::clone(queue))));
    }

    /// The same for what was popped; false: the shelf is closed.
    pub(crate) fn offer_hand(&self, hand: &Arc<Hand>) -> bool {
        self.put(|| hand.wants_shelf().then(|| Ready::Hand(Arc::clone(hand))))
    }

    /// Puts a message that came by hand on the shelf; false: the shelf is closed.
    pub(crate) fn offer_direct(&self, direct: Direct) -> bool {
        self.put(|| Some(Ready::One(direct)))
    }

    fn put(&self, ready: impl FnOnce() -> Option<Ready>) -> bool {
        let mut state = self.state.lock();
        if state.closed {
            return false;
        }
        if let Some(ready) = ready() {
            state.ready.push_back(ready);
            let wakers = std::mem::take(&mut state.wakers);
            drop(state);
            wakers.into_iter().for_each(Waker::wake);
        }
        true
    }

    /// The next message, of whichever queue has its turn; `None` when the shelf is closed.
    pub(crate) fn poll_take(&self, core: &Core, cx: &mut Context<'_>) -> Poll<Option<Taken>> {
        let mut state = self.state.lock();
        if state.closed {
            return Poll::Ready(None);
        }
        if let Some(taken) = state.take(core) {
            return Poll::Ready(Some(taken));
        }
        if !state.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// The next message if there is one now.
    pub(crate) fn take_now(&self, core: &Core) -> Option<Taken> {
        let mut state = self.state.lock();
        if state.closed { None } else { state.take(core) }
    }

    /// Hands nothing out any more; returns what was popped and stands here.
    pub(crate) fn close(&self) -> Vec<Arc<Hand>> {
        let mut state = self.state.lock();
        state.closed = true;
        let ready = std::mem::take(&mut state.ready);
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        let hand = |ready| if let Ready::Hand(hand) = ready { Some(hand) } else { None };
        ready.into_iter().filter_map(hand).collect()
    }
}

impl State {
    fn take(&mut self, core: &Core) -> Option<Taken> {
        while let Some(ready) = self.ready.pop_front() {
            match ready {
                Ready::Queue(queue) => {
                    if let Some((message, more)) = queue.take() {
                        if more {
                            self.ready.push_back(Ready::Queue(Arc::clone(&queue)));
                        }
                        return Some((Source::Pulled(queue), message));
                    }
                }
                Ready::Hand(hand) => {
                    if let Some((number, popped, more)) = hand.take(core) {
                        if more {
                            self.ready.push_back(Ready::Hand(Arc::clone(&hand)));
                        }
                        let message = popped.message();
                        return Some((Source::Popped(hand, number, popped), message));
                    }
                }
                Ready::One(direct) => {
                    if direct.is_wanted() {
                        let message = Arc::clone(&direct.message);
                        return Some((Source::Direct(direct), message));
                    }
                }
            }
        }
        None
    }
}
