//! Where fetched messages wait for whoever consumes: queues that have some, taken in turn.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use orbitmq_common::message::message::StoredMessage;
use parking_lot::Mutex;

use crate::queue::Assigned;

/// A message taken off the shelf, with the queue it belongs to.
pub(crate) type Taken = (Arc<Assigned>, Arc<StoredMessage>);

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<Arc<Assigned>>,
    wakers: Vec<Waker>,
    closed: bool,
}

/// The shelf of one consumer. Its lock is taken before a queue's, never after.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    state: Mutex<State>,
}

impl Shelf {
    /// Puts a queue on the shelf if it has something to deliver, and wakes who waits.
    pub(crate) fn offer(&self, queue: &Arc<Assigned>) {
        let mut state = self.state.lock();
        if state.closed || !queue.wants_shelf() {
            return;
        }
        state.ready.push_back(Arc::clone(queue));
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The next message, of whichever queue has its turn; `None` when the shelf is closed.
    pub(crate) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Option<Taken>> {
        let mut state = self.state.lock();
        if state.closed {
            return Poll::Ready(None);
        }
        if let Some(taken) = state.take() {
            return Poll::Ready(Some(taken));
        }
        if !state.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// The next message if there is one now.
    pub(crate) fn take_now(&self) -> Option<Taken> {
        let mut state = self.state.lock();
        if state.closed { None } else { state.take() }
    }

    /// Hands nothing out any more.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        state.ready.clear();
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl State {
    fn take(&mut self) -> Option<Taken> {
        while let Some(queue) = self.ready.pop_front() {
            if let Some((message, more)) = queue.take() {
                if more {
                    self.ready.push_back(Arc::clone(&queue));
                }
                return Some((queue, message));
            }
        }
        None
    }
}
