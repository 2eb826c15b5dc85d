//! What a provider does with requests: takes those that are in time and within limits, has them done, and answers each.

use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::FutureExt;
use orbitmq_consumer::{Consumer, Delivery};
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::directory::Offered;
use crate::error::Refusal;
use crate::limit::CallerLimits;
use crate::seen::Seen;
use crate::service::Address;
use crate::wire::{self, Answer, Status};

/// Requests in hand, whatever is set.
const MOST: u32 = 1 << 20;

/// Between tries to answer; after the last one nothing is tried any more.
const ANSWER_PAUSES: [Duration; 4] =
    [Duration::from_millis(300), Duration::from_millis(600), Duration::from_millis(1200), Duration::ZERO];

/// What a handler is told beside the request itself.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// Name of the caller.
    pub caller: String,
    /// When the caller no longer waits: the handler's future is dropped then.
    pub deadline: Instant,
}

/// A method that is offered.
pub(crate) type Work = Arc<dyn Fn(Bytes, Incoming) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync>;

/// What a provider has in hand, and what it has done since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that run or wait for a handler now.
    pub in_hand: u64,
    /// Requests done, with a result or a fault.
    pub done: u64,
    /// Requests dropped because they came, or would have been done, after their deadline.
    pub overdue: u64,
    /// Requests refused because too many were in hand.
    pub busy: u64,
    /// Requests refused because their caller calls too often.
    pub limited: u64,
    /// Requests refused for what they are, or because their handler failed.
    pub failed: u64,
    /// Requests that came a second time, and were left out.
    pub repeated: u64,
    /// Answers that did not reach their caller.
    pub unheard: u64,
}

#[derive(Debug, Default)]
struct Counters {
    done: AtomicU64,
    overdue: AtomicU64,
    busy: AtomicU64,
    limited: AtomicU64,
    failed: AtomicU64,
    repeated: AtomicU64,
    unheard: AtomicU64,
}

/// Everything that requests of one provider share.
pub(crate) struct Serve {
    pub address: Address,
    pub service: &'static str,
    pub methods: HashMap<&'static str, Work>,
    pub offered: Arc<Offered>,
    pub limits: CallerLimits,
    /// Handlers that may run.
    pub running: Arc<Semaphore>,
    /// Requests that may be in hand, running ones among them.
    pub places: Arc<Semaphore>,
    /// Of those there are so many.
    pub room: u32,
    pub closing: AtomicBool,
    pub tasks: TaskTracker,
    pub stop: CancellationToken,
    seen: Mutex<Seen>,
    counters: Counters,
}

/// A request that will be done.
struct Taken {
    work: Work,
    incoming: Incoming,
    _place: OwnedSemaphorePermit,
}

impl Serve {
    pub(crate) fn new(
        address: Address,
        service: &'static str,
        methods: HashMap<&'static str, Work>,
        offered: Arc<Offered>,
        limits: CallerLimits,
        room: (usize, usize),
    ) -> Self {
        let (running, waiting) = room;
        let permits = |wanted: usize| u32::try_from(wanted).unwrap_or(MOST).min(MOST);
        let (running, room) = (permits(running), permits(running.saturating_add(waiting)));
        let semaphore = |permits: u32| Arc::new(Semaphore::new(usize::try_from(permits).unwrap_or(1)));
        Self {
            address,
            service,
            methods,
            offered,
            limits,
            running: semaphore(running),
            places: semaphore(room),
            room,
            closing: AtomicBool::new(false),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            seen: Mutex::default(),
            counters: Counters::default(),
        }
    }

