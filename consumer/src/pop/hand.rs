//! What one pop brought from one queue, on its way to whoever consumes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::core::Core;
use crate::pop::desk;
use crate::pop::lane::Lane;
use crate::pop::popped::Popped;
use crate::queue::{Freed, Order};

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<(u64, Arc<Popped>)>,
    /// Delivered and not settled; also while it rests before it is delivered again.
    in_hand: usize,
    on_shelf: bool,
}

/// Messages popped together.
#[derive(Debug)]
pub(crate) struct Hand {
    pub lane: Arc<Lane>,
    pub order: Order,
    state: Mutex<State>,
}

/// The popped messages that are with whoever consumes, oldest first, so that they can be kept for longer.
#[derive(Debug, Default)]
pub(crate) struct InHand {
    next: AtomicU64,
    messages: Mutex<BTreeMap<u64, Held>>,
}

#[derive(Debug)]
struct Held {
    popped: Arc<Popped>,
    /// Whose time is made longer. In order: that of the last message popped with it, which keeps those in between too; they would be
    /// free once this one is acknowledged.
    keeper: Arc<Popped>,
}

impl InHand {
    pub(crate) fn is_empty(&self) -> bool {
        self.messages.lock().is_empty()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Popped>> {
        self.messages.lock().values().map(|held| Arc::clone(&held.popped)).collect()
    }

    /// Those whose time has to be made longer.
    pub(crate) fn keepers(&self) -> Vec<Arc<Popped>> {
        self.messages.lock().values().map(|held| Arc::clone(&held.keeper)).collect()
    }
}

/// Puts what was popped on the shelf; gives it back at once when the consumer closes.
pub(crate) fn offer(core: &Arc<Core>, hand: &Arc<Hand>) {
    if !core.shelf.offer_hand(hand) {
        desk::return_rest(core, hand.empty(core));
    }
}

fn size(popped: &Popped) -> Freed {
    Freed { messages: 1, bytes: popped.message().stored_size }
}

impl Hand {
    pub(crate) fn new(core: &Core, lane: Arc<Lane>, order: Order, messages: Vec<Arc<Popped>>) -> Self {
        let bytes = messages.iter().map(|popped| size(popped).bytes).sum();
        lane.took(core, Freed { messages: messages.len(), bytes });
        let number = |popped| (core.in_hand.next.fetch_add(1, Ordering::Relaxed), popped);
        let state = State { waiting: messages.into_iter().map(number).collect(), ..State::default() };
        Self { lane, order, state: Mutex::new(state) }
    }

    /// The next message to deliver with its number, and whether there is another one after it. Those whose time is over are
    /// somebody else's.
    pub(crate) fn take(&self, core: &Core) -> Option<(u64, Arc<Popped>, bool)> {
        let mut state = self.state.lock();
        while self.may_deliver(&state) {
            let Some((number, popped)) = state.waiting.pop_front() else { break };
            self.lane.left_shelf(core);
            if popped.is_over() {
                core.desks.count_lost(1);
                self.lane.freed(core, size(&popped));
                continue;
            }
            state.in_hand += 1;
            let last = state.waiting.back().filter(|_| self.order == Order::OneByOne);
            let keeper = Arc::clone(last.map_or(&popped, |(_, last)| last));
            core.in_hand.messages.lock().insert(number, Held { popped: Arc::clone(&popped), keeper });
            let more = self.may_deliver(&state) && !state.waiting.is_empty();
            state.on_shelf = more;
            return Some((number, popped, more));
        }
        state.on_shelf = false;
        None
    }

    fn may_deliver(&self, state: &State) -> bool {
        self.order == Order::Free || state.in_hand == 0
    }

    /// Whether it has to be put on the shelf; marks it as being there.
    pub(crate) fn wants_shelf(&self) -> bool {
        let mut state = self.state.lock();
        let wants = !state.on_shelf && !state.waiting.is_empty() && self.may_deliver(&state);
        state.on_shelf |= wants;
        wants
    }

    /// A delivered message is settled, one way or the other; the next one may be delivered.
    pub(crate) fn settle(self: &Arc<Self>, core: &Arc<Core>, number: u64, popped: &Popped) {
        popped.settle();
        let mut state = self.state.lock();
        state.in_hand = state.in_hand.saturating_sub(1);
        drop(state);
        self.lane.freed(core, size(popped));
        if self.order == Order::OneByOne {
            offer(core, self);
        }
        // Last: whoever closes waits until nothing is in hand, then for what is being sent.
        core.in_hand.messages.lock().remove(&number);
    }

    /// A delivered message is delivered again, before all others.
    pub(crate) fn put_back(&self, core: &Core, number: u64, popped: Arc<Popped>) {
        core.in_hand.messages.lock().remove(&number);
        self.lane.back_on_shelf();
        let mut state = self.state.lock();
        state.in_hand = state.in_hand.saturating_sub(1);
        state.waiting.push_front((number, popped));
    }

    /// Takes everything that is not delivered out of it.
    pub(crate) fn empty(&self, core: &Core) -> Vec<Arc<Popped>> {
        let waiting = std::mem::take(&mut self.state.lock().waiting);
        for (_, popped) in &waiting {
            self.lane.left_shelf(core);
            self.lane.freed(core, size(popped));
            popped.settle();
        }
        waiting.into_iter().map(|(_, popped)| popped).collect()
    }
}
