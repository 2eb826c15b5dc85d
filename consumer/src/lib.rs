//! OrbitMQ's consumer: takes messages from OrbitMQ and from Apache RocketMQ.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use orbitmq_consumer::Consumer;
//!
//! let consumer =
//!     Consumer::builder().nameservers(["127.0.0.1:9876"]).group("mailer").subscribe("users", "*").build().await?;
//! while let Some(delivery) = consumer.next().await {
//!     match std::str::from_utf8(delivery.body()) {
//!         Ok(address) => {
//!             println!("a mail to {address}");
//!             delivery.ack();
//!         }
//!         Err(_) => delivery.retry_later().await?,
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Three ways to take messages, of which one consumer may use any:
//!
//! - as a [`futures_core::Stream`] of [`Delivery`], or with [`Consumer::next`];
//! - [`Consumer::poll`] takes up to so many, waiting at most so long;
//! - [`Consumer::run`] hands each message to a function, several at once.
//!
//! The members of a group share the queues of its topics ([`assign`]). A delivery that is acknowledged is done; offsets are
//! stored at the broker in order of completion, so that after a crash the group sees again what was not done, and a little
//! of what was. [`Delivery::retry_later`] gives a message back to its broker, which delivers it again after a delay and
//! moves it to the group's dead letters after too many times. A delivery that is dropped is neither: this consumer delivers
//! it again after [`ConsumerBuilder::redeliver_after`], and its queue's stored offset does not move past it.
//!
//! Members may also pop single messages from queues that they share ([`Fetch::Pop`]); deliveries are the same. A popped message is
//! kept invisible to the others for as long as its delivery lives, one that is dropped or given back comes to whichever member is
//! quick, and there are no offsets to store.
//!
//! When a broker's master is gone, or says that a slave should be read, messages come from a slave; offsets are stored at the
//! master, or at a slave while name servers know of no master, and once more at the next master. A slave that is behind never
//! moves a position. An ordered consumer locks its queues at masters alone: without one it goes on for as long as the locks it
//! has last (30 s), then waits.
//!
//! No trouble with brokers or name servers ends a consumer: it goes on trying, and [`Consumer::troubles`] says what is the matter.
//!
//! Dropping a consumer stops it where it stands; [`Consumer::close`] waits for deliveries in hand, stores offsets and
//! hands the queues over at once.
#![deny(missing_docs)]

pub mod assign;
mod broadcast;
mod commit;
pub mod config;
pub mod consumer;
mod core;
pub mod deliver;
mod direct;
pub mod error;
mod fetch;
mod figures;
mod heartbeat;
mod locks;
pub mod modes;
mod notices;
pub mod offsets;
mod pop;
mod queue;
mod reach;
mod rebalance;
pub mod reply;
mod send_back;
mod shelf;
mod source;
mod start;
mod status;
mod trace;
pub mod troubles;

pub use config::ConsumerBuilder;
pub use consumer::Consumer;
pub use deliver::Delivery;
pub use error::{BuildError, ConsumeError, RetryError};
pub use modes::{Fetch, StartFrom};
pub use orbitmq_common::message::message::StoredMessage;
pub use reply::ReplyError;
pub use troubles::Trouble;
