//! Events as messages of transactions: the broker keeps an event back until its user is saved, and asks if it hears no more.

use std::time::Duration;

use orbitmq_examples::clock::now_us;
use orbitmq_producer::{BuildError, Decision, Producer, StoredMessage, TransactionProducer};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::database::DatabaseError;
use crate::event::REGISTERED;
use crate::pace::{self, Pace};
use crate::queue::{self, EVENT};
use crate::users::{User, Users};

/// How long the broker may take for each half of a transaction.
const BROKER_BOUND: Duration = Duration::from_secs(2);

/// Registers users together with their events.
pub struct Transactions {
    producer: TransactionProducer,
    users: Users,
    pace: Pace,
}

/// What became of a registration.
pub enum Outcome {
    /// The user is saved.
    Saved {
        saved_us: i64,
        /// When the broker had confirmed that it delivers the event; none: it will ask whether it should.
        enqueued_us: Option<i64>,
    },
    /// Nothing is saved, and the event will not be delivered: no broker took it.
    NotBegun,
}

impl Transactions {
    pub async fn new(nameservers: &[String], users: Users, pace: Pace) -> Result<Self, BuildError> {
        let table = users.clone();
        let check = move |message: StoredMessage| decide(table.clone(), message);
        // A group of its own: the broker asks any producer of the group, and only this one knows.
        let builder = Producer::builder().nameservers(nameservers).group("registration-transactions");
        let builder = builder.send_timeout(BROKER_BOUND).try_timeout(BROKER_BOUND);
        Ok(Self { producer: builder.build_transactional(check).await?, users, pace })
    }

    /// Makes itself known to the broker, which may have questions about an earlier process, until that has worked.
    pub async fn be_known(&self, stop: &CancellationToken) {
        let mut backoff = Backoff::new();
        while let Err(error) = self.producer.be_known(REGISTERED).await {
            tracing::debug!("no broker to be known to yet: {error}");
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(backoff.next()) => {}
            }
        }
    }

    /// Half a message to the broker, the user into the database, the decision to the broker.
    pub async fn register(&self, user: &User, key: String) -> Result<Outcome, DatabaseError> {
        let message = queue::message(&user.event, &user.id, user.body()?);
        let mut saved = Ok(None);
        let result = &mut saved;
        pace::take(self.pace.enqueue).await;
        let save = |_| async move {
            pace::take(self.pace.save).await;
            *result = self.users.save_in_transaction(user, key).await;
            match &*result {
                Ok(Some(_)) => Decision::Commit,
                Ok(None) => Decision::Rollback,
                Err(error) if error.is_duplicate() => Decision::Rollback,
                // It may be saved all the same. The database knows when the broker asks.
                Err(_) => Decision::Unknown,
            }
        };
        let sent = self.producer.send_in_transaction(message, save).await;
        let receipt = match sent {
            Ok(receipt) => receipt,
            Err(error) => {
                tracing::warn!("no transaction was begun: {error}");
                return Ok(Outcome::NotBegun);
            }
        };
        let Some(saved_us) = saved? else { return Ok(Outcome::NotBegun) };
        if receipt.told.is_err() {
            return Ok(Outcome::Saved { saved_us, enqueued_us: None });
        }
        let enqueued_us = now_us();
        self.users.enqueued(user.event.clone(), receipt.half.message_id, enqueued_us).await?;
        Ok(Outcome::Saved { saved_us, enqueued_us: Some(enqueued_us) })
    }

    pub async fn close(&self) {
        self.producer.close().await;
    }
}

/// Answers the broker: an event is delivered if and only if its user is in the database.
async fn decide(users: Users, message: StoredMessage) -> Decision {
    let Some(event) = message.property(EVENT) else { return Decision::Rollback };
    match users.decide(event.to_owned()).await {
        Ok(true) => Decision::Commit,
        Ok(false) => Decision::Rollback,
        Err(error) => {
            tracing::warn!("a transaction waits: {error}");
            Decision::Unknown
        }
    }
}