    /// Takes requests until it is stopped or the consumer is closed.
    pub(crate) async fn run(self: Arc<Self>, consumer: Consumer) {
        loop {
            let delivery = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                delivery = consumer.next() => delivery,
            };
            let Some(delivery) = delivery else { return };
            let verdict = self.admit(&delivery);
            let serve = Arc::clone(&self);
            self.tasks.spawn(async move {
                tokio::select! {
                    biased;
                    () = serve.stop.cancelled() => {}
                    () = serve.deal_with(delivery, verdict) => {}
                }
            });
        }
    }

    /// Looks at a request: to be done, to be refused with an answer, or (`None`) known already.
    fn admit(&self, delivery: &Delivery) -> Option<Result<Taken, Answer>> {
        if !self.seen.lock().is_new(&delivery.message_id()) {
            self.count(&self.counters.repeated, "a request came twice");
            return None;
        }
        Some(self.check(delivery))
    }

    fn check(&self, delivery: &Delivery) -> Result<Taken, Answer> {
        let refused = |counter, what, refusal, text: String| {
            self.count(counter, what);
            Err(Answer::refused(refusal, text))
        };
        let counters = &self.counters;
        if self.closing.load(Ordering::Relaxed) {
            return Err(Answer::refused(Refusal::Closing, "it stops; nothing was done"));
        }
        let (method, caller) = (delivery.property(wire::METHOD), delivery.property(wire::CALLER).unwrap_or_default());
        let deadline = delivery.property(wire::DEADLINE).and_then(|text| text.parse::<u64>().ok());
        let (Some(method), Some(deadline)) = (method, deadline) else {
            let text = format!("a request names its method ({}) and its deadline ({})", wire::METHOD, wire::DEADLINE);
            return refused(&counters.failed, "a request cannot be read", Refusal::Unreadable, text);
        };
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (now, deadline) = (Instant::now(), Duration::from_millis(deadline));
        let Some(left) = deadline.checked_sub(since).filter(|left| !left.is_zero()) else {
            let late = since.saturating_sub(deadline);
            let text =
                format!("the request is {late:?} late by this node's clock; nothing was done. Do the clocks agree?");
            return refused(&counters.overdue, "a request came too late", Refusal::Overdue, text);
        };
        let Some(work) = self.methods.get(method) else {
            let known: Vec<&str> = self.methods.keys().copied().collect();
            let text = format!("service '{}' has no method '{method}' here, but {}", self.service, known.join(", "));
            return refused(&counters.failed, "a method is not offered", Refusal::NoMethod, text);
        };
        let share = u32::try_from(self.offered.nodes().len()).unwrap_or(u32::MAX);
        if let Err(wait) = self.limits.pass(caller, share, now) {
            let text = format!("caller '{caller}' calls too often; the next call may come in {wait:?}");
            return refused(&counters.limited, "a caller calls too often", Refusal::Limited, text);
        }
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            let text = "it has as many requests in hand as it takes; nothing was done".to_owned();
            return refused(&counters.busy, "too many requests are in hand", Refusal::Busy, text);
        };
        let deadline = now + left.min(wire::LONGEST);
        let incoming = Incoming { caller: caller.to_owned(), deadline };
        Ok(Taken { work: Arc::clone(work), incoming, _place: place })
    }

    async fn deal_with(&self, delivery: Delivery, verdict: Option<Result<Taken, Answer>>) {
        let (answer, until) = match verdict {
            None => return delivery.ack(),
            Some(Ok(taken)) => {
                let until = taken.incoming.deadline;
                (self.work(&delivery, taken).await, until)
            }
            Some(Err(answer)) => (answer, Instant::now()),
        };
        if delivery.wants_reply() {
            self.answer(&delivery, answer, until).await;
        }
        delivery.ack();
    }

    /// Tries again a few times, for a result, while somebody may wait: a broker that restarts has to hear of callers first.
    async fn answer(&self, delivery: &Delivery, Answer { status, body }: Answer, until: Instant) {
        let status = [(wire::STATUS, status.as_str())];
        for pause in ANSWER_PAUSES {
            let Err(error) = delivery.reply_with(body.clone(), &status).await else { return };
            tracing::debug!(service = self.service, %error, "an answer was not heard");
            let again = Instant::now() + pause;
            if again >= until {
                break;
            }
            tokio::time::sleep_until(again).await;
        }
        self.count(&self.counters.unheard, "an answer did not reach its caller");
    }

    async fn work(&self, delivery: &Delivery, taken: Taken) -> Answer {
        let Taken { work, incoming, _place } = taken;
        let deadline = incoming.deadline;
        let done = async {
            let _running = self.running.acquire().await;
            AssertUnwindSafe(async { work(delivery.body().clone(), incoming).await }).catch_unwind().await
        };
        let (counters, method) = (&self.counters, delivery.property(wire::METHOD).unwrap_or_default());
        let answer = match timeout_at(deadline, done).await {
            Ok(Ok(answer)) if answer.body.len() > wire::MAX_ANSWER => {
                let (size, limit) = (answer.body.len(), wire::MAX_ANSWER);
                Answer::refused(Refusal::Broken, format!("the result has {size} bytes; an answer takes {limit}"))
            }
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => {
                tracing::error!(service = self.service, method, "the handler panicked");
                Answer::refused(Refusal::Panicked, format!("the handler of '{method}' panicked; its log says more"))
            }
            Err(_) => {
                self.count(&counters.overdue, "a request was not done in time");
                return Answer::refused(Refusal::Overdue, "it was not done within its deadline, and was given up");
            }
        };
        match answer.status {
            Status::Ok | Status::Fault => drop(counters.done.fetch_add(1, Ordering::Relaxed)),
            Status::Refused(_) => self.count(&counters.failed, "a request failed"),
        }
        answer
    }

    /// Counts, and tells the first time.
    fn count(&self, counter: &AtomicU64, what: &str) {
        if counter.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(service = self.service, node = %self.address, "{what}; further ones are only counted");
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        let free = u32::try_from(self.places.available_permits()).unwrap_or(u32::MAX);
        Counts {
            in_hand: self.room.saturating_sub(free).into(),
            done: of(&counters.done),
            overdue: of(&counters.overdue),
            busy: of(&counters.busy),
            limited: of(&counters.limited),
            failed: of(&counters.failed),
            repeated: of(&counters.repeated),
            unheard: of(&counters.unheard),
        }
    }
}
