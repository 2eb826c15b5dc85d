//! Carries events from the outbox to the broker, oldest first, until each has its receipt.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use orbitmq_examples::clock::now_us;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::database::DatabaseError;
use crate::users::{Sent, Users, Waiting};

/// Events in hand at a time.
const BATCH: u32 = 64;
/// A look at the outbox without being told: finds events of a request that was cut off after its commit.
const IDLE_LOOK: Duration = Duration::from_millis(500);

/// The door to the relay for those who wait for one event.
#[derive(Clone, Default)]
pub struct Relay(Arc<Shared>);

#[derive(Default)]
struct Shared {
    waiters: Mutex<HashMap<String, oneshot::Sender<i64>>>,
    wake: Notify,
}

/// A wait for the receipt of one event; waiting ends with it.
pub struct Receipt {
    relay: Relay,
    event: String,
    enqueued: oneshot::Receiver<i64>,
}

impl Relay {
    /// Waits for `event`. To be called before the event is saved, else its receipt could be missed.
    pub fn expect(&self, event: &str) -> Receipt {
        let (tell, enqueued) = oneshot::channel();
        self.0.waiters.lock().insert(event.to_owned(), tell);
        Receipt { relay: self.clone(), event: event.to_owned(), enqueued }
    }

    /// Tells the relay that there is something new in the outbox.
    pub fn wake(&self) {
        self.0.wake.notify_one();
    }

    /// Runs until `stop`. `publish` answers with the broker's message id once the broker has acknowledged.
    pub async fn run<P, F, E>(&self, users: Users, publish: P, stop: CancellationToken)
    where
        P: Fn(Waiting) -> F,
        F: Future<Output = Result<String, E>>,
        E: std::fmt::Display,
    {
        let mut backoff = Backoff::new();
        loop {
            let pause = match self.pass(&users, &publish).await {
                Ok(0) => {
                    backoff.reset();
                    IDLE_LOOK
                }
                Ok(_) => {
                    backoff.reset();
                    Duration::ZERO
                }
                Err(error) => {
                    let pause = backoff.next();
                    tracing::warn!("events wait in the outbox, next attempt in {pause:?}: {error}");
                    pause
                }
            };
            // While the broker is away a new event is no reason to ask it sooner.
            let woken = async {
                if backoff.is_reset() {
                    self.0.wake.notified().await;
                } else {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                () = woken => {}
            }
        }
    }

    /// Sends the oldest waiting events; answers with their number.
    async fn pass<P, F, E>(&self, users: &Users, publish: &P) -> Result<usize, String>
    where
        P: Fn(Waiting) -> F,
        F: Future<Output = Result<String, E>>,
        E: std::fmt::Display,
    {
        let waiting = users.waiting(BATCH).await.map_err(|error| error.to_string())?;
        let mut in_hand: FuturesOrdered<_> = waiting
            .into_iter()
            .map(|event| {
                let (seq, name, sending) = (event.seq, event.event.clone(), publish(event));
                async move {
                    let message_id = sending.await?;
                    let enqueued_us = now_us();
                    if let Some(waiter) = self.0.waiters.lock().remove(&name) {
                        _ = waiter.send(enqueued_us); // the request has given up: nobody is left to tell
                    }
                    Ok::<_, E>(Sent { seq, event: name, message_id, enqueued_us })
                }
            })
            .collect();
        let (mut sent, mut failed) = (Vec::new(), None);
        while let Some(result) = in_hand.next().await {
            match result {
                Ok(event) => sent.push(event),
                Err(error) => failed = Some(error.to_string()),
            }
        }
        let count = sent.len();
        if count > 0 {
            users.sent(sent).await.map_err(|error: DatabaseError| error.to_string())?;
        }
        failed.map_or(Ok(count), Err)
    }
}

impl Receipt {
    /// When the broker acknowledged; none if it has not within `bound`.
    pub async fn within(mut self, bound: Duration) -> Option<i64> {
        tokio::time::timeout(bound, &mut self.enqueued).await.ok()?.ok()
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        self.relay.0.waiters.lock().remove(&self.event);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use parking_lot::Mutex;
    use tokio_util::sync::CancellationToken;

    use super::Relay;
    use crate::applicant::Applicant;
    use crate::users::{User, Users, Waiting, Way};

    async fn save(users: &Users, email: &str) -> User {
        let applicant = Applicant { name: "Ada".into(), email: email.into() };
        let user = User::new(&applicant, Way::Queued, 1);
        users.save(&user, applicant.email_key(), Way::Queued).await.unwrap();
        user
    }

    #[tokio::test]
    async fn sends_in_order_and_answers_the_waiter() {
        let dir = tempfile::tempdir().unwrap();
        let users = Users::open(&dir.path().join("users.db")).unwrap();
        let (first, second) = (save(&users, "a@example.org").await, save(&users, "b@example.org").await);
        let (relay, stop) = (Relay::default(), CancellationToken::new());
        let receipt = relay.expect(&second.event);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let publish = {
            let seen = Arc::clone(&seen);
            move |event: Waiting| {
                seen.lock().push(event.event.clone());
                async move { Ok::<_, String>(format!("id of {}", event.event)) }
            }
        };
        let task = tokio::spawn({
            let (relay, users, stop) = (relay.clone(), users.clone(), stop.clone());
            async move { relay.run(users, publish, stop).await }
        });
        assert!(receipt.within(Duration::from_secs(10)).await.is_some());
        stop.cancel();
        task.await.unwrap();
        assert_eq!(*seen.lock(), [first.event, second.event]);
        assert_eq!(users.count_waiting().await.unwrap(), 0);
        assert!(relay.0.waiters.lock().is_empty());
    }

    #[tokio::test]
    async fn keeps_trying_while_the_broker_is_away() {
        let dir = tempfile::tempdir().unwrap();
        let users = Users::open(&dir.path().join("users.db")).unwrap();
        let relay = Relay::default();
        let user = save(&users, "a@example.org").await;
        assert_eq!(relay.expect(&user.event).within(Duration::ZERO).await, None);
        let receipt = relay.expect(&user.event);
        let attempts = Arc::new(Mutex::new(0));
        let publish = move |_| {
            *attempts.lock() += 1;
            let away = *attempts.lock() < 3;
            async move { if away { Err("away") } else { Ok("id".to_owned()) } }
        };
        tokio::select! {
            () = relay.run(users.clone(), publish, CancellationToken::new()) => unreachable!(),
            enqueued = receipt.within(Duration::from_secs(10)) => assert!(enqueued.is_some()),
        }
    }
}
