//! OrbitMQ's producer: sends messages to OrbitMQ and to Apache RocketMQ.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use orbitmq_producer::{Message, Producer};
//!
//! let producer = Producer::builder().nameservers(["127.0.0.1:9876"]).group("registration").build().await?;
//! let receipt = producer.send(Message::new("users", "ada@example.org").key("user-1").tag("registered")).await?;
//! println!("stored as {} at {}", receipt.message_id, receipt.broker);
//! producer.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! Ways to send, all of one [`Producer`], which is cheap to clone and to share:
//!
//! - [`Producer::send`] waits for the answer; [`Producer::start`] hands out a [`Pending`] send to await later, so that many
//!   are in hand; [`Producer::send_with_callback`] calls a function; [`Producer::send_oneway`] wants no answer.
//! - The queue: in turn by default, the same one for the same [`Message::sharding_key`], a given one
//!   ([`Producer::send_to`]), or any [`Choose`] of your own ([`Producer::send_by`]).
//!   While the broker of a key's queue is gone, the key's messages go to another queue.
//! - When: at once by default, at [`Message::deliver_at`], or [`Message::deliver_after`] a while. Until then the
//!   message can be taken back with [`Producer::recall`] and [`SendReceipt::recall_handle`].
//! - [`Producer::send_batch`] sends many messages of a topic in few requests.
//! - [`Producer::request`] waits for the reply of whoever consumes the message.
//! - In a transaction: [`TransactionProducer::send_in_transaction`] delivers the message if and only if local work succeeds.
//!
//! ```no_run
//! # async fn is_paid(order: Option<&str>) -> bool { order.is_some() }
//! # async fn pay(order: &str) -> bool { !order.is_empty() }
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use orbitmq_producer::{Decision, Message, Producer, StoredMessage};
//!
//! // Asked when a decision did not reach the broker: the answer has to come from what lasts.
//! let check = |message: StoredMessage| async move {
//!     if is_paid(message.keys().next()).await { Decision::Commit } else { Decision::Unknown }
//! };
//! let builder = Producer::builder().nameservers(["127.0.0.1:9876"]).group("shop");
//! let producer = builder.build_transactional(check).await?;
//! let work = |_half| async { if pay("order-42").await { Decision::Commit } else { Decision::Rollback } };
//! let receipt = producer.send_in_transaction(Message::new("paid", "order-42").key("order-42"), work).await?;
//! receipt.told?; // the broker has confirmed; else it asks
//! # Ok(())
//! # }
//! ```
//!
//! A send is tried again on another broker while its deadline lasts; a broker that fails or is slow is avoided for a while.
//! A try that ran out of time or lost its connection may have been stored all the same, so a retry can store a message
//! twice: consumers recognise it by [`SendReceipt::message_id`].
//!
//! A receipt means that the message is as safe as its broker is set to keep it: on the disk, copied by slaves. A broker that
//! has stored a message and could not do all of that in time answers with [`SendError::Unconfirmed`], which is an error on
//! purpose: the message will be delivered unless that broker is lost now. It holds the receipt, for whoever can live with that.
//!
//! When a broker's master changes, sends wait until name servers tell of the new one and go there, while their deadline lasts.
//!
//! Dropping the future of a send gives up its answer; whether the message is stored is then unknown, and nothing else is
//! affected.
#![deny(missing_docs)]

pub mod avoid;
pub mod batch;
pub mod choose;
pub mod config;
pub mod error;
mod heartbeat;
mod mastership;
mod notices;
pub mod producer;
mod questions;
mod recall;
pub mod receipt;
mod replies;
pub mod request;
mod send;
mod trace;
pub mod transaction;
mod tries;

pub use choose::Choose;
pub use config::ProducerBuilder;
pub use error::{BatchError, BuildError, Cause, RecallError, SendError};
pub use orbitmq_common::message::message::{Message, StoredMessage};
pub use orbitmq_common::route::table::Queue;
pub use producer::Producer;
pub use receipt::{Pending, SendReceipt, Unconfirmed};
pub use replies::Reply;
pub use request::RequestError;
pub use transaction::{CheckBack, Decision, NotTold, TransactionProducer, TransactionReceipt};
