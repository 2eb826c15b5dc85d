//! Where the application meets the queue: events out, events in, reports back.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use orbitmq_consumer::{Consumer, ConsumerBuilder, Delivery};
use orbitmq_producer::{Message, Producer, SendError};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backoff::Backoff;
use crate::event::{MAILED, Mailed, REGISTERED};
use crate::mailer::{Mailer, Verdict};
use crate::pace::{self, Pace};
use crate::users::{Users, Waiting};

/// Mails in hand at once, hence the most that can go out twice when the mailer is killed.
const MAILS_AT_ONCE: usize = 4;
/// How soon a consumer that came before its topic finds it.
const LOOK: Duration = Duration::from_secs(1);

/// Property that names the event.
pub const EVENT: &str = "event";

/// An event as a message: all events of a user go to one queue.
pub fn message(event: &str, user: &str, body: Vec<u8>) -> Message {
    Message::new(REGISTERED, body).tag("registered").key(user).sharding_key(user).property(EVENT, event)
}

/// How the relay sends an event.
pub fn publish(producer: Producer, pace: Pace) -> impl Fn(Waiting) -> BoxFuture<'static, Result<String, SendError>> {
    move |event| {
        let producer = producer.clone();
        Box::pin(async move {
            pace::take(pace.enqueue).await;
            let message = message(&event.event, &event.user, event.body);
            Ok(producer.send(message).await?.message_id)
        })
    }
}

/// How the mailer reports.
pub type Report = Box<dyn Fn(Mailed) -> BoxFuture<'static, Result<(), SendError>> + Send + Sync>;

pub fn report(producer: Producer) -> Report {
    Box::new(move |mailed| {
        let producer = producer.clone();
        Box::pin(async move {
            let body = serde_json::to_vec(&mailed).map_err(|error| SendError::Message(error.to_string()))?;
            let message = Message::new(MAILED, body).key(&mailed.user).sharding_key(&mailed.user);
            producer.send(message).await.map(drop)
        })
    })
}

/// Gives registrations to the mailer until `stop`.
pub async fn take_registrations(registrations: ConsumerBuilder, mailer: Arc<Mailer<Report>>, stop: CancellationToken) {
    let Some(consumer) = connect(registrations, &stop).await else { return };
    let (room, in_hand) = (Arc::new(Semaphore::new(MAILS_AT_ONCE)), TaskTracker::new());
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { break };
        let Some(delivery) = next(&consumer, &stop).await else { break };
        let mailer = Arc::clone(&mailer);
        in_hand.spawn(async move {
            let verdict = mailer.handle(delivery.body()).await;
            tell(delivery, verdict).await;
            drop(place);
        });
    }
    in_hand.close();
    in_hand.wait().await;
    consumer.close().await;
}

/// Notes the mailer's reports until `stop`.
pub async fn take_reports(reports: ConsumerBuilder, users: Users, stop: CancellationToken) {
    let Some(consumer) = connect(reports, &stop).await else { return };
    while let Some(delivery) = next(&consumer, &stop).await {
        let verdict = match serde_json::from_slice::<Mailed>(delivery.body()) {
            Err(error) => {
                tracing::warn!("a message that is no report is dropped: {error}");
                Verdict::Ack
            }
            Ok(mailed) => match users.mailed(mailed).await {
                Ok(()) => Verdict::Ack,
                Err(error) => {
                    tracing::warn!("a report waits: {error}");
                    Verdict::Later
                }
            },
        };
        tell(delivery, verdict).await;
    }
    consumer.close().await;
}

/// Builds a consumer, however long no name server answers.
async fn connect(builder: ConsumerBuilder, stop: &CancellationToken) -> Option<Consumer> {
    let builder = builder.route_refresh(LOOK).rebalance_every(LOOK);
    let mut backoff = Backoff::new();
    loop {
        match builder.clone().build().await {
            Ok(consumer) => return Some(consumer),
            Err(error) => {
                let pause = backoff.next();
                tracing::warn!("no consumer yet, next attempt in {pause:?}: {error}");
                tokio::select! {
                    () = stop.cancelled() => return None,
                    () = tokio::time::sleep(pause) => {}
                }
            }
        }
    }
}

async fn next(consumer: &Consumer, stop: &CancellationToken) -> Option<Delivery> {
    tokio::select! {
        () = stop.cancelled() => None,
        delivery = consumer.next() => delivery,
    }
}

async fn tell(delivery: Delivery, verdict: Verdict) {
    match verdict {
        Verdict::Ack => delivery.ack(),
        Verdict::Leave => drop(delivery),
        Verdict::Later => {
            if let Err(error) = delivery.retry_later().await {
                tracing::warn!("{error}");
            }
        }
    }
}
